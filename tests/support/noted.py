"""The parts of the library that a manager makes for itself, for tests of what these parts know."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

from upbit_streams import Endpoint, Manager
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.connection import Connection
from upbit_streams.engine.hub import Hub
from upbit_streams.engine.route import Route

__all__ = ["channels_of", "hub_of", "noted", "opened", "routes_of"]

T = TypeVar("T")


@contextmanager
def noted(kind: type[T]) -> Iterator[list[T]]:
    """All objects of a class that are made within the block, in their order."""
    made: list[T] = []
    make: Any = kind.__init__

    def noting(one: T, *arguments: Any, **named: Any) -> None:
        make(one, *arguments, **named)
        made.append(one)

    with patch.object(kind, "__init__", noting):
        yield made


@asynccontextmanager
async def opened(opening: AbstractAsyncContextManager[Manager]) -> AsyncIterator[tuple[Manager, list[Connection]]]:
    """Open a manager, and note its connections."""
    async with AsyncExitStack() as stack:
        with noted(Connection) as connections:
            manager = await stack.enter_async_context(opening)
        yield manager, connections


def hub_of(connections: list[Connection], endpoint: Endpoint = Endpoint.PUBLIC) -> Hub:
    """What one of a manager's connections brings goes here."""
    [hub] = [connection.hub for connection in connections if connection.name == endpoint.value]
    return hub


def routes_of(hub: Hub) -> list[Route]:
    """The topics that somebody wants of it."""
    return hub.holders()[0]


def channels_of(hub: Hub) -> list[Channel]:
    """Whoever is fed by it."""
    return list(hub.holders()[2])
