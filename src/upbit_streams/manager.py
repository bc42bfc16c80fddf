"""The nursery: everything that runs in the background runs in a manager's scope."""

import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from anyio.lowlevel import RunVar, checkpoint

from .auth import Credentials, KeySource
from .client import Client
from .engine.account import Account
from .engine.connection import Connection
from .engine.connects import connects_of
from .engine.hub import Hub
from .engine.independence import Witness
from .engine.keepers import Keepers
from .engine.login import Login
from .engine.memory import memory_bound
from .engine.service import Tasks, first_of, open_service
from .engine.user_code import checked_draw, checked_wall
from .exceptions import DuplicateNameError, InvalidConfigError, ScopeError, UsageError
from .model.clients import ClientStatistics
from .model.config import Config
from .model.health import Health, PerformanceMetrics
from .model.kinds import Endpoint
from .model.memory import MemoryBound
from .model.metrics import ConnectionStatus, Independence
from .transport.interface import Connector
from .transport.websocket import connect

__all__ = ["Manager", "current_manager", "open_manager"]

# Of the running event loop, not of the process: two loops in two threads do not see each other's managers.
_managers: RunVar[dict[str, "Manager"]] = RunVar("upbit_streams_managers")


class Manager:
    """Owns the connections and the clients. Made by :func:`open_manager`, never directly."""

    def __init__(
        self,
        name: str,
        connections: Mapping[Endpoint, Connection],
        account: Account,
        login: Login,
        witness: Witness,
        keepers: Keepers,
        clients: dict[str, Client],
        wall: Callable[[], float],
        config: Config,
    ) -> None:
        self.name = name
        self._connections = connections
        self._account = account
        self._login = login
        self._witness = witness
        self._keepers = keepers
        self._clients = clients
        self._wall = wall
        self._config = config
        self._open = True

    @asynccontextmanager
    async def open_client(self, name: str) -> AsyncGenerator[Client, None]:
        """A component's scope. What it asks for inside is given back when the block is left, and its callbacks end.

        The name is the client's id: :meth:`clients` and the names of its tasks tell it. Raises
        :class:`DuplicateNameError` while another client of this name is open, :class:`UsageError` for a name that is
        empty or no text, :class:`ScopeError` after the manager's own block was left. What a callback raises leaves the
        block as it was raised. Cancelling has no effect but to leave the block.
        """
        if not self._open:
            raise ScopeError(f"the block of manager {self.name!r} has been left; open clients inside it")
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"a client's name is a text that tells it from the others, not {name!r}")
        if name in self._clients:
            raise DuplicateNameError(f"a client named {name!r} is open already; give this one another name")
        tasks = Tasks()
        client = self._clients[name] = Client(name, self._connections, self._account, tasks.start, self._wall())
        try:
            async with tasks.open():
                await checkpoint()
                yield client
        finally:
            del self._clients[name]
            client._close()  # which has been done, if the manager's block was left first

    def _close(self) -> None:
        self._open = False
        self._keepers.close()
        for client in self._clients.values():
            client._close()

    def set_credentials(self, credentials: KeySource) -> None:
        """Log in with another key from now on.

        A connection whose key the exchange refuses tries again at once. One that is open stays as it is, and takes the
        new key the next time it connects. What was told of an account is forgotten as soon as nothing more can be told
        of it, that is at once or when the connection that is open ends; unless it is known to be the same key.
        """
        if problem := _problem_with(credentials):
            del credentials  # it may be a key, and a traceback with local variables shows it
            raise InvalidConfigError(problem)
        self._login.replace(credentials)
        for connection in self._connections.values():
            connection.recover()  # at once, so that who waits from now on waits for the new key

    def status(self, endpoint: Endpoint = Endpoint.PUBLIC) -> ConnectionStatus:
        """How a connection stands and what it has counted. Cheap, any time."""
        return self._connections[endpoint].status()

    def independence(self) -> Independence:
        """What the trouble of each connection did to the others, measured since the manager was opened. Cheap, any
        time."""
        return self._witness.report()

    def health(self) -> Health:
        """How well what is wanted is served, as it is at this moment. Cheap, any time.

        A task of the manager looks at it every 30 s and logs it when the status has changed.
        """
        return self._keepers.health()

    def metrics(self) -> PerformanceMetrics:
        """What the manager does in numbers, as they are at this moment. Cheap, any time.

        Rates are those of the last minute: a task of the manager samples the counters every 10 s.
        """
        return self._keepers.metrics()

    def clients(self) -> tuple[ClientStatistics, ...]:
        """What each open client has open and has taken, in the order of opening. Cheap, any time."""
        return tuple(client.statistics() for client in self._clients.values())

    def memory_bound(self) -> MemoryBound:
        """The most memory that all that is open now may take, in bytes, as it is configured. Any time; it takes a
        moment for each topic of each stream."""
        return memory_bound([connection.hub for connection in self._connections.values()], self._config)

    async def wait_status_changed(self, endpoint: Endpoint = Endpoint.PUBLIC) -> ConnectionStatus:
        """Wait until a connection's state changes, and return it. Cancelling it has no effect on anything.

        Raises :class:`ScopeError` once the manager's block is left.
        """
        if self._open:
            await self._connections[endpoint].wait_changed()
        if not self._open:
            raise ScopeError(f"the block of manager {self.name!r} has been left; its status changes no more")
        return self.status(endpoint)


@asynccontextmanager
async def open_manager(
    config: Config | None = None,
    *,
    credentials: KeySource | None = None,
    name: str = "main",
    connector: Connector = connect,
    wall: Callable[[], float] = time.time,  # noqa: TID251 -- the one place where it enters
    draw: Callable[[], float] = random.random,
) -> AsyncGenerator[Manager, None]:
    """Open the scope that all else lives in.

    Cancelling it is leaving the block: the body first, then what runs in the background.

    It connects when the first interest or stream asks for something, to the endpoint that serves it. Leaving the block,
    however it is left, ends every task and closes every socket; that takes at most ``config.close_timeout``. An
    exception of the block leaves as it was raised, not wrapped in a group. A bug inside the library cancels the block
    and leaves as :class:`FeedCrashedError`.

    ``credentials`` are the API key that orders, balances, announcements and indicators need: :class:`Credentials`, or a
    function that gets them before every handshake. Without, they are taken from ``UPBIT_ACCESS_KEY`` and
    ``UPBIT_SECRET_KEY`` in the environment when they are first needed. ``connector`` opens connections; tests and
    proxies bring their own. ``wall`` tells seconds since the Unix epoch, and ``draw`` a random number from 0 to 1 for
    the spread of reconnects; tests make both predictable. In virtual time a ``wall`` has to be given that moves with
    the event loop's clock. A manager with a ``wall`` of its own shares the exchange's limit of connects with those of
    its event loop only; all others share it in the whole process, in whatever threads and loops they are.

    Raises :class:`DuplicateNameError` while another manager of this name is open in this event loop. A setting that
    turns out to be wrong only when it is used, as a ``connector`` that gives no transport, a ``wall`` that gives no
    time, or TLS settings that verify nobody, cancels the block and leaves as :class:`InvalidConfigError`. Whatever else
    a ``connector`` raises is a failed attempt, which is tried again.
    """
    if credentials is not None and (problem := _problem_with(credentials)):
        del credentials  # as above
        raise InvalidConfigError(problem)
    if not callable(connector):
        raise InvalidConfigError(f"connector is a function that opens a connection to a URL, not {connector!r}")
    config = config or Config()
    managers = _open_managers()
    if name in managers:
        raise DuplicateNameError(f"a manager named {name!r} is open already; give the second one another name")
    account, login, witness, connects = Account(), Login(credentials), Witness(), connects_of(wall)
    wall, draw = checked_wall(wall), checked_draw(draw)
    hubs = {
        Endpoint.PUBLIC: Hub(),
        Endpoint.PRIVATE: Hub(account, confirms=True),
        Endpoint.INFO: Hub(confirms=True),
    }
    connections = {
        endpoint: Connection(
            endpoint,
            config,
            hub,
            connector,
            connects,
            None if endpoint is Endpoint.PUBLIC else login,
            witness,
            wall,
            draw,
        )
        for endpoint, hub in hubs.items()
    }
    clients: dict[str, Client] = {}
    keepers = Keepers(name, list(connections.values()), account, clients.values(), wall)
    manager = managers[name] = Manager(name, connections, account, login, witness, keepers, clients, wall, config)
    tasks = {f"{endpoint} connection": each.run for endpoint, each in connections.items()}
    run = partial(first_of, **tasks, **keepers.tasks())
    try:
        async with open_service(run, f"{name} connections"):
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


def _problem_with(credentials: object) -> str:
    """Why this can be no source of keys; empty if it can."""
    if isinstance(credentials, Credentials) or callable(credentials):
        return ""
    kind = type(credentials).__name__
    return f"credentials must be Credentials(access_key, secret_key), or a function that gives them, not a {kind}"


def _open_managers() -> dict[str, Manager]:
    try:
        return _managers.get()
    except LookupError:
        managers: dict[str, Manager] = {}
        _managers.set(managers)
        return managers
