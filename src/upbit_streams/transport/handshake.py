"""The bytes of a handshake, and what they say if the answer is a refusal."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from anyio.abc import ByteStream

__all__ = ["HandshakeStream"]

_MOST_BODY = 1 << 16
_BODY_SECONDS = 1.0
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r?\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class HandshakeStream(ByteStream):
    """A stream for the time of the handshake. It ends soon after an answer that is a refusal.

    The body of such an answer may have no length and the server may keep the socket open, so that its end never comes;
    what has come within a second is enough.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.wrapped = stream
        self.status = 0
        """Of an answer that is no upgrade; 0 as long as there is none."""
        self.body = b""
        """What has come behind its head."""
        self._head = b""
        # Whoever waits for the handshake, which need not be the task that reads.
        self._until = anyio.current_effective_deadline()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self.status:
            data = await self.wrapped.receive(max_bytes)
            self._look_at(data)
            return data
        if len(self.body) < _MOST_BODY:
            with anyio.CancelScope(deadline=self._until):
                data = await self.wrapped.receive(max_bytes)
                self.body += data
                return data
        raise anyio.EndOfStream

    async def send(self, item: bytes) -> None:
        await self.wrapped.send(item)

    async def send_eof(self) -> None:
        await self.wrapped.send_eof()

    async def aclose(self) -> None:
        await self.wrapped.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self.wrapped.extra_attributes

    def _look_at(self, data: bytes) -> None:
        if len(self._head) >= _MOST_BODY:
            return
        self._head += data
        end = _END_OF_HEAD.search(self._head)
        status = _STATUS.match(self._head)
        if end is None or status is None or status[1] == b"101":
            return
        self.status = int(status[1])
        self.body = self._head[end.end() :]
        # Well before whoever waits for the handshake loses patience.
        now = anyio.current_time()
        self._until = min(now + _BODY_SECONDS, (now + self._until) / 2)
