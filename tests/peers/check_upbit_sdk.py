"""Reads a simulated Upbit exchange with Upbit's own ``upbit-sdk`` and checks that what arrives is correct.

Usage: ``python check_upbit_sdk.py ws://127.0.0.1:PORT/websocket/v1 [DEFAULT,SIMPLE,JSON_LIST,SIMPLE_LIST]``

For each format every public type is taken twice: over the low-level connection, where each frame is checked both as
JSON and as the SDK's model, and over the SDK's stream helper, which also asks for the list of subscriptions. Nothing
of the SDK is changed; the two base URLs are arguments of its client.
"""

# Runs in the client's own environment, without this project, and prints its result.
# ruff: noqa: BLE001

import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version

from pydantic import ValidationError
from upbit import AsyncUpbit
from upbit.types.connect_public_server_event import Orderbook, Ticker, Trade, WsCandleResponse
from upbit.types.list_subscriptions_response import ListSubscriptionsResponse
from upbit.types.simple_candle import SimpleCandle
from upbit.types.simple_list_subscriptions_response import SimpleListSubscriptionsResponse
from upbit.types.simple_orderbook import SimpleOrderbook
from upbit.types.simple_ticker import SimpleTicker
from upbit.types.simple_trade import SimpleTrade

NAME = f"upbit-sdk {version('upbit-sdk')}"
DEADLINE = 30.0
CODES = ["KRW-BTC", "KRW-ETH", "BTC-ETH", "USDT-BTC"]
DEPTHS = {"KRW-BTC": 30, "KRW-ETH": 5, "BTC-ETH": 1, "USDT-BTC": 15}
BOOK_CODES = [code if depth == 30 else f"{code}.{depth}" for code, depth in DEPTHS.items()]
MINUTES = {"1s": 0, "1m": 1, "3m": 3, "5m": 5, "10m": 10, "15m": 15, "30m": 30, "60m": 60, "240m": 240}
TYPES = {
    "ticker": CODES,
    "trade": CODES,
    "orderbook": BOOK_CODES,
    **{f"candle.{interval}": CODES for interval in MINUTES},
}
ENOUGH = {"ticker": 3, "trade": 5, "orderbook": 3, "candle.1s": 2}  # REALTIME frames, besides one SNAPSHOT of each
ROUNDING = Decimal("1e-8")  # of a turnover
NEAR = 10_000  # ms between the wall clock and a REALTIME timestamp

MODELS = {"ticker": Ticker, "trade": Trade, "orderbook": Orderbook, "candle": WsCandleResponse}
SIMPLE_MODELS = {
    "ticker": SimpleTicker,
    "trade": SimpleTrade,
    "orderbook": SimpleOrderbook,
    "candle": SimpleCandle,
}
COMMON = {"ty": "type", "cd": "code", "tms": "timestamp", "st": "stream_type"}
LONG = {
    "ticker": COMMON
    | {"op": "opening_price", "hp": "high_price", "lp": "low_price", "tp": "trade_price", "pcp": "prev_closing_price"}
    | {"c": "change", "cp": "change_price", "cr": "change_rate", "scp": "signed_change_price"}
    | {"scr": "signed_change_rate", "tv": "trade_volume", "atv": "acc_trade_volume", "atp": "acc_trade_price"}
    | {"atv24h": "acc_trade_volume_24h", "atp24h": "acc_trade_price_24h", "tdt": "trade_date", "ttm": "trade_time"}
    | {"ttms": "trade_timestamp", "ab": "ask_bid", "aav": "acc_ask_volume", "abv": "acc_bid_volume"}
    | {"h52wp": "highest_52_week_price", "h52wdt": "highest_52_week_date", "l52wp": "lowest_52_week_price"}
    | {"l52wdt": "lowest_52_week_date", "ms": "market_state", "dd": "delisting_date"}
    | {"its": "is_trading_suspended", "mw": "market_warning"},
    "trade": COMMON
    | {"tp": "trade_price", "tv": "trade_volume", "ab": "ask_bid", "pcp": "prev_closing_price", "c": "change"}
    | {"cp": "change_price", "td": "trade_date", "ttm": "trade_time", "ttms": "trade_timestamp"}
    | {"sid": "sequential_id", "bap": "best_ask_price", "bas": "best_ask_size", "bbp": "best_bid_price"}
    | {"bbs": "best_bid_size"},
    "orderbook": COMMON
    | {"tas": "total_ask_size", "tbs": "total_bid_size", "obu": "orderbook_units", "lv": "level"}
    | {"ap": "ask_price", "bp": "bid_price", "as": "ask_size", "bs": "bid_size"},
    "candle": COMMON
    | {"cdttmu": "candle_date_time_utc", "cdttmk": "candle_date_time_kst", "op": "opening_price", "hp": "high_price"}
    | {"lp": "low_price", "tp": "trade_price", "catv": "candle_acc_trade_volume", "catp": "candle_acc_trade_price"},
}
TEXTS = {"type", "code", "stream_type", "change", "ask_bid", "market_state", "market_warning"}
TEXTS |= {
    "trade_date",
    "trade_time",
    "highest_52_week_date",
    "lowest_52_week_date",
    "candle_date_time_utc",
    "candle_date_time_kst",
}
INTEGERS = {"timestamp", "trade_timestamp", "sequential_id"}
DEPRECATED = {"is_trading_suspended", "market_warning"}  # on the wire, but no longer in the SDK's models


class WrongError(Exception):
    """The exchange sent something that Upbit would not send."""


def require(condition: bool, sentence: str) -> None:
    """Raise ``WrongError`` with the sentence unless the condition holds."""
    if not condition:
        raise WrongError(sentence)


def longer(value, names: dict):
    """The same JSON with the long field names of the DEFAULT format."""
    if isinstance(value, list):
        return [longer(item, names) for item in value]
    if isinstance(value, dict):
        return {names.get(key, key): longer(item, names) for key, item in value.items()}
    return value


def check_json(item: dict, where: str) -> None:
    """Check the JSON type of every field: the SDK would quietly turn numbers into strings."""
    for key, value in item.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if key == "orderbook_units":
            require(isinstance(value, list), f"{where}: orderbook_units is not an array")
            for unit in value:
                require(unit.keys() == {"ask_price", "bid_price", "ask_size", "bid_size"}, f"{where}: unit {unit}")
                check_json(unit, where)
        elif key == "delisting_date":
            continue  # null unless a delisting is announced
        elif key == "is_trading_suspended":
            require(isinstance(value, bool), f"{where}: {key} is {value!r}, not a boolean")
        elif key in TEXTS:
            require(isinstance(value, str) and value != "", f"{where}: {key} is {value!r}, not a text")
        elif key in INTEGERS:
            require(number and isinstance(value, int), f"{where}: {key} is {value!r}, not an integer")
        else:
            require(number, f"{where}: {key} is {value!r}, not a number")


def utc(milliseconds: int) -> datetime:
    """The moment as a UTC date and time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def close_to(a: Decimal, b: Decimal, tolerance: Decimal = Decimal("1e-6")) -> bool:
    """Whether two numbers are equal but for rounding."""
    return abs(a - b) <= tolerance * max(abs(a), abs(b), Decimal(1))


class Tally:
    """What one connection delivered, and the checks of its content."""

    def __init__(self, form: str) -> None:
        self.simple = form.startswith("SIMPLE")
        self.listed = form.endswith("LIST")
        self.form = form
        self.seen: dict = defaultdict(int)  # (type, code) -> frames
        self.live: dict = defaultdict(int)  # type -> REALTIME frames
        self.ids: dict = defaultdict(set)
        self.trade_prices: dict = defaultdict(set)
        self.touches: dict = defaultdict(list)  # code -> [(best bid, best ask)]
        self.ticker_prices: list = []

    def check_wire(self, raw: bytes) -> list:
        """Check a frame as JSON, and return its objects with their long names."""
        value = json.loads(raw)
        require(isinstance(value, list) == self.listed, f"{self.form}: a frame begins with {raw[:40]!r}")
        items = value if self.listed else [value]
        require(len(items) > 0, f"{self.form}: an empty list arrived")
        for item in items:
            require("error" not in item, f"{self.form}: the exchange answered {item}")
            kind = str(item.get("ty" if self.simple else "type")).partition(".")[0]
            require(kind in MODELS, f"{self.form}: a frame of no known type, {raw[:80]!r}")
        names = [LONG[str(item.get("ty") or item["type"]).partition(".")[0]] if self.simple else {} for item in items]
        items = [longer(item, name) for item, name in zip(items, names, strict=True)]
        for item in items:
            check_json(item, f"{self.form} {item['type']} {item.get('code')}")
        return items

    def check_model(self, event) -> dict:
        """Check that the SDK made its own model of an event, that it is complete and that it validates strictly."""
        kind = str(getattr(event, "ty" if self.simple else "type", None)).partition(".")[0]
        model = (SIMPLE_MODELS if self.simple else MODELS).get(kind)
        require(model is not None, f"{self.form}: the SDK knows no such event: {event!r:.120}")
        where = f"{self.form} {kind}"
        require(type(event) is model, f"{where}: the SDK made a {type(event).__name__}, not a {model.__name__}")
        data = event.to_dict()
        try:
            model.model_validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise WrongError(
                f"{where}: {'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}"
            ) from None
        names = LONG[kind] if self.simple else {}
        declared = {field.alias or name for name, field in model.model_fields.items()}
        missing = {names.get(key, key) for key in declared - data.keys()} - {"delisting_date"}
        unknown = {names.get(key, key) for key in data.keys() - declared} - DEPRECATED
        require(not missing, f"{where}: without {', '.join(sorted(missing))}")
        require(not unknown, f"{where}: with unknown {', '.join(sorted(unknown))}")
        return longer(data, names)

    def check(self, item: dict) -> None:
        """Check the content of one event with long names, its numbers still being strings."""
        kind, code, live = item["type"], item["code"], item["stream_type"] == "REALTIME"
        where = f"{self.form} {kind} {code}"
        require(kind in TYPES and code in CODES, f"{where}: was not asked for")
        first = not self.seen[kind, code]
        require(first != live, f"{where}: frame {self.seen[kind, code] + 1} is {item['stream_type']}")
        self.seen[kind, code] += 1
        self.live[kind] += live
        age = time.time() * 1000 - item["timestamp"]
        require(-NEAR < age < (NEAR if live else 86_400_000), f"{where}: the timestamp is {age / 1000:.1f} s old")
        texts = TEXTS | INTEGERS | {"orderbook_units", "delisting_date", "is_trading_suspended"}
        number = {key: Decimal(value) for key, value in item.items() if key not in texts}
        getattr(self, "check_" + kind.partition(".")[0])(where, item, number)

    def check_change(self, where: str, item: dict, number: dict) -> None:
        """Check the fields that tell the change against the previous close."""
        change = number["trade_price"] - number["prev_closing_price"]
        sign = "RISE" if change > 0 else "FALL" if change < 0 else "EVEN"
        require(item["change"] == sign, f"{where}: change is {item['change']}, but {sign} by the prices")
        require(close_to(number["change_price"], abs(change)), f"{where}: change_price is {number['change_price']}")

    def check_turnover(self, where: str, turnover: Decimal, volume: Decimal, low: Decimal, high: Decimal) -> None:
        """Check that the turnover is what the volume costs at prices between low and high, rounded or not."""
        least, most = low * volume, high * volume
        good = least - ROUNDING <= turnover * Decimal("1.000001") and turnover * Decimal("0.999999") <= most + ROUNDING
        require(good, f"{where}: a turnover of {turnover} for a volume of {volume} at {low} to {high}")

    def check_trade(self, where: str, item: dict, number: dict) -> None:
        """Check a trade."""
        for key in ("trade_price", "trade_volume", "prev_closing_price", "best_ask_size", "best_bid_size"):
            require(number[key] > 0, f"{where}: {key} is {number[key]}")
        bid, ask = number["best_bid_price"], number["best_ask_price"]
        require(0 < bid < ask, f"{where}: best bid {bid}, best ask {ask}")
        require(item["sequential_id"] not in self.ids[item["code"]], f"{where}: id {item['sequential_id']} came twice")
        at = utc(item["trade_timestamp"])
        require(item["trade_timestamp"] <= item["timestamp"], f"{where}: the message is older than its trade")
        told = f"{item['trade_date']} {item['trade_time']}"
        require(told == at.strftime("%Y-%m-%d %H:%M:%S"), f"{where}: {told} is not {at}")
        self.check_change(where, item, number)
        self.ids[item["code"]].add(item["sequential_id"])
        self.trade_prices[item["code"]].add(number["trade_price"])
        self.touches[item["code"]].append((bid, ask))

    def check_ticker(self, where: str, item: dict, number: dict) -> None:
        """Check a ticker."""
        price, low, high = number["trade_price"], number["low_price"], number["high_price"]
        require(number["trade_volume"] > 0, f"{where}: trade_volume is {number['trade_volume']}")
        require(0 < low <= price <= high, f"{where}: price {price} is not between low {low} and high {high}")
        require(low <= number["opening_price"] <= high, f"{where}: opening price {number['opening_price']}")
        year = number["lowest_52_week_price"], number["highest_52_week_price"]
        require(year[0] <= low and high <= year[1], f"{where}: {low} to {high} is outside of 52 weeks' {year}")
        self.check_change(where, item, number)
        signed = price - number["prev_closing_price"]
        require(close_to(number["signed_change_price"], signed), f"{where}: signed_change_price is not {signed}")
        rate = signed / number["prev_closing_price"]
        require(close_to(number["signed_change_rate"], rate), f"{where}: signed_change_rate is not {rate}")
        require(close_to(number["change_rate"], abs(rate)), f"{where}: change_rate is not {abs(rate)}")
        volume = number["acc_trade_volume"]
        sides = number["acc_ask_volume"] + number["acc_bid_volume"]
        require(volume > 0 and close_to(volume, sides), f"{where}: volume {volume}, both sides {sides}")
        self.check_turnover(where, number["acc_trade_price"], volume, low, high)
        for key in ("acc_trade_price", "acc_trade_volume"):
            require(number[f"{key}_24h"] >= number[key] * Decimal("0.999999"), f"{where}: {key}_24h is below {key}")
        at = utc(item["trade_timestamp"])
        require(item["trade_timestamp"] <= item["timestamp"], f"{where}: the message is older than its trade")
        told = item["trade_date"] + item["trade_time"]
        require(told == at.strftime("%Y%m%d%H%M%S"), f"{where}: {told} is not {at}")
        self.ticker_prices.append((where, item["code"], price))

    def check_orderbook(self, where: str, item: dict, number: dict) -> None:
        """Check an order book."""
        units = item["orderbook_units"]
        depth = DEPTHS[item["code"]]
        require(len(units) == depth, f"{where}: {len(units)} units instead of {depth}")
        sides = {}
        for side in ("ask", "bid"):
            levels = [(Decimal(unit[f"{side}_price"]), Decimal(unit[f"{side}_size"])) for unit in units]
            real = [(price, size) for price, size in levels if price]
            require(levels[: len(real)] == real, f"{where}: an empty {side} level stands before a real one")
            require(all(price > 0 and size > 0 for price, size in real), f"{where}: {side} levels {real}")
            require(all(size == 0 for price, size in levels if not price), f"{where}: a size without a price")
            prices = [price for price, _ in real]
            ordered = sorted(set(prices), reverse=side == "bid")
            require(prices == ordered, f"{where}: {side}s are not in order: {prices}")
            if depth == 30:
                total = sum(size for _, size in real)
                require(close_to(number[f"total_{side}_size"], total), f"{where}: total_{side}_size is not {total}")
            sides[side] = prices
        require(bool(sides["ask"] and sides["bid"]), f"{where}: a side is empty")
        bid, ask = sides["bid"][0], sides["ask"][0]
        require(bid < ask, f"{where}: best bid {bid} is not below best ask {ask}")
        self.touches[item["code"]].append((bid, ask))

    def check_candle(self, where: str, item: dict, number: dict) -> None:
        """Check a candle."""
        low, high = number["low_price"], number["high_price"]
        for key in ("opening_price", "trade_price"):
            require(0 < low <= number[key] <= high, f"{where}: {key} {number[key]} is not between {low} and {high}")
        volume, turnover = number["candle_acc_trade_volume"], number["candle_acc_trade_price"]
        require(volume > 0, f"{where}: the volume is {volume}")
        self.check_turnover(where, turnover, volume, low, high)
        start = datetime.fromisoformat(item["candle_date_time_utc"])
        korean = datetime.fromisoformat(item["candle_date_time_kst"])
        require(korean - start == timedelta(hours=9), f"{where}: {korean} in Korea is not {start} UTC")
        seconds = MINUTES[item["type"].partition(".")[2]] * 60 or 1
        start = start.replace(tzinfo=UTC)
        require(start.timestamp() % seconds == 0, f"{where}: starts at {start}")
        inside = item["timestamp"] / 1000 - start.timestamp()
        require(0 <= inside < seconds + 1, f"{where}: the last tick is {inside:.1f} s after the start")

    def complete(self) -> bool:
        """Whether a snapshot of everything and enough live frames have come."""
        snapshots = all(self.seen[kind, code] for kind in TYPES for code in CODES)
        return snapshots and all(self.live[kind] >= enough for kind, enough in ENOUGH.items())

    def missing(self) -> str:
        """What has not come yet, in words."""
        lacking = [f"{kind} of {code}" for kind in TYPES for code in CODES if not self.seen[kind, code]]
        lacking += [f"{n - self.live[kind]} more live {kind}" for kind, n in ENOUGH.items() if self.live[kind] < n]
        return f"{self.form}: waited in vain for {', '.join(lacking[:4])}{' and more' if len(lacking) > 4 else ''}"

    def check_prices(self) -> None:
        """Check that each ticker's price was traded, or lies where the book was."""
        for where, code, price in self.ticker_prices:
            bids, asks = zip(*self.touches[code], strict=True)
            near = min(bids) * Decimal("0.99") <= price <= max(asks) * Decimal("1.01")
            traded = price in self.trade_prices[code]
            require(traded or near, f"{where}: {price} was not traded, and is far from {min(bids)} to {max(asks)}")

    def counts(self) -> dict:
        """How many of each kind came."""
        total: dict = defaultdict(int)
        for (kind, _), n in self.seen.items():
            total[kind.partition(".")[0]] += n
        return total


async def close_reading(connection) -> None:
    """Close while still reading: with a full queue of frames, websockets 15 waits 10 s for the peer's close frame."""
    closing = asyncio.create_task(connection.close())
    while not closing.done():
        with suppress(Exception):
            await connection.recv()
        await asyncio.sleep(0)
    await closing


async def check_connection(client: AsyncUpbit, tally: Tally) -> None:
    """Take all types over the low-level connection, checking each frame as JSON and as a model."""
    request: list = [{"ticket": "check-upbit-sdk"}]
    request += [{"type": kind, "codes": codes} for kind, codes in TYPES.items()]
    request.append({"format": tally.form})
    async with client.ws_public.connect_public() as connection:
        try:
            await connection.send_raw(json.dumps(request))
            while not tally.complete():
                raw = await connection.recv_bytes()
                items = tally.check_wire(raw)
                parsed = connection.parse_event(raw)
                events = parsed if isinstance(parsed, list) else [parsed]
                require(len(events) == len(items), f"{tally.form}: the SDK made {len(events)} events of {len(items)}")
                for event in events:
                    tally.check(tally.check_model(event))
        finally:
            await close_reading(connection)
    tally.check_prices()


async def check_stream(client: AsyncUpbit, tally: Tally) -> None:
    """Take all types over the stream helper, and ask for the list of subscriptions amid the data."""
    manager = client.ws_stream.subscribe(
        ticker=CODES,
        trade=CODES,
        orderbook=BOOK_CODES,
        candle=dict.fromkeys(MINUTES, CODES),
        format=tally.form,
    )
    async with manager as stream:
        try:
            check_subscriptions(await stream.list_subscriptions(), tally)
            async for event in stream:
                for one in event if isinstance(event, list) else [event]:
                    tally.check(tally.check_model(one))
                if tally.complete():
                    break
        finally:
            await close_reading(stream)
    require(tally.complete(), f"{tally.missing()}, and the exchange closed the connection")
    tally.check_prices()


def check_subscriptions(answer, tally: Tally) -> None:
    """Check the answer to LIST_SUBSCRIPTIONS."""
    where = f"{tally.form} LIST_SUBSCRIPTIONS"
    model = SimpleListSubscriptionsResponse if tally.simple else ListSubscriptionsResponse
    require(type(answer) is model, f"{where}: the SDK made a {type(answer).__name__}")
    try:
        model.model_validate_json(answer.to_json(), strict=True)
    except ValidationError as error:
        raise WrongError(f"{where}: {error.errors()[0]}") from None
    told: dict = defaultdict(set)
    data = answer.to_dict()
    for entry in data["rslt" if tally.simple else "result"]:
        codes = entry.get("cds" if tally.simple else "codes", [])
        told[entry["ty" if tally.simple else "type"]] |= {code.partition(".")[0] for code in codes}
    for kind in TYPES.keys() | told.keys():
        require(told[kind] == set(CODES if kind in TYPES else []), f"{where}: {kind} of {sorted(told[kind])}")


async def check_markets(client: AsyncUpbit) -> None:
    """Check the list of markets, with the SDK's own strict validation of the answer."""
    pairs = await client.trading_pairs.list()
    known = {pair.market for pair in pairs}
    require(known >= set(CODES), f"/v1/market/all: without {', '.join(sorted(set(CODES) - known))}")
    require(all(pair.korean_name and pair.english_name for pair in pairs), "/v1/market/all: a market without a name")


async def run(url: str, forms: list) -> str:
    """Run all checks, and say what came."""
    base = url.removesuffix("/websocket/v1")
    if base == url:
        raise WrongError(f"the URL must end in /websocket/v1, which the SDK appends by itself: {url}")
    total: dict = defaultdict(int)
    tally = None
    async with AsyncUpbit(
        base_url="http" + base.removeprefix("ws"),
        websocket_base_url=base,
        max_retries=0,
        timeout=DEADLINE,
        _strict_response_validation=True,
    ) as client:
        try:
            async with asyncio.timeout(DEADLINE):
                await check_markets(client)
                for form in forms:
                    for check in (check_connection, check_stream):
                        tally = Tally(form)
                        await check(client, tally)
                        for kind, n in tally.counts().items():
                            total[kind] += n
        except TimeoutError:
            raise WrongError(tally.missing() if tally else "/v1/market/all: no answer") from None
    return (
        f"{total['ticker']} tickers, {total['trade']} trades, {total['orderbook']} books, {total['candle']} candles, ok"
    )


def main() -> None:
    """Run the checks for the URL and the formats of the command line."""
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} WS_URL [FORMAT,...]")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    forms = (sys.argv[2] if len(sys.argv) == 3 else "DEFAULT,SIMPLE,JSON_LIST,SIMPLE_LIST").split(",")
    try:
        summary = asyncio.run(run(sys.argv[1], forms))
    except Exception as error:
        sys.exit(f"{NAME}: {error}" if isinstance(error, WrongError) else f"{NAME}: {type(error).__name__}: {error}")
    print(f"{NAME}: {summary}")


if __name__ == "__main__":
    main()
