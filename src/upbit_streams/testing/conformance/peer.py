"""The other side of a connection, played by a check: messages, frames or plain bytes."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import ByteStream
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from ...model.config import Config
from ...transport.interface import Transport
from ...transport.websocket import quiet
from .check import expect
from .stage import Stage

__all__ = ["CONFIG", "Peer", "talking"]

CONFIG = Config(connect_timeout=5.0, close_timeout=0.5)
_READ_SIZE = 1 << 16


class Peer:
    """The server's side of one connection."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.protocol = ServerProtocol(max_size=None, logger=quiet)
        self._events: list[Any] = []

    async def shake_hands(self) -> Request:
        """Accept the client."""
        request: Request = await self._event()
        self.protocol.send_response(self.protocol.accept(request))
        await self.flush()
        return request

    async def send(self, *contents: str | bytes) -> None:
        """Send messages, all in one write."""
        for content in contents:
            if isinstance(content, str):
                self.protocol.send_text(content.encode())
            else:
                self.protocol.send_binary(content)
        await self.flush()

    async def flush(self) -> None:
        """Send what the protocol has to say, answers included."""
        await self.stream.send(b"".join(self.protocol.data_to_send()))

    async def frame(self) -> tuple[Opcode, bytes]:
        """The next frame that the client sends."""
        frame: Frame = await self._event()
        return frame.opcode, bytes(frame.data)

    async def at_end(self) -> None:
        """Read on until the client has gone."""
        try:
            while True:
                await self.stream.receive(_READ_SIZE)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass

    async def _event(self) -> Any:
        while not self._events:
            self.protocol.receive_data(await self.stream.receive(_READ_SIZE))
            self._events += self.protocol.events_received()
        return self._events.pop(0)


@asynccontextmanager
async def talking(stage: Stage, config: Config = CONFIG) -> AsyncGenerator[tuple[Transport, Peer], None]:
    """A connection and its other side. Both are closed at the end."""
    sender, receiver = anyio.create_memory_object_stream[Peer](1)

    async def handle(stream: ByteStream) -> None:
        peer = Peer(stream)
        await peer.shake_hands()
        await sender.send(peer)
        await anyio.sleep_forever()

    async with sender, receiver, served(stage)(handle) as (connect, url):
        transport = await connect(url, config, None)
        try:
            yield transport, await receiver.receive()
        finally:
            with anyio.CancelScope() as closing:
                closing.cancel()
                await transport.aclose()


def served(stage: Stage) -> Callable[..., Any]:
    """The stage's way to play the other side."""
    expect(stage.serve is not None, "This check needs a stage that speaks in bytes.")
    assert stage.serve is not None  # noqa: S101 -- for the type checkers
    return stage.serve
