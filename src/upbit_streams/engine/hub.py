"""From the connection's reader to everyone who wants an event: the latest of each market, and each consumer's
channel."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence

import anyio
import attrs
import msgspec

from ..exceptions import SubscriptionError, UpbitStreamsError
from ..model.epoch import Epoch
from ..model.events import Event, TradeEvent
from ..model.kinds import DataType
from ..model.notices import FrameLost, Stale
from ..model.subscriptions import Want, Wants, check_servable, server_of
from .account import Account
from .channel import Channel
from .holds import Holds
from .kept import Kept, Leftovers
from .route import Consumer, Filter, Route, Unrepeated
from .topics import KEYS, key_of
from .wants import WantLedger

__all__ = ["Heard", "Hub"]

# A stream that leaves a market remembers so many of the trades that it was told of. A snapshot repeats the last one, or
# one a few trades back; a whole connection remembers more, as it has to do so once for all.
_REMEMBERED = 100

_TYPES = frozenset(kind.name for kind in DataType.all())


@attrs.frozen
class Heard:
    """When a topic last brought a change."""

    type: str
    code: str
    at: float
    """Seconds since the Unix epoch; 0 if it has not in this epoch."""


class Hub:
    """What one connection brings, for all who want some of it.

    Publishing a read is one synchronous step, unless somebody has chosen to let all others wait.
    """

    def __init__(self, account: Account | None = None, *, confirms: bool = False) -> None:
        """``account`` is told every event that somebody wants. ``confirms`` is for a connection whose requests are
        confirmed, as no snapshot shows that they were taken."""
        self.wants = WantLedger()
        self.confirms = confirms
        self._account = account
        self._routes: defaultdict[str, dict[Hashable, Route]] = defaultdict(dict)
        self._leftovers = Leftovers()
        self._consumers: dict[Channel, Consumer] = {}
        self._asked: Mapping[Hashable, Want] = {}
        """The last request of this epoch, by topic."""
        self._newest: dict[str, int] = {}
        self.published = self.late = self.unwanted = self.repeated = 0
        self._epoch: Epoch | None = None
        """The one that is known to serve a request, where that is confirmed."""
        self.holds = Holds()
        self._failure: Callable[[], UpbitStreamsError] | None = None
        self._silent: list[Route] = []
        """Of which nothing had come when somebody last looked."""

    def register(self, wants: Iterable[Want]) -> None:
        """Somebody wants these. Every ``register`` is undone by one ``unregister``.

        Raises :class:`ConflictError` for more than one connection can serve, :class:`SubscriptionError` for what the
        exchange has refused to those who want it already, and has registered nothing then.
        """
        wants = list(wants)
        self.check(wants)
        for want in wants:
            routes, key = self._routes[want.type.name], key_of(want)
            route = routes.get(key)
            if route is None:
                route = routes[key] = Route(want, self._leftovers.take(want.topic))
                # What was asked for of those who have left is still on its way.
                route.kept.admit(self._asked.get(want.topic, want))
            route.wanted += 1
            route.kept.admit(want)
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
        route = self._routes[want.type.name].get(key_of(want))
        if route is not None and route.refusal is not None:
            raise route.refusal()

    def refuse(self, want: Want, refusal: Callable[[], SubscriptionError]) -> None:
        """The exchange refuses this, so it is not asked for as long as anybody wants it. Everybody who does gets this
        error, made anew for each; a stream of this and of other things ends with it."""
        route = self._routes[want.type.name].get(key_of(want))
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
                del routes[key_of(want)]
                self.wants.forgive(want.topic)
                route.wake()
                if self._account is None:
                    self._leftovers.put(want.topic, route.kept)
                else:
                    # Nobody is told what happens from now on, so nobody may believe what is known. Nothing is left of
                    # it either: whoever wants it next may be somebody else.
                    self._account.forget(want.type, {other.want.code for other in routes.values()})
        self.wants.remove(wants)

    def asked(self, wants: Wants) -> None:
        """The exchange is being asked for exactly these."""
        asked = self._asked = {want.topic: want for want in wants}
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
        for channel, consumer in self._consumers.items():
            if channel.has_notices and self._serves(consumer):
                channel.begin(epoch, at)

    def ended(self, epoch: Epoch, reason: str, heard_at: float, ended_at: float, moved: float = 0.0) -> None:
        """The epoch is over; ``heard_at`` is when it was last heard of, and ``ended_at`` when that was found out, in
        seconds since the Unix epoch by its ``wall_offset``. Since it began, the wall clock has ``moved`` so far ahead
        of the event loop's."""
        self._epoch = None
        self._asked = {}
        # What may still come of it comes too late, and its latest events are not the present state any more.
        self._newest[epoch.connection] = epoch.number + 1
        self._silent.clear()
        for route in self._all_routes():
            route.awaited = 0
            route.asked_at = None
            route.look_again()
            if not route.want.type.has_snapshot:
                route.served = None
        for channel in self._consumers:
            for event in channel.end(epoch, reason, heard_at, ended_at, moved):
                self._owe(event, channel)

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
        for channel, consumer in self._consumers.items():
            if channel.has_notices:
                topics = {(want.type.name, want.code) for want in consumer.wants} | {("", "")}
                for one in stale:
                    if (one.type, one.code) in topics:
                        channel.tell(one)

    def lose_frame(self, lost: FrameLost, at: float) -> None:
        """A frame that came at that time could not be read. Everybody is told for whom it may have been, of what is
        told once; anything else comes again."""
        if lost.epoch.number < self._newest.setdefault(lost.epoch.connection, lost.epoch.number):
            return
        if self.confirms and self._epoch is not lost.epoch and self._routes.get(lost.type):
            self.confirmed(lost.epoch, at)  # it shows as much as an event
        for channel, consumer in self._consumers.items():
            if not consumer.watches and any(_may_tell(lost, want) for want in consumer.wants):
                channel.lose_frame(lost)

    def forget_account(self) -> None:
        """From now on it is another account that is told of."""
        if self._account is not None:
            self._account.clear()
            for route in self._all_routes():
                route.latest = route.change = route.before = None
                route.kept.forget()

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

    def attach(self, wants: Iterable[Want], channel: Channel, *, watches: bool = False) -> None:
        """Feed a channel with what is wanted, each topic once, beside what it is fed with already. The wants must be
        registered.

        The exchange shows the present state once, when it is asked. Who joins later, without anything new to ask for,
        is shown the latest that came instead; if that may not be the present state, the next snapshot, also if it
        repeats what others have had. A channel that has stayed and joins again is not told again of the trades that it
        was told of before. Who ``watches`` is put the latest again when its epoch is over, and when another one shows
        it unchanged.
        """
        wants = frozenset(wants)
        consumer = self._consumers.setdefault(channel, Consumer())
        shown: list[tuple[Event, Callable[[Event], None]]] = []
        for want in wants:
            route = self._route(want)
            consumer.admit(want)
            # Most consumers want everything, and cost nothing but the call of their channel.
            put: Callable[[Event], None] = channel.put
            if watches:
                consumer.watches = True
                route.watchers[channel] = None
            if route.recent is not None:
                if not want.realtime:
                    route.states[channel] = None
                    consumer.told.setdefault(want.code, deque(maxlen=_REMEMBERED))
                if want.code in consumer.told:
                    put = Unrepeated(consumer.told[want.code], put)
            if not want.wants_all:
                put = Filter(want, put)
            route.begun = None
            if route.has(want):
                route.consumers[channel] = put
            else:
                route.waiting[channel] = want, put
            latest = route.latest_for(want)
            if latest is not None and want.snapshot and want.type.has_snapshot and route.is_kept_fresh(self._newest):
                shown.append((latest, put))
            elif route.recent is not None and want.snapshot and not watches:
                route.owed[channel] = None
        if self._failure is not None:
            channel.fail(self, self._failure)
        self.holds.add(channel)
        self._begin_if_served(channel, consumer)
        with channel.showing():
            for latest, show in sorted(shown, key=lambda pair: pair[0].received_at):
                channel.begin(latest.epoch, latest.received_at)
                show(msgspec.structs.replace(latest, stream_type="SNAPSHOT"))

    def detach(self, wants: Iterable[Want], channel: Channel, *, stays: bool = False) -> None:
        """Undo ``attach``, for some of the wants or all. Who ``stays`` may be attached to others later, and is told of
        epochs meanwhile."""
        consumer = self._consumers[channel]
        for want in wants:
            consumer.wants.discard(want)
            route = self._route(want)
            if route.leave(channel) and stays and route.recent:
                earlier = (trade for trade in consumer.told.get(want.code, ()) if trade not in route.recent)
                consumer.told[want.code] = deque([*earlier, *route.recent], _REMEMBERED)
        if not stays:
            del self._consumers[channel]
        if not stays or not consumer.wants:
            self.holds.discard(channel)
        if stays:
            self._begin_if_served(channel, consumer)  # if it was one of these that was not

    def latest(self, want: Want) -> Event | None:
        """The latest event of a registered want, as it asked for it; None before the first."""
        event = self._route(want).latest_for(want)
        return None if event is None else want.view(event)

    def updates(self, want: Want) -> int:
        """How many events of a registered want's topic were taken."""
        return self._route(want).kept.updates

    def keep(self, want: Want, bound: int) -> None:
        """Somebody asks for a history of so many events of a registered want. Undone by one ``let_go``."""
        route = self._route(want)
        route.kept.grow(bound, route.latest)

    def let_go(self, want: Want, bound: int) -> None:
        """Undo one ``keep``."""
        self._route(want).kept.shrink(bound)

    def history(self, want: Want, most: int) -> list[Event]:
        """The last events of a registered want, at most so many, as it asked for them; the newest last."""
        return self._route(want).kept.last(want, most)

    def holders(self) -> tuple[list[Route], Iterator[Kept], Mapping[Channel, Consumer]]:
        """Everything here that has events: the topics that somebody wants, what is left of others, and who is fed."""
        return self._all_routes(), iter(self._leftovers), self._consumers

    def clean(self) -> int:
        """Drop what is kept and nobody has wanted since this was called last. Returns how many topics had some."""
        return self._leftovers.clean() + sum(route.kept.clean() for route in self._all_routes())

    def has_brought(self, want: Want) -> bool:
        """Whether the exchange has ever sent anything of this, to those who want it now."""
        route = self._routes[want.type.name].get(key_of(want))
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
            route = self._routes[want.type.name].get(key_of(want))
            if route is None or self.is_ready(want):
                return
            if self._failure is not None:
                raise self._failure()
            await route.arrived.wait()

    def publish(self, events: Sequence[Event], epoch: Epoch) -> Sequence[Event]:
        """Hand out what one read of the socket brought, in its order. Returns what could not be handed out yet, since
        somebody may not miss anything and has no room: wait for that with ``holds.wait()``, and publish what was
        returned. That is a deque, from which each further call takes what it hands out.

        What arrives after its epoch is over is counted and goes nowhere: no consumer and no pool entry ever goes back.
        """
        newest = self._newest.setdefault(epoch.connection, epoch.number)
        if epoch.number < newest:
            self.late += len(events)
            return ()
        self._newest[epoch.connection] = epoch.number
        if self.confirms and events and self._epoch is not epoch:
            # The first event of an epoch shows as much as an answer: there was one request so far, for all of it.
            self.confirmed(epoch, events[0].received_at)
        routes, holding = self._routes, self.holds.channels
        rest = _taken(events) if isinstance(events, deque) else iter(events)
        for event in rest:
            if holding and any(channel.is_holding for channel in holding):
                if not isinstance(events, deque):
                    return deque((event, *rest))
                events.appendleft(event)
                return events
            find_key = KEYS.get(event.type)
            key = event.code if find_key is None else find_key(event)
            found = routes[event.type]
            taken = self.accept(found[key], event) if key in found else None
            # Beside those who want one market of a type there may be some who want all.
            if key != "" and "" in found:
                taken = self.accept(found[""], event) or taken
            if taken is None:
                self.unwanted += 1
            elif taken:
                self.published += 1
                if self._account is not None:
                    self._account.take(event)
        return ()

    def give_up(self, events: Sequence[Event]) -> None:
        """These were read and will not be handed out, as their epoch is over."""
        self.late += len(events)

    def accept(self, route: Route, event: Event) -> bool:
        """Hand one event to those who want it. Tells whether it was news to anybody."""
        if route.awaited and event.stream_type == "SNAPSHOT":
            route.awaited -= 1
            route.change = route.last_change()  # it may be overwritten before anybody has looked at it
        newcomers: list[Channel] = []
        if route.served is not route.asked and not self.confirms:
            newcomers = route.look_for_answer(event)
        is_behind = False
        if route.recent is not None:
            trade: int = event.sequential_id  # type: ignore[attr-defined] # the routes of trades have it
            if event.stream_type == "SNAPSHOT":
                if trade in route.recent:
                    is_news = self._repeat(route, event, trade, newcomers)
                    if route.confirm(event, trade):
                        route.look_again()
                    self.repeated += not is_news
                    return is_news
                is_behind = route.is_behind(event)
            route.recent.append(trade)
            if route.owed:
                route.owed.clear()
        if is_behind:
            route.before = event  # the request was answered, though by nothing that is the latest
        else:
            route.latest = event
        kept = route.kept
        kept.updates += 1
        if kept.history is not None:
            kept.remember(event)
        if route.begun is not event.epoch and not self.confirms:
            route.begun = event.epoch
            for channel in route.consumers:
                channel.begin(event.epoch, event.received_at)
        for put in route.consumers.values():
            put(event)
        return True

    def _repeat(self, route: Route, event: Event, trade: int, newcomers: Iterable[Channel]) -> bool:
        """Tell those of a trade who may not have had it, as all others have. Tells whether it was news to anybody."""
        is_news = False
        for channel in {**route.owed, **route.states, **dict.fromkeys(newcomers)}:
            if put := route.consumers.get(channel):
                channel.begin(event.epoch, event.received_at)
                if trade not in self._consumers[channel].told.get(event.code, ()):
                    before = channel.published
                    put(event)
                    is_news |= channel.published > before
        route.owed.clear()
        return is_news

    def _owe(self, event: Event, channel: Channel) -> None:
        """A consumer was not told of this after all. Of a trade nobody else has to be."""
        if isinstance(event, TradeEvent):
            told, route = self._consumers[channel].told.get(event.code), self._routes[event.type].get(event.code)
            if told is not None and event.sequential_id in told:
                told.remove(event.sequential_id)
            if route is not None and channel in route.consumers:
                route.owed[channel] = None

    def _begin_if_served(self, channel: Channel, consumer: Consumer) -> None:
        """Tell who is told of epochs of the present one, if that serves all it wants, and it was not told so."""
        if self._epoch is not None and channel.has_notices and self._serves(consumer):
            channel.begin(self._epoch, anyio.current_time() + self._epoch.wall_offset)

    def _serves(self, consumer: Consumer) -> bool:
        """Whether the exchange serves all that somebody wants."""
        return all(map(self._is_served, consumer.wants))

    def _all_routes(self) -> list[Route]:
        return [route for routes in self._routes.values() for route in routes.values()]

    def _is_served(self, want: Want) -> bool:
        return self._route(want).has(want)

    def _route(self, want: Want) -> Route:
        return self._routes[want.type.name][key_of(want)]


def _may_tell(lost: FrameLost, want: Want) -> bool:
    """Whether a frame may have brought some of this, which is told once."""
    if want.type.has_snapshot:
        return False
    if lost.type not in _TYPES:
        return True
    return lost.type == want.type.name and (not lost.code or want.code in ("", lost.code))


def _taken(events: deque[Event]) -> Iterator[Event]:
    """The events, each of which leaves the deque as it is handed out: what is left needs no copy."""
    while events:
        yield events.popleft()
