"""What outlives the interest in a topic for a while, so that a component that restarts finds it again."""

from collections import deque
from collections.abc import Hashable, Iterator
from itertools import chain, islice

from ..model.events import CandleEvent, Event, TradeEvent
from ..model.subscriptions import Want

__all__ = ["RECENT_TRADES", "Kept", "Leftovers"]

# A snapshot repeats the last trade of its market, or one a few trades back if more came while it was on its way.
RECENT_TRADES = 1000


class Kept:
    """How many events of a topic were taken, and the last of them where somebody asked for a history."""

    __slots__ = ("_bounds", "_most", "history", "updates", "want")

    def __init__(self) -> None:
        self.want: Want | None = None
        """The most that any event may have which was taken since this was made."""
        self.updates = 0
        self.history: deque[Event] | None = None
        """The newest last; None where nobody asked for it."""
        self._bounds: list[int] = []
        """How much each has asked for."""
        self._most = 0
        """The largest bound that anybody had asked for since the cleanup last passed."""

    def admit(self, want: Want) -> None:
        """From now on events may have what is wanted here, too."""
        if self.want is None:
            self.want = want
        elif not self.want.covers(want):
            self.want = self.want.joined(want)

    def grow(self, bound: int, latest: Event | None) -> None:
        """Somebody asks for a history of so many events. Every ``grow`` is undone by one ``shrink``."""
        self._bounds.append(bound)
        self._most = max(self._most, bound)
        if self.history is None:
            self.history = deque(() if latest is None else (latest,), bound)
        elif bound > (self.history.maxlen or 0):
            self.history = deque(self.history, bound)

    def shrink(self, bound: int) -> None:
        """Undo one ``grow``. What is kept stays until the cleanup has passed."""
        self._bounds.remove(bound)

    def clean(self) -> bool:
        """Drop what nobody has asked for since the cleanup last passed. Tells whether that was anything."""
        most, self._most = self._most, max(self._bounds, default=0)
        if self.history is None or self.history.maxlen == most:
            return False
        self.history = deque(self.history, most) if most else None
        return True

    def forget(self) -> None:
        """It is somebody else's data from now on."""
        self.updates = 0
        if self.history is not None:
            self.history.clear()

    def remember(self, event: Event) -> None:
        """Add an event to the history."""
        history = self.history
        assert history is not None  # noqa: S101 -- for the type checker
        if isinstance(event, CandleEvent):
            _remember_candle(history, event)
            return
        if event.stream_type == "SNAPSHOT" and isinstance(event, TradeEvent):
            # Who comes back to a topic is shown its last trade, which may have been told to those before.
            recent = islice(reversed(history), RECENT_TRADES)
            if any(isinstance(trade, TradeEvent) and trade.sequential_id == event.sequential_id for trade in recent):
                return
        history.append(event)

    def last(self, want: Want, most: int) -> list[Event]:
        """The last events of the history, at most so many, each as it was asked for."""
        found: list[Event] = []
        for event in reversed(self.history or ()):
            if len(found) == most:
                break
            seen = want.view(event)
            if seen is not None:
                found.append(seen)
        found.reverse()
        return found


def _remember_candle(history: deque[Event], candle: CandleEvent) -> None:
    """A candle is sent again with each of its changes, and the last one counts. It may come after the first of the next
    interval (protocol section 11)."""
    begun = candle.candle_date_time_utc
    later: list[Event] = []
    while history and _begin(history[-1]) > begun:
        later.append(history.pop())
    if history and _begin(history[-1]) == begun:
        history.pop()
    history.append(candle)
    history.extend(reversed(later))


def _begin(event: Event) -> str:
    assert isinstance(event, CandleEvent)  # noqa: S101 -- for the type checker
    return event.candle_date_time_utc


class Leftovers:
    """What is kept of topics that nobody wants any more, until the cleanup has passed twice: a full round at least."""

    def __init__(self) -> None:
        self._fresh: dict[Hashable, Kept] = {}
        self._old: dict[Hashable, Kept] = {}

    def put(self, topic: Hashable, kept: Kept) -> None:
        """Nobody wants this topic any more."""
        self._fresh[topic] = kept

    def take(self, topic: Hashable) -> Kept:
        """Somebody wants this topic: what is still kept of it, or nothing yet."""
        return self._fresh.pop(topic, None) or self._old.pop(topic, None) or Kept()

    def __iter__(self) -> Iterator[Kept]:
        return chain(self._fresh.values(), self._old.values())

    def clean(self) -> int:
        """Drop what was here before the last time. Returns how many topics there were."""
        dropped = len(self._old)
        self._fresh, self._old = {}, self._fresh
        return dropped
