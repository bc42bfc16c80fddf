"""What one simulated market sends: its trades, book and candles as the exchange's events.

Everything is read from the tape and the book; nothing is kept here but the last event of each kind, which is the
snapshot for whoever comes next.
"""

from datetime import UTC, datetime
from functools import lru_cache

import attrs
from msgspec.structs import replace

from ..model.events import CandleEvent, Event, OrderbookEvent, OrderbookUnit, TickerEvent, TradeEvent
from ..model.kinds import DataType
from .matching import Book
from .tape import SECOND_MS, Candle, Tape
from .ticks import ONE

__all__ = ["Extremes", "Messages", "utc_text"]

_CANDLE_EVENTS = {kind.name: kind.event for kind in DataType.all() if issubclass(kind.event, CandleEvent)}


@attrs.frozen
class Extremes:
    """The prices of the last 52 weeks, and their dates."""

    highest: int
    highest_date: str
    lowest: int
    lowest_date: str


class Messages:
    """Makes the events of one market. Times are when they are sent, in milliseconds since the Unix epoch."""

    def __init__(self, code: str, tape: Tape, book: Book, extremes: Extremes) -> None:
        self._code = code
        self._tape = tape
        self._book = book
        self._extremes = extremes
        self._latest: dict[str, Event] = {}

    def snapshot(self, type_name: str) -> Event | None:
        """The present state as an event of that type, None if there is no such type."""
        if type_name in _CANDLE_EVENTS:
            return self.candle(type_name, self._tape.candle(type_name), "SNAPSHOT")
        latest = self._latest.get(type_name)
        return None if latest is None else replace(latest, stream_type="SNAPSHOT")

    def trade(self, now_ms: int, volume: int, ask_bid: str, number: int) -> TradeEvent:
        """The last trade; ``number`` is which of its millisecond it is."""
        tape = self._tape
        clock = utc_text(tape.traded_ms // SECOND_MS)
        (asks, ask_sizes), (bids, bid_sizes) = self._book.levels("ASK"), self._book.levels("BID")
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
            sequential_id=tape.traded_ms * 10_000 + (number ^ (tape.traded_ms & 1)),
            best_ask_price=asks[0] / ONE,
            best_ask_size=ask_sizes[0] / ONE,
            best_bid_price=bids[0] / ONE,
            best_bid_size=bid_sizes[0] / ONE,
        )
        self._latest["trade"] = event
        return event

    def ticker(self, now_ms: int, volume: int, ask_bid: str) -> TickerEvent:
        tape = self._tape
        clock = utc_text(tape.traded_ms // SECOND_MS)
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
            highest_52_week_price=self._extremes.highest / ONE,
            highest_52_week_date=self._extremes.highest_date,
            lowest_52_week_price=self._extremes.lowest / ONE,
            lowest_52_week_date=self._extremes.lowest_date,
            market_state="ACTIVE",
            is_trading_suspended=False,
            market_warning="NONE",
            acc_trade_price_24h=_money(tape.money_24h),
            acc_trade_volume_24h=tape.volume_24h / ONE,
        )
        self._latest["ticker"] = event
        return event

    def orderbook(self, now_ms: int) -> OrderbookEvent:
        (asks, ask_sizes), (bids, bid_sizes) = self._book.levels("ASK"), self._book.levels("BID")
        event = OrderbookEvent(
            code=self._code,
            timestamp=now_ms,
            stream_type="REALTIME",
            total_ask_size=sum(ask_sizes) / ONE,
            total_bid_size=sum(bid_sizes) / ONE,
            orderbook_units=tuple(
                [
                    OrderbookUnit(
                        ask_price=ask / ONE, bid_price=bid / ONE, ask_size=ask_size / ONE, bid_size=bid_size / ONE
                    )
                    for ask, bid, ask_size, bid_size in zip(asks, bids, ask_sizes, bid_sizes, strict=True)
                ]
            ),
            level=0.0,
        )
        self._latest["orderbook"] = event
        return event

    def candle(self, type_name: str, candle: Candle, stream_type: str) -> CandleEvent:
        start = candle.start_ms // SECOND_MS
        return _CANDLE_EVENTS[type_name](
            code=self._code,
            timestamp=candle.traded_ms,
            stream_type=stream_type,
            candle_date_time_utc=utc_text(start),
            candle_date_time_kst=utc_text(start + 9 * 60 * 60),
            opening_price=candle.opening / ONE,
            high_price=candle.high / ONE,
            low_price=candle.low / ONE,
            trade_price=candle.closing / ONE,
            candle_acc_trade_volume=candle.volume / ONE,
            candle_acc_trade_price=_money(candle.money),
        )


def _direction(change: int) -> str:
    if change == 0:
        return "EVEN"
    return "RISE" if change > 0 else "FALL"


def _money(amount: int) -> float:
    """Price times volume, rounded half up to eight decimals."""
    return (amount + ONE // 2) // ONE / ONE


@lru_cache(maxsize=4096)
def utc_text(seconds: int) -> str:
    """``yyyy-MM-ddTHH:mm:ss`` of a time in seconds since the Unix epoch."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
