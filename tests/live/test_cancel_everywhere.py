"""Whatever is going on, it can be cancelled: at every point at which any task gives way, on both backends.

In CI each run is cancelled at some of its checkpoints, others each time; ``UPBIT_STREAMS_EVERY_CHECKPOINT=1`` in the
environment takes them all.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import attrs
import pytest
from tests.support.checkpoints import Checkpoints, at_each_checkpoint, counting_all_tasks
from tests.support.noted import opened, routes_of
from tests.support.private import BALANCES, MARKETS, credentials_of
from tests.support.world import CODES, NumberedSource, wall

from upbit_streams import (
    AuthenticationError,
    Backoff,
    Block,
    Client,
    Coalesce,
    Config,
    ConnectionLostError,
    Connector,
    Credentials,
    DataType,
    EpochEnded,
    EpochStarted,
    Event,
    EventStream,
    Lagged,
    Manager,
    MyOrderEvent,
    Notice,
    ScopeError,
    Stale,
    Subscription,
    Throttle,
    TradeEvent,
    current_manager,
    open_manager,
)
from upbit_streams.engine.connection import Connection
from upbit_streams.testing import (
    Account,
    MarketSimulation,
    MarketSource,
    Player,
    Refusal,
    SimulatedExchange,
    SlowClose,
    Wire,
    memory_connector,
    open_wires,
)

Run = Callable[..., Any]
Life = Callable[["World", Checkpoints], Awaitable[None]]

CONFIG = Config(
    url="ws://localhost/websocket/v1",
    backoff=Backoff(initial=0.5, maximum=4.0),
    close_timeout=1.0,
    ping_interval=0.9,
    idle_timeout=0.6,
    login_attempts=2,
)
"""Such that everything happens within seconds."""
TRADES = json.dumps([{"ticket": "test"}, {"type": "trade", "codes": CODES}])


@attrs.define
class World:
    """An exchange that can be reached, and what was seen of it."""

    exchange: SimulatedExchange
    connect: Connector
    account: Account | None = None
    seen: list[Hashable] = attrs.field(factory=list)
    """What the body was handed, in its order, so that two runs can be compared."""
    called_back: list[Hashable] = attrs.field(factory=list)
    """And the callback."""
    streams: list[tuple[EventStream[Any], list[Hashable]]] = attrs.field(factory=list)
    """With what the body was handed of each."""
    callbacks: list[Subscription[Any]] = attrs.field(factory=list)
    connections: list[Connection] = attrs.field(factory=list)
    """Of all managers that were opened."""

    @asynccontextmanager
    async def open_manager(self) -> AsyncGenerator[Manager, None]:
        opening = open_manager(CONFIG, credentials=self.bring_key, connector=self.connect, wall=wall, draw=lambda: 0.5)
        async with opened(opening) as (manager, connections):
            self.connections += connections
            yield manager

    async def bring_key(self) -> Credentials:
        await anyio.sleep(0.01)
        assert self.account is not None
        return credentials_of(self.account)

    async def open_stream(
        self, stack: AsyncExitStack, stream: EventStream[Any], told: list[Hashable] | None = None
    ) -> EventStream[Any]:
        """Enter a stream. What was ``told`` of it is in a list of its own, unless it is ``seen``."""
        await stack.enter_async_context(stream)
        self.streams.append((stream, [] if told is None else told))
        return stream

    def check_gone(self) -> None:
        """Nothing is left of the manager, and what was handed out is accounted for."""
        assert not self.exchange.sessions, "a connection is still open"
        assert self.exchange.breaches == []
        with pytest.raises(ScopeError, match="no manager is open"):
            current_manager()
        for connection in self.connections:
            assert not connection.hub.wants.union, "what was wanted was not given back"
            assert not routes_of(connection.hub)
        for stream, told in self.streams:
            ledger = stream.statistics()
            lost = ledger.dropped + ledger.coalesced + ledger.throttled
            assert ledger.published == ledger.delivered + lost + ledger.buffered, "some were lost in the stream"
            assert ledger.delivered == sum(not _is_notice(each) for each in told), "some were lost on the way"
            assert not lost or told is not self.seen
        for callback in self.callbacks:
            with suppress(ScopeError):  # its task may not have begun
                ledger = callback.statistics()
                assert ledger.published == ledger.delivered + ledger.buffered
                # Who cancels a callback while an event is on its way to it, means not to have that one.
                assert ledger.delivered - len(self.called_back) in (0, 1)


def _told(event: Event | Notice) -> Hashable:
    """What two runs can be compared by."""
    match event:
        case TradeEvent(sequential_id=number):
            assert event.epoch.number == number // 1_000_000
            return number
        case MyOrderEvent(code=code, state=state, executed_volume=volume):
            return event.epoch.number, code, state, volume
        case EpochStarted(epoch=epoch):
            return "epoch", epoch.connection, epoch.number
        case EpochEnded(epoch=epoch):
            return "end", epoch.connection, epoch.number
        case Lagged() | Stale():
            raise AssertionError(f"nothing here is slow or silent: {event}")
        case _:
            return event.epoch.number, event.type


def _is_notice(told: Hashable) -> bool:
    return isinstance(told, tuple) and told[0] in ("epoch", "end")


def _check_order(told: list[Hashable]) -> None:
    """Of every epoch all trades that were sent, from the first on, and no epoch after a later one."""
    numbers = [each for each in told if isinstance(each, int)]
    for number, before in zip(numbers, [0, *numbers], strict=False):
        assert number == before + 1 or (number // 1_000_000 > before // 1_000_000 and number % 1_000_000 == 1), told


def _check_markets(told: list[Hashable], *, is_whole: bool) -> None:
    """Of each market every trade that was sent, from the first told on, or at least none before a later one."""
    last: dict[int, int] = {}
    for number in (each for each in told if isinstance(each, int)):
        market = number % 1_000_000 % len(CODES)  # they have their trades in turn
        before = last.get(market, 0)
        is_next = number == before + len(CODES) or number // 1_000_000 > before // 1_000_000
        assert is_next if is_whole else number > before, told
        last[market] = number


@asynccontextmanager
async def in_memory(exchange: SimulatedExchange) -> AsyncIterator[Connector]:
    yield memory_connector(exchange, wall)


@asynccontextmanager
async def over_wires(exchange: SimulatedExchange) -> AsyncIterator[Connector]:
    """The whole protocol, with every message in pieces."""

    def chop(wire: Wire) -> None:
        wire.up.chop = wire.down.chop = 100

    async with open_wires(exchange, wall) as wires:
        wires.prepare = chop
        yield wires.connect
        await anyio.sleep(3.0)  # the exchange's side of a goodbye
        assert not wires.open, "a wire is still open"


async def live(world: World, steps: Checkpoints) -> None:
    """A component connects, subscribes, receives, loses the connection in several ways, and gives all back."""
    exchange = world.exchange
    async with world.open_manager() as manager:
        async with manager.open_client("component") as client, AsyncExitStack() as stack:
            trades = await world.open_stream(stack, client.stream(DataType.TRADE, CODES), world.seen)
            # The reader waits for somebody who never takes anything.
            stuck = client.stream(DataType.TRADE, CODES[0], backpressure=Block(1, deadline=0.3))
            await world.open_stream(stack, stuck)
            stuck.widen(CODES[1:])

            async def called(trade: TradeEvent) -> None:
                world.called_back.append(_told(trade))
                await anyio.sleep(0.01)

            world.callbacks.append(await client.subscribe_trade(CODES, called))
            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()
            await _receive(world, trades, 7)
            exchange.end_sessions(wall())
            await _receive(world, trades, 4)
            exchange.refusal = Refusal(503, "maintenance")
            exchange.end_sessions(wall(), 1000)
            with anyio.move_on_after(1.3):
                while True:
                    await manager.wait_status_changed()
            exchange.refusal = None
            await _receive_batches(world, trades, 7)
        await anyio.sleep(2.0)
        assert not exchange.sessions, "nobody wants anything, and it is still connected"
        async with manager.open_client("another") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()


async def live_privately(world: World, steps: Checkpoints) -> None:
    """The same with a login, requests that are confirmed, a key that is refused, and notices."""
    exchange, account = world.exchange, world.account
    assert account is not None

    def buy() -> None:
        account.place(wall(), "KRW-BTC", "BID", price=1000, volume="5.5")

    async with world.open_manager() as manager, manager.open_client("component") as client:
        async with AsyncExitStack() as stack:
            orders = await world.open_stream(stack, client.stream(DataType.MY_ORDER), world.seen)
            await client.register_interest(DataType.MY_ASSET)
            await client.wait_ready()
            buy()
            buy()
            await _receive(world, orders, 3)
            exchange.refusal = Refusal(401, '{"error":{"name":"jwt_verification"}}')
            exchange.end_sessions(wall())
            with pytest.raises(AuthenticationError):
                await orders.receive()
            exchange.refusal = None
            manager.set_credentials(world.bring_key)
            await _receive(world, orders, 1)
            buy()
            await _receive(world, orders, 1)


async def ask_again(world: World, steps: Checkpoints) -> None:
    """Whatever is called, is called again if it was cancelled."""
    exchange = world.exchange
    async with world.open_manager() as manager, manager.open_client("component") as client:
        async with AsyncExitStack() as stack:
            trades = await world.open_stream(stack, client.stream(DataType.TRADE, CODES, notices=True), world.seen)
            await _until_done(steps, partial(client.register_interest, DataType.TRADE, CODES))
            await _until_done(steps, manager.wait_status_changed)
            await _until_done(steps, partial(client.wait_for, partial(_is_in_epoch, client, 1)))
            await _until_done(steps, client.wait_ready)
            for policy in (Block(6, deadline=5.0), Coalesce(), Throttle(1.2)):
                await world.open_stream(stack, client.stream(DataType.TRADE, CODES[:2], backpressure=policy))
            recorder, *dashboards = world.streams[1:]
            for number in (1, 2):
                for _ in range(5):
                    await _until_done(steps, partial(_take_batch, recorder))  # first, as the reader waits for it
                    await _until_done(steps, partial(_receive, world, trades, 1))
                    for one in dashboards:
                        await _until_done(steps, partial(_take_batch, one))
                recorder[0].widen(CODES)
                dashboards[0][0].widen(CODES)
                exchange.end_sessions(wall())
                while not _is_in_epoch(client, number + 1):  # nor does anybody see the end before it has taken all
                    await _until_done(steps, partial(_take_batch, recorder))
                await _until_done(steps, partial(client.wait_for, partial(_is_in_epoch, client, number + 1)))
                await _until_done(steps, partial(_receive_batches, world, trades, 4))
    _, (stream, told), *others = world.streams
    ledger = stream.statistics()
    assert ledger.dropped == 0 < ledger.blocked_seconds
    _check_markets(told, is_whole=True)
    for _, told in others:
        _check_markets(told, is_whole=False)


def _is_in_epoch(client: Client, number: int) -> bool:
    return client.get_trade(CODES[0]).epoch.number == number


async def _take_batch(one: tuple[EventStream[Any], list[Hashable]]) -> None:
    one[1].extend(map(_told, await one[0].receive_batch()))


async def _until_done(steps: Checkpoints, call: Callable[[], Awaitable[object]]) -> None:
    while True:
        with steps.scope():
            await steps.counting(call())
            return


async def _receive(world: World, stream: EventStream[Any], count: int) -> None:
    for _ in range(count):
        world.seen.append(_told(await anext(stream)))


async def _receive_batches(world: World, stream: EventStream[Any], count: int) -> None:
    end = len(world.seen) + count
    while len(world.seen) < end:
        world.seen += map(_told, await stream.receive_batch())


def _public() -> tuple[SimulatedExchange, None]:
    return SimulatedExchange(NumberedSource(0.5)), None


def _private() -> tuple[SimulatedExchange, Account]:
    simulation = MarketSimulation(seed=0, codes=MARKETS, rate=0.1, start_ms=int(wall() * 1000))
    exchange = SimulatedExchange(MarketSource(simulation))
    return exchange, exchange.open_account(balances=BALANCES)


@asynccontextmanager
async def _world(
    reach: Callable[[SimulatedExchange], AbstractAsyncContextManager[Connector]], *, private: bool
) -> AsyncIterator[World]:
    """A world in which every goodbye takes a while, and nothing is left when it ends."""
    tasks = {task.id for task in anyio.get_running_tasks()}
    exchange, account = _private() if private else _public()
    Player([SlowClose(seconds=0.4, lasts=10_000)], exchange, wall()).advance(wall())
    with anyio.fail_after(1000):
        async with reach(exchange) as connect:
            world = World(exchange, connect, account)
            yield world
            assert not anyio.get_current_task().has_pending_cancellation()
    assert {task.id for task in anyio.get_running_tasks()} == tasks
    world.check_gone()
    _check_order(world.seen)
    _check_order(world.called_back)


@pytest.mark.parametrize("reach", [in_memory, over_wires])
@pytest.mark.parametrize("life", [live, live_privately])
def test_a_manager_can_be_cancelled_at_every_checkpoint_of_any_task(virtual_run: Run, reach: Any, life: Life) -> None:
    """It is gone within its time, with all that it had; and what was handed out until then has no hole."""
    whole: list[World] = []

    async def main(steps: Checkpoints) -> None:
        async with _world(reach, private=life is live_privately) as world:
            finished = False
            with steps.scope() as scope:
                await steps.counting(life(world, steps))
                finished = True
            if not finished:
                assert scope.cancelled_caught
                assert steps.cancelled_at is not None
                assert anyio.current_time() - steps.cancelled_at <= CONFIG.close_timeout + 0.01
        if not whole:
            whole.append(world)
        for told, all_told in ((world.seen, whole[0].seen), (world.called_back, whole[0].called_back)):
            assert told == all_told[: len(told)]

    def run(steps: Checkpoints) -> None:
        with counting_all_tasks(steps):
            virtual_run(main, steps)

    print(f"cancelled at {at_each_checkpoint(run)} checkpoints")  # noqa: T201 -- pytest -rP shows it


@pytest.mark.parametrize("reach", [in_memory, over_wires])
def test_a_call_that_is_cancelled_at_any_checkpoint_of_its_own_can_be_made_again(virtual_run: Run, reach: Any) -> None:
    """Nothing is lost by it, nothing comes twice, and nobody else notices."""

    async def main(steps: Checkpoints) -> None:
        async with _world(reach, private=False) as world:
            await ask_again(world, steps)
        # Whether the trades are whole is checked with every world.
        assert [told for told in world.seen if _is_notice(told)] == [
            ("epoch", "public", 1),
            ("end", "public", 1),
            ("epoch", "public", 2),
            ("end", "public", 2),
            ("epoch", "public", 3),
        ]
        assert len(world.exchange.connects) == 3

    print(f"cancelled at {at_each_checkpoint(partial(virtual_run, main))} checkpoints")  # noqa: T201


def test_a_connection_can_be_cancelled_at_every_checkpoint_of_its_own(virtual_run: Run) -> None:
    """Of the default transport alone. A handshake leaves nothing open, a read loses nothing, a send or a ping may
    have cut a message in two, which harms no read, and a goodbye is cut short."""

    async def main(steps: Checkpoints) -> None:
        async with _world(over_wires, private=False) as world:
            while True:
                transport = None
                with steps.scope():
                    transport = await steps.counting(world.connect(CONFIG.url, CONFIG, None))
                if transport is None:
                    continue
                is_sent = False
                with steps.scope():
                    await steps.counting(transport.send(TRADES))
                    is_sent = True
                if is_sent:
                    break
                await transport.aclose()
            received: list[int] = []

            async def receive() -> None:
                received.extend(json.loads(frame)["sequential_id"] for frame in await transport.receive())

            async def read_on() -> None:
                while True:
                    await receive()

            while len(received) < 12:
                await _until_done(steps, receive)
            async with anyio.create_task_group() as group:
                group.start_soon(read_on)
                with suppress(ConnectionLostError):  # if the first ping was cut in two
                    await _until_done(steps, transport.ping)
                await anyio.sleep(1)
                group.cancel_scope.cancel()
            await _until_done(steps, receive)
            _check_order(list(received))
            await _until_done(steps, transport.aclose)
            with pytest.raises(ConnectionLostError):
                await transport.receive()

    print(f"cancelled at {at_each_checkpoint(partial(virtual_run, main))} checkpoints")  # noqa: T201
