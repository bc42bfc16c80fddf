"""What a manager asks its exchange for."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
from tests.support.world import NumberedSource, wall

from upbit_streams import Config, Manager, Secret, open_manager
from upbit_streams.testing import SimulatedExchange, memory_connector
from upbit_streams.testing.sources import Source
from upbit_streams.transport.interface import Transport

__all__ = ["asked", "spied_manager"]


@attrs.define
class _Spy:
    """A transport that notes the requests that are sent through it, without the questions whether they are served."""

    inner: Transport
    sent: list[Any]

    async def receive(self) -> Sequence[bytes | str]:
        return await self.inner.receive()

    async def send(self, message: str) -> None:
        request = json.loads(message)
        if not any("method" in part for part in request):
            self.sent.append(request)
        await self.inner.send(message)

    async def ping(self) -> None:
        await self.inner.ping()

    async def aclose(self) -> None:
        await self.inner.aclose()


@asynccontextmanager
async def spied_manager(
    source: Source | None = None, **settings: Any
) -> AsyncIterator[tuple[Manager, SimulatedExchange, list[Any]]]:
    """A manager of which every request is noted."""
    exchange, sent = SimulatedExchange(source or NumberedSource()), list[Any]()
    connect = memory_connector(exchange, wall)

    async def spying(url: str, config: Config, token: Secret | None) -> Transport:
        return _Spy(await connect(url, config, token), sent)

    async with open_manager(
        Config(url="ws://memory", **settings), connector=spying, wall=wall, draw=lambda: 0.5
    ) as manager:
        yield manager, exchange, sent


def asked(request: Any) -> dict[str, list[str]]:
    """The codes by type of a request."""
    return {part["type"]: part["codes"] for part in request if "type" in part}
