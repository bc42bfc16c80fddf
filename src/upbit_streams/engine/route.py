"""Where the events of one topic go, and what is known of it."""

from collections import deque
from collections.abc import Callable, Hashable, Mapping

import anyio

from ..exceptions import SubscriptionError
from ..model.epoch import Epoch
from ..model.events import Event, IndicatorEvent, IndicatorSignalEvent, OrderbookEvent, TradeEvent
from ..model.indicators import indicator_of
from ..model.kinds import DataType
from ..model.subscriptions import Want
from .backpressure import Channel

__all__ = ["KEYS", "Filter", "Route", "key_of"]

# The exchange was seen to send up to two events of an old request after a new one (protocol section 2.3). Where more
# come and no snapshot, as from a recording, they are the answer.
_STRAGGLERS = 4

# A snapshot repeats the last trade of its market, or one a few trades back if more came while it was on its way.
_RECENT_TRADES = 1000


class Route:
    """Where the events of one topic go. It exists as long as somebody wants them."""

    __slots__ = (
        "arrived",
        "asked",
        "asked_at",
        "awaited",
        "before",
        "change",
        "consumers",
        "latest",
        "recent",
        "refusal",
        "served",
        "stragglers",
        "waiting",
        "want",
        "wanted",
    )

    def __init__(self, want: Want) -> None:
        self.want = want
        """One of those that are registered."""
        self.wanted = 0
        """How many times any is."""
        self.asked: Want | None = None
        """What the last request asked for."""
        self.asked_at: float | None = None
        """When it was first asked for in this epoch, in the event loop's time."""
        self.before: Event | None = None
        """The latest event by then; or one that has come since, but was not news to anybody."""
        self.refusal: Callable[[], SubscriptionError] | None = None
        """Why the exchange is not asked for it, though it is wanted."""
        self.served: Want | None = None
        """What the request asked for that ``latest`` answers: after a change, events of the old request are still on
        their way, until the snapshot of the new one has come."""
        self.stragglers = 0
        """Events that may still be of the old request."""
        self.awaited = 0
        """Snapshots that are still to come: each request brings one."""
        self.latest: Event | None = None
        self.change: Event | None = None
        """The last change, if a snapshot has come since."""
        self.consumers: dict[Channel, Callable[[Event], None]] = {}
        """What takes an event, for each consumer's channel."""
        self.waiting: dict[Channel, tuple[Want, Callable[[Event], None]]] = {}
        """Consumers that want more than is served yet."""
        self.arrived = anyio.Event()
        """Set when ``served`` changes, and then replaced."""
        self.recent: deque[int] | None = deque(maxlen=_RECENT_TRADES) if want.type.event is TradeEvent else None

    def latest_for(self, want: Want) -> Event | None:
        """The latest event, if the subscription that brought it has all that is wanted."""
        return self.latest if self.has(want) else None

    def is_kept_fresh(self, newest: Mapping[str, int]) -> bool:
        """Whether ``latest`` is the present state: changes are subscribed to, and its epoch is the newest."""
        if self.latest is None or self.served is None or not self.served.realtime:
            return False
        return self.latest.epoch.number == newest.get(self.latest.epoch.connection)

    def look_for_answer(self, event: Event) -> list[Channel]:
        """An event has come, and the answer to the last request is still awaited: is this it? Returns who waited for
        it."""
        self.stragglers += 1
        if self.stragglers <= _STRAGGLERS and (self.asked is None or self.asked.snapshot):
            if event.stream_type == "SNAPSHOT":
                is_early = self.awaited > 0
            else:
                is_early = self.served is not None or self.awaited > 1
            if is_early:
                return []
        return self.serve()

    def serve(self) -> list[Channel]:
        """The exchange has begun to serve the last request. Returns who waited for that."""
        self.served = self.asked
        self.stragglers = 0
        newcomers = [channel for channel, (want, _) in self.waiting.items() if self.has(want)]
        for channel in newcomers:
            _, self.consumers[channel] = self.waiting.pop(channel)
        self.wake()
        return newcomers

    def has(self, want: Want) -> bool:
        """Whether what is served has all that is wanted. What nobody can ask for is only listened for."""
        return want.type is DataType.UNKNOWN or (self.served is not None and self.served.covers(want))

    def is_unanswered(self) -> bool:
        """Whether it was asked for in this epoch, its present state has to come, and nothing has."""
        is_awaited = self.asked is not None and self.asked.type.has_snapshot and self.asked.snapshot
        return is_awaited and self.asked_at is not None and self.latest is self.before

    def last_change(self) -> Event | None:
        """The latest event that is no snapshot."""
        return self.change if self.latest is None or self.latest.stream_type == "SNAPSHOT" else self.latest

    def channels(self) -> list[Channel]:
        """Everybody who is or will be fed."""
        return [*self.consumers, *self.waiting]

    def wake(self) -> None:
        """Let everybody look who waits for this route."""
        self.arrived.set()
        self.arrived = anyio.Event()


class Filter:
    """A consumer that wants a part of what its route brings."""

    def __init__(self, want: Want, channel: Channel) -> None:
        self._want = want
        self._channel = channel
        self._shown: Epoch | None = None

    def __call__(self, event: Event) -> None:
        seen = self._want.view(event)
        if seen is None:
            return
        if not self._want.realtime:
            # Other people's requests bring more snapshots; who wants nothing else wants one.
            if self._shown is event.epoch:
                return
            self._shown = event.epoch
        self._channel.put(seen)


def key_of(want: Want) -> Hashable:
    """What tells the topics of one type apart."""
    if want.indicator is not None:
        return want.code, want.indicator
    return (want.code, want.level) if want.level else want.code


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
