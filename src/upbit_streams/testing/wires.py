"""Wires in memory: the real WebSocket protocol in virtual time, with faults at any byte.

``memory_connector`` leaves the protocol out. Here everything runs but the kernel: the default transport on the one
end, the simulated exchange's server on the other, and between them a wire that can be chopped, slowed, stalled, cut.
"""

import errno
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

from ..engine.service import Tasks, open_service
from ..model.config import Config
from ..model.secret import Secret
from ..transport.interface import Transport
from ..transport.websocket import connect
from .exchange import SimulatedExchange
from .server import serve_client

__all__ = ["Direction", "Wire", "Wires", "open_wires", "serve_wires"]

_CAPACITY = 1 << 16
_SLICE = 0.05
"""How finely a slow direction is cut, in seconds."""


class Direction:
    """One direction of a wire. Its attributes may be set at any time, and hold from the next byte that arrives."""

    def __init__(self, wire: "Wire") -> None:
        self.chop: int | None = None
        """At most so many bytes arrive at a time, wherever that cuts a frame."""
        self.rate: float | None = None
        """So many bytes a second arrive. Whoever sends more has to wait once 64 KiB are on their way."""
        self.dead = False
        """What is sent from now on is lost, the end of the connection included, and neither side is told."""
        self.reset_after: int | None = None
        """The wire is reset as soon as so many more bytes have arrived."""
        self.arrived = 0
        """How many bytes have arrived so far."""
        self._wire = wire
        self._data = bytearray()
        self._finished = False  # the sender sends nothing more
        self._ended = False  # and the receiver is told
        self._abandoned = False  # the receiver takes nothing more
        self._broken = False  # and the sender is told
        self._ready_at = -math.inf
        self._stalled_until = -math.inf
        self._changed = anyio.Event()

    @property
    def is_abandoned(self) -> bool:
        """Whether the receiver has closed its end, and takes nothing more."""
        return self._abandoned

    def stall(self, seconds: float = math.inf) -> None:
        """Let nothing arrive for so many seconds from now, or until :meth:`resume`. Nothing is lost."""
        self._stalled_until = anyio.current_time() + seconds

    def resume(self) -> None:
        """End a stall."""
        self._stalled_until = -math.inf
        self._wake()

    async def _receive(self, max_bytes: int) -> bytes:
        await checkpoint()
        while True:
            self._wire._check()
            if self._abandoned:
                raise anyio.ClosedResourceError
            changed, anything = self._changed, self._data or self._ended
            ready_at = max(self._stalled_until, self._ready_at) if anything else math.inf
            if anything and ready_at <= anyio.current_time():
                break
            with anyio.CancelScope(deadline=ready_at):
                await changed.wait()
        if not self._data:
            raise anyio.EndOfStream
        limits = [max_bytes, self.chop, self.reset_after, None if self.rate is None else int(self.rate * _SLICE)]
        size = max(1, min(limit for limit in limits if limit is not None))
        data = bytes(self._data[:size])
        del self._data[:size]
        self._count(len(data))
        return data

    def _count(self, size: int) -> None:
        """So many bytes have arrived."""
        self.arrived += size
        if self.rate is not None:
            self._ready_at = anyio.current_time() + size / self.rate
        if self.reset_after is not None:
            self.reset_after -= size
            if self.reset_after <= 0:
                self._wire.reset()
        self._wake()

    async def _send(self, data: bytes) -> None:
        await checkpoint()
        while True:
            self._wire._check()
            if self._finished:
                raise anyio.ClosedResourceError
            if self._broken:
                raise anyio.BrokenResourceError
            room = len(data) if self.dead else _CAPACITY - len(self._data)
            if not self.dead and room > 0:
                self._data += data[:room]
                self._wake()
            data = data[room:]
            if not data:
                return
            await self._changed.wait()

    def _finish(self) -> None:
        """The sender has sent all it will."""
        self._finished = True
        self._ended = self._ended or not self.dead
        self._wake()

    def _abandon(self, *, told: bool) -> None:
        """The receiver has gone."""
        self._abandoned = True
        self._broken = told
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class Wire:
    """The wire of one connection. ``up`` goes from the client to the exchange, ``down`` back."""

    def __init__(self) -> None:
        self.up = Direction(self)
        self.down = Direction(self)
        self._is_reset = False

    def reset(self) -> None:
        """Break the connection now, without an end: what is on its way is lost, and both sides are told."""
        self._is_reset = True
        self.up._wake()
        self.down._wake()

    def _check(self) -> None:
        if self._is_reset:
            raise anyio.BrokenResourceError from ConnectionResetError(errno.ECONNRESET, "")


class _End(ByteStream):
    """What one side has of a wire in its hands."""

    def __init__(self, incoming: Direction, outgoing: Direction) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._reading = anyio.ResourceGuard("reading from")
        self._writing = anyio.ResourceGuard("writing to")

    async def receive(self, max_bytes: int = 65536) -> bytes:
        with self._reading:
            return await self._incoming._receive(max_bytes)

    async def send(self, item: bytes) -> None:
        with self._writing:
            await self._outgoing._send(item)

    async def send_eof(self) -> None:
        self._outgoing._finish()
        await checkpoint()

    async def aclose(self) -> None:
        self._outgoing._finish()
        self._incoming._abandon(told=not self._outgoing.dead)
        await checkpoint()


class Wires:
    """Wires to a server in the same event loop: as many as clients open."""

    def __init__(self, handler: Callable[[ByteStream], Awaitable[object]], tasks: Tasks) -> None:
        self.open: list[Wire] = []
        """Those of the connections that the server has not dropped, oldest first."""
        self.prepare: Callable[[Wire], object] = lambda wire: None
        """Called with each new wire before the first byte. Set it to have a fault in a handshake."""
        self.unreachable = False
        """Set it, and nobody can connect."""
        self._handler = handler
        self._tasks = tasks

    async def connect(self, url: str, config: Config, token: Secret | None = None) -> Transport:
        """The default transport over a new wire, without TLS, whatever the URL. It is a
        :data:`~upbit_streams.transport.interface.Connector`."""
        return await connect(url.replace("wss://", "ws://", 1), config, token, dial=self.dial)

    async def dial(self, host: str, port: int) -> ByteStream:
        """The client's end of a new wire; its other end is served. Raises ``ConnectionRefusedError``."""
        await checkpoint()
        if self.unreachable:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "")
        wire = Wire()
        self.prepare(wire)
        self.open.append(wire)
        self._tasks.start(partial(self._serve, wire), "upbit-streams wire")
        return _End(wire.down, wire.up)

    async def _serve(self, wire: Wire) -> None:
        end = _End(wire.up, wire.down)
        try:
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                await self._handler(end)
        finally:
            self.open.remove(wire)
            await anyio.aclose_forcefully(end)


@asynccontextmanager
async def open_wires(exchange: SimulatedExchange, wall: Callable[[], float]) -> AsyncGenerator[Wires, None]:
    """Serve an exchange over wires in memory as long as the block. ``wall`` tells seconds since the Unix epoch, and
    must move with the event loop's clock.

    Leaving the block drops every session, as an exchange that is killed does.
    """
    async with serve_wires(partial(serve_client, exchange, wall)) as wires:
        yield wires


@asynccontextmanager
async def serve_wires(handler: Callable[[ByteStream], Awaitable[object]]) -> AsyncGenerator[Wires, None]:
    """The same with a server of one's own: the handler is given the server's end of each wire, which is closed when it
    returns. What the handler raises, if it is not the end of its stream, is a bug, and ends the block."""
    tasks = Tasks()

    async def run() -> None:
        async with tasks.open():
            started.set()
            await anyio.sleep_forever()

    started = anyio.Event()
    async with open_service(run, "wires"):
        await started.wait()
        yield Wires(handler, tasks)
