"""Nobody waits for another: whatever one consumer does, the others get the same events in the same order at the same
time, and the connection does not notice. And what one read of the socket can do to a consumer that is never slow."""

import math
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import anyio
import attrs
import pytest
from tests.support.world import CODES, World, numbered_trade, open_world, wall

from upbit_streams import Client, DataType, DropOldest, Event, Lagged, TradeEvent, open_manager
from upbit_streams.model.config import Config
from upbit_streams.testing import SimulatedExchange, memory_connector

Neighbour = Callable[[World, Client], Coroutine[Any, Any, None]]
_SECONDS = 12.0
_PING_TIMEOUT = 1.0


async def _never_reads(world: World, client: Client) -> None:
    async with client.stream(DataType.TRADE, CODES):
        await anyio.sleep_forever()


async def _sleeps_ten_ping_time_outs(world: World, client: Client) -> None:
    async with client.stream(DataType.TRADE, CODES, notices=True) as trades:
        async for _ in trades:
            await anyio.sleep(10 * _PING_TIMEOUT)


async def _has_a_callback_that_raises(world: World, client: Client) -> None:
    errors: list[Exception] = []

    def fails(trade: TradeEvent) -> None:
        raise ValueError(trade.code)

    subscription = await client.subscribe_trade(CODES, fails, on_error=errors.append)
    await anyio.sleep(_SECONDS - 1)
    assert subscription.errors == len(errors) > 5_000
    assert subscription.last_error is errors[-1]


async def _ends_with_what_its_callback_raises(world: World, client: Client) -> None:
    def fails(trade: TradeEvent) -> None:
        raise ValueError(trade.code)

    with pytest.raises(ValueError, match="KRW-"):
        async with world.manager.open_client("raises") as another:
            await another.subscribe_trade(CODES, fails)
            await anyio.sleep_forever()


async def _takes_five_milliseconds(world: World, client: Client) -> None:
    async with client.stream(DataType.TRADE, CODES) as trades:
        async for _ in trades:
            await anyio.sleep(0.005)


Got = Sequence[tuple[float, int]]


async def _with(neighbour: Neighbour | None) -> Got:
    """When a good consumer got which events, of 500 a second."""
    got: list[tuple[float, int]] = []
    async with (
        open_world(interval=len(CODES) / 500, ping_timeout=_PING_TIMEOUT) as world,
        world.manager.open_client("good") as good,
        world.manager.open_client("bad") as bad,
        anyio.create_task_group() as group,
    ):

        async def listen() -> None:
            async with good.stream(DataType.TRADE, CODES) as trades:
                async for trade in trades:
                    got.append((anyio.current_time(), trade.sequential_id))

        group.start_soon(listen)
        await anyio.sleep(1)
        if neighbour is not None:
            group.start_soon(neighbour, world, bad)
        await anyio.sleep(_SECONDS)
        epoch = world.manager.status().epoch
        assert epoch is not None
        assert epoch.number == world.source.sessions == 1
        group.cancel_scope.cancel()
    return got


_alone: dict[object, Got] = {}


@pytest.mark.parametrize(
    "neighbour",
    [
        _never_reads,
        _sleeps_ten_ping_time_outs,
        _has_a_callback_that_raises,
        _ends_with_what_its_callback_raises,
        _takes_five_milliseconds,
    ],
)
def test_a_bad_neighbour_changes_nothing(anyio_backend: Any, virtual_run: Any, neighbour: Neighbour) -> None:
    """Not the events, nor the order, nor the time."""
    alone = _alone.get(anyio_backend[0]) or virtual_run(partial(_with, None))
    _alone[anyio_backend[0]] = alone
    assert virtual_run(partial(_with, neighbour)) == alone
    assert len(alone) > 490 * _SECONDS


@attrs.define
class _Burst:
    """A market that says nothing for a second, and then as much as this in one moment."""

    size: int
    codes: Sequence[str] = CODES
    overflowed: bool = False
    _at: float = math.inf

    def open(self) -> "_Burst":
        return _Burst(self.size)

    def start(self, now: float, keys: frozenset[tuple[str, str]]) -> None:
        self._at = now + 1.0

    def snapshot(self, now: float, type_name: str, code: str) -> Event | None:
        return None

    def take(self, now: float) -> list[Event]:
        if now < self._at:
            return []
        self._at = math.inf
        return [numbered_trade(CODES[0], 1, number, now) for number in range(self.size)]

    def next_time(self) -> float:
        return self._at


async def _burst(policy: DropOldest | None, *, batched: bool) -> tuple[list[Any], int]:
    """What a consumer that takes no time gets of 10,000 messages in one read, and how many were dropped."""
    got: list[Any] = []
    exchange = SimulatedExchange(_Burst(10_000))
    reads: list[int] = []
    connect = memory_connector(exchange, wall)

    async def counted(*arguments: Any) -> Any:
        transport: Any = await connect(*arguments)
        receive = transport.receive

        async def receives() -> Sequence[bytes | str]:
            frames: Sequence[bytes | str] = await receive()
            reads.append(len(frames))
            return frames

        transport.receive = receives
        return transport

    async with (
        open_manager(Config(url="ws://memory"), connector=counted, wall=wall) as manager,
        manager.open_client("burst") as client,
        client.stream(DataType.TRADE, CODES[0], backpressure=policy, notices=True) as trades,
        anyio.create_task_group() as group,
    ):

        async def listen() -> None:
            if batched:
                async for batch in trades.batches():
                    got.extend(batch)
            else:
                async for item in trades:
                    got.append(item)

        group.start_soon(listen)
        await anyio.sleep(5)
        group.cancel_scope.cancel()
    assert 10_000 in reads, "it is one read"
    ledger = trades.statistics()
    assert ledger.published == 10_000 == ledger.delivered + ledger.dropped
    return got, ledger.dropped


@pytest.mark.parametrize("batched", [False, True])
async def test_what_a_burst_costs_a_default_stream_is_told(batched: bool) -> None:
    """However quick its consumer is, it cannot run before all is there."""
    got, dropped = await _burst(None, batched=batched)
    _, lagged, *trades = got  # an EpochStarted comes first
    assert dropped == 10_000 - 1024
    assert lagged == Lagged(dropped)
    assert [trade.sequential_id % 1_000_000 for trade in trades] == list(range(dropped, 10_000))


@pytest.mark.parametrize("batched", [False, True])
async def test_e4_a_burst_costs_nothing_where_the_capacity_is_that_of_the_largest(batched: bool) -> None:
    got, dropped = await _burst(DropOldest(10_000), batched=batched)
    _, *trades = got
    assert dropped == 0
    assert [trade.sequential_id % 1_000_000 for trade in trades] == list(range(10_000))
