"""Reads a simulated Upbit exchange with ``ccxt.pro`` and checks that what arrives is correct.

Usage: ``python check_ccxt.py ws://127.0.0.1:PORT/websocket/v1``

Nothing of ccxt is changed; the URLs of its WebSocket and of its REST interface, from which it takes the list of
markets, are part of the configuration that its constructor takes.
"""

# Runs in the client's own environment, without this project, and prints its result.
# ruff: noqa: BLE001

import asyncio
import os
import sys
import time
from collections import defaultdict
from importlib.metadata import version

import ccxt.pro

NAME = f"ccxt {version('ccxt')}"
DEADLINE = 30.0
SYMBOLS = {"BTC/KRW": "KRW-BTC", "ETH/BTC": "BTC-ETH"}
ENOUGH = {"ticker": 5, "trade": 5, "orderbook": 12, "candle": 6}  # of which at most 7 and 3 are snapshots
NEAR = 10_000  # ms between the wall clock and a REALTIME timestamp
PAUSE = 0.3  # s between first watches: each sends a request of its own, and Upbit takes 5 a second


class WrongError(Exception):
    """The exchange sent something that Upbit would not send."""


def require(condition: bool, sentence: str) -> None:
    """Raise ``WrongError`` with the sentence unless the condition holds."""
    if not condition:
        raise WrongError(sentence)


def positive(where: str, item: dict, *keys: str) -> None:
    """Check that fields are numbers above zero."""
    for key in keys:
        good = isinstance(item[key], (int, float)) and not isinstance(item[key], bool) and item[key] > 0
        require(good, f"{where}: {key} is {item[key]!r}")


def check_age(where: str, timestamp: object, live: bool) -> bool:
    """Check a timestamp, and return whether it is near the wall clock; that of a snapshot may be a day old."""
    require(isinstance(timestamp, int), f"{where}: timestamp is {timestamp!r}")
    age = time.time() * 1000 - timestamp
    require(-NEAR < age < (NEAR if live else 86_400_000), f"{where}: the timestamp is {age / 1000:.1f} s old")
    return age < NEAR


def check_time(where: str, item: dict, live: bool) -> bool:
    """Check a timestamp and its text, and return whether it is near the wall clock."""
    near = check_age(where, item["timestamp"], live)
    require(item["datetime"] == ccxt.pro.Exchange.iso8601(item["timestamp"]), f"{where}: datetime {item['datetime']}")
    return near


class Tally:
    """What came, and the checks of its content."""

    def __init__(self) -> None:
        self.seen: dict = defaultdict(int)
        self.fresh: dict = defaultdict(int)  # kind -> items near the wall clock
        self.symbols: dict = defaultdict(set)  # kind -> symbols of such items
        self.trades: dict = {}  # (symbol, id) -> trade
        self.live_ids: set = set()
        self.trade_prices: dict = defaultdict(set)
        self.touches: dict = defaultdict(list)  # symbol -> [(best bid, best ask)]
        self.prices: list = []  # of tickers and candles

    def count(self, kind: str, symbol: str, fresh: bool) -> None:
        """Count one item that passed its check."""
        self.seen[kind] += 1
        self.fresh[kind] += fresh
        if fresh:
            self.symbols[kind].add(symbol)

    def check_ticker(self, symbol: str, item: dict) -> None:
        """Check a ticker."""
        where = f"ticker {symbol}"
        require(item["symbol"] == symbol and item["info"]["code"] == SYMBOLS.get(symbol), f"{where}: was not asked for")
        positive(where, item, "last", "close", "high", "low", "open", "previousClose", "baseVolume", "quoteVolume")
        positive(where, item["info"], "trade_price", "high_price", "low_price", "acc_trade_price_24h")
        low, high, last = item["low"], item["high"], item["last"]
        require(low <= last <= high, f"{where}: last {last} is not between low {low} and high {high}")
        require(item["close"] == last, f"{where}: close {item['close']} is not last {last}")
        require(low <= item["open"] <= high, f"{where}: open {item['open']} is not between {low} and {high}")
        live = item["info"]["stream_type"] == "REALTIME"
        self.prices.append((where, symbol, last))
        self.count("ticker", symbol, check_time(where, item, live) and live)

    def check_trade(self, symbol: str, item: dict) -> None:
        """Check a trade; ccxt keeps the repeated last trade of each snapshot, so only live ones must be unique."""
        where = f"trade {symbol}"
        live = item["info"]["stream_type"] == "REALTIME"
        require(item["symbol"] == symbol and item["info"]["code"] == SYMBOLS.get(symbol), f"{where}: was not asked for")
        positive(where, item, "price", "amount", "cost")
        positive(where, item["info"], "trade_price", "trade_volume", "best_ask_price", "best_bid_price")
        cost = item["price"] * item["amount"]
        require(abs(item["cost"] - cost) <= 1e-6 * max(cost, 1.0), f"{where}: cost {item['cost']} is not {cost}")
        require(item["side"] in ("buy", "sell"), f"{where}: side is {item['side']!r}")
        require(isinstance(item["id"], str) and item["id"].isdecimal(), f"{where}: id is {item['id']!r}")
        require(isinstance(item["info"]["sequential_id"], int), f"{where}: id {item['id']} is no integer on the wire")
        near = check_time(where, item, live)
        key = symbol, item["id"]
        told = item["price"], item["amount"], item["side"]
        require(self.trades.setdefault(key, told) == told, f"{where}: two different trades have the id {item['id']}")
        require(not (live and key in self.live_ids), f"{where}: id {item['id']} came twice")
        if live:
            self.live_ids.add(key)
        self.trade_prices[symbol].add(item["price"])
        self.count("trade", symbol, near and live)

    def check_book(self, symbol: str, item: dict) -> None:
        """Check an order book."""
        where = f"orderbook {symbol}"
        require(item["symbol"] == symbol, f"{where}: is of {item['symbol']}")
        for side in ("asks", "bids"):
            levels = item[side]
            require(0 < len(levels) <= 30, f"{where}: {len(levels)} {side}")
            require(all(price > 0 and size > 0 for price, size in levels), f"{where}: {side} are {list(levels)}")
            prices = [price for price, _ in levels]
            require(prices == sorted(set(prices), reverse=side == "bids"), f"{where}: {side} not in order: {prices}")
        bid, ask = item["bids"][0][0], item["asks"][0][0]
        require(bid < ask, f"{where}: best bid {bid} is not below best ask {ask}")
        self.touches[symbol].append((bid, ask))
        self.count("orderbook", symbol, check_time(where, item, live=False))

    def check_candle(self, symbol: str, row: list) -> None:
        """Check a candle of one second: ccxt hands out a single row, not a list of them."""
        where = f"candle {symbol}"
        require(len(row) == 6, f"{where}: {row}")
        start, *prices, volume = row
        require(isinstance(start, int) and start % 1000 == 0, f"{where}: starts at {start!r}")
        opening, high, low, closing = prices
        require(0 < low <= min(opening, closing), f"{where}: low {low} of {prices}")
        require(high >= max(opening, closing), f"{where}: high {high} of {prices}")
        require(volume > 0, f"{where}: volume is {volume}")
        self.prices.append((where, symbol, closing))
        self.count("candle", symbol, check_age(where, start, live=False))

    def check_prices(self) -> None:
        """Check that each ticker's and candle's price was traded, or lies where the book was."""
        for where, symbol, price in self.prices:
            bids, asks = zip(*self.touches[symbol], strict=True)
            near = min(bids) * 0.99 <= price <= max(asks) * 1.01
            traded = price in self.trade_prices[symbol]
            require(traded or near, f"{where}: {price} was not traded, and is far from {min(bids)} to {max(asks)}")

    def complete(self) -> bool:
        """Whether enough of each has come, of both symbols."""
        return all(self.fresh[kind] >= n and len(self.symbols[kind]) == len(SYMBOLS) for kind, n in ENOUGH.items())

    def missing(self) -> str:
        """What has not come yet, in words."""
        lacking = [
            f"{kind} (came {self.fresh[kind]} live of {', '.join(sorted(self.symbols[kind])) or 'no symbol'})"
            for kind, n in ENOUGH.items()
            if self.fresh[kind] < n or len(self.symbols[kind]) < len(SYMBOLS)
        ]
        return f"waited in vain for enough of {'; '.join(lacking)}"


async def watch(exchange: ccxt.pro.Exchange, tally: Tally, kind: str, symbol: str, delay: float) -> None:
    """Watch one kind of data for ever."""
    await asyncio.sleep(delay)
    symbols = list(SYMBOLS)
    while True:
        if kind == "ticker":
            for name, ticker in (await exchange.watch_tickers(symbols)).items():
                tally.check_ticker(name, ticker)
        elif kind == "trade":
            for trade in await exchange.watch_trades_for_symbols(symbols):
                tally.check_trade(trade["symbol"], trade)
        elif kind == "orderbook":
            tally.check_book(symbol, await exchange.watch_order_book(symbol))
        else:
            tally.check_candle(symbol, await exchange.watch_ohlcv(symbol, "1s"))


async def watch_all(exchange: ccxt.pro.Exchange, tally: Tally) -> None:
    """Watch all kinds of data side by side until enough has come."""
    await exchange.load_markets()
    for symbol, code in SYMBOLS.items():
        require(symbol in exchange.markets, f"/v1/market/all: without {code}")
        require(exchange.markets[symbol]["id"] == code, f"/v1/market/all: {symbol} is {exchange.markets[symbol]['id']}")
    kinds = [("ticker", ""), ("trade", "")]
    kinds += [(kind, symbol) for kind in ("orderbook", "candle") for symbol in SYMBOLS]
    watches = [asyncio.create_task(watch(exchange, tally, *kind, PAUSE * n)) for n, kind in enumerate(kinds)]
    try:
        while not tally.complete():
            done, _ = await asyncio.wait(watches, timeout=0.1, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
    finally:
        for task in watches:
            task.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
    tally.check_prices()


async def run(url: str) -> str:
    """Run all checks, and say what came."""
    rest = "http" + url.removesuffix("/websocket/v1").removeprefix("ws")
    urls = {"public": rest, "private": rest, "ws": url}
    exchange = ccxt.pro.upbit({"urls": {"api": urls}, "newUpdates": True})
    tally = Tally()
    try:
        async with asyncio.timeout(DEADLINE):
            await watch_all(exchange, tally)
    except TimeoutError:
        raise WrongError(tally.missing()) from None
    finally:
        await exchange.close()
    seen = tally.seen
    return f"{seen['ticker']} tickers, {seen['trade']} trades, {seen['orderbook']} books, {seen['candle']} candles, ok"


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
