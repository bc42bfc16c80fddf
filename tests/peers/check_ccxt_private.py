"""Logs in to a simulated Upbit exchange with ``ccxt.pro`` and checks what it tells of an account.

Usage: ``python check_ccxt_private.py ws://127.0.0.1:PORT/websocket/v1``, with the account's key in
``UPBIT_ACCESS_KEY`` and ``UPBIT_SECRET_KEY``

Nothing of ccxt is changed; URLs and keys are part of the configuration that its constructor takes. ccxt makes one token
and sends it again whenever it connects again; the exchange refuses that, and takes a new one.
"""

# Runs in the client's own environment, without this project, and prints its result.
# ruff: noqa: BLE001

import asyncio
import os
import sys
from collections import Counter
from uuid import UUID

import ccxt.pro
from check_ccxt import NAME, WrongError, check_age, require

DEADLINE = 60.0
ENOUGH = {"orders": 15, "balances": 10}
STATUSES = {"wait": "open", "trade": "open", "done": "closed", "cancel": "canceled", "prevented": "prevented"}
SIDES = {"ASK": "sell", "BID": "buy"}


def near(a: float, b: float) -> bool:
    """Whether two numbers are equal but for the rounding of floats."""
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b)) + 1e-12


class Tally:
    """What came, and the checks of its content."""

    def __init__(self, exchange: ccxt.pro.Exchange) -> None:
        self.exchange = exchange
        self.seen: Counter = Counter()
        self.statuses: set = set()

    def complete(self) -> bool:
        """Whether enough has come, and all agrees."""
        return all(self.seen[kind] >= n for kind, n in ENOUGH.items()) and not self.uncovered()

    def missing(self) -> str:
        """What has not come yet, in words."""
        lacking = [f"{n - self.seen[kind]} more {kind}" for kind, n in ENOUGH.items() if self.seen[kind] < n]
        return f"waited in vain for {', '.join(lacking) or self.uncovered()}"

    def check_order(self, item: dict) -> None:
        """Check an order as ccxt has it, and against the event that it is from."""
        raw = item["info"]
        where = f"order {item['id']} {raw['state']}"
        require(str(UUID(item["id"])) == item["id"], f"{where}: is no uuid")
        base, quote = item["symbol"].split("/")
        require(raw["code"] == f"{quote}-{base}", f"{where}: {item['symbol']} is {raw['code']}")
        require(item["status"] == STATUSES[raw["state"]], f"{where}: status is {item['status']!r}")
        require(item["side"] == SIDES[raw["ask_bid"]], f"{where}: side is {item['side']!r}")
        require(item["type"] in ("limit", "market", "price"), f"{where}: type is {item['type']!r}")
        check_age(where, item["lastUpdateTimestamp"], live=True)
        require(item["timestamp"] <= item["lastUpdateTimestamp"], f"{where}: is older than its order")
        filled, cost = item["filled"], item["cost"]
        require(filled >= 0 and near(filled, raw["executed_volume"]), f"{where}: filled is {filled}")
        require(near(cost, raw["executed_funds"]), f"{where}: cost is {cost}")
        require((filled > 0) is (cost > 0), f"{where}: filled is {filled} for {cost}")
        if filled:
            # The average has eight decimals.
            require(abs(item["average"] - cost / filled) <= 1e-8 + 1e-9 * item["average"], f"{where}: average {item}")
        rate = 0.0005 if quote == "KRW" else 0.0025
        (fee,) = item["fees"]
        right = fee["currency"] == quote and near(fee["cost"], cost * rate)
        require(right, f"{where}: fee is {fee} for {cost} {quote}")
        if item["type"] != "price":  # that one has no volume, but funds
            amount, remaining = item["amount"], item["remaining"]
            prevented = raw["prevented_volume"]
            require(amount > 0 and remaining >= 0, f"{where}: {remaining} of {amount} remains")
            require(near(amount, filled + remaining + prevented), f"{where}: {amount} is not {filled} + {remaining}")
            require(remaining == 0 or raw["state"] != "done", f"{where}: {remaining} remains")
        if item["type"] == "limit":
            require(item["price"] > 0, f"{where}: price is {item['price']}")
        self.statuses.add(item["status"])
        self.seen["orders"] += 1

    def check_balance(self, balance: dict) -> None:
        """Check the balances as ccxt has put them together from all events."""
        check_age("balance", balance["timestamp"], live=True)
        currencies = [name for name in balance["total"] if name in balance["free"]]
        require(bool(currencies), f"balance: is empty, {list(balance)}")
        for name in currencies:
            one = balance[name]
            require(one["free"] >= 0 and one["used"] >= 0, f"balance: {one} {name}")
            require(near(one["total"], one["free"] + one["used"]), f"balance: {one} {name}")
        self.seen["balances"] += 1

    def uncovered(self) -> str:
        """In words, a currency of which the orders that were heard of lock more than the balance says is used.

        Each order is told before the balances that it changes, so for moments there may be one.
        """
        locked: Counter = Counter()
        for order in self.exchange.orders or ():
            base, quote = order["symbol"].split("/")
            locked[base if order["side"] == "sell" else quote] += order["info"]["locked"]
        for name, amount in locked.items():
            used = self.exchange.balance.get(name, {}).get("used") or 0.0
            if used < amount * (1 - 1e-9):
                return f"{amount} {name} to be used by orders, not {used}"
        return ""


async def watch(tally: Tally, kind: str) -> None:
    """Watch one kind of data for ever."""
    while True:
        if kind == "orders":
            for order in await tally.exchange.watch_orders():
                tally.check_order(order)
        else:
            tally.check_balance(await tally.exchange.watch_balance())


async def watch_all(exchange: ccxt.pro.Exchange) -> Tally:
    """Watch orders and balances side by side until enough has come."""
    tally = Tally(exchange)
    watches = [asyncio.create_task(watch(tally, kind)) for kind in ENOUGH]
    try:
        async with asyncio.timeout(DEADLINE):
            while not tally.complete():
                done, _ = await asyncio.wait(watches, timeout=0.1, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
    except TimeoutError:
        raise WrongError(tally.missing()) from None
    finally:
        for task in watches:
            task.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
    require({"open"} < tally.statuses, f"orders were {tally.statuses}")
    return tally


async def check_reconnect(exchange: ccxt.pro.Exchange) -> None:
    """Check that the token which ccxt keeps is refused, and a new one is not."""
    await exchange.close()
    try:
        async with asyncio.timeout(DEADLINE):
            await exchange.watch_balance()
    except ccxt.pro.NetworkError as error:
        require("401" in str(error), f"a token that was used before: {error}")
    else:
        raise WrongError("a token that was used before was taken again")
    await exchange.close()
    del exchange.options["ws"]["token"]
    async with asyncio.timeout(DEADLINE):
        await exchange.watch_balance()


async def run(url: str) -> str:
    """Run all checks, and say what came."""
    rest = "http" + url.removesuffix("/websocket/v1").removeprefix("ws")
    keys = {"apiKey": os.environ["UPBIT_ACCESS_KEY"], "secret": os.environ["UPBIT_SECRET_KEY"]}
    urls = {"public": rest, "private": rest, "ws": url}
    exchange = ccxt.pro.upbit({"urls": {"api": urls}, "newUpdates": True, **keys})
    try:
        await exchange.load_markets()
        tally = await watch_all(exchange)
        await check_reconnect(exchange)
    finally:
        await exchange.close()
    return f"{tally.seen['orders']} orders, {tally.seen['balances']} balances, a used token refused, ok"


def main() -> None:
    """Run the checks for the URL of the command line."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} WS_URL")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    try:
        summary = asyncio.run(run(sys.argv[1]))
    except Exception as error:
        sys.exit(f"{NAME}: {error}" if isinstance(error, WrongError) else f"{NAME}: {type(error).__name__}: {error}")
    print(f"{NAME}: {summary}")


if __name__ == "__main__":
    main()
