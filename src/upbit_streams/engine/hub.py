"""From the connection's reader to everyone who wants an event: the latest of each market, and each consumer's
channel."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence

import anyio
import attrs
import msgspec

from ..exceptions import SubscriptionError, UpbitStreamsError
from ..model.epoch import Epoch
from ..model.events import Event, IndicatorEvent, IndicatorSignalEvent, OrderbookEvent, TradeEvent
from ..model.indicators import indicator_of
from ..model.kinds import DataType
from ..model.notices import Stale
from ..model.subscriptions import Want, Wants, check_servable, server_of
from .account import Account
from .backpressure import Channel
from .wants import WantLedger

__all__ = ["Heard", "Hub"]

# The exchange was seen to send up to two events of an old request after a new one (protocol section 2.3). Where more
# come and no snapshot, as from a recording, they are the answer.
_STRAGGLERS = 4

# A snapshot repeats the last trade of its market, or one a few trades back if more came while it was on its way.
_RECENT_TRADES = 1000


class _Route:
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


class _Filter:
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


@attrs.frozen
class Heard:
    """When a topic last brought a change."""

    type: str
    code: str
    at: float
    """Seconds since the Unix epoch; 0 if it has not in this epoch."""


class Hub:
    """What one connection brings, for all who want some of it.

    Publishing is one synchronous step: nobody ever sees half of a read.
    """

    def __init__(self, account: Account | None = None, *, confirms: bool = False) -> None:
        """``account`` is told every event that somebody wants. ``confirms`` is for a connection whose requests are
        confirmed, as no snapshot shows that they were taken."""
        self.wants = WantLedger()
        self.confirms = confirms
        self._account = account
        self._routes: defaultdict[str, dict[Hashable, _Route]] = defaultdict(dict)
        self._newest: dict[str, int] = {}
        self.published = self.late = self.unwanted = self.repeated = 0
        self._epoch: Epoch | None = None
        """The one that is known to serve a request, where that is confirmed."""
        self._noticed: dict[Channel, Wants] = {}
        """Whoever is told of epochs, and what each wants."""
        self._failure: Callable[[], UpbitStreamsError] | None = None
        self._silent: list[_Route] = []
        """Of which nothing had come when somebody last looked."""

    def register(self, wants: Iterable[Want]) -> None:
        """Somebody wants these. Every ``register`` is undone by one ``unregister``.

        Raises :class:`ConflictError` for more than one connection can serve, :class:`SubscriptionError` for what the
        exchange has refused to those who want it already, and has registered nothing then.
        """
        wants = list(wants)
        self.check(wants)
        for want in wants:
            routes, key = self._routes[want.type.name], _key(want)
            route = routes.get(key)
            if route is None:
                route = routes[key] = _Route(want)
            route.wanted += 1
            # Where nothing keeps the state fresh, somebody new needs another request to be shown it.
            self.wants.add(want, is_news=route.asked is None or not route.asked.realtime)

    def check(self, wants: Iterable[Want]) -> None:
        """Raise what ``register`` would raise."""
        wants = list(wants)
        for want in wants:
            self.check_refused(want)
        if any(want.indicator is not None for want in wants):
            check_servable([*self.wants.union, *wants])

    def check_refused(self, want: Want) -> None:
        """Raise :class:`SubscriptionError` if the exchange refuses this."""
        route = self._routes[want.type.name].get(_key(want))
        if route is not None and route.refusal is not None:
            raise route.refusal()

    def refuse(self, want: Want, refusal: Callable[[], SubscriptionError]) -> None:
        """The exchange refuses this, so it is not asked for as long as anybody wants it. Everybody who does gets this
        error, made anew for each; a stream of this and of other things ends with it."""
        route = self._routes[want.type.name].get(_key(want))
        if route is None:
            return
        self.wants.refuse(want.topic)
        route.refusal = refusal
        for each in self._all_routes():
            each.wake()  # who waits for this may be waiting for something else first
        for channel in route.channels():
            channel.refuse(refusal)

    def unregister(self, wants: Iterable[Want]) -> None:
        """Undo one ``register``."""
        wants = list(wants)
        for want in wants:
            route = self._route(want)
            route.wanted -= 1
            if not route.wanted:
                routes = self._routes[want.type.name]
                del routes[_key(want)]
                self.wants.forgive(want.topic)
                route.wake()
                if self._account is not None:
                    # Nobody is told what happens from now on, so nobody may believe what is known.
                    self._account.forget(want.type, {kept.want.code for kept in routes.values()})
        self.wants.remove(wants)

    def asked(self, wants: Wants) -> None:
        """The exchange is being asked for exactly these."""
        asked = {want.topic: want for want in wants}
        now = anyio.current_time()
        for route in self._all_routes():
            route.asked = server_of(asked, route.want)
            if route.asked is not None and route.asked_at is None:
                route.asked_at, route.before = now, route.latest
            route.awaited += route.asked is not None and route.asked.snapshot

    def confirmed(self, epoch: Epoch, at: float) -> None:
        """The exchange serves the last request since ``at``, in seconds since the Unix epoch.

        That matters for what has no snapshot to tell it.
        """
        self._epoch = epoch
        for route in self._all_routes():
            if not route.want.type.has_snapshot and route.served is not route.asked:
                route.serve()
        for channel, wants in self._noticed.items():
            if all(self._is_served(want) for want in wants):
                channel.begin(epoch, at)

    def ended(self, epoch: Epoch, reason: str, heard_at: float, ended_at: float) -> None:
        """The epoch is over; ``heard_at`` is when it was last heard of, and ``ended_at`` when that was found out, in
        seconds since the Unix epoch."""
        self._epoch = None
        # What may still come of it comes too late, and its latest events are not the present state any more.
        self._newest[epoch.connection] = epoch.number + 1
        self._silent.clear()
        for route in self._all_routes():
            route.awaited = 0
            route.asked_at = None
            if not route.want.type.has_snapshot:
                route.served = None
        for channel in self._noticed:
            channel.end(epoch, reason, heard_at, ended_at)

    def heard(self, epoch: Epoch) -> dict[Hashable, Heard]:
        """When each topic was last heard in this epoch of which changes are asked for. What a snapshot repeats is no
        change."""
        heard: dict[Hashable, Heard] = {}
        for name, routes in self._routes.items():
            for key, route in routes.items():
                if route.asked is not None and route.asked.realtime and route.want.type.has_snapshot:
                    change = route.last_change()
                    at = change.received_at if change is not None and change.epoch is epoch else 0.0
                    heard[name, key] = Heard(name, route.want.code, at)
        return heard

    def tell_stale(self, stale: Iterable[Stale]) -> None:
        """Tell those who want to know it."""
        for channel, wants in self._noticed.items():
            topics = {(want.type.name, want.code) for want in wants} | {("", "")}
            for one in stale:
                if (one.type, one.code) in topics:
                    channel.tell(one)

    def forget_account(self) -> None:
        """From now on it is another account that is told of."""
        if self._account is not None:
            self._account.clear()

    def fail(self, failure: Callable[[], UpbitStreamsError]) -> None:
        """There will be no events until ``recover``: everybody who waits for some gets this error, made anew for
        each."""
        self._failure = failure
        for route in self._all_routes():
            route.wake()
            for channel in route.channels():
                channel.fail(self, failure)

    def recover(self) -> None:
        """Undo ``fail``."""
        self._failure = None
        for route in self._all_routes():
            for channel in route.channels():
                channel.recover(self)

    def attach(self, wants: Iterable[Want], channel: Channel) -> None:
        """Feed a channel with what is wanted, each topic once. The wants must be registered.

        The exchange shows the present state once, when it is asked. Who joins later, without anything new to ask for,
        is shown the latest that came instead, unless that is from an epoch that is over.
        """
        wants = frozenset(wants)
        shown: list[tuple[Event, Callable[[Event], None]]] = []
        for want in wants:
            route = self._route(want)
            # Most consumers want everything, and cost nothing but the call of their channel.
            put: Callable[[Event], None] = channel.put if want.wants_all else _Filter(want, channel)
            if route.has(want):
                route.consumers[channel] = put
            else:
                route.waiting[channel] = want, put
            latest = route.latest_for(want)
            if latest is not None and want.snapshot and want.type.has_snapshot and route.is_kept_fresh(self._newest):
                shown.append((latest, put))
        if self._failure is not None:
            channel.fail(self, self._failure)
        if channel.has_notices:
            self._noticed[channel] = wants
            if self._epoch is not None and all(self._is_served(want) for want in wants):
                channel.begin(self._epoch, anyio.current_time() + self._epoch.wall_offset)
        for latest, show in sorted(shown, key=lambda pair: pair[0].received_at):
            channel.begin(latest.epoch, latest.received_at)
            show(msgspec.structs.replace(latest, stream_type="SNAPSHOT"))

    def detach(self, wants: Iterable[Want], channel: Channel) -> None:
        """Undo ``attach``."""
        self._noticed.pop(channel, None)
        for want in wants:
            route = self._route(want)
            route.consumers.pop(channel, None)
            route.waiting.pop(channel, None)

    def latest(self, want: Want) -> Event | None:
        """The latest event of a registered want, as it asked for it; None before the first."""
        event = self._route(want).latest_for(want)
        return None if event is None else want.trimmed(event)

    def has_brought(self, want: Want) -> bool:
        """Whether the exchange has ever sent anything of this, to those who want it now."""
        route = self._routes[want.type.name].get(_key(want))
        return route is not None and route.latest is not None

    def look_for_unanswered(self, before: float) -> tuple[tuple[str, str], ...]:
        """Note what was asked for by then, in the event loop's time, and has brought nothing in this epoch."""
        self._silent = [
            route for route in self._all_routes() if route.asked_at is not None and route.asked_at <= before
        ]
        return self.unanswered

    @property
    def unanswered(self) -> tuple[tuple[str, str], ...]:
        """What was noted last, without what has come since."""
        self._silent = [route for route in self._silent if route.is_unanswered()]
        return tuple(sorted({(route.want.type.name, route.want.code) for route in self._silent if route.wanted}))

    def is_ready(self, want: Want) -> bool:
        """Whether a registered want has had its first data; where nothing tells the present state, whether the exchange
        serves it."""
        return self.latest(want) is not None if want.type.has_snapshot else self._is_served(want)

    async def wait_ready(self, want: Want, among: Collection[Want] = ()) -> None:
        """Wait until a registered want is ready. Cancelling it has no effect on anything.

        Raises what the connection has failed with, and :class:`SubscriptionError` if the exchange refuses it, or one
        of those that it is ``among``. Returns, too, if the want is unregistered meanwhile.
        """
        while True:
            if self.wants.has_refused:
                for one in (want, *among):
                    self.check_refused(one)
            route = self._routes[want.type.name].get(_key(want))
            if route is None or self.is_ready(want):
                return
            if self._failure is not None:
                raise self._failure()
            await route.arrived.wait()

    def publish(self, events: Sequence[Event], epoch: Epoch) -> None:
        """Hand out what one read of the socket brought, in its order.

        What arrives after its epoch is over is counted and goes nowhere: no consumer and no pool entry ever goes back.
        """
        newest = self._newest.setdefault(epoch.connection, epoch.number)
        if epoch.number < newest:
            self.late += len(events)
            return
        self._newest[epoch.connection] = epoch.number
        if self.confirms and events and self._epoch is not epoch:
            # The first event of an epoch shows as much as an answer: there was one request so far, for all of it.
            self.confirmed(epoch, events[0].received_at)
        routes = self._routes
        for event in events:
            find_key = _KEYS.get(event.type)
            key = event.code if find_key is None else find_key(event)
            found = routes[event.type]
            taken = self._take(found[key], event) if key in found else None
            # Beside those who want one market of a type there may be some who want all.
            if key != "" and "" in found:
                taken = self._take(found[""], event) or taken
            if taken is None:
                self.unwanted += 1
            elif taken:
                self.published += 1
                if self._account is not None:
                    self._account.take(event)

    def _take(self, route: _Route, event: Event) -> bool:
        """Hand one event to those who want it. Tells whether it was news to anybody."""
        if route.awaited and event.stream_type == "SNAPSHOT":
            route.awaited -= 1
            route.change = route.last_change()  # it may be overwritten before anybody has looked at it
        newcomers: list[Channel] = []
        if route.served is not route.asked and not self.confirms:
            newcomers = route.look_for_answer(event)
        if route.recent is not None:
            trade: int = event.sequential_id  # type: ignore[attr-defined] # the routes of trades have it
            if event.stream_type == "SNAPSHOT" and trade in route.recent:
                # Those who wait for an answer have not had this trade; all others have.
                for channel in newcomers:
                    channel.begin(event.epoch, event.received_at)
                    route.consumers[channel](event)
                route.before = event
                self.repeated += not newcomers
                return bool(newcomers)
            route.recent.append(trade)
        route.latest = event
        if self._noticed and not self.confirms:
            for channel in route.consumers:
                channel.begin(event.epoch, event.received_at)
        for put in route.consumers.values():
            put(event)
        return True

    def _all_routes(self) -> list[_Route]:
        return [route for routes in self._routes.values() for route in routes.values()]

    def _is_served(self, want: Want) -> bool:
        return self._route(want).has(want)

    def _route(self, want: Want) -> _Route:
        return self._routes[want.type.name][_key(want)]


def _key(want: Want) -> Hashable:
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


_KEYS: Mapping[str, Callable[[Event], Hashable]] = {
    OrderbookEvent.type: _book_key,
    IndicatorEvent.type: _indicator_key,
    IndicatorSignalEvent.type: _indicator_key,
}
"""Types whose topics are told apart by more than the market."""
