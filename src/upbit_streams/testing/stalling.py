"""A socket over which nothing comes through as long as its session is stalled, not even pings and pongs; over which no
ping does once the exchange is about to say goodbye, and that as late as it is to be."""

from collections.abc import Callable, Mapping
from typing import Any

import anyio
from anyio.abc import ByteStream

from .session import Session

__all__ = ["StallingStream"]

_LOOK_SECONDS = 0.05


class StallingStream(ByteStream):
    """A byte stream of the server. It is like the one it is made of while ``session`` is None or is not stalled."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.session: Session | None = None
        self.is_leaving: Callable[[], bool] = lambda: False
        """Whether one of the two has said goodbye."""
        # Read and not handed out yet: a reader that is cancelled in a stall loses nothing.
        self._held = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self._held:
            self._held = await self._stream.receive(max_bytes)
        await self._stall()
        # The WebSocket protocol answers every ping that it reads, until one of the two has said goodbye.
        while self.session is not None and self.session.is_ending and not self.is_leaving():  # noqa: ASYNC110 -- as below
            await anyio.sleep(_LOOK_SECONDS)
        held, self._held = self._held, b""
        return held

    async def send(self, item: bytes) -> None:
        await self._stall()
        if self.session is not None and self.is_leaving():
            await anyio.sleep(self.session.close_seconds)
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes

    async def _stall(self) -> None:
        while self.session is not None and self.session.stalled:  # noqa: ASYNC110 -- a plain set wakes nobody
            await anyio.sleep(_LOOK_SECONDS)
