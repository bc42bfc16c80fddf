"""A real event loop that something really blocks, and an exchange that has nothing to do with that."""

import time
from dataclasses import dataclass
from functools import partial

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.from_thread import start_blocking_portal
from tests.support.world import NumberedSource

from upbit_streams import Config, DataType, open_manager
from upbit_streams.testing import SimulatedExchange, open_exchange
from upbit_streams.transport.websocket import connect

pytestmark = pytest.mark.socket

PING_TIMEOUT, LONGER = 0.3, 0.4
BLOCKED = 2
PING = 0x9


@dataclass
class BlockedAfterPing(ByteStream):
    """A stream that blocks the event loop as soon as a ping is on its way, so that nobody reads the pong in time."""

    stream: ByteStream
    pings: int = 0

    async def send(self, item: bytes) -> None:
        await self.stream.send(item)
        if item[0] & 0x0F == PING:
            self.pings += 1
            if self.pings <= BLOCKED:
                block()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self.stream.receive(max_bytes)

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()


def block() -> None:
    time.sleep(LONGER)


async def test_a_blocked_event_loop_does_not_cost_a_healthy_connection() -> None:
    """The pong comes while nothing runs; when something runs again, the time-out is over and the pong lies unread."""
    streams: list[BlockedAfterPing] = []

    async def dial(host: str, port: int) -> ByteStream:
        streams.append(BlockedAfterPing(await anyio.connect_tcp(host, port)))
        return streams[-1]

    exchange = SimulatedExchange(NumberedSource())
    # In a thread of its own, it goes on while ours is blocked.
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_exchange(exchange)) as url:
        config = Config(url=url, ping_interval=0.1, ping_timeout=PING_TIMEOUT, close_timeout=0.5)
        async with (
            open_manager(config, connector=partial(connect, dial=dial)) as manager,
            manager.open_client("test") as client,
            client.stream(DataType.TRADE, "KRW-BTC"),
        ):
            with anyio.fail_after(10):
                # The next ping on the same connection tells that it has outlived the blocked ones.
                while sum(stream.pings for stream in streams) <= BLOCKED:  # noqa: ASYNC110 -- a stream tells nobody
                    await anyio.sleep(0.02)
            epoch = manager.status().epoch
            assert epoch is not None
            assert (epoch.number, len(streams)) == (1, 1), epoch.reason
