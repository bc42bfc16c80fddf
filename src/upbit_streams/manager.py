"""The nursery: everything that runs in the background runs in a manager's scope."""

import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from anyio.lowlevel import RunVar, checkpoint

from .client import Client
from .engine.connection import Connection
from .engine.hub import Hub
from .engine.service import open_service
from .exceptions import DuplicateNameError, ScopeError
from .model.config import Config
from .model.metrics import ConnectionStatus
from .rules.rate_limit import CONNECTS, RateLimit
from .transport.interface import Connector
from .transport.websocket import connect

__all__ = ["Manager", "current_manager", "open_manager"]

# The exchange counts connects by address, so all managers of a run share one limit.
_connects: RunVar[RateLimit] = RunVar("upbit_streams_connects")

# Of the running event loop, not of the process: two loops in two threads do not see each other's managers.
_managers: RunVar[dict[str, "Manager"]] = RunVar("upbit_streams_managers")


class Manager:
    """Owns the connection and the clients. Made by :func:`open_manager`, never directly."""

    def __init__(self, name: str, connection: Connection, hub: Hub) -> None:
        self.name = name
        self._connection = connection
        self._hub = hub
        self._clients: dict[str, Client] = {}
        self._open = True

    @asynccontextmanager
    async def open_client(self, name: str) -> AsyncGenerator[Client, None]:
        """A component's scope. What it asks for inside is given back when the block is left.

        Raises :class:`DuplicateNameError` while another client of this name is open, :class:`ScopeError` after the
        manager's own block was left. Cancelling has no effect but to leave the block.
        """
        if not self._open:
            raise ScopeError(f"the block of manager {self.name!r} has been left; open clients inside it")
        if name in self._clients:
            raise DuplicateNameError(f"a client named {name!r} is open already; names of open clients are unique")
        client = self._clients[name] = Client(name, self._hub, self._connection)
        try:
            await checkpoint()
            yield client
        finally:
            del self._clients[name]
            client._close()  # which has been done, if the manager's block was left first

    def _close(self) -> None:
        self._open = False
        for client in self._clients.values():
            client._close()

    def status(self) -> ConnectionStatus:
        """How the connection stands and what it has counted. Cheap, any time."""
        return self._connection.status()

    async def wait_status_changed(self) -> ConnectionStatus:
        """Wait until the connection's state changes, and return it. Cancelling it has no effect on anything.

        Raises :class:`ScopeError` once the manager's block is left.
        """
        if self._open:
            await self._connection.wait_changed()
        if not self._open:
            raise ScopeError(f"the block of manager {self.name!r} has been left; its status changes no more")
        return self._connection.status()


@asynccontextmanager
async def open_manager(
    config: Config | None = None,
    *,
    name: str = "main",
    connector: Connector = connect,
    wall: Callable[[], float] = time.time,  # noqa: TID251 -- the one place where it enters
    draw: Callable[[], float] = random.random,
) -> AsyncGenerator[Manager, None]:
    """Open the scope that all else lives in.

    Cancelling it is leaving the block: the body first, then what runs in the background.

    It connects when the first interest or stream asks for something. Leaving the block, however it is left, ends every
    task and closes every socket; that takes at most ``config.close_timeout``. An exception of the block leaves as it
    was raised, not wrapped in a group. A bug inside the library cancels the block and leaves as
    :class:`FeedCrashedError`.

    ``connector`` opens connections; tests and proxies bring their own. ``wall`` tells seconds since the Unix epoch, and
    ``draw`` a random number from 0 to 1 for the spread of reconnects; tests make both predictable.

    Raises :class:`DuplicateNameError` while another manager of this name is open in this event loop.
    """
    config = config or Config()
    managers = _open_managers()
    if name in managers:
        raise DuplicateNameError(f"a manager named {name!r} is open already; give the second one another name")
    hub = Hub()
    connection = Connection("public", config, hub, connector, _connect_limit(), wall, draw)
    manager = managers[name] = Manager(name, connection, hub)
    try:
        async with open_service(connection.run, f"{name} public connection"):
            try:
                yield manager
            finally:
                manager._close()
    finally:
        del managers[name]


def current_manager(name: str | None = None) -> Manager:
    """The manager that is open in the running event loop, for components that were not handed it.

    Raises :class:`ScopeError` if there is none, or if several are open and no name tells which.
    """
    managers = _open_managers()
    if name is not None and name in managers:
        return managers[name]
    if name is None and len(managers) == 1:
        return next(iter(managers.values()))
    if not managers:
        raise ScopeError("no manager is open here; enter 'async with open_manager():' around this code")
    raise ScopeError(f"which manager? Open here are {', '.join(map(repr, managers))}; ask for one by its name")


def _connect_limit() -> RateLimit:
    try:
        return _connects.get()
    except LookupError:
        limit = RateLimit(CONNECTS)
        _connects.set(limit)
        return limit


def _open_managers() -> dict[str, Manager]:
    try:
        return _managers.get()
    except LookupError:
        managers: dict[str, Manager] = {}
        _managers.set(managers)
        return managers
