"""One simulated market: who comes when, what they do, and the messages that tell of it.

A market acts at times of its own drawing. Either a maker changes the book, which makes one order book message; or a
taker comes, and each trade with a maker makes a trade, a ticker and an order book message. Candles follow once a
second, after the messages of all trades of that second.
"""

from datetime import UTC, datetime
from functools import lru_cache
from random import Random

from msgspec.structs import replace

from ..model.events import CandleEvent, Event, OrderbookEvent, OrderbookUnit, TickerEvent, TradeEvent
from ..model.kinds import DataType
from .matching import DEPTH, Book
from .tape import DAY_MS, SECOND_MS, Candle, Tape
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

_CANDLE_EVENTS = {kind.name: kind.event for kind in DataType.all() if issubclass(kind.event, CandleEvent)}


class Market:
    """One market. It says when it acts next, acts, and returns the messages that this makes.

    Args:
        code: The market's code.
        seed: Together with the code it decides all that happens here, and in which order.
        rate: Ticker, trade and order book messages a second on average. It decides how fast things happen.
        start_ms: When it begins to act, in milliseconds since the Unix epoch. There are 24 hours of trades before.
    """

    def __init__(self, code: str, *, seed: int, rate: float, start_ms: int) -> None:
        self._code = code
        # No draw depends on the time or on another market, so neither of them changes what happens here.
        self._rng = Random(f"{seed}:{code}")  # noqa: S311, nothing here is secret
        grid = TickGrid(code)
        worth = worth_in_krw(grid.base, self._rng)
        # Two hundred of the finest ticks, at least, leave room for thirty bids however far the price falls.
        self._anchor = grid.nearest(max(200, int(worth / worth_in_krw(grid.quote, self._rng) * ONE)))
        self._book = Book(grid, self._rng, best_ask=self._anchor, typical_size=int(_LEVEL_WORTH_KRW / worth * ONE))
        # The price walks from level to level and is drawn back to the anchor. This much of a pull gives such a walk the
        # wanted deviation, whether the levels are far apart or close together.
        level_distance = (self._book.asks.prices[-1] / self._anchor - 1) / DEPTH
        self._pull = level_distance / (4 * _USUAL_DEVIATION**2)

        # The price never comes near these two, so they stay.
        self._highest_52_weeks = grid.nearest(int(self._anchor * (1.5 + self._rng.random())))
        self._highest_52_weeks_date = self._date_in_last_year(start_ms)
        self._lowest_52_weeks = grid.nearest(int(self._anchor * (0.3 + 0.3 * self._rng.random())))
        self._lowest_52_weeks_date = self._date_in_last_year(start_ms)

        self._tape = Tape(self._anchor)
        self._trades_in_ms = 0
        self._latest: dict[str, Event] = {}
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
        return [self._tell_book(now_ms)]

    def snapshot(self, type_name: str) -> Event | None:
        """The present state as an event of that type, None if there is no such type."""
        if type_name in _CANDLE_EVENTS:
            return self._candle_event(type_name, self._tape.candle(type_name), "SNAPSHOT")
        latest = self._latest.get(type_name)
        return None if latest is None else replace(latest, stream_type="SNAPSHOT")

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
        self._trades_in_ms = self._trades_in_ms + 1 if traded_ms == self._tape.traded_ms else 0
        price, volume = self._book.take(ask_bid, 1.4 * self._rng.random())
        self._tape.record(traded_ms, price, volume, ask_bid)
        return [
            self._tell_trade(now_ms, volume, ask_bid),
            self._tell_ticker(now_ms, volume, ask_bid),
            self._tell_book(now_ms),
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
        return _utc_text((now_ms - days_ago * DAY_MS) // SECOND_MS)[:10]

    def _plan_candles(self) -> None:
        """Candles are due when the messages of all trades of the running second have been sent."""
        if self._candles_us is None and self._tape.running_ms is not None:
            self._candles_us = (self._tape.running_ms + SECOND_MS + _LATENCY_MS) * 1_000

    # What is told of it

    def _tell_trade(self, now_ms: int, volume: int, ask_bid: str) -> TradeEvent:
        tape = self._tape
        clock = _utc_text(tape.traded_ms // SECOND_MS)
        best_ask, best_ask_size = self._book.asks.best
        best_bid, best_bid_size = self._book.bids.best
        event = TradeEvent(
            code=self._code,
            timestamp=now_ms,
            stream_type="REALTIME",
            trade_price=tape.closing / ONE,
            trade_volume=volume / ONE,
            ask_bid=ask_bid,
            prev_closing_price=tape.previous_closing / ONE,
            change=_direction(tape.closing - tape.previous_closing),
            change_price=abs(tape.closing - tape.previous_closing) / ONE,
            trade_date=clock[:10],
            trade_time=clock[11:],
            trade_timestamp=tape.traded_ms,
            # As on the exchange, ids do not rise from trade to trade: in odd milliseconds each two are swapped.
            sequential_id=tape.traded_ms * 10_000 + (self._trades_in_ms ^ (tape.traded_ms & 1)),
            best_ask_price=best_ask / ONE,
            best_ask_size=best_ask_size / ONE,
            best_bid_price=best_bid / ONE,
            best_bid_size=best_bid_size / ONE,
        )
        self._latest["trade"] = event
        return event

    def _tell_ticker(self, now_ms: int, volume: int, ask_bid: str) -> TickerEvent:
        tape = self._tape
        clock = _utc_text(tape.traded_ms // SECOND_MS)
        change = tape.closing - tape.previous_closing
        signed_rate = round(change / tape.previous_closing, 10)
        event = TickerEvent(
            code=self._code,
            timestamp=now_ms,
            stream_type="REALTIME",
            opening_price=tape.opening / ONE,
            high_price=tape.high / ONE,
            low_price=tape.low / ONE,
            trade_price=tape.closing / ONE,
            prev_closing_price=tape.previous_closing / ONE,
            acc_trade_price=_money(tape.money),
            change=_direction(change),
            change_price=abs(change) / ONE,
            signed_change_price=change / ONE,
            change_rate=abs(signed_rate),
            signed_change_rate=signed_rate,
            ask_bid=ask_bid,
            trade_volume=volume / ONE,
            acc_trade_volume=(tape.ask_volume + tape.bid_volume) / ONE,
            trade_date=clock[:10].replace("-", ""),
            trade_time=clock[11:].replace(":", ""),
            trade_timestamp=tape.traded_ms,
            acc_ask_volume=tape.ask_volume / ONE,
            acc_bid_volume=tape.bid_volume / ONE,
            highest_52_week_price=self._highest_52_weeks / ONE,
            highest_52_week_date=self._highest_52_weeks_date,
            lowest_52_week_price=self._lowest_52_weeks / ONE,
            lowest_52_week_date=self._lowest_52_weeks_date,
            market_state="ACTIVE",
            is_trading_suspended=False,
            market_warning="NONE",
            acc_trade_price_24h=_money(tape.money_24h),
            acc_trade_volume_24h=tape.volume_24h / ONE,
        )
        self._latest["ticker"] = event
        return event

    def _tell_book(self, now_ms: int) -> OrderbookEvent:
        asks, bids = self._book.asks, self._book.bids
        event = OrderbookEvent(
            code=self._code,
            timestamp=now_ms,
            stream_type="REALTIME",
            total_ask_size=sum(asks.sizes) / ONE,
            total_bid_size=sum(bids.sizes) / ONE,
            orderbook_units=tuple(
                [
                    OrderbookUnit(
                        ask_price=ask / ONE, bid_price=bid / ONE, ask_size=ask_size / ONE, bid_size=bid_size / ONE
                    )
                    for ask, bid, ask_size, bid_size in zip(
                        asks.prices, bids.prices, asks.sizes, bids.sizes, strict=True
                    )
                ]
            ),
            level=0.0,
        )
        self._latest["orderbook"] = event
        return event

    def _tell_candles(self, now_ms: int) -> list[Event]:
        closed = self._tape.close_second(now_ms - _LATENCY_MS)
        self._candles_us = None
        self._plan_candles()
        return [self._candle_event(type_name, candle, "REALTIME") for type_name, candle in closed.items()]

    def _candle_event(self, type_name: str, candle: Candle, stream_type: str) -> CandleEvent:
        start = candle.start_ms // SECOND_MS
        return _CANDLE_EVENTS[type_name](
            code=self._code,
            timestamp=candle.traded_ms,
            stream_type=stream_type,
            candle_date_time_utc=_utc_text(start),
            candle_date_time_kst=_utc_text(start + 9 * 60 * 60),
            opening_price=candle.opening / ONE,
            high_price=candle.high / ONE,
            low_price=candle.low / ONE,
            trade_price=candle.closing / ONE,
            candle_acc_trade_volume=candle.volume / ONE,
            candle_acc_trade_price=_money(candle.money),
        )


def beat_ms(time_us: int) -> int:
    """When messages of a time in microseconds are sent, in milliseconds: at the first beat that is not before it."""
    return -(-time_us // (BEAT_MS * 1_000)) * BEAT_MS


def _direction(change: int) -> str:
    if change == 0:
        return "EVEN"
    return "RISE" if change > 0 else "FALL"


def _money(amount: int) -> float:
    """Price times volume, rounded half up to eight decimals."""
    return (amount + ONE // 2) // ONE / ONE


@lru_cache(maxsize=4096)
def _utc_text(seconds: int) -> str:
    """``yyyy-MM-ddTHH:mm:ss`` of a time in seconds since the Unix epoch."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
