"""A component's scope: what it asked for lives as long as the scope."""

from collections.abc import Hashable, Iterable
from typing import Any, cast

import anyio
from anyio.lowlevel import checkpoint

from .engine.backpressure import DropOldest
from .engine.connection import Connection
from .engine.hub import Hub
from .exceptions import NotReadyError, NotRegisteredError, ScopeError, UsageError
from .model.events import CandleEvent, OrderbookEvent, TickerEvent, TradeEvent
from .model.kinds import DataType, E
from .model.subscriptions import Want, Wants, normalise_code, wants_of
from .streams import EventStream

__all__ = ["Client"]


class Client:
    """What one component wants and gets. Made by :meth:`Manager.open_client`, never directly."""

    def __init__(self, name: str, hub: Hub, connection: Connection) -> None:
        self.name = name
        self._hub = hub
        self._connection = connection
        self._registered: set[Want] = set()
        self._interests: dict[Hashable, Want] = {}
        """By topic, what the registered wants of it come to."""
        self._streams: set[EventStream[Any]] = set()
        self._open = True

    async def register_interest(
        self,
        types: DataType[E] | Iterable[DataType[E]],
        codes: str | Iterable[str] = (),
        *,
        count: int = 30,
        level: float = 0,
    ) -> None:
        """Ask for the latest data of every type for every market, to be read with the ``get_*`` methods.

        ``count`` and ``level`` are for order books: how many levels (1, 5, 15 or 30), and by what price in KRW they are
        grouped (0 for not at all; the markets' own ``supported_levels``). Other clients may ask for others; each gets
        what it asked for.

        It returns without waiting for data; :meth:`wait_ready` waits. Registering again what is registered changes
        nothing. Leaving the client's scope gives everything back. Raises :class:`InvalidCodeError` for a malformed
        code, :class:`UsageError` for an empty request. A cancelled call has registered nothing or all.
        """
        self._check_open()
        new = {
            want
            for want in _wants(types, codes, count, level)
            if (have := self._interests.get(want.topic)) is None or not have.covers(want)
        }
        self._hub.register(new)
        self._registered |= new
        for want in new:
            have = self._interests.get(want.topic, want)
            self._interests[want.topic] = have.joined(want)
        await checkpoint()

    async def wait_ready(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 -- its error says what is missing
        """Wait until every interest of this client has had its first data.

        Raises :class:`NotReadyError` after ``timeout`` seconds; it names what is missing and tells how the connection
        stands. Cancelling it has no effect on anything.
        """
        self._check_open()
        wants = list(self._interests.values())
        with anyio.move_on_after(timeout):
            for want in wants:
                await self._hub.wait_arrived(want)
                self._check_open()
        self._check_open()
        missing = sorted((want.type.name, want.code) for want in wants if self._hub.latest(want) is None)
        if missing:
            raise self._not_ready(*missing)

    def get_ticker(self, code: str) -> TickerEvent:
        """The latest ticker of a market, from memory.

        Raises :class:`NotRegisteredError` if this client has no interest in it, :class:`NotReadyError` if none has come
        yet.
        """
        return self._latest(DataType.TICKER, code)

    def get_trade(self, code: str) -> TradeEvent:
        """The latest trade of a market, from memory. Raises as :meth:`get_ticker`."""
        return self._latest(DataType.TRADE, code)

    def get_orderbook(self, code: str, level: float = 0) -> OrderbookEvent:
        """The latest order book of a market, from memory, grouped by ``level`` as registered. Raises as
        :meth:`get_ticker`."""
        return self._latest(DataType.ORDERBOOK, code, level)

    def get_candle(self, code: str, unit: int | str) -> CandleEvent:
        """The latest candle of a market, from memory; ``unit`` is minutes as a number, or ``"1s"``.

        Raises as :meth:`get_ticker`, and :class:`UsageError` for a unit that does not exist.
        """
        return self._latest(DataType.candle(unit), code)

    def stream(
        self,
        types: DataType[E] | Iterable[DataType[E]],
        codes: str | Iterable[str] = (),
        *,
        backpressure: DropOldest | None = None,
        count: int = 30,
        level: float = 0,
        snapshot: bool = True,
        realtime: bool = True,
    ) -> EventStream[E]:
        """A stream of every type for every market, to be entered with ``async with``.

        Its events are asked for by entering it; no interest has to be registered for it. ``backpressure`` says what
        happens when the consumer is slow; the default is ``DropOldest(1024)``. ``count`` and ``level`` are for order
        books, as in :meth:`register_interest`. The first event of a market is its present state, a ``SNAPSHOT``;
        ``snapshot=False`` leaves that out, ``realtime=False`` gives nothing else. Raises as :meth:`register_interest`.
        """
        self._check_open()
        wants = _wants(types, codes, count, level, snapshot=snapshot, realtime=realtime)
        return EventStream(self._hub, wants, backpressure or DropOldest(), self._enter_stream, self._streams.discard)

    def _latest(self, kind: DataType[E], code: str, level: float = 0) -> E:
        code = normalise_code(code)
        want = self._interests.get(Want(kind, code, level=level).topic)
        if want is None:
            self._check_open()
            raise NotRegisteredError(kind.name, code)
        event = self._hub.latest(want)
        if event is None:
            raise self._not_ready((kind.name, code))
        return cast("E", event)

    def _not_ready(self, *missing: tuple[str, str]) -> NotReadyError:
        status = self._connection.status()
        return NotReadyError(missing, f"the connection is {status.state.value}, {status.reason}")

    def _enter_stream(self, stream: EventStream[Any]) -> None:
        self._check_open()
        self._streams.add(stream)

    def _check_open(self) -> None:
        if not self._open:
            raise ScopeError(f"the scope of client {self.name!r} has been left; open another one")

    def _close(self) -> None:
        self._open = False
        for stream in self._streams:
            stream.close()
        self._hub.unregister(self._registered)
        self._registered.clear()
        self._interests.clear()


def _wants(
    types: DataType[E] | Iterable[DataType[E]], codes: str | Iterable[str], count: int, level: float, **options: bool
) -> Wants:
    """The wants of a call. A count and a level are for the order books among its types."""
    several = (types,) if isinstance(types, DataType | str) else tuple(types)
    books = [kind for kind in several if kind is DataType.ORDERBOOK]
    others = [kind for kind in several if kind is not DataType.ORDERBOOK]
    if (count != 30 or level) and not books:
        raise UsageError("a count and a level are for order books, and none are asked for here")
    markets = (codes,) if isinstance(codes, str) else tuple(codes)
    found = wants_of(books, markets, count=count, level=level, **options) if books else frozenset[Want]()
    return found | (wants_of(others, markets, **options) if others or not books else frozenset())
