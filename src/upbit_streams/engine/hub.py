"""From the connection's reader to everyone who wants an event: the latest of each market, and each consumer's
channel."""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import anyio
import msgspec

from ..exceptions import UsageError
from ..model.epoch import Epoch
from ..model.events import Event, OrderbookEvent, TradeEvent
from ..model.kinds import Endpoint
from ..model.subscriptions import Want
from .backpressure import Channel
from .wants import WantLedger

__all__ = ["Hub"]

# The exchange was seen to send up to two events of an old request after a new one (protocol section 2.3). Where more
# come and no snapshot, as from a recording, they are the answer.
_STRAGGLERS = 4

# A snapshot repeats the last trade of its market, or one a few trades back if more came while it was on its way.
_RECENT_TRADES = 1000


class _Route:
    """Where the events of one topic go. It exists as long as somebody wants them."""

    __slots__ = ("arrived", "asked", "consumers", "latest", "recent", "served", "stragglers", "wanted")

    def __init__(self, want: Want) -> None:
        self.wanted = 0
        """How many times it is registered."""
        self.asked: Want | None = None
        """What the last request asked for."""
        self.served: Want | None = None
        """What the request asked for that ``latest`` answers: after a change, events of the old request are still on
        their way, until the snapshot of the new one has come."""
        self.stragglers = 0
        """Events that may still be of the old request."""
        self.latest: Event | None = None
        self.consumers: dict[Channel, Callable[[Event], None]] = {}
        """What takes an event, for each consumer's channel."""
        self.arrived = anyio.Event()
        """Set when ``served`` changes, and then replaced."""
        self.recent: deque[int] | None = deque(maxlen=_RECENT_TRADES) if want.type.event is TradeEvent else None

    def latest_for(self, want: Want) -> Event | None:
        """The latest event, if the subscription that brought it has all that is wanted."""
        return self.latest if self.served is not None and self.served.covers(want) else None

    def is_kept_fresh(self, newest: Mapping[str, int]) -> bool:
        """Whether ``latest`` is the present state: changes are subscribed to, and its epoch is the newest."""
        if self.latest is None or self.served is None or not self.served.realtime:
            return False
        return self.latest.epoch.number == newest.get(self.latest.epoch.connection)

    def look_for_answer(self, event: Event) -> None:
        """An event has come, and the answer to the last request is still awaited: is this it?"""
        self.stragglers += 1
        if (
            event.stream_type != "SNAPSHOT"
            and self.served is not None
            and (self.asked is None or self.asked.snapshot)
            and self.stragglers <= _STRAGGLERS
        ):
            return
        self.served = self.asked
        self.stragglers = 0
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


class Hub:
    """Publishing is one synchronous step: nobody ever sees half of a read."""

    def __init__(self) -> None:
        self.wants = WantLedger()
        self._routes: defaultdict[str, dict[Hashable, _Route]] = defaultdict(dict)
        self._newest: dict[str, int] = {}
        self.published = self.late = self.unwanted = self.repeated = 0

    def register(self, wants: Iterable[Want]) -> None:
        """Somebody wants these. Every ``register`` is undone by one ``unregister``.

        Raises :class:`UsageError` for what the connection does not serve, and has registered nothing then.
        """
        wants = list(wants)
        for want in wants:
            if want.type.endpoint is not Endpoint.PUBLIC:
                raise UsageError(
                    f"{want.type.name} is served by the {want.type.endpoint} endpoint, "
                    f"and this version connects to the public one only"
                )
        for want in wants:
            routes, key = self._routes[want.type.name], _key(want.code, want.level)
            route = routes.get(key)
            if route is None:
                route = routes[key] = _Route(want)
            route.wanted += 1
            # Where nothing keeps the state fresh, somebody new needs another request to be shown it.
            self.wants.add(want, is_news=route.asked is None or not route.asked.realtime)

    def unregister(self, wants: Iterable[Want]) -> None:
        """Undo one ``register``."""
        wants = list(wants)
        for want in wants:
            route = self._route(want)
            route.wanted -= 1
            if not route.wanted:
                del self._routes[want.type.name][_key(want.code, want.level)]
        self.wants.remove(wants)

    def asked(self, wants: Iterable[Want]) -> None:
        """The exchange is being asked for exactly these."""
        for want in wants:
            self._route(want).asked = want

    def attach(self, wants: Iterable[Want], channel: Channel) -> None:
        """Feed a channel with what is wanted, each topic once. The wants must be registered.

        The exchange shows the present state once, when it is asked. Who joins later, without anything new to ask for,
        is shown the latest that came instead, unless that is from an epoch that is over.
        """
        shown: list[tuple[Event, Callable[[Event], None]]] = []
        for want in wants:
            route = self._route(want)
            # Most consumers want everything, and cost nothing but the call of their channel.
            put: Callable[[Event], None] = channel.put if want.wants_all else _Filter(want, channel)
            route.consumers[channel] = put
            latest = route.latest_for(want)
            if latest is not None and want.snapshot and route.is_kept_fresh(self._newest):
                shown.append((latest, put))
        for latest, show in sorted(shown, key=lambda pair: pair[0].received_at):
            show(msgspec.structs.replace(latest, stream_type="SNAPSHOT"))

    def detach(self, wants: Iterable[Want], channel: Channel) -> None:
        """Undo ``attach``."""
        for want in wants:
            del self._route(want).consumers[channel]

    def latest(self, want: Want) -> Event | None:
        """The latest event of a registered want, as it asked for it; None before the first."""
        event = self._route(want).latest_for(want)
        return None if event is None else want.trimmed(event)

    def _route(self, want: Want) -> _Route:
        return self._routes[want.type.name][_key(want.code, want.level)]

    async def wait_arrived(self, want: Want) -> None:
        """Wait for the first event of a registered want. Cancelling it has no effect on anything."""
        while self.latest(want) is None:
            await self._route(want).arrived.wait()

    def publish(self, events: Sequence[Event], epoch: Epoch) -> None:
        """Hand out what one read of the socket brought, in its order.

        What arrives after its epoch is over is counted and goes nowhere: no consumer and no pool entry ever goes back.
        """
        newest = self._newest.setdefault(epoch.connection, epoch.number)
        if epoch.number < newest:
            self.late += len(events)
            return
        self._newest[epoch.connection] = epoch.number
        routes = self._routes
        for event in events:
            key: Hashable = event.code
            if isinstance(event, OrderbookEvent) and event.level:
                key = _key(event.code, event.level)
            route = routes[event.type].get(key)
            if route is None:
                self.unwanted += 1
                continue
            if route.recent is not None:
                trade: int = event.sequential_id  # type: ignore[attr-defined]
                if event.stream_type == "SNAPSHOT" and trade in route.recent:
                    self.repeated += 1
                    continue
                route.recent.append(trade)
            route.latest = event
            if route.served is not route.asked:
                route.look_for_answer(event)
            self.published += 1
            for put in route.consumers.values():
                put(event)


def _key(code: str, level: float) -> Hashable:
    """What tells the topics of one type apart. Grouped order books are topics of their own; events carry their
    level."""
    return (code, level) if level else code
