"""Where the events of one topic go, and what is known of it."""

from collections import deque
from collections.abc import Callable, Mapping

import anyio
import attrs

from ..exceptions import SubscriptionError
from ..model.epoch import Epoch
from ..model.events import Event, TradeEvent
from ..model.kinds import DataType
from ..model.subscriptions import Want
from .channel import Channel
from .kept import RECENT_TRADES, Kept
from .stamps import stamp_of

__all__ = ["Consumer", "Filter", "Route", "Unrepeated"]

# The exchange was seen to send up to two events of an old request after a new one (protocol section 2.3). Where more
# come and no snapshot, as from a recording, they are the answer.
_STRAGGLERS = 4


class Route:
    """Where the events of one topic go. It exists as long as somebody wants them."""

    __slots__ = (
        "arrived",
        "asked",
        "asked_at",
        "awaited",
        "before",
        "begun",
        "change",
        "consumers",
        "kept",
        "latest",
        "owed",
        "recent",
        "refusal",
        "served",
        "states",
        "stragglers",
        "waiting",
        "want",
        "wanted",
        "watchers",
    )

    def __init__(self, want: Want, kept: Kept) -> None:
        self.want = want
        """One of those that are registered."""
        self.kept = kept
        """What may be older than the route: all else begins with it."""
        self.wanted = 0
        """How many times any is."""
        self.asked: Want | None = None
        """What the last request asked for."""
        self.asked_at: float | None = None
        """When it was first asked for in this epoch, in the event loop's time."""
        self.before: Event | None = None
        """The latest event by then; or one that has come since, but was not news to anybody."""
        self.begun: Epoch | None = None
        """The epoch of which every consumer was told."""
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
        self.owed: dict[Channel, None] = {}
        """Consumers that could not be shown the present state. A snapshot that repeats a trade is news to them."""
        self.states: dict[Channel, None] = {}
        """Consumers that want the present state alone: what others have had says nothing of what they have."""
        self.watchers: dict[Channel, None] = {}
        """Consumers to which an event is no more than a reason to look at what is known."""
        self.arrived = anyio.Event()
        """Set when ``served`` changes, and then replaced."""
        self.recent: deque[int] | None = deque(maxlen=RECENT_TRADES) if want.type.event is TradeEvent else None

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
        self.begun = None
        newcomers = [channel for channel, (want, _) in self.waiting.items() if self.has(want)]
        for channel in newcomers:
            _, self.consumers[channel] = self.waiting.pop(channel)
        self.wake()
        return newcomers

    def has(self, want: Want) -> bool:
        """Whether what is served has all that is wanted. What nobody can ask for is only listened for."""
        return want.type is DataType.UNKNOWN or (self.served is not None and self.served.covers(want))

    def confirm(self, repeated: Event, trade: int) -> bool:
        """A snapshot has shown a trade that was told before. Tells whether that makes the latest one of this epoch.

        It may be a trade before the latest. Then it only shows that the request was answered.
        """
        latest = self.latest
        if not isinstance(latest, TradeEvent) or latest.sequential_id != trade or latest.epoch is repeated.epoch:
            self.before = repeated
            return False
        self.change = self.last_change()
        self.latest = repeated
        return True

    def is_behind(self, snapshot: Event) -> bool:
        """Whether a snapshot shows a trade that is older than the latest, though nobody was told of it: more came while
        it was on its way."""
        latest = self.latest
        return (
            isinstance(latest, TradeEvent)
            and isinstance(snapshot, TradeEvent)
            and stamp_of(snapshot, snapshot.trade_timestamp) < stamp_of(latest, latest.trade_timestamp)
        )

    def is_unanswered(self) -> bool:
        """Whether it was asked for in this epoch, its present state has to come, and nothing has."""
        is_awaited = self.asked is not None and self.asked.type.has_snapshot and self.asked.snapshot
        return is_awaited and self.asked_at is not None and self.latest is self.before

    def last_change(self) -> Event | None:
        """The latest event that is no snapshot."""
        return self.change if self.latest is None or self.latest.stream_type == "SNAPSHOT" else self.latest

    def leave(self, channel: Channel) -> bool:
        """A consumer is fed no more. Tells whether it has had the last trades."""
        has_had = channel in self.consumers and channel not in self.owed and channel not in self.states
        self.consumers.pop(channel, None)
        self.waiting.pop(channel, None)
        for group in (self.owed, self.states, self.watchers):
            group.pop(channel, None)
        return has_had

    def channels(self) -> list[Channel]:
        """Everybody who is or will be fed."""
        return [*self.consumers, *self.waiting]

    def look_again(self) -> None:
        """What is known has become another thing without anything new for those who are fed: have watchers look."""
        if self.latest is not None:
            for channel in self.watchers:
                if channel in self.consumers:
                    channel.put(self.latest)

    def wake(self) -> None:
        """Let everybody look who waits for this route."""
        self.arrived.set()
        self.arrived = anyio.Event()


@attrs.define
class Consumer:
    """What one consumer is fed with, and what it may still have of topics that it has left."""

    wants: set[Want] = attrs.field(factory=set)
    most: dict[DataType[Event], Want] = attrs.field(factory=dict)
    """Of each type, the most that an event may have which it was fed with."""
    told: dict[str, deque[int]] = attrs.field(factory=dict)
    """The last trades that it was told of, by market: in those that it has left, and in all if it wants the present
    state alone. Elsewhere the route knows which these were."""

    watches: bool = False
    """Whether an event is no more to it than a reason to look at what is known."""

    def admit(self, want: Want) -> None:
        """It is fed with this from now on."""
        self.wants.add(want)
        have = self.most.setdefault(want.type, want)
        if not have.covers(want):
            self.most[want.type] = have.joined(want)


class Filter:
    """A consumer that wants a part of what its route brings."""

    def __init__(self, want: Want, put: Callable[[Event], None]) -> None:
        self._want = want
        self._put = put
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
        self._put(seen)


class Unrepeated:
    """A consumer that may be shown the trades again that it was told of before, and is not told of them twice."""

    def __init__(self, told: deque[int], put: Callable[[Event], None]) -> None:
        self._told = told
        self._put = put

    def __call__(self, event: Event) -> None:
        # Nothing but a snapshot repeats a trade.
        if event.stream_type == "SNAPSHOT":
            trade: int = event.sequential_id  # type: ignore[attr-defined] # it stands before the routes of trades only
            if trade in self._told:
                return
            self._told.append(trade)
        self._put(event)
