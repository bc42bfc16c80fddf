"""One simulated market: who comes when, what they do, and the messages that tell of it.

A market acts at times of its own drawing. Either a maker changes the book, which makes one order book message; or a
taker comes, and each trade with a maker makes a trade, a ticker and an order book message. Candles follow once a
second, after the messages of all trades of that second. Orders of accounts trade with both, whenever they come.
"""

from random import Random
from uuid import UUID

from ..model.events import Event
from .crossing import enter
from .matching import DEPTH, Book
from .messages import Extremes, Messages, utc_text
from .orders import Fill, Order
from .past import Close, past_closes
from .tape import DAY_MS, SECOND_MS, Tape
from .ticks import ONE, TickGrid, worth_in_krw

__all__ = ["BEAT_MS", "Market", "beat_ms"]

BEAT_MS = 20
"""Messages are sent at multiples of this only, so that nobody need wake up for each of them. The exchange sends the
books of busy markets every 100 ms."""
_LATENCY_MS = 60
"""The longest time from a trade to its messages: 20 to 60 ms in the exchange's samples. Whole beats, below a second."""

_TAKER_SHARE = 0.2
"""How many of the actions are a taker's."""
_NEXT_TRADE_SHARE = 0.25
"""How many of a taker's trades are followed by another one at once."""
_MESSAGES_PER_ACTION = 3 * _TAKER_SHARE / (1 - _NEXT_TRADE_SHARE) + (1 - _TAKER_SHARE)

_LEVEL_WORTH_KRW = 5_000_000
"""What the orders on one level of a book are worth, roughly."""
_USUAL_DEVIATION = 0.03
"""How far a price is from its anchor: the standard deviation over a long time."""
_LARGEST_DEVIATION = 0.3
"""From here on every taker pushes the price back."""
_BAND_PERCENT = 35
"""How far from the anchor orders of accounts may trade. What the simulation says of 52 weeks stays true then."""


class Market:
    """One market. It says when it acts next, acts, and returns the messages that this makes.

    Args:
        code: The market's code.
        seed: Together with the code it decides all that happens here, and in which order.
        rate: Ticker, trade and order book messages a second on average. It decides how fast things happen.
        start_ms: When it begins to act, in milliseconds since the Unix epoch. There are 24 hours of trades before.
    """

    def __init__(self, code: str, *, seed: int, rate: float, start_ms: int) -> None:
        self.code = code
        self._seed = seed
        # No draw depends on the time or on another market, so neither of them changes what happens here.
        self._rng = Random(f"{seed}:{code}")  # noqa: S311, nothing here is secret
        self.grid = grid = TickGrid(code)
        worth = worth_in_krw(grid.base, self._rng)
        # Two hundred of the finest ticks, at least, leave room for thirty bids however far the price falls.
        self._anchor = grid.nearest(max(200, int(worth / worth_in_krw(grid.quote, self._rng) * ONE)))
        self._book = Book(grid, self._rng, best_ask=self._anchor, typical_size=int(_LEVEL_WORTH_KRW / worth * ONE))
        # The price walks from level to level and is drawn back to the anchor. This much of a pull gives such a walk the
        # wanted deviation, whether the levels are far apart or close together.
        level_distance = (self._book.asks.prices[-1] / self._anchor - 1) / DEPTH
        self._pull = level_distance / (4 * _USUAL_DEVIATION**2)

        # The price never comes near these two, so they stay.
        extremes = Extremes(
            highest=grid.nearest(int(self._anchor * (1.5 + self._rng.random()))),
            highest_date=self._date_in_last_year(start_ms),
            lowest=grid.nearest(int(self._anchor * (0.3 + 0.3 * self._rng.random()))),
            lowest_date=self._date_in_last_year(start_ms),
        )
        self._tape = Tape(self._anchor)
        self._messages = Messages(code, self._tape, self._book, extremes)
        self._trades_in_ms = 0
        self._trade_uuids = Random(f"{seed}:{code}:trades")  # noqa: S311
        traded_ms = start_ms - SECOND_MS - int(20 * SECOND_MS * self._rng.random())
        self._fill_last_day(grid, traded_ms)
        self._trade(traded_ms, traded_ms + _LATENCY_MS, "BID")

        self._longest_pause_us = 2_000_000 * _MESSAGES_PER_ACTION / rate
        self._action_us = start_ms * 1_000 + self._pause_us()
        self._candles_us: int | None = None

    @property
    def due_us(self) -> int:
        """When :meth:`act` is to be called next, in microseconds since the Unix epoch."""
        return self._action_us if self._candles_us is None else min(self._action_us, self._candles_us)

    def act(self) -> list[Event]:
        """Does what is due and returns its messages, which are sent at the next beat (see :func:`beat_ms`)."""
        if self._candles_us is not None and self._candles_us <= self._action_us:
            return self._tell_candles(self._candles_us // 1_000)
        now_ms = beat_ms(self._action_us)
        self._action_us += self._pause_us()
        if self._rng.random() < _TAKER_SHARE:
            return self._take(now_ms)
        if not self._book.improve():
            self._book.resize()
        return [self._messages.orderbook(now_ms)]

    def snapshot(self, type_name: str) -> Event | None:
        """The present state as an event of that type, None if there is no such type."""
        return self._messages.snapshot(type_name)

    # Orders of accounts

    @property
    def book(self) -> Book:
        return self._book

    @property
    def band(self) -> tuple[int, int]:
        """The lowest and the highest price at which orders of accounts trade."""
        return (
            self.grid.nearest(self._anchor * (100 - _BAND_PERCENT) // 100),
            self.grid.nearest(self._anchor * (100 + _BAND_PERCENT) // 100),
        )

    def place(self, order: Order, now_ms: int) -> list[Event]:
        """Let a new order trade, and rest if there is something left to rest. Its owner hears of it; what all others
        hear is returned. ``now_ms`` is not before any time that messages have been sent at."""
        events: list[Event] = []

        def trade(maker: Order | None, price: int, volume: int) -> None:
            nonlocal events
            # A market that begins later than now has traded later than now.
            traded_ms = max(self._tape.traded_ms, now_ms)
            events += self._settle(traded_ms, now_ms, order.ask_bid, price, volume, taker=order, maker=maker)

        changed = enter(order, self._book, trade, now_ms)
        self._plan_candles()
        return [*events, self._messages.orderbook(now_ms)] if changed else events

    def cancel(self, order: Order, now_ms: int) -> list[Event]:
        """Take an order out of the book. Tells the book as it is then, and not the owner."""
        self._book.resting.remove(order)
        return [self._messages.orderbook(now_ms)]

    def closes(self, timeframe: str, end_ms: int, count: int) -> list[Close]:
        """The last ``count`` candles of a timeframe (``5m``, ``1d``, ...) which begin before a time, oldest first. What
        was before the simulation's first day is made up when it is asked for, always the same."""
        real = self._tape.closes(timeframe, end_ms)
        return past_closes(f"{self._seed}:{self.code}:{timeframe}", timeframe, real, count)

    # What happens

    def _pause_us(self) -> int:
        return 1 + int(self._longest_pause_us * self._rng.random())

    def _take(self, now_ms: int) -> list[Event]:
        # A message that was quicker than the one before it does not put its trade before the other's.
        traded_ms = max(self._tape.traded_ms, now_ms - int((_LATENCY_MS + 1) * self._rng.random()))
        ask_bid = self._draw_taker()
        messages = self._trade(traded_ms, now_ms, ask_bid)
        while self._rng.random() < _NEXT_TRADE_SHARE:
            messages += self._trade(traded_ms, now_ms, ask_bid)
        self._plan_candles()
        return messages

    def _draw_taker(self) -> str:
        deviation = self._tape.closing / self._anchor - 1
        if abs(deviation) > _LARGEST_DEVIATION:
            return "ASK" if deviation > 0 else "BID"
        return "BID" if self._rng.random() < 0.5 - self._pull * deviation else "ASK"

    def _trade(self, traded_ms: int, now_ms: int, ask_bid: str) -> list[Event]:
        price, volume, maker = self._book.take(ask_bid, 1.4 * self._rng.random())
        return self._settle(traded_ms, now_ms, ask_bid, price, volume, maker=maker)

    def _settle(
        self,
        traded_ms: int,
        now_ms: int,
        ask_bid: str,
        price: int,
        volume: int,
        *,
        taker: Order | None = None,
        maker: Order | None = None,
    ) -> list[Event]:
        """Write a trade down, and tell everybody: those whose orders met first."""
        self._trades_in_ms = self._trades_in_ms + 1 if traded_ms == self._tape.traded_ms else 0
        self._tape.record(traded_ms, price, volume, ask_bid)
        if taker or maker:
            uuid = str(UUID(int=self._trade_uuids.getrandbits(128), version=4))
            for order in filter(None, (maker, taker)):
                order.owner.filled(order, Fill(price, volume, uuid, order is maker, traded_ms), now_ms)
                if order.is_used_up:
                    self._book.resting.remove(order)
                    order.owner.ended(order, "done", now_ms)
        return [
            self._messages.trade(now_ms, volume, ask_bid, self._trades_in_ms),
            self._messages.ticker(now_ms, volume, ask_bid),
            self._messages.orderbook(now_ms),
        ]

    def _fill_last_day(self, grid: TickGrid, end_ms: int) -> None:
        """Trades every ten minutes for 24 hours, each as large as all that a busy market trades in that time."""
        step_ms = 10 * 60 * SECOND_MS
        prices = [self._anchor]
        while len(prices) < DAY_MS // step_ms:
            prices.append(grid.nearest(int(prices[-1] * (0.997 + 0.006 * self._rng.random()))))
        # Walked backwards, so that the day ends where the book was made.
        for steps_ago in range(len(prices), 0, -1):
            ask_bid = "BID" if self._rng.random() < 0.5 else "ASK"
            volume = self._book.draw_size() * 200
            self._tape.record(end_ms - steps_ago * step_ms, prices[steps_ago - 1], volume, ask_bid)

    def _date_in_last_year(self, now_ms: int) -> str:
        days_ago = 1 + int(363 * self._rng.random())
        return utc_text((now_ms - days_ago * DAY_MS) // SECOND_MS)[:10]

    def _plan_candles(self) -> None:
        """Candles are due when the messages of all trades of the running second have been sent."""
        if self._candles_us is None and self._tape.running_ms is not None:
            self._candles_us = (self._tape.running_ms + SECOND_MS + _LATENCY_MS) * 1_000

    def _tell_candles(self, now_ms: int) -> list[Event]:
        closed = self._tape.close_second(now_ms - _LATENCY_MS)
        self._candles_us = None
        self._plan_candles()
        return [self._messages.candle(type_name, candle, "REALTIME") for type_name, candle in closed.items()]


def beat_ms(time_us: int) -> int:
    """When messages of a time in microseconds are sent, in milliseconds: at the first beat that is not before it."""
    return -(-time_us // (BEAT_MS * 1_000)) * BEAT_MS
