"""What tells the topics of one connection apart: usually the type and the market, for some types more."""

from collections.abc import Callable, Hashable, Mapping

from ..model.events import Event, IndicatorEvent, IndicatorSignalEvent, OrderbookEvent
from ..model.indicators import indicator_of
from ..model.subscriptions import Want

__all__ = ["KEYS", "key_of", "topic_of"]


def key_of(want: Want) -> Hashable:
    """What tells the topics of one type apart."""
    if want.indicator is not None:
        return want.code, want.indicator
    return (want.code, want.level) if want.level else want.code


def topic_of(event: Event) -> Hashable:
    """Events of equal topics are about one thing: the later one tells its newer state."""
    find_key = KEYS.get(event.type)
    return event.type, event.code if find_key is None else find_key(event)


def _book_key(event: Event) -> Hashable:
    # Grouped order books are topics of their own; events carry their level.
    assert isinstance(event, OrderbookEvent)  # noqa: S101 -- for the type checker
    return (event.code, event.level) if event.level else event.code


def _indicator_key(event: Event) -> Hashable:
    assert isinstance(event, IndicatorEvent | IndicatorSignalEvent)  # noqa: S101 -- for the type checker
    return event.code, indicator_of(event)


KEYS: Mapping[str, Callable[[Event], Hashable]] = {
    OrderbookEvent.type: _book_key,
    IndicatorEvent.type: _indicator_key,
    IndicatorSignalEvent.type: _indicator_key,
}
"""Types whose topics are told apart by more than the market."""
