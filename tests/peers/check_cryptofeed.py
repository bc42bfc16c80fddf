"""Reads a simulated Upbit exchange with ``cryptofeed`` and checks that what arrives is correct.

Usage: ``python check_cryptofeed.py ws://127.0.0.1:PORT/websocket/v1``

The URLs are class attributes of an exchange, so they stand in a subclass of cryptofeed's own. cryptofeed insists on
``wss://``; the options of the endpoint, which it hands to ``websockets``, switch TLS off. Works with cryptofeed 2.4 to
3.0; from 3.0 on it has tickers too, and none has Upbit's candle stream.
"""

# Runs in the client's own environment, without this project, and prints its result.
# ruff: noqa: BLE001

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from decimal import Decimal
from importlib.metadata import version
from typing import ClassVar

from cryptofeed import FeedHandler
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
from cryptofeed.defines import BUY, L2_BOOK, SELL, TICKER, TRADES
from cryptofeed.exchanges import Upbit
from cryptofeed.types import OrderBook, Ticker, Trade

NAME = f"cryptofeed {version('cryptofeed')}"
DEADLINE = 30.0
SYMBOLS = {"BTC-KRW": "KRW-BTC", "ETH-KRW": "KRW-ETH", "ETH-BTC": "BTC-ETH"}
CHANNELS = [channel for channel in (TRADES, L2_BOOK, TICKER) if channel in Upbit.websocket_channels]
ENOUGH = {TRADES: 10, L2_BOOK: 10, TICKER: 10}
NEAR = 10.0  # s between the wall clock and a timestamp


class WrongError(Exception):
    """The exchange sent something that Upbit would not send."""


def require(condition: bool, sentence: str) -> None:
    """Raise ``WrongError`` with the sentence unless the condition holds."""
    if not condition:
        raise WrongError(sentence)


def exchange(url: str) -> type:
    """cryptofeed's Upbit with other URLs."""
    plain = {"ssl": False, "server_hostname": None, "proxy": None}
    rest = "http" + url.removesuffix("/websocket/v1").removeprefix("ws")

    class LocalUpbit(Upbit):
        """Upbit at the URLs of a simulated exchange."""

        websocket_endpoints: ClassVar = [WebsocketEndpoint("wss" + url.removeprefix("ws"), options=plain)]
        rest_endpoints: ClassVar = [RestEndpoint(rest, routes=Routes("/v1/market/all"))]

    return LocalUpbit


class Complaints(logging.Handler):
    """Takes the client's warnings: it would log an error and connect again for ever."""

    def __init__(self, failed: asyncio.Future) -> None:
        super().__init__(logging.WARNING)
        self.failed = failed

    def emit(self, record: logging.LogRecord) -> None:
        """End the run with the first warning."""
        cause = record.exc_info[1] if record.exc_info else None
        text = f"{record.getMessage()} {f'({type(cause).__name__}: {cause})' if cause else ''}".strip()
        if not self.failed.done():
            self.failed.set_exception(WrongError(f"the client says: {text}"))


class Tally:
    """What came, and the checks of its content."""

    def __init__(self, done: asyncio.Future) -> None:
        self.done = done
        self.seen: dict = defaultdict(int)
        self.symbols: dict = defaultdict(set)
        self.ids: dict = defaultdict(set)
        self.touches: dict = defaultdict(list)  # symbol -> [(best bid, best ask)]
        self.trade_prices: list = []

    def callback(self, channel: str):
        """The callback of a channel: it must not raise, for the client would connect again."""
        check = {TRADES: self.check_trade, L2_BOOK: self.check_book, TICKER: self.check_ticker}[channel]

        async def called(item: object, received: float) -> None:
            if self.done.done():
                return
            try:
                symbol = getattr(item, "symbol", None)
                require(symbol in SYMBOLS, f"{channel} {symbol}: was not asked for")
                self.check_common(f"{channel} {symbol}", item, received)
                check(f"{channel} {symbol}", item)
                self.seen[channel] += 1
                self.symbols[channel].add(symbol)
                if self.complete():
                    self.done.set_result(None)
            except Exception as error:
                self.done.set_exception(error)

        return called

    def check_common(self, where: str, item: object, received: float) -> None:
        """Check what all kinds have in common."""
        require(item.exchange == "UPBIT", f"{where}: exchange is {item.exchange}")
        require(item.raw["cd"] == SYMBOLS[item.symbol], f"{where}: the frame is of {item.raw['cd']}")
        age = received - item.timestamp
        live = item.raw["st"] == "REALTIME"
        require(-NEAR < age < (NEAR if live else 86_400.0), f"{where}: the timestamp is {age:.1f} s old")
        require(abs(time.time() - received) < NEAR, f"{where}: received {time.time() - received:.1f} s ago")

    def check_trade(self, where: str, item: Trade) -> None:
        """Check a trade."""
        require(isinstance(item, Trade) and item.side in (BUY, SELL), f"{where}: {item}")
        for key in ("price", "amount"):
            value = getattr(item, key)
            require(isinstance(value, Decimal) and value > 0, f"{where}: {key} is {value!r}")
        for key in ("tp", "tv", "pcp", "cp"):
            require(isinstance(item.raw[key], (int, Decimal)), f"{where}: {key} is {item.raw[key]!r}, not a number")
        require((item.side == BUY) == (item.raw["ab"] == "BID"), f"{where}: {item.side} of {item.raw['ab']}")
        require(item.raw["ab"] in ("ASK", "BID"), f"{where}: ask_bid is {item.raw['ab']}")
        require(isinstance(item.raw["sid"], int), f"{where}: sequential_id is {item.raw['sid']!r}")
        require(item.id not in self.ids[item.symbol], f"{where}: id {item.id} came twice")
        self.ids[item.symbol].add(item.id)
        self.trade_prices.append((where, item.symbol, item.price))

    def check_book(self, where: str, item: OrderBook) -> None:
        """Check an order book."""
        require(isinstance(item, OrderBook), f"{where}: {item}")
        best = {}
        for side, book in (("ask", item.book.asks), ("bid", item.book.bids)):
            prices = list(book.keys())
            require(0 < len(prices) <= 30, f"{where}: {len(prices)} {side}s")
            values = [(price, book[price]) for price in prices]
            good = all(isinstance(one, Decimal) and one > 0 for level in values for one in level)
            require(good, f"{where}: {side}s are {values}")
            wire = [Decimal(unit[f"{side[0]}p"]) for unit in item.raw["obu"] if unit[f"{side[0]}p"]]
            require(wire == sorted(set(wire), reverse=side == "bid"), f"{where}: {side}s are not in order: {wire}")
            require(wire == prices, f"{where}: the client has other {side}s than the frame")
            best[side] = prices[0]
        require(best["bid"] < best["ask"], f"{where}: best bid {best['bid']} is not below best ask {best['ask']}")
        self.touches[item.symbol].append((best["bid"], best["ask"]))

    def check_ticker(self, where: str, item: Ticker) -> None:
        """Check a ticker, which the client makes of the top of the order book."""
        require(isinstance(item, Ticker), f"{where}: {item}")
        require(isinstance(item.bid, Decimal) and isinstance(item.ask, Decimal), f"{where}: {item}")
        require(0 < item.bid < item.ask, f"{where}: bid {item.bid}, ask {item.ask}")

    def check_prices(self) -> None:
        """Check that each trade's price lies where the book was."""
        for where, symbol, price in self.trade_prices:
            bids, asks = zip(*self.touches[symbol], strict=True)
            near = min(bids) * Decimal("0.99") <= price <= max(asks) * Decimal("1.01")
            require(near, f"{where}: {price} is far from {min(bids)} to {max(asks)}")

    def complete(self) -> bool:
        """Whether enough of each channel has come, and books of each symbol; a market may be without trades."""
        books = len(self.symbols[L2_BOOK]) == len(SYMBOLS)
        return books and all(self.seen[one] >= ENOUGH[one] and len(self.symbols[one]) > 1 for one in CHANNELS)

    def missing(self) -> str:
        """What has not come yet, in words."""
        came = [f"{self.seen[one]} {one} of {', '.join(sorted(self.symbols[one])) or 'no symbol'}" for one in CHANNELS]
        return f"not enough came: {'; '.join(came)}"


async def run(url: str) -> str:
    """Run all checks, and say what came."""
    done = asyncio.get_running_loop().create_future()
    tally = Tally(done)
    complaints = Complaints(done)
    for logger in ("feedhandler", "cryptofeed"):  # their names before and from 3.0
        logging.getLogger(logger).addHandler(complaints)
        logging.getLogger(logger).propagate = False
    handler = FeedHandler(config={"log": {"disabled": True}, "uvloop": False})
    callbacks = {channel: tally.callback(channel) for channel in CHANNELS}
    feed = exchange(url)
    handler.add_feed(feed(symbols=list(SYMBOLS), channels=CHANNELS, callbacks=callbacks, timeout=-1))
    running = None
    if hasattr(handler, "run_async"):
        running = asyncio.create_task(handler.run_async(install_signal_handlers=False))
    else:
        handler.run(start_loop=False, install_signal_handlers=False)
    try:
        async with asyncio.timeout(DEADLINE):
            await done
    except TimeoutError:
        raise WrongError(tally.missing()) from None
    finally:
        if running is None:
            await handler.stop_async(asyncio.get_running_loop())
        else:
            handler.request_stop()
            with suppress(Exception):
                await running
    require(set(SYMBOLS) <= set(feed.symbols()), f"/v1/market/all: {feed.symbols()}")
    tally.check_prices()
    seen = tally.seen
    return f"{seen[TICKER]} tickers, {seen[TRADES]} trades, {seen[L2_BOOK]} books, 0 candles, ok"


def main() -> None:
    """Run the checks for the URL of the command line."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} WS_URL")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    try:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache  # cryptofeed 3 keeps the list of markets there
            summary = asyncio.run(run(sys.argv[1]))
    except Exception as error:
        sys.exit(f"{NAME}: {error}" if isinstance(error, WrongError) else f"{NAME}: {type(error).__name__}: {error}")
    print(f"{NAME}: {summary}")


if __name__ == "__main__":
    main()
