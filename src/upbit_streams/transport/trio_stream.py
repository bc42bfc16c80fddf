"""A byte stream of anyio as one of trio's, for a library that knows trio only. Import it on trio only."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio
import trio
from anyio.abc import ByteStream

from .opening import ENDED, reason

__all__ = ["TrioStream"]

_CLOSE = b"\x88"
"""How a close frame begins."""


class TrioStream(trio.abc.Stream):
    """The stream, and whether what is done over it has an end."""

    def __init__(self, stream: ByteStream) -> None:
        self.wrapped = stream
        self.shaken = anyio.Event()
        """The handshake over this stream is over, well or not. The library does not tell that the stream has ended
        before the handshake has."""
        self.failure = ""
        """How the stream ended, in words."""
        self.said_goodbye = False
        """Whether a close frame was sent. The library tells of a close in the same way, whoever found a reason for it;
        but it answers one of the other side's, and says nothing when it cannot understand what has come."""
        self.before_read: Callable[[], object] = lambda: None
        """Called before each read. It may raise what a read may."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        # The library sends each frame by itself.
        self.said_goodbye = self.said_goodbye or bytes(data[:1]) == _CLOSE
        with self._as_trio_does():
            await self.wrapped.send(bytes(data))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self.before_read()
        with self._as_trio_does():
            try:
                return await self.wrapped.receive(max_bytes or 65536)
            except anyio.EndOfStream:
                self._over("it hung up")
                return b""

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._over("it broke off")
        await anyio.aclose_forcefully(self.wrapped)

    def _over(self, why: str) -> None:
        self.failure = self.failure or why
        self.shaken.set()

    @contextmanager
    def _as_trio_does(self) -> Generator[None, None, None]:
        try:
            yield
        except anyio.ClosedResourceError:
            self._over("closed here")
            raise trio.ClosedResourceError from None
        except ENDED as why:
            self._over(reason(why))
            raise trio.BrokenResourceError from why
