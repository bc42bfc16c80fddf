"""Where a check runs: a connector, and a place where the other side can be played."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Protocol

import anyio
import attrs
from anyio.abc import ByteStream, SocketAttribute

from ...engine.service import open_service
from ...model.config import Config
from ...model.secret import Secret
from ...transport.interface import Connector, Dial, Transport
from ...transport.websocket import connect
from ..exchange import SimulatedExchange
from ..memory import memory_connector
from ..paths import PUBLIC_PATH
from ..server import serve_client
from ..wires import Wire, serve_wires

__all__ = ["Handler", "Stage", "in_memory", "on_loopback", "on_wires"]

Handler = Callable[[ByteStream], Awaitable[object]]
Served = AbstractAsyncContextManager[tuple[Connector, str]]

_START = 1_790_000_000.0


@attrs.frozen
class Stage:
    """A connector, and a place where its other side can be played. Made by :func:`on_loopback`, :func:`on_wires` and
    :func:`in_memory`."""

    play: Callable[[SimulatedExchange], Served]
    """Serves an exchange as long as a block. Comes with a connector to it, and its URL."""
    serve: Callable[[Handler], Served] | None
    """The same with a server of bytes; None for a connector that does without."""
    unreachable: Callable[[], Served] | None
    """The same where nobody listens."""
    wall: Callable[[], float]
    """The time of day, in seconds since the Unix epoch."""


class DiallingConnector(Protocol):
    """A connector that can be told how to open its stream of bytes."""

    async def __call__(
        self, url: str, config: Config, token: Secret | None = None, *, dial: Dial | None = None
    ) -> Transport: ...


def on_loopback(connector: Connector) -> Stage:
    """Any connector, over sockets on this machine, in real time."""
    wall = time.time  # noqa: TID251 -- real sockets live in real time

    @asynccontextmanager
    async def serve(handler: Handler) -> AsyncGenerator[tuple[Connector, str], None]:
        async def handle(stream: ByteStream) -> None:
            try:
                with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                    await handler(stream)
            finally:
                await anyio.aclose_forcefully(stream)

        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(SocketAttribute.local_port)  # noqa: S610 -- this is not Django's
            async with open_service(partial(listener.serve, handle), "conformance server"):
                yield connector, f"ws://127.0.0.1:{port}{PUBLIC_PATH}"

    @asynccontextmanager
    async def unreachable() -> AsyncGenerator[tuple[Connector, str], None]:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(SocketAttribute.local_port)  # noqa: S610 -- this is not Django's
        yield connector, f"ws://127.0.0.1:{port}{PUBLIC_PATH}"

    return Stage(lambda exchange: serve(partial(serve_client, exchange, wall)), serve, unreachable, wall)


def on_wires(connector: DiallingConnector = connect, prepare: Callable[[Wire], object] | None = None) -> Stage:
    """The default transport over wires in memory, in virtual time; or any connector that takes a ``dial``. ``prepare``
    is called with each new wire, to chop or slow it."""

    @asynccontextmanager
    async def serve(handler: Handler, *, refuse: bool = False) -> AsyncGenerator[tuple[Connector, str], None]:
        async with serve_wires(handler) as wires:
            wires.unreachable = refuse
            wires.prepare = prepare or wires.prepare
            yield partial(connector, dial=wires.dial), f"ws://localhost{PUBLIC_PATH}"

    return Stage(
        lambda exchange: serve(partial(serve_client, exchange, _virtual_wall)),
        serve,
        lambda: serve(anyio.aclose_forcefully, refuse=True),
        _virtual_wall,
    )


def in_memory(connector: Callable[[SimulatedExchange, Callable[[], float]], Connector] = memory_connector) -> Stage:
    """A connector without bytes, in virtual time. Only :data:`EXCHANGE_CHECKS` apply."""

    @asynccontextmanager
    async def play(exchange: SimulatedExchange) -> AsyncGenerator[tuple[Connector, str], None]:
        yield connector(exchange, _virtual_wall), f"ws://memory{PUBLIC_PATH}"

    return Stage(play, None, None, _virtual_wall)


def _virtual_wall() -> float:
    return _START + anyio.current_time()
