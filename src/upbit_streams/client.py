"""A component's scope: what it asked for lives as long as the scope."""

from collections.abc import Iterable
from typing import cast

import anyio
from anyio.lowlevel import checkpoint

from .engine.backpressure import DropOldest
from .engine.connection import Connection
from .engine.hub import Hub
from .exceptions import NotReadyError, NotRegisteredError, ScopeError
from .model.events import CandleEvent, OrderbookEvent, TickerEvent, TradeEvent
from .model.kinds import DataType, E
from .model.subscriptions import Want, normalise_code, wants_of
from .streams import EventStream

__all__ = ["Client"]


class Client:
    """What one component wants and gets. Made by :meth:`Manager.open_client`, never directly."""

    def __init__(self, name: str, hub: Hub, connection: Connection) -> None:
        self.name = name
        self._hub = hub
        self._connection = connection
        self._interests: set[Want] = set()
        self._open = True

    async def register_interest(self, types: DataType[E] | Iterable[DataType[E]], codes: str | Iterable[str]) -> None:
        """Ask for the latest data of every type for every market, to be read with the ``get_*`` methods.

        It returns without waiting for data; :meth:`wait_ready` waits. Registering again what is registered changes
        nothing. Leaving the client's scope gives everything back. Raises :class:`InvalidCodeError` for a malformed
        code, :class:`UsageError` for an empty request. A cancelled call has registered nothing or all.
        """
        self._check_open()
        new = wants_of(types, codes) - self._interests
        self._hub.register(new)
        self._interests |= new
        await checkpoint()

    async def wait_ready(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 -- its error says what is missing
        """Wait until every interest of this client has had its first data.

        Raises :class:`NotReadyError` after ``timeout`` seconds; it names what is missing and tells how the connection
        stands. Cancelling it has no effect on anything.
        """
        self._check_open()
        with anyio.move_on_after(timeout):
            for want in sorted(self._interests, key=lambda want: (want.type.name, want.code)):
                await self._hub.wait_arrived(want)
        missing = sorted(
            (want.type.name, want.code)
            for want in self._interests
            if self._hub.latest(want.type.name, want.code) is None
        )
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

    def get_orderbook(self, code: str) -> OrderbookEvent:
        """The latest order book of a market, from memory. Raises as :meth:`get_ticker`."""
        return self._latest(DataType.ORDERBOOK, code)

    def get_candle(self, code: str, unit: int | str) -> CandleEvent:
        """The latest candle of a market, from memory; ``unit`` is minutes as a number, or ``"1s"``.

        Raises as :meth:`get_ticker`, and :class:`UsageError` for a unit that does not exist.
        """
        return self._latest(DataType.candle(unit), code)

    def stream(
        self,
        types: DataType[E] | Iterable[DataType[E]],
        codes: str | Iterable[str],
        *,
        backpressure: DropOldest | None = None,
    ) -> EventStream[E]:
        """A stream of every type for every market, to be entered with ``async with``.

        Its events are asked for by entering it; no interest has to be registered for it. ``backpressure`` says what
        happens when the consumer is slow; the default is ``DropOldest(1024)``. Raises as :meth:`register_interest`.
        """
        self._check_open()
        return EventStream(self._hub, wants_of(types, codes), backpressure or DropOldest())

    def _latest(self, kind: DataType[E], code: str) -> E:
        code = normalise_code(code)
        if Want(kind, code) not in self._interests:
            self._check_open()
            raise NotRegisteredError(kind.name, code)
        event = self._hub.latest(kind.name, code)
        if event is None:
            raise self._not_ready((kind.name, code))
        return cast("E", event)

    def _not_ready(self, *missing: tuple[str, str]) -> NotReadyError:
        status = self._connection.status()
        return NotReadyError(missing, f"the connection is {status.state.value}, {status.reason}")

    def _check_open(self) -> None:
        if not self._open:
            raise ScopeError(f"the scope of client {self.name!r} has been left; open another one")

    def _close(self) -> None:
        self._open = False
        self._hub.unregister(self._interests)
        self._interests.clear()
