"""What the trades of a simulated market add up to: its day, its last 24 hours and its candles.

Each trade is recorded once, and all that is ever told about trades is read from here; so tickers and candles agree with
the trades by construction. Sums are exact: prices and volumes are integers in units of 10^-8, and money, which is price
times volume, in units of 10^-16.
"""

from collections import deque

import attrs

from .past import TIMEFRAME_SPANS, Close

__all__ = ["CANDLE_SPANS", "DAY_MS", "SECOND_MS", "Candle", "Tape"]

SECOND_MS = 1_000
_MINUTE_MS = 60 * SECOND_MS
DAY_MS = 24 * 60 * _MINUTE_MS
_WINDOW_MINUTES = 24 * 60
_KEPT_CANDLES = 600

CANDLE_SPANS = {
    "candle.1s": SECOND_MS,
    "candle.1m": _MINUTE_MS,
    "candle.3m": 3 * _MINUTE_MS,
    "candle.5m": 5 * _MINUTE_MS,
    "candle.10m": 10 * _MINUTE_MS,
    "candle.15m": 15 * _MINUTE_MS,
    "candle.30m": 30 * _MINUTE_MS,
    "candle.60m": 60 * _MINUTE_MS,
    "candle.240m": 240 * _MINUTE_MS,
}
"""How long the interval of each candle type is, in milliseconds. Intervals are counted from the Unix epoch."""


@attrs.define
class Candle:
    """The trades of one interval."""

    start_ms: int
    opening: int
    high: int
    low: int
    closing: int
    volume: int
    money: int
    traded_ms: int
    """When the last of the trades was."""

    def covers(self, time_ms: int, span_ms: int) -> bool:
        """Tells whether a time lies in this candle's interval, which is that long."""
        return self.start_ms <= time_ms < self.start_ms + span_ms

    def copy(self, span_ms: int) -> "Candle":
        """A candle of the same trades for the interval of that length which they lie in."""
        return Candle(
            self.start_ms - self.start_ms % span_ms,
            self.opening,
            self.high,
            self.low,
            self.closing,
            self.volume,
            self.money,
            self.traded_ms,
        )

    def add(self, later: "Candle") -> None:
        """Takes in trades that came after all of this candle's own."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.closing = later.closing
        self.volume += later.volume
        self.money += later.money
        self.traded_ms = later.traded_ms


class Tape:
    """The record of one market's trades, which are told to it in the order of their times.

    Days and candles go by the time of the trade, not of its message. A day without a trade leaves no trace: everything
    stands as it was after the last trade until the next one comes.
    """

    def __init__(self, closing: int) -> None:
        self.closing = closing
        """The price of the last trade; in the beginning, where the market closed before its first day."""
        self.traded_ms = 0
        """The time of the last trade."""
        self.previous_closing = closing
        self.opening = self.high = self.low = closing
        self.ask_volume = self.bid_volume = self.money = 0
        """Since midnight, UTC; the volumes by the side of the taker."""
        self.volume_24h = self.money_24h = 0
        """In the minute of the last trade and the 1,439 minutes before it."""
        self._day: int | None = None
        self._minutes: deque[_Minute] = deque()
        # The candle of the second in which the last trade was, until that second has been closed. Invariant: its trades
        # are in none of the other candles yet, so a trade costs the same however many units there are.
        self._running: Candle | None = None
        self._candles: dict[str, Candle] = {}
        # The last candles of the timeframes of indicators, made of those of five minutes that are over.
        self._history = {timeframe: deque[Candle](maxlen=_KEPT_CANDLES) for timeframe in TIMEFRAME_SPANS}

    @property
    def running_ms(self) -> int | None:
        """The start of the second that is not closed yet, if there were trades in it."""
        return None if self._running is None else self._running.start_ms

    def record(self, traded_ms: int, price: int, volume: int, ask_bid: str) -> None:
        """Writes down one trade."""
        money = price * volume
        self._record_day(traded_ms // DAY_MS, price, volume, money, ask_bid)
        self._record_window(traded_ms // _MINUTE_MS, volume, money)
        self._record_second(Candle(traded_ms, price, price, price, price, volume, money, traded_ms))
        self.closing = price
        self.traded_ms = traded_ms

    def close_second(self, now_ms: int) -> dict[str, Candle]:
        """The candle of each type, as they stood at the end of the last second with trades that was over by then."""
        if self._running is not None and self._running.start_ms + SECOND_MS <= now_ms:
            self._close_running(self._running)
        return self._candles

    def candle(self, type_name: str) -> Candle:
        """The candle of a type as it stands, all trades counted."""
        span_ms = CANDLE_SPANS[type_name]
        second = self._running
        if second is None:
            return self._candles[type_name]
        candle = self._candles.get(type_name)
        if candle is None or not candle.covers(second.start_ms, span_ms):
            return second.copy(span_ms)
        joined = candle.copy(span_ms)
        joined.add(second)
        return joined

    def closes(self, timeframe: str, end_ms: int) -> list[Close]:
        """The last candles of a timeframe that begin before a time, oldest first, all trades counted."""
        history, span_ms = list(self._history[timeframe]), TIMEFRAME_SPANS[timeframe]
        for newer in (self._candles.get("candle.5m"), self._running):
            if newer is not None:
                if history and history[-1].covers(newer.start_ms, span_ms):
                    history[-1] = history[-1].copy(span_ms)
                    history[-1].add(newer)
                else:
                    history.append(newer.copy(span_ms))
        return [Close(each.start_ms, each.closing, each.volume) for each in history if each.start_ms < end_ms]

    def _record_day(self, day: int, price: int, volume: int, money: int, ask_bid: str) -> None:
        if day != self._day:
            self._day = day
            self.previous_closing = self.closing
            self.opening = self.high = self.low = price
            self.ask_volume = self.bid_volume = self.money = 0
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.money += money
        if ask_bid == "ASK":
            self.ask_volume += volume
        else:
            self.bid_volume += volume

    def _record_window(self, minute: int, volume: int, money: int) -> None:
        if not self._minutes or self._minutes[-1].number != minute:
            self._minutes.append(_Minute(minute))
            while self._minutes[0].number <= minute - _WINDOW_MINUTES:
                gone = self._minutes.popleft()
                self.volume_24h -= gone.volume
                self.money_24h -= gone.money
        self._minutes[-1].volume += volume
        self._minutes[-1].money += money
        self.volume_24h += volume
        self.money_24h += money

    def _record_second(self, trade: Candle) -> None:
        trade.start_ms -= trade.start_ms % SECOND_MS
        if self._running is None:
            self._running = trade
        elif self._running.start_ms == trade.start_ms:
            self._running.add(trade)
        else:
            self._close_running(self._running)
            self._running = trade

    def _close_running(self, second: Candle) -> None:
        for type_name, span_ms in CANDLE_SPANS.items():
            candle = self._candles.get(type_name)
            if candle is not None and candle.covers(second.start_ms, span_ms):
                candle.add(second)
            else:
                if candle is not None and type_name == "candle.5m":
                    self._keep(candle)
                self._candles[type_name] = second.copy(span_ms)
        self._running = None

    def _keep(self, over: Candle) -> None:
        """Take five minutes that are over into the history."""
        for timeframe, span_ms in TIMEFRAME_SPANS.items():
            history = self._history[timeframe]
            if history and history[-1].covers(over.start_ms, span_ms):
                history[-1].add(over)
            else:
                history.append(over.copy(span_ms))


@attrs.define
class _Minute:
    number: int
    volume: int = 0
    money: int = 0
