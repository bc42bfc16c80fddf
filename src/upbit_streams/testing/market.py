"""The moving markets of the simulated exchange: all that it would send to one who asked for everything.

No I/O and no clock: time is handed in, in milliseconds since the Unix epoch, and what happens depends on the arguments
alone.
"""

import heapq
from collections.abc import Iterable

from ..exceptions import InvalidConfigError
from ..model.events import Event
from .trading import BEAT_MS, Market, beat_ms

__all__ = ["DEFAULT_CODES", "MarketSimulation"]

DEFAULT_CODES = (
    "KRW-BTC",
    "KRW-ETH",
    "KRW-XRP",
    "KRW-SOL",
    "KRW-DOGE",
    "KRW-ADA",
    "KRW-TRX",
    "KRW-LINK",
    "USDT-BTC",
    "USDT-ETH",
    "BTC-ETH",
    "BTC-XRP",
)
"""Markets of the real exchange, the busiest first."""

_MAX_RATE = 100_000
"""More than can be made in real time, and few enough trades in a millisecond for the four digits that number them."""


class MarketSimulation:
    """Markets that move: trades, books of 30 levels, tickers and candles that agree with each other to the last digit.

    The same arguments make the same history.

    Args:
        seed: Another seed, another history.
        codes: The markets, the busiest first. Any code will do; a coin that is not well known gets its price from the
            seed. What happens in a market does not depend on the others; how fast it happens does.
        rate: How many tickers, trades and order books a second there are on average, all markets together. Candles come
            on top: one of each unit for each second with trades.
        start_ms: When the simulation starts. Its markets have traded for 24 hours by then.

    Raises:
        InvalidCodeError: A market code that cannot exist.
        InvalidConfigError: No code at all, or a rate outside its range.
    """

    def __init__(
        self, *, seed: int = 0, codes: Iterable[str] = DEFAULT_CODES, rate: float = 100.0, start_ms: int
    ) -> None:
        self.codes: tuple[str, ...] = tuple(dict.fromkeys(codes))
        """The markets, each once."""
        if not self.codes:
            raise InvalidConfigError("a market simulation needs at least one market code")
        if not 0 < rate <= _MAX_RATE:
            raise InvalidConfigError(f"rate is {rate}; it must be above 0 and at most {_MAX_RATE} messages a second")
        # The second market is half as busy as the first, the third a third as busy, and so on.
        busiest = rate / sum(1 / rank for rank in range(1, len(self.codes) + 1))
        self._markets = {
            code: Market(code, seed=seed, rate=busiest / rank, start_ms=start_ms)
            for rank, code in enumerate(self.codes, start=1)
        }
        # Each market once, by the time of its next action. The place decides between two at the same time.
        self._agenda: list[tuple[int, int, Market]] = []
        self.changed()

    def next_ms(self) -> int:
        """When the next event is sent: the earliest time for which :meth:`advance` has any."""
        return beat_ms(self._agenda[0][0])

    def advance(self, now_ms: int) -> list[Event]:
        """All ``REALTIME`` events since the last call, up to and including ``now_ms``, in the order of sending.

        What happens does not depend on how often this is called. The ``timestamp`` of a ticker, trade or order book is
        the time of sending; that of a candle is the time of its last trade, up to 1,060 ms earlier.
        """
        happened: list[Event] = []
        until_us = now_ms // BEAT_MS * BEAT_MS * 1_000
        while self._agenda[0][0] <= until_us:
            _, place, market = self._agenda[0]
            happened += market.act()
            heapq.heapreplace(self._agenda, (market.due_us, place, market))
        return happened

    def market(self, code: str) -> Market | None:
        """The market of that code, to trade in. Who does tells :meth:`changed` so. None if there is none."""
        return self._markets.get(code)

    def changed(self) -> None:
        """A market was changed from outside, so its next action may come sooner."""
        self._agenda = [(market.due_us, place, market) for place, market in enumerate(self._markets.values())]
        heapq.heapify(self._agenda)

    def snapshot(self, type_name: str, code: str) -> Event | None:
        """The present state as an event of that type (``ticker``, ``candle.1m``, ...), with stream type ``SNAPSHOT``.

        It is the last event of its kind once more: a trade has the same ``sequential_id``. Only a candle may be ahead
        of the last one sent, as it counts every trade so far. None if there is no such market or type.
        """
        market = self._markets.get(code)
        return None if market is None else market.snapshot(type_name)
