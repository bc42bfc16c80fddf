"""The wall clock and the event loop's clock move apart: the computer is suspended, or its clock is set or slewed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import CODES, Clock, NumberedSource, World, open_world, wall

from upbit_streams import (
    Backoff,
    Client,
    Config,
    DataType,
    EpochEnded,
    EpochStarted,
    EventStream,
    NotReadyError,
    Stale,
    StaleDataError,
    TradeEvent,
    open_manager,
)
from upbit_streams.testing import SimulatedExchange, memory_connector

Run = Callable[..., Any]

_LOOK = 5.0
_REASON = "the computer was suspended, or its clock was set: the clocks moved apart by"

JUMPS = st.floats(2.0, 10_000.0) | st.floats(-10_000.0, -2.0) | st.sampled_from([7200.0, -3600.0])
PAUSES = st.sampled_from([0.0, 0.05, 3.0]) | st.floats(0.0, 40.0)
STEPS = st.tuples(PAUSES, st.sampled_from(["jump", "jump", "drop", "mute", "sound"]), JUMPS)


def _sent_at(trade: TradeEvent) -> float:
    """In the event loop's time."""
    return trade.timestamp / 1000 - Clock().at(0.0)


def _look(client: Client, clock: Clock) -> None:
    """What passes is young by both clocks."""
    for code in CODES:
        try:
            trade = client.get_trade(code, within=5)
        except (StaleDataError, NotReadyError):
            continue
        now, sent = anyio.current_time(), _sent_at(trade)
        assert now - sent <= 5.01
        assert clock.at(now) - clock.at(sent) <= 5.01


async def _take(stream: EventStream[Any], taken: list[tuple[float, Any]]) -> None:
    async for item in stream:
        taken.append((anyio.current_time(), item))


@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_whenever_the_clock_jumps_nothing_old_passes_and_no_interval_is_reversed(
    virtual_run: Run, steps: list[tuple[float, str, float]]
) -> None:
    async def main() -> None:
        clock, taken, silences = Clock(), list[tuple[float, Any]](), list[tuple[float, float]]()
        muted_at: float | None = None
        jumps: dict[int, float] = {}
        """By the epoch that was open, when the first of it happened."""
        async with open_world(clock=clock) as world, world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, CODES)
            async with client.stream(DataType.TRADE, CODES, notices=True) as stream, anyio.create_task_group() as group:
                group.start_soon(_take, stream, taken)
                await anyio.sleep(1)
                for pause, what, seconds in [*steps, (0.0, "sound", 0.0), (20.0, "end", 0.0)]:
                    until = anyio.current_time() + pause
                    while anyio.current_time() < until:
                        _look(client, clock)
                        await anyio.sleep(min(0.7, until - anyio.current_time()))
                    match what:
                        case "jump":
                            status = world.manager.status()
                            if status.epoch is not None and status.state.is_open:
                                jumps.setdefault(status.epoch.number, anyio.current_time())
                            clock.jump(seconds)
                        case "drop":
                            world.exchange.end_sessions(wall())
                        case "mute":
                            world.source.muted = frozenset(CODES)
                            muted_at = anyio.current_time() if muted_at is None else muted_at
                        case "sound":
                            world.source.muted = frozenset()
                            if muted_at is not None:
                                silences.append((muted_at, anyio.current_time()))
                                muted_at = None
                        case _:
                            pass
                    _look(client, clock)
                group.cancel_scope.cancel()
        _check_notices(taken, clock, jumps, silences)

    virtual_run(main)


def _check_notices(
    taken: list[tuple[float, Any]], clock: Clock, jumps: dict[int, float], silences: list[tuple[float, float]]
) -> None:
    last: TradeEvent | None = None
    ended: EpochEnded | None = None
    numbers = list[int]()
    for at, item in taken:
        if isinstance(item, TradeEvent):
            last = item
        elif isinstance(item, EpochEnded):
            ended = item
            assert item.ended_at == pytest.approx(clock.at(at), abs=1e-3)
            jumped_at = jumps.get(item.epoch.number)
            if jumped_at is not None:
                assert at <= jumped_at + _LOOK + 1e-6
                assert _REASON in item.reason or "ended without a close frame" in item.reason
            else:
                assert _REASON not in item.reason
        elif not isinstance(item, Stale):
            assert isinstance(item, EpochStarted)
            numbers.append(item.epoch.number)
            assert item.missing_to == pytest.approx(clock.at(at), abs=1e-3)
            if ended is None:
                continue
            assert item.down is not None
            assert item.down >= 0
            assert item.missing_from is not None
            assert item.missing_from <= item.missing_to
            if last is not None:
                # All that was sent and not told came later than the last that was, and in no silence. That is so by the
                # clock as it was then, and as it is now.
                sent = _sent_at(last)
                for begun, over in silences:
                    if begun <= sent + 0.2:  # the trades come every 0.1 s
                        sent = max(sent, over)
                assert item.missing_from <= clock.at(sent) + 1e-3
                assert item.missing_from <= sent + item.epoch.wall_offset + 1e-3
    assert set(jumps) < set(range(1, numbers[-1] + 1)), "all of them are over"


@asynccontextmanager
async def _open_machine(clock: Clock, interval: float = 0.5) -> AsyncIterator[World]:
    """A machine whose clock is right: that of the exchange jumps with it."""
    source = NumberedSource(interval)
    exchange = SimulatedExchange(source)
    config = Config(url="ws://memory", backoff=Backoff(initial=0.5, maximum=4.0))
    connector = memory_connector(exchange, clock)
    async with open_manager(config, connector=connector, wall=clock, draw=lambda: 0.5) as manager:
        yield World(exchange, source, manager)


@pytest.mark.parametrize("seconds", [3.0, 40.0, 7200.0])
@pytest.mark.parametrize("quiet", [False, True])
async def test_after_a_suspend_the_epoch_ends_at_once_and_its_data_is_old(seconds: float, quiet: bool) -> None:
    """What the exchange has sent before, and the socket has kept, is handed to nobody as new."""
    clock, taken = Clock(), list[tuple[float, Any]]()
    async with _open_machine(clock) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        async with client.stream(DataType.TRADE, CODES, notices=True) as stream, anyio.create_task_group() as group:
            group.start_soon(_take, stream, taken)
            await anyio.sleep(30.25)
            if quiet:
                world.source.muted = frozenset(CODES)
            suspended_at = anyio.current_time()
            clock.jump(seconds)
            for code in CODES:
                entry = client.pool.entry(DataType.TRADE, code)
                assert entry.age == pytest.approx(seconds + 0.25, abs=0.01)
                with pytest.raises(StaleDataError, match="suspended") as raised:
                    client.get_trade(code, within=2)
                assert raised.value.age == pytest.approx(entry.age)
                assert client.pool.cut(code).age(DataType.TRADE, code) == pytest.approx(entry.age)
            await anyio.sleep(_LOOK + 1e-3)
            status = world.manager.status()
            assert status.epoch is not None
            assert not status.state.is_open or status.epoch.number == 2
            world.source.muted = frozenset()
            await anyio.sleep(20)
            group.cancel_scope.cancel()
        (ended,) = [item for _, item in taken if isinstance(item, EpochEnded)]
        _, started = [item for _, item in taken if isinstance(item, EpochStarted)]
        if seconds < 60:  # a longer silence makes the exchange end it, which may be found first
            assert ended.reason == f"{_REASON} {seconds:+.1f} s"
        before = [item for _, item in taken if isinstance(item, TradeEvent) and item.epoch.number == 1]
        assert all(_sent_at(trade) <= suspended_at for trade in before)
        assert clock.at(suspended_at) <= ended.ended_at <= clock.at(suspended_at + _LOOK) + 1e-3
        assert started.missing_from is not None
        assert started.missing_from <= clock.at(suspended_at) - seconds
        assert started.missing_to >= ended.ended_at
        lag = world.manager.metrics().connections[0].lag
        assert lag is not None
        assert lag == pytest.approx(0.0, abs=0.01)
        if not quiet and seconds < 60:
            assert world.manager.status().late >= len(CODES), "what was read and not handed out is counted"
        assert world.exchange.breaches == []


@pytest.mark.parametrize("rate", [500e-6, -500e-6])
async def test_a_clock_that_is_slewed_ends_no_epoch_and_makes_nothing_older(rate: float) -> None:
    """For three hours, as fast as a clock is ever slewed: in the end they are 5 s apart."""
    clock = Clock(rate)
    async with _open_machine(clock, 9.0) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        for _ in range(3 * 60):
            await anyio.sleep(59.5)
            trade = client.get_trade(CODES[0], within=9.1)
            assert client.pool.entry(DataType.TRADE, CODES[0]).age <= 9.1
            assert trade.epoch.number == 1
        status = world.manager.status()
        assert status.epoch is not None
        assert status.epoch.number == 1
        lag = world.manager.metrics().connections[0].lag
        assert lag == pytest.approx(0.0, abs=0.02)


async def test_a_pong_that_comes_after_a_jump_counts_for_nothing() -> None:
    """What came before it may have been given up."""
    clock, taken = Clock(), list[tuple[float, Any]]()
    async with open_world(clock=clock, ping_interval=18.0) as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES, notices=True) as stream, anyio.create_task_group() as group:
            group.start_soon(_take, stream, taken)
            await anyio.sleep(10)
            world.source.muted = frozenset(CODES)
            await anyio.sleep(7.5)
            jumped_at = anyio.current_time()
            clock.jump(-3600.0)
            await anyio.sleep(1)
            world.source.muted = frozenset()
            await anyio.sleep(10)
            group.cancel_scope.cancel()
    _, started = [item for _, item in taken if isinstance(item, EpochStarted)]
    assert started.missing_from is not None
    assert started.missing_from <= clock.at(jumped_at)


async def test_a_leap_second_ends_no_epoch() -> None:
    clock = Clock()
    async with open_world(clock=clock) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        for seconds in (-1.0, 1.0):
            await anyio.sleep(10)
            clock.jump(seconds)
        await anyio.sleep(10)
        status = world.manager.status()
        assert status.epoch is not None
        assert status.epoch.number == 1


@attrs.define
class _Lazy:
    """A wall clock that is once read long after the event loop's: something has kept the thread from running."""

    late: float = 0.0

    def __call__(self) -> float:
        late, self.late = self.late, 0.0
        return wall() + late


async def test_a_jump_that_is_gone_at_the_second_look_is_none() -> None:
    clock = _Lazy()
    async with open_world(clock=clock) as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES) as trades:
            for late in (10.0, -10.0):
                await anyio.sleep(5)
                clock.late = late
                await trades.receive_batch()
            await anyio.sleep(5)
            ledger, status = trades.statistics(), world.manager.status()
            assert status.epoch is not None
            assert status.epoch.number == 1
            assert status.late == 0
            assert ledger.published == max(trade.sequential_id % 1_000_000 for trade in await trades.receive_batch())
