"""From the connection's reader to everyone who wants an event: the latest of each market, and each consumer's
channel."""

from collections import deque
from collections.abc import Iterable, Sequence

import anyio

from ..model.epoch import Epoch
from ..model.events import Event, TradeEvent
from ..model.kinds import DataType
from ..model.subscriptions import Want
from .backpressure import Channel
from .wants import WantLedger

__all__ = ["Hub"]

# A snapshot repeats the last trade of its market, or one a few trades back if more came while it was on its way.
_RECENT_TRADES = 1000


class _Route:
    """Where the events of one (type, market) go. It exists as long as somebody wants them."""

    __slots__ = ("arrived", "channels", "latest", "recent")

    def __init__(self, want: Want) -> None:
        self.latest: Event | None = None
        self.channels: tuple[Channel, ...] = ()
        self.arrived = anyio.Event()
        self.recent: deque[int] | None = deque(maxlen=_RECENT_TRADES) if want.type.event is TradeEvent else None


class Hub:
    """Publishing is one synchronous step: nobody ever sees half of a read."""

    def __init__(self) -> None:
        self.wants = WantLedger()
        self._routes: dict[str, dict[str, _Route]] = {kind.name: {} for kind in DataType.all()}
        self._newest: dict[str, int] = {}
        self.published = self.late = self.unwanted = self.repeated = 0

    def register(self, wants: Iterable[Want]) -> None:
        """Somebody wants these. Every ``register`` is undone by one ``unregister``."""
        for want in self.wants.add(wants):
            self._routes[want.type.name][want.code] = _Route(want)

    def unregister(self, wants: Iterable[Want]) -> None:
        for want in self.wants.remove(wants):
            del self._routes[want.type.name][want.code]

    def attach(self, wants: Iterable[Want], channel: Channel) -> None:
        """Feed a channel with what is wanted. The wants must be registered."""
        for want in wants:
            route = self._routes[want.type.name][want.code]
            route.channels = (*route.channels, channel)

    def detach(self, wants: Iterable[Want], channel: Channel) -> None:
        for want in wants:
            route = self._routes[want.type.name][want.code]
            route.channels = tuple(other for other in route.channels if other is not channel)

    def latest(self, type_name: str, code: str) -> Event | None:
        """The latest event of a registered (type, market); None before the first."""
        return self._routes[type_name][code].latest

    async def wait_arrived(self, want: Want) -> None:
        """Wait for the first event of a registered want. Cancelling it has no effect on anything."""
        await self._routes[want.type.name][want.code].arrived.wait()

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
            route = routes[event.type].get(event.code)
            if route is None:
                self.unwanted += 1
                continue
            if route.recent is not None:
                trade: int = event.sequential_id  # type: ignore[attr-defined]
                if event.stream_type == "SNAPSHOT" and trade in route.recent:
                    self.repeated += 1
                    continue
                route.recent.append(trade)
            if route.latest is None:
                route.arrived.set()
            route.latest = event
            self.published += 1
            for channel in route.channels:
                channel.put(event)
