"""The simulated exchange without sockets, for virtual time."""

from collections.abc import Callable, Sequence

import anyio
from anyio.lowlevel import checkpoint

from ..exceptions import ConnectionLostError, HandshakeRefusedError
from ..model.config import Config
from ..model.secret import Secret
from ..transport.interface import Connector
from .conditions import Refusal
from .exchange import SimulatedExchange
from .paths import endpoint_of
from .session import Session

__all__ = ["memory_connector"]

_STALL_LOOK = 0.5


def memory_connector(exchange: SimulatedExchange, wall: Callable[[], float]) -> Connector:
    """A connector to a simulated exchange in the same event loop. ``wall`` tells seconds since the Unix epoch, and must
    move with the event loop's clock. The path of the URL says which endpoint it is."""

    async def connect(url: str, config: Config, token: Secret | None = None) -> _MemoryTransport:
        await checkpoint()
        try:
            session = exchange.connect(wall(), endpoint_of(url), None if token is None else token.reveal())
            return _MemoryTransport(session, wall)
        except Refusal as refusal:
            raise HandshakeRefusedError(url, refusal.status, refusal.body) from None

    return connect


class _MemoryTransport:
    """A :class:`~upbit_streams.transport.interface.Transport` that talks to a session directly."""

    def __init__(self, session: Session, wall: Callable[[], float]) -> None:
        self._session = session
        self._wall = wall
        self._closed = False
        self._woken = anyio.Event()
        session.wake = self._wake

    async def receive(self) -> Sequence[bytes]:
        while True:
            await checkpoint()
            woken, now = self._woken, self._wall()
            if frames := self._session.take(now):
                return frames
            self._check_ended(now)
            with anyio.move_on_after(max(self._session.next_time() - now, 0.0)):
                await woken.wait()

    async def send(self, message: str) -> None:
        await checkpoint()
        self._check_ended(self._wall())
        self._session.receive(self._wall(), message)

    async def ping(self) -> None:
        await checkpoint()
        self._check_ended(self._wall())
        self._session.touch(self._wall())
        while self._session.stalled or self._session.is_ending:
            await anyio.sleep(_STALL_LOOK)
            self._check_ended(self._wall())
        if (waiting := self._session.pong_at(self._wall()) - self._wall()) > 0:
            await anyio.sleep(waiting)
            self._check_ended(self._wall())

    async def aclose(self) -> None:
        seconds = 0.0 if self._closed else self._session.close_seconds
        self._closed = True
        self._wake()
        try:
            await anyio.sleep(seconds)
        finally:
            self._session.close()

    def _check_ended(self, now: float) -> None:
        if self._closed:
            raise ConnectionLostError("closed here with code 1000", 1000)
        if closing := self._session.ended(now):
            if closing.code is None:
                raise ConnectionLostError("the socket ended without a close frame")
            raise ConnectionLostError(f"the exchange closed it with code {closing.code}", closing.code)

    def _wake(self) -> None:
        self._woken.set()
        self._woken = anyio.Event()
