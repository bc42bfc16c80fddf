"""Logs in to a simulated Upbit exchange with Upbit's own ``upbit-sdk`` and checks what it tells of an account.

Usage: ``python check_upbit_sdk_private.py ws://127.0.0.1:PORT/websocket/v1 [DEFAULT,SIMPLE,JSON_LIST,SIMPLE_LIST]``,
with the account's key in ``UPBIT_ACCESS_KEY`` and ``UPBIT_SECRET_KEY``, where the SDK looks for it

Somebody trades for the account, about twice a second. Orders, balances and announcements are taken in all formats side
by side, first over the SDK's stream helper and then over its low-level connection, where each frame is checked as JSON
too. The books are kept: each balance must be the one before and what the orders between the two have changed.
"""

# Runs in the client's own environment, without this project, and prints its result.
# ruff: noqa: BLE001

import asyncio
import json
import os
import sys
import time
from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal, getcontext
from uuid import UUID

from check_upbit_sdk import NAME, NEAR, WrongError, close_reading, require
from upbit import AsyncUpbit
from upbit_sdk_fields import FIELDS, check_model, check_wire

DEADLINE = 90.0
ENOUGH = {"myOrder": 10, "myAsset": 10}
ANNOUNCED = ENOUGH | {"announcement": 1}  # the exchange announces something every ten seconds
TYPES = set(ANNOUNCED)
PAUSE = 1.1  # s between two rounds of logins: Upbit takes 5 a second
FEES = {"KRW": Decimal("0.0005"), "BTC": Decimal("0.0025"), "USDT": Decimal("0.0025")}
NUMBERS = {name for name, (_, kind) in FIELDS["myOrder"].items() if float in kind}
INDICATORS = {
    "codes": ["KRW-BTC", "KRW-ETH"],
    "timeframe": "5m",
    "indicators": [
        {"type": "rsi", "params": {"period": 14}},
        {"type": "macd", "params": {"fast": 12, "slow": 26, "signal_period": 9}},
    ],
}
SIGNALS = {
    "codes": ["KRW-BTC"],
    "timeframe": "1d",
    "indicators": [
        {"type": "rsi", "params": {"period": 14}, "trigger": "overbought", "event_params": {"threshold": 70}},
        {"type": "macd", "params": {"fast": 12, "slow": 26, "signal_period": 9}, "trigger": "golden_cross"},
    ],
}


class Tally:
    """What one connection delivered, and the checks of its content."""

    def __init__(self, form: str, enough: dict) -> None:
        self.form = form
        self.enough = enough
        self.seen: Counter = Counter()
        self.orders: dict = {}  # id -> its last event
        self.volumes: dict = {}  # id -> what was ordered
        self.ended: set = set()
        self.assets: dict = {}  # currency -> (all of it, how much of that is locked)
        self.owed: dict = defaultdict(Decimal)  # currency -> what trades have changed since then
        self.locks: dict = defaultdict(Decimal)  # currency -> how much more orders hold since then
        self.unsure: set = set()  # currencies of which an older order was heard of for the first time since then

    def complete(self) -> bool:
        """Whether enough has come."""
        return all(self.seen[kind] >= number for kind, number in self.enough.items())

    def missing(self) -> str:
        """What has not come yet, in words."""
        lacking = [f"{n - self.seen[kind]} more {kind}" for kind, n in self.enough.items() if self.seen[kind] < n]
        return f"{self.form}: waited in vain for {', '.join(lacking)}"

    def check(self, item: dict) -> None:
        """Check the content of one event with long names, its numbers being strings."""
        kind = item["type"]
        where = f"{self.form} {kind} {item.get('uuid', '')}"
        require(kind in TYPES, f"{where}: was not asked for")
        require(item["stream_type"] == "REALTIME", f"{where}: is a {item['stream_type']}")
        age = time.time() * 1000 - item["timestamp"]
        require(-NEAR < age < NEAR, f"{where}: the timestamp is {age / 1000:.1f} s old")
        self.seen[kind] += 1
        {"myOrder": self.check_order, "myAsset": self.check_assets, "announcement": self.check_announcement}[kind](
            where, item
        )

    def check_order(self, where: str, item: dict) -> None:
        """Check an event of an order: in itself, and against the one before."""
        item |= {name: None if item[name] is None else Decimal(item[name]) for name in NUMBERS}
        uuid, state = item["uuid"], item["state"]
        where = f"{where} {state}"
        require(str(UUID(uuid)) == uuid, f"{where}: is no uuid")
        require(uuid not in self.ended, f"{where}: came after its end")
        require(state in ("wait", "trade", "done", "cancel", "prevented"), f"{where}: is no state")
        require(item["ask_bid"] in ("ASK", "BID"), f"{where}: ask_bid is {item['ask_bid']}")
        require(state != "wait" or uuid not in self.orders, f"{where}: is not its first event")
        require(item["order_timestamp"] % 1000 == 0, f"{where}: order_timestamp is {item['order_timestamp']}")
        require(item["order_timestamp"] <= item["timestamp"], f"{where}: is older than its order")
        for name in ("trade_uuid", "trade_fee", "is_maker", "trade_timestamp"):
            require((item[name] is None) is (state != "trade"), f"{where}: {name} is {item[name]!r}")
        without_volume = item["order_type"] == "price"
        if state != "trade":
            require((item["volume"] is None) is without_volume, f"{where}: volume is {item['volume']}")
            require((item["price"] is None) is (item["order_type"] == "market"), f"{where}: price is {item['price']}")
            self.volumes[uuid] = item["volume"]
        if without_volume:
            require(item["remaining_volume"] is None, f"{where}: remaining_volume is {item['remaining_volume']}")
        elif uuid in self.volumes:
            parts = item["executed_volume"] + item["remaining_volume"] + item["prevented_volume"]
            require(self.volumes[uuid] == parts, f"{where}: volume is {self.volumes[uuid]}, and its parts {parts}")
        average = item["executed_funds"] / item["executed_volume"] if item["executed_volume"] else Decimal(0)
        require(abs(average - item["avg_price"]) <= Decimal("1e-8"), f"{where}: avg_price is not {average}")
        self.check_progress(where, item)
        self.check_lock(where, item)
        self.orders[uuid] = item
        if state in ("done", "cancel"):
            self.ended.add(uuid)

    def check_progress(self, where: str, item: dict) -> None:
        """Check how far an order has come since its last event, and note what its owner gets and gives."""
        quote, _, base = item["code"].partition("-")
        fill = {"executed_volume": 0, "executed_funds": 0, "paid_fee": 0, "trades_count": 0}
        if item["state"] == "trade":
            funds, fee = item["price"] * item["volume"], item["trade_fee"]
            require(str(UUID(item["trade_uuid"])) == item["trade_uuid"], f"{where}: trade_uuid is no uuid")
            require(fee == funds * FEES[quote], f"{where}: trade_fee is {fee}, of funds of {funds}")
            sign = 1 if item["ask_bid"] == "BID" else -1
            self.owed[base] += sign * item["volume"]
            self.owed[quote] -= sign * funds + fee
            fill = {"executed_volume": item["volume"], "executed_funds": funds, "paid_fee": fee, "trades_count": 1}
        before = self.orders.get(item["uuid"])
        for name, more in fill.items():
            if before or item["state"] == "wait":
                expected = (before[name] if before else 0) + more
                require(item[name] == expected, f"{where}: {name} is {item[name]}, not {expected}")

    def check_lock(self, where: str, item: dict) -> None:
        """Check what an order holds, and note by how much that has changed."""
        quote, _, base = item["code"].partition("-")
        before, locked = self.orders.get(item["uuid"]), item["locked"]
        if item["state"] in ("done", "cancel"):
            require(locked == 0, f"{where}: locks {locked} after its end")
        elif item["ask_bid"] == "ASK":
            require(locked == item["remaining_volume"], f"{where}: locks {locked} of {item['remaining_volume']}")
        elif item["state"] == "wait":
            funds = item["price"] * (item["volume"] or 1)
            require(item["reserved_fee"] == funds * FEES[quote], f"{where}: reserved_fee is {item['reserved_fee']}")
            require(locked == funds + item["reserved_fee"], f"{where}: locks {locked} for {funds} and fees")
        currency = base if item["ask_bid"] == "ASK" else quote
        if before or item["state"] == "wait":
            self.locks[currency] += locked - (before["locked"] if before else 0)
        else:
            self.unsure.add(currency)

    def check_assets(self, where: str, item: dict) -> None:
        """Check balances against those before, and against what orders have done since."""
        require(str(UUID(item["asset_uuid"])) == item["asset_uuid"], f"{where}: asset_uuid is no uuid")
        require(item["asset_timestamp"] <= item["timestamp"], f"{where}: is older than the assets")
        currencies = [asset["currency"] for asset in item["assets"]]
        require(0 < len(set(currencies)) == len(currencies), f"{where}: is of {currencies}")
        for asset in item["assets"]:
            currency, free, locked = asset["currency"], Decimal(asset["balance"]), Decimal(asset["locked"])
            require(free >= 0 and locked >= 0, f"{where}: {free} {currency}, and {locked} locked")
            if currency in self.assets:
                total, lock = self.assets[currency]
                expected = total + self.owed[currency]
                require(free + locked == expected, f"{where}: has {free + locked} {currency}, not {expected}")
                expected = lock + self.locks[currency]
                right = locked == expected or currency in self.unsure
                require(right, f"{where}: has {locked} {currency} locked, not {expected}")
            self.assets[currency] = free + locked, locked
            self.owed.pop(currency, None)
            self.locks.pop(currency, None)
            self.unsure.discard(currency)

    def check_announcement(self, where: str, item: dict) -> None:
        """Check an announcement, asked for without its body."""
        require(item["event_type"] == "CREATED", f"{where}: is {item['event_type']}")
        require(item["title"] and item["category"], f"{where}: says {item}")
        require(item["uuid"] in item["url"], f"{where}: is at {item['url']}")
        require("body" not in item, f"{where}: has a body that was not asked for")
        for name in ("first_listed_at", "listed_at"):
            at = datetime.fromisoformat(item[name])
            require(item[name].endswith("+09:00"), f"{where}: {name} is {item[name]}, not Korean time")
            require(abs(at.timestamp() * 1000 - item["timestamp"]) < NEAR, f"{where}: {name} is {item[name]}")


async def check_stream(client: AsyncUpbit, tally: Tally) -> None:
    """Take everything over the stream helper, and ask for the list of subscriptions amid the data."""
    manager = client.ws_stream.subscribe_private(my_order=[], my_asset=True, announcement=True, format=tally.form)
    async with manager as stream:
        try:
            told = (await stream.list_subscriptions(timeout=DEADLINE)).to_dict()
            listed = told["rslt" if tally.form.startswith("SIMPLE") else "result"]
            kinds = {entry.get("type", entry.get("ty")) for entry in listed}
            require(kinds == TYPES, f"{tally.form}: the subscriptions are {listed}")
            async for event in stream:
                for one in event if isinstance(event, list) else [event]:
                    tally.check(check_model(one, tally.form))
                if tally.complete():
                    return
        finally:
            await close_reading(stream)
    raise WrongError(f"{tally.missing()}, and the exchange closed the connection")


async def check_connection(client: AsyncUpbit, tally: Tally) -> None:
    """Take everything over the low-level connection, checking each frame as JSON and as a model."""
    request = [{"ticket": "check-upbit-sdk"}, *({"type": kind} for kind in sorted(TYPES)), {"format": tally.form}]
    async with client.ws_private.connect_private() as connection:
        try:
            await connection.send_raw(json.dumps(request))
            while not tally.complete():
                raw = await connection.recv_bytes()
                items = check_wire(raw, tally.form)
                parsed = connection.parse_event(raw)
                events = parsed if isinstance(parsed, list) else [parsed]
                require(len(events) == len(items), f"{tally.form}: the SDK made {len(events)} events of {len(items)}")
                for event in events:
                    tally.check(check_model(event, tally.form))
        finally:
            await close_reading(connection)


async def check_info(client: AsyncUpbit) -> None:
    """Log in to the info endpoint and subscribe. What comes there when a candle closes, ``make_frames.py`` makes."""
    async with client.ws_stream.subscribe_info(indicator=INDICATORS, indicator_signal=SIGNALS) as stream:
        try:
            told = (await stream.list_subscriptions(timeout=DEADLINE)).to_dict()["result"]
        finally:
            await close_reading(stream)
    expected = {("indicator", "5m"): INDICATORS, ("indicator_signal", "1d"): SIGNALS}
    names: dict = defaultdict(set)
    for entry in told:
        key = entry["type"], entry["timeframe"]
        require(key in expected and entry["codes"] == expected[key]["codes"], f"info: {entry} was not asked for")
        names[key] |= {one["type"] for one in entry["indicators"]}
    for key in expected:
        require(names[key] == {"rsi", "macd"}, f"info: the indicators of {key} are {names[key]}")


async def run(url: str, forms: list) -> str:
    """Run all checks, and say what came."""
    base = url.removesuffix("/websocket/v1")
    if base == url:
        raise WrongError(f"the URL must end in /websocket/v1, which the SDK appends by itself: {url}")
    total: Counter = Counter()
    tallies: list = []
    async with AsyncUpbit(
        base_url="http" + base.removeprefix("ws"), websocket_base_url=base, max_retries=0, timeout=DEADLINE
    ) as client:
        try:
            async with asyncio.timeout(DEADLINE):
                for check, enough in ((check_stream, ANNOUNCED), (check_connection, ENOUGH)):
                    tallies = [Tally(form, enough) for form in forms]
                    async with asyncio.TaskGroup() as group:
                        for tally in tallies:
                            group.create_task(check(client, tally))
                    for tally in tallies:
                        total += tally.seen
                    await asyncio.sleep(PAUSE)
                await check_info(client)
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        except TimeoutError:
            late = [tally.missing() for tally in tallies if not tally.complete()]
            raise WrongError("; ".join(late) or "info: no answer") from None
    return ", ".join(f"{number} {name}" for name, number in total.items()) + " events of an account, ok"


def main() -> None:
    """Run the checks for the URL and the formats of the command line."""
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} WS_URL [FORMAT,...]")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    getcontext().prec = 60  # balances may have more digits than the usual 28
    forms = (sys.argv[2] if len(sys.argv) == 3 else "DEFAULT,SIMPLE,JSON_LIST,SIMPLE_LIST").split(",")
    try:
        summary = asyncio.run(run(sys.argv[1], forms))
    except Exception as error:
        sys.exit(f"{NAME}: {error}" if isinstance(error, WrongError) else f"{NAME}: {type(error).__name__}: {error}")
    print(f"{NAME}: {summary}")


if __name__ == "__main__":
    main()
