"""What a session hears on the info endpoint: indicators and their signals, at the close of candles (protocol section
4.9)."""

from collections.abc import Sequence
from typing import Any

from ..model.events import Event, IndicatorEvent, IndicatorParams, IndicatorSignalEvent, SignalParams
from ..model.indicators import Indicator
from .backlog import Backlog
from .indicators import CANDLES, crosses, value_at
from .messages import utc_text
from .past import TIMEFRAME_SPANS
from .requests import Subscription
from .sources import MarketSource, Source
from .trading import Market

__all__ = ["InfoService"]

_DELAY_MS = 1_100
"""From the close of a candle to its indicators, as in the exchange's samples; the last candle of it has been told."""


class InfoService:
    """The indicators of simulated markets. Where the source is none of those, nothing is told."""

    def __init__(self, source: Source) -> None:
        self._market = source if isinstance(source, MarketSource) else None
        self._subscriptions: dict[str, list[Subscription]] = {}
        # The next close of each timeframe that is asked for, in milliseconds.
        self._closes: dict[str, int] = {}
        self._backlog = Backlog()

    @property
    def overflowed(self) -> bool:
        return self._backlog.overflowed

    def start(self, now: float, subscriptions: Sequence[Subscription]) -> list[Event]:
        self._subscriptions = {}
        for one in subscriptions:
            if one.indicator is not None and one.realtime:
                self._subscriptions.setdefault(one.indicator.timeframe, []).append(one)
        self._closes = {
            timeframe: _next_close(int(now * 1000), TIMEFRAME_SPANS[timeframe]) for timeframe in self._subscriptions
        }
        return []

    def put(self, event: Event) -> None:
        pass  # nothing but the market is told here

    def take(self, now: float) -> list[Event]:
        if self._market is None or not self._closes:
            return []
        now_ms = self._market.advance(now)
        while (close_ms := min(self._closes.values())) + _DELAY_MS <= now_ms:
            for timeframe in [name for name, at in self._closes.items() if at == close_ms]:
                self._closes[timeframe] += TIMEFRAME_SPANS[timeframe]
                for one in self._subscriptions[timeframe]:
                    if event := self._event(self._market, one, close_ms):
                        self._backlog.put(event)
        return self._backlog.take()

    def next_time(self) -> float:
        if self._market is None or not self._closes:
            return float("inf")
        return (min(self._closes.values()) + _DELAY_MS) / 1000

    def _event(self, source: MarketSource, one: Subscription, close_ms: int) -> Event | None:
        market = source.simulation.market(one.code)
        if market is None or one.indicator is None:
            return None
        return _event_of(market, one.indicator, close_ms)


def _event_of(market: Market, asked: Indicator, close_ms: int) -> Event | None:
    candles = market.closes(asked.timeframe, close_ms, CANDLES + 1)
    start_ms = close_ms - TIMEFRAME_SPANS[asked.timeframe]
    if not candles or candles[-1].start_ms != start_ms:
        return None  # an interval without trades has no candle, and a candle that is not there does not close
    told: dict[str, Any] = {
        "code": market.code,
        "timeframe": asked.timeframe,
        "indicator": asked.type,
        "params": IndicatorParams(**dict(asked.params)),  # type: ignore[arg-type]
        "candle_date_time_utc": utc_text(start_ms // 1000),
        "timestamp": close_ms + _DELAY_MS,
        "stream_type": "REALTIME",
    }
    if not asked.trigger:
        return IndicatorEvent(value=value_at(asked, candles[1:]), **told)
    value = crosses(asked, candles)
    if value is None:
        return None
    event_params = SignalParams(**dict(asked.event_params))  # type: ignore[arg-type]
    return IndicatorSignalEvent(trigger=asked.trigger, event_params=event_params, value=value, **told)


def _next_close(now_ms: int, span_ms: int) -> int:
    """The first close whose indicators are not told yet."""
    return ((now_ms - _DELAY_MS) // span_ms + 1) * span_ms
