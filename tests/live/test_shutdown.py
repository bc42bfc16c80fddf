"""How a manager is left: with which error, how soon, and what still works meanwhile."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

import anyio
import attrs
import pytest
from tests.support.world import CODES, NumberedSource, wall

from upbit_streams import (
    Backoff,
    Config,
    ConnectionState,
    Credentials,
    DataType,
    FeedCrashedError,
    Manager,
    open_manager,
)
from upbit_streams.engine import connection as connection_module
from upbit_streams.engine import reconciler as reconciler_module
from upbit_streams.engine.clocks import Clocks
from upbit_streams.engine.connects import Connects
from upbit_streams.engine.hub import Hub
from upbit_streams.engine.reconciler import Reconciler
from upbit_streams.engine.service import open_service
from upbit_streams.engine.watchdog import Watchdog
from upbit_streams.testing import (
    Ban,
    Fault,
    Player,
    Refusal,
    Refuse,
    SimulatedExchange,
    SlowClose,
    Stall,
    Wire,
    Wires,
    memory_connector,
    open_wires,
)
from upbit_streams.wire.decode import Decoder

CONFIG = Config(url="ws://localhost/websocket/v1", backoff=Backoff(initial=8.0, maximum=8.0), ping_interval=2.0)


class _Mine(BaseException):
    """No ``Exception``, like those that mean to end a program."""


def _strike(exchange: SimulatedExchange, *script: Fault) -> None:
    Player(script, exchange, wall()).advance(wall())


def _never_answered(wires: Wires, _: SimulatedExchange) -> None:
    def stall(wire: Wire) -> None:
        wire.down.stall(math.inf)

    wires.prepare = stall


def _half_open(wires: Wires, _: SimulatedExchange) -> None:
    for wire in wires.open:
        wire.up.dead = wire.down.dead = True


def _slow(_: Wires, exchange: SimulatedExchange) -> None:
    _strike(exchange, SlowClose(seconds=20, lasts=10_000))


def _stalled(_: Wires, exchange: SimulatedExchange) -> None:
    _strike(exchange, Stall(lasts=10_000))


def _refused(_: Wires, exchange: SimulatedExchange) -> None:
    _strike(exchange, Refuse(lasts=10_000))


def _blocked(_: Wires, exchange: SimulatedExchange) -> None:
    _strike(exchange, Ban(seconds=10_000))


@attrs.frozen
class Situation:
    """What a manager can be in the middle of when it is left."""

    name: str
    before: Callable[[Wires, SimulatedExchange], None]
    """Done before it connects."""
    after: Callable[[Wires, SimulatedExchange], None]
    """And when it has."""
    state: ConnectionState
    seconds: float
    """How long closing may take."""


def _nothing(_: Wires, __: SimulatedExchange) -> None:
    pass


SITUATIONS = [
    Situation("connecting", _never_answered, _nothing, ConnectionState.CONNECTING, 0.0),
    Situation("connected", _nothing, _nothing, ConnectionState.ACTIVE, 0.0),
    Situation("connected to one slow to part", _nothing, _slow, ConnectionState.ACTIVE, 1.0),
    Situation("connected to one who has fallen silent", _nothing, _stalled, ConnectionState.ACTIVE, 1.0),
    Situation("connected over a dead wire", _nothing, _half_open, ConnectionState.ACTIVE, 1.0),
    Situation("backing off", _refused, _nothing, ConnectionState.RECONNECTING, 0.0),
    Situation("blocked", _blocked, _nothing, ConnectionState.RECONNECTING, 0.0),
]


async def _cut_in_the_end(wires: Wires) -> None:
    """Cut all wires, so that whoever takes too long is told of here, and does not wait for ever."""
    await anyio.sleep(100)
    for wire in wires.open:
        wire.reset()


@asynccontextmanager
async def in_the_middle(situation: Situation, left_at: list[float]) -> AsyncIterator[tuple[Manager, Any]]:
    """A manager in this situation with all three of its connections, and a stream of it. Notes when it was left, and
    checks that nothing of it remains and that no more time has passed than may."""
    tasks = {task.id for task in anyio.get_running_tasks()}
    exchange = SimulatedExchange(NumberedSource(0.5))
    account = exchange.open_account()
    async with open_wires(exchange, wall) as wires, open_service(partial(_cut_in_the_end, wires), "scissors"):
        situation.before(wires, exchange)
        try:
            async with open_manager(
                CONFIG,
                credentials=Credentials(account.access_key, account.secret_key.reveal()),
                connector=wires.connect,
                wall=wall,
                draw=lambda: 1.0,
            ) as manager:
                async with manager.open_client("component") as client, client.stream(DataType.TRADE, CODES) as trades:
                    await client.register_interest(DataType.MY_ORDER)
                    await anyio.sleep(1.7)
                    assert manager.status().state is situation.state
                    situation.after(wires, exchange)
                    await anyio.sleep(1.0)  # the next ping has gone out then, and waits for its pong
                    yield manager, trades
        finally:
            assert anyio.current_time() - left_at[0] <= situation.seconds + 0.01
            assert all(wire.down.is_abandoned for wire in wires.open), "a socket is still open"
    assert {task.id for task in anyio.get_running_tasks()} == tasks


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
@pytest.mark.parametrize("way", ["return", "raise", "cancel"])
async def test_closing_takes_at_most_its_deadline_whatever_is_going_on(situation: Situation, way: str) -> None:
    """All connections say goodbye at the same time, so it is one deadline for all of them."""
    left_at = [math.inf]
    error = ValueError("mine")
    try:
        with anyio.CancelScope() as scope:
            async with in_the_middle(situation, left_at):
                left_at[0] = anyio.current_time()
                if way == "raise":
                    raise error
                if way == "cancel":
                    scope.cancel()
                    await anyio.sleep_forever()
    except ValueError as raised:
        assert raised is error  # noqa: PT017
        assert way == "raise"
    assert scope.cancelled_caught == (way == "cancel")


async def _hang(_: object) -> None:
    await anyio.sleep_forever()


ERRORS = [
    ValueError("mine"),
    _Mine(),
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
    ExceptionGroup("mine", [OSError()]),
]


@pytest.mark.parametrize("situation", [SITUATIONS[0], SITUATIONS[2], SITUATIONS[5]], ids=lambda each: each.name)
@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_error_of_the_body_leaves_as_it_was_raised_whatever_is_going_on(
    situation: Situation, error: BaseException, *, cancelled: bool
) -> None:
    """Out of a stream in a client in a manager; also if it is raised while all that is being cancelled."""
    left_at = [math.inf]

    async def body(scope: anyio.CancelScope) -> NoReturn:
        left_at[0] = anyio.current_time()
        if cancelled:
            scope.cancel()
            try:
                await anyio.sleep_forever()
            finally:
                raise error
        raise error

    raised: BaseException | None = None
    with anyio.CancelScope() as scope:
        try:
            async with in_the_middle(situation, left_at) as (manager, _):
                async with manager.open_client("nested") as nested:
                    # A callback that has to be cancelled: something is waited for on the way out.
                    await nested.subscribe_trade(CODES, _hang)
                    await body(scope)
        except BaseException as why:  # noqa: BLE001 -- whatever it is
            raised = why
    assert raised is error
    assert not hasattr(error, "__notes__")


@asynccontextmanager
async def connected(**config: Any) -> AsyncIterator[tuple[SimulatedExchange, Manager]]:
    exchange = SimulatedExchange(NumberedSource(0.5))
    account = exchange.open_account()
    async with open_manager(
        attrs.evolve(CONFIG, **config),
        credentials=Credentials(account.access_key, account.secret_key.reveal()),
        connector=memory_connector(exchange, wall),
        wall=wall,
        draw=lambda: 0.1,
    ) as manager:
        yield exchange, manager


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_an_error_of_a_callback_leaves_its_client_and_the_manager_as_it_was_raised(error: BaseException) -> None:
    def called(_: object) -> NoReturn:
        raise error

    raised: BaseException | None = None
    try:
        async with connected() as (_, manager), manager.open_client("outer"):
            async with manager.open_client("inner") as client:
                await client.subscribe_trade(CODES, called)
                await anyio.sleep_forever()
    except BaseException as why:  # noqa: BLE001 -- whatever it is
        raised = why
    assert raised is error


def _crash(bug: BaseException) -> Callable[..., Awaitable[NoReturn]]:
    async def crash(*_: Any, **__: Any) -> NoReturn:
        raise bug

    return crash


def _crash_now(bug: BaseException) -> Callable[..., NoReturn]:
    def crash(*_: Any, **__: Any) -> NoReturn:
        raise bug

    return crash


CRASHES: list[tuple[Any, str, Any]] = [
    (Decoder, "decode", _crash_now),
    (Clocks, "check", _crash),
    (Reconciler, "run", _crash),
    (reconciler_module, "list_subscriptions", _crash_now),
    (Reconciler, "watch_unanswered", _crash),
    (Watchdog, "watch", _crash),
    (Reconciler, "expects", _crash_now),
    (Hub, "publish", _crash_now),
    (Hub, "asked", _crash_now),
    (Hub, "confirmed", _crash_now),
    (Hub, "ended", _crash_now),
    (Connects, "take_turn", _crash),
    (connection_module, "Epoch", _crash_now),
    (Connects, "wait", _crash_now),
    (Hub, "fail", _crash_now),
    (connection_module, "delay", _crash_now),
]


@pytest.mark.parametrize(
    "place", CRASHES, ids=lambda place: f"{getattr(place[0], '__name__', '').rpartition('.')[2]}.{place[1]}"
)
async def test_a_crash_inside_cancels_the_body_and_is_one_named_error_with_its_cause(
    place: tuple[Any, str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is: in the reader, the keep-alive, the reconciler, the hub, the supervisor. The body's ``finally``
    still has what had come before."""
    owner, name, crash = place
    bug = ZeroDivisionError("a bug")
    had: list[Any] = []
    with pytest.raises(FeedCrashedError, match="a bug") as raised:
        with anyio.fail_after(60):
            async with connected(backoff=Backoff(initial=1.0, maximum=1.0, attempts=20)) as (exchange, manager):
                async with manager.open_client("c") as client, client.stream(DataType.TRADE, CODES) as trades:
                    await client.register_interest(DataType.MY_ORDER)
                    await client.wait_ready()
                    await anyio.sleep(3)
                    monkeypatch.setattr(owner, name, crash(bug))
                    try:
                        exchange.refusal = Refusal(503, "maintenance")
                        exchange.end_sessions(wall())
                        await anyio.sleep(0.15)
                        if name != "fail":
                            exchange.refusal = None
                        await anyio.sleep_forever()
                    finally:
                        with anyio.CancelScope(shield=True):
                            had = await trades.receive_batch()
    assert raised.value.__cause__ is bug
    assert anyio.current_time() < 50, "the body was not cancelled"
    assert len(had) >= 10
    assert len(exchange.sessions) == 0


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("place", ["hub", "first of many"])
async def test_a_crash_while_closing_is_not_lost(
    place: str, monkeypatch: pytest.MonkeyPatch, *, cancelled: bool
) -> None:
    bug = ZeroDivisionError("a bug")

    async def watch(*_: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise bug

    if place == "first of many":
        monkeypatch.setattr(Watchdog, "watch", watch)
    with pytest.raises(FeedCrashedError, match="a bug") as raised:
        with anyio.CancelScope() as scope:
            async with connected() as (_, manager), manager.open_client("component") as client:
                await client.register_interest(DataType.TRADE, CODES)
                await anyio.sleep(1)
                if place == "hub":
                    monkeypatch.setattr(Hub, "ended", _crash_now(bug))
                if cancelled:
                    scope.cancel()
                    await anyio.sleep_forever()
    assert raised.value.__cause__ is bug


async def test_an_error_of_the_body_comes_before_a_crash_which_is_noted_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    error, bug = ValueError("mine"), ZeroDivisionError("a bug")
    with pytest.raises(ValueError, match="mine") as raised:
        async with connected() as (_, manager), manager.open_client("component") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()
            monkeypatch.setattr(Hub, "publish", _crash_now(bug))
            try:
                await anyio.sleep_forever()
            finally:
                raise error
    assert raised.value is error
    assert "a bug" in error.__notes__[0]


@pytest.mark.parametrize("way", ["return", "raise", "cancel"])
async def test_the_finally_of_a_body_still_has_a_feed_that_reconnects(way: str) -> None:
    numbers: list[int] = []
    with anyio.CancelScope() as scope:
        try:
            async with connected() as (exchange, manager), manager.open_client("component") as client:
                async with client.stream(DataType.TRADE, CODES) as trades:
                    try:
                        await trades.receive()
                        if way == "raise":
                            raise _Mine
                        if way == "cancel":
                            scope.cancel()
                            await anyio.sleep_forever()
                    finally:
                        with anyio.move_on_after(30, shield=True):
                            exchange.end_sessions(wall())
                            async for trade in trades:
                                numbers.append(trade.epoch.number)
        except _Mine:
            assert way == "raise"
    assert set(numbers) == {1, 2}
