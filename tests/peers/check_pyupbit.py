"""Reads a simulated Upbit exchange with ``pyupbit`` and checks that what arrives is correct.

Usage: ``python check_pyupbit.py ws://127.0.0.1:PORT/websocket/v1``

pyupbit takes no URL: it stands as a constant in the code of ``WebSocketManager``. The script puts the given URL in the
place of that constant and changes nothing else.
"""

# Runs in the client's own environment, without this project, and prints its result.
# ruff: noqa: BLE001

import multiprocessing
import os
import queue
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pyupbit

NAME = f"pyupbit {version('pyupbit')}"
DEADLINE = 30.0
UPBIT = "wss://api.upbit.com/websocket/v1"
CODES = ["KRW-BTC", "KRW-ETH", "BTC-ETH", "USDT-BTC"]
ENOUGH = {"ticker": 5, "trade": 5, "orderbook": 5, "candle.1s": 5}
NEAR = 10_000  # ms between the wall clock and a REALTIME timestamp

TEXTS = {
    "ticker": "type code stream_type change ask_bid trade_date trade_time market_state highest_52_week_date "
    "lowest_52_week_date",
    "trade": "type code stream_type change ask_bid trade_date trade_time",
    "orderbook": "type code stream_type",
    "candle.1s": "type code stream_type candle_date_time_utc candle_date_time_kst",
}
NUMBERS = {
    "ticker": "opening_price high_price low_price trade_price prev_closing_price acc_trade_price change_price "
    "signed_change_price change_rate signed_change_rate trade_volume acc_trade_volume trade_timestamp acc_ask_volume "
    "acc_bid_volume highest_52_week_price lowest_52_week_price timestamp acc_trade_price_24h acc_trade_volume_24h",
    "trade": "timestamp trade_timestamp trade_price trade_volume prev_closing_price change_price sequential_id "
    "best_ask_price best_ask_size best_bid_price best_bid_size",
    "orderbook": "timestamp total_ask_size total_bid_size level",
    "candle.1s": "opening_price high_price low_price trade_price candle_acc_trade_volume candle_acc_trade_price "
    "timestamp",
}
INTEGERS = {"timestamp", "trade_timestamp", "sequential_id"}


class WrongError(Exception):
    """The exchange sent something that Upbit would not send."""


def require(condition: bool, sentence: str) -> None:
    """Raise ``WrongError`` with the sentence unless the condition holds."""
    if not condition:
        raise WrongError(sentence)


def set_url(url: str) -> None:
    """Put the URL in the place of Upbit's, which is a constant in the code of a method."""
    method = pyupbit.WebSocketManager.__dict__.get("_WebSocketManager__connect_socket")
    code = getattr(method, "__code__", None)
    require(code is not None and UPBIT in code.co_consts, f"{UPBIT} is no longer where this script looks for it")
    method.__code__ = code.replace(co_consts=tuple(url if one == UPBIT else one for one in code.co_consts))


def close_to(a: float, b: float) -> bool:
    """Whether two numbers are equal but for rounding."""
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b), 1.0)


def utc(milliseconds: int) -> datetime:
    """The moment as a UTC date and time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


class Tally:
    """What came, and the checks of its content."""

    def __init__(self) -> None:
        self.seen: dict = defaultdict(int)
        self.codes: dict = defaultdict(set)
        self.ids: dict = defaultdict(set)
        self.trade_prices: dict = defaultdict(set)
        self.touches: dict = defaultdict(list)  # code -> [(best bid, best ask)]
        self.ticker_prices: list = []

    def check(self, kind: str, item: object) -> None:
        """Check one item that came from the manager of a type."""
        require(isinstance(item, dict), f"{kind}: the client says {item!r}")
        require("error" not in item, f"{kind}: the exchange answered {item}")
        require(item.get("type") == kind and item.get("code") in CODES, f"{kind}: {str(item)[:80]} was not asked for")
        where = f"{kind} {item['code']}"
        for key in TEXTS[kind].split():
            require(isinstance(item.get(key), str), f"{where}: {key} is {item.get(key)!r}, not a text")
        for key in NUMBERS[kind].split():
            wanted = int if key in INTEGERS else (int, float)
            good = isinstance(item.get(key), wanted) and not isinstance(item[key], bool)
            require(good, f"{where}: {key} is {item.get(key)!r}, not a number")
        live = item["stream_type"] == "REALTIME"
        require(live or item["stream_type"] == "SNAPSHOT", f"{where}: stream_type is {item['stream_type']}")
        age = time.time() * 1000 - item["timestamp"]
        require(-NEAR < age < (NEAR if live else 86_400_000), f"{where}: the timestamp is {age / 1000:.1f} s old")
        getattr(self, "check_" + kind.partition(".")[0])(where, item)
        self.seen[kind] += live
        self.codes[kind].add(item["code"])

    def check_last(self, where: str, item: dict) -> None:
        """Check what a ticker and a trade have in common."""
        price, before = item["trade_price"], item["prev_closing_price"]
        require(price > 0 and before > 0, f"{where}: trade price {price}, previous close {before}")
        require(item["trade_volume"] > 0, f"{where}: trade_volume is {item['trade_volume']}")
        require(item["ask_bid"] in ("ASK", "BID"), f"{where}: ask_bid is {item['ask_bid']}")
        sign = "RISE" if price > before else "FALL" if price < before else "EVEN"
        require(item["change"] == sign, f"{where}: change is {item['change']}, but {sign} by the prices")
        require(close_to(item["change_price"], abs(price - before)), f"{where}: change_price {item['change_price']}")
        require(item["trade_timestamp"] <= item["timestamp"], f"{where}: the message is older than its trade")
        told = item["trade_date"].replace("-", "") + item["trade_time"].replace(":", "")
        at = utc(item["trade_timestamp"])
        require(told == at.strftime("%Y%m%d%H%M%S"), f"{where}: {told} is not {at}")

    def check_trade(self, where: str, item: dict) -> None:
        """Check a trade."""
        self.check_last(where, item)
        bid, ask = item["best_bid_price"], item["best_ask_price"]
        require(0 < bid < ask, f"{where}: best bid {bid}, best ask {ask}")
        require(item["sequential_id"] not in self.ids[item["code"]], f"{where}: id {item['sequential_id']} came twice")
        self.ids[item["code"]].add(item["sequential_id"])
        self.trade_prices[item["code"]].add(item["trade_price"])
        self.touches[item["code"]].append((bid, ask))

    def check_ticker(self, where: str, item: dict) -> None:
        """Check a ticker."""
        self.check_last(where, item)
        price, low, high = item["trade_price"], item["low_price"], item["high_price"]
        require(0 < low <= price <= high, f"{where}: price {price} is not between low {low} and high {high}")
        require(low <= item["opening_price"] <= high, f"{where}: opening price {item['opening_price']}")
        signed = price - item["prev_closing_price"]
        rate = signed / item["prev_closing_price"]
        require(close_to(item["signed_change_price"], signed), f"{where}: signed_change_price is not {signed}")
        require(close_to(item["signed_change_rate"], rate), f"{where}: signed_change_rate is not {rate}")
        require(close_to(item["change_rate"], abs(rate)), f"{where}: change_rate is not {abs(rate)}")
        sides = item["acc_ask_volume"] + item["acc_bid_volume"]
        require(close_to(item["acc_trade_volume"], sides), f"{where}: volume {item['acc_trade_volume']}, not {sides}")
        self.ticker_prices.append((where, item["code"], price))

    def check_orderbook(self, where: str, item: dict) -> None:
        """Check an order book of 30 levels, which may end in empty ones."""
        units = item.get("orderbook_units")
        require(isinstance(units, list) and len(units) == 30, f"{where}: orderbook_units is {str(units)[:80]}")
        best = {}
        for side in ("ask", "bid"):
            levels = [(unit[f"{side}_price"], unit[f"{side}_size"]) for unit in units]
            real = [level for level in levels if level[0]]
            require(bool(real) and levels[: len(real)] == real, f"{where}: {side}s are {levels}")
            require(all(price > 0 and size > 0 for price, size in real), f"{where}: {side}s are {real}")
            prices = [price for price, _ in real]
            ordered = sorted(set(prices), reverse=side == "bid")
            require(prices == ordered, f"{where}: {side}s are not in order: {prices}")
            total = sum(size for _, size in real)
            require(close_to(item[f"total_{side}_size"], total), f"{where}: total_{side}_size is not {total}")
            best[side] = prices[0]
        require(best["bid"] < best["ask"], f"{where}: best bid {best['bid']} is not below best ask {best['ask']}")
        self.touches[item["code"]].append((best["bid"], best["ask"]))

    def check_candle(self, where: str, item: dict) -> None:
        """Check a candle of one second."""
        low, high = item["low_price"], item["high_price"]
        for key in ("opening_price", "trade_price"):
            require(0 < low <= item[key] <= high, f"{where}: {key} {item[key]} is not between {low} and {high}")
        require(item["candle_acc_trade_volume"] > 0, f"{where}: the volume is {item['candle_acc_trade_volume']}")
        turnover, volume = item["candle_acc_trade_price"], item["candle_acc_trade_volume"]
        good = low * volume * 0.999999 - 1e-8 <= turnover <= high * volume * 1.000001 + 1e-8  # rounded or not
        require(good, f"{where}: a turnover of {turnover} for a volume of {volume} at {low} to {high}")
        start = datetime.fromisoformat(item["candle_date_time_utc"])
        korean = datetime.fromisoformat(item["candle_date_time_kst"])
        require(korean - start == timedelta(hours=9), f"{where}: {korean} in Korea is not {start} UTC")
        inside = item["timestamp"] / 1000 - start.replace(tzinfo=UTC).timestamp()
        require(0 <= inside < 2, f"{where}: the last tick is {inside:.1f} s after the start")

    def check_prices(self) -> None:
        """Check that each ticker's price was traded, or lies where the book was."""
        for where, code, price in self.ticker_prices:
            bids, asks = zip(*self.touches[code], strict=True) if self.touches[code] else ([price], [price])
            near = min(bids) * 0.99 <= price <= max(asks) * 1.01
            traded = price in self.trade_prices[code]
            require(traded or near, f"{where}: {price} was not traded, and is far from {min(bids)} to {max(asks)}")

    def complete(self) -> bool:
        """Whether enough of each has come, of two codes at least."""
        return all(self.seen[kind] >= n and len(self.codes[kind]) > 1 for kind, n in ENOUGH.items())

    def missing(self) -> str:
        """What has not come yet, in words."""
        lacking = [f"{n} of {kind} (came {self.seen[kind]})" for kind, n in ENOUGH.items() if self.seen[kind] < n]
        return f"waited in vain for {', '.join(lacking) or 'a second code'}"


def forward(manager: pyupbit.WebSocketManager, kind: str, inbox: queue.Queue) -> None:
    """Hand on what a manager gets; its ``get`` has no deadline, so this runs in a thread that may be left behind."""
    with suppress(Exception):  # the manager is ended while this waits, or while its process writes
        while True:
            inbox.put((kind, manager.get()))


def run(url: str) -> str:
    """Run all checks, and say what came."""
    set_url(url)
    inbox: queue.Queue = queue.Queue()
    managers = {kind: pyupbit.WebSocketManager(kind, CODES) for kind in ENOUGH}
    tally = Tally()
    end = time.monotonic() + DEADLINE
    try:
        for manager in managers.values():  # what the first get() does, but here before there are threads
            manager.alive = True
            manager.start()
        for kind, manager in managers.items():
            threading.Thread(target=forward, args=(manager, kind, inbox), daemon=True).start()
        while not tally.complete():
            require(time.monotonic() < end, tally.missing())
            for kind, manager in managers.items():
                require(manager.is_alive(), f"the client's process for {kind} ended with {manager.exitcode}")
            with suppress(queue.Empty):
                tally.check(*inbox.get(timeout=0.5))
    finally:
        for manager in managers.values():
            manager.terminate()
        for manager in managers.values():
            manager.join(5)
    tally.check_prices()
    seen = tally.seen
    return (
        f"{seen['ticker']} tickers, {seen['trade']} trades, {seen['orderbook']} books, {seen['candle.1s']} candles, ok"
    )


def main() -> None:
    """Run the checks for the URL of the command line."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} WS_URL")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    multiprocessing.set_start_method("fork")  # the child of a manager must have the changed URL
    try:
        summary = run(sys.argv[1])
    except Exception as error:
        sys.exit(f"{NAME}: {error}" if isinstance(error, WrongError) else f"{NAME}: {type(error).__name__}: {error}")
    print(f"{NAME}: {summary}")


if __name__ == "__main__":
    main()
