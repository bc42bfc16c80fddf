"""What goes over the wire in both directions, written down: the truth that a test compares with what was delivered."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import attrs
import msgspec

from upbit_streams import Config, ConnectionLostError, Connector, Endpoint, Secret
from upbit_streams.testing.paths import endpoint_of
from upbit_streams.transport.interface import Transport

__all__ = ["Life", "Tap"]


@attrs.define(eq=False)
class Life:
    """One connection, from the handshake on. Times are the event loop's."""

    endpoint: Endpoint
    number: int
    """1 for the endpoint's first connection, then 2, 3, ..."""
    begun_at: float
    ended_at: float | None = None
    """When this side knew that it had ended, or ended it."""
    frames: list[Any] = attrs.field(factory=list)
    """What was received, decoded; None where that is not possible."""
    requests: list[tuple[float, Any]] = attrs.field(factory=list)
    """What was sent, and when."""


@attrs.define(eq=False)
class Tap:
    """Listens to all connections that :meth:`connector` makes."""

    lives: dict[Endpoint, list[Life]] = attrs.field(factory=lambda: {endpoint: [] for endpoint in Endpoint})
    heard: Callable[[Life, Any], None] = lambda life, frame: None
    """Called with each frame, before anybody else sees it."""
    asked: Callable[[Life, Any], None] = lambda life, request: None
    """Called with each request, in the moment in which it is sent."""
    ended: Callable[[Life], None] = lambda life: None
    """Called when a connection has ended, or is being closed."""

    def connector(self, connect: Connector) -> Connector:
        """The same connector, listened to."""

        async def tapped(url: str, config: Config, token: Secret | None = None) -> Transport:
            transport = await connect(url, config, token)
            endpoint = endpoint_of(url)
            lives = self.lives[endpoint]
            lives.append(Life(endpoint, len(lives) + 1, anyio.current_time()))
            return _TappedTransport(transport, lives[-1], self)

        return tapped


class _TappedTransport:
    def __init__(self, inner: Transport, life: Life, tap: Tap) -> None:
        self._inner = inner
        self._life = life
        self._tap = tap

    async def receive(self) -> Sequence[bytes | str]:
        try:
            frames = await self._inner.receive()
        except ConnectionLostError:
            self._note_end()
            raise
        for frame in frames:
            content = _decoded(frame)
            self._life.frames.append(content)
            self._tap.heard(self._life, content)
        return frames

    async def send(self, message: str) -> None:
        request = msgspec.json.decode(message)
        self._life.requests.append((anyio.current_time(), request))
        self._tap.asked(self._life, request)
        await self._inner.send(message)

    async def ping(self) -> None:
        await self._inner.ping()

    async def aclose(self) -> None:
        self._note_end()
        await self._inner.aclose()

    def _note_end(self) -> None:
        if self._life.ended_at is None:
            self._life.ended_at = anyio.current_time()
            self._tap.ended(self._life)


def _decoded(frame: bytes | str) -> Any:
    try:
        return msgspec.json.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
