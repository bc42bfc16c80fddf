"""Who waits for room: the reader, and the present states that a stream is shown when it joins."""

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.world import numbered_trade

from upbit_streams import Block, DataType, DropOldest, Epoch, Event, Fail, TradeEvent, event_bytes
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.hub import Hub
from upbit_streams.engine.memory import memory_bound
from upbit_streams.model.config import Config
from upbit_streams.model.subscriptions import Want

Run = Callable[..., Any]
EPOCH = Epoch(connection="public", number=1, started_at=0.0, wall_offset=0.0, reason="test")
CODES = [f"KRW-C{number}" for number in range(20)]
WANTS = [Want(DataType.TRADE, code) for code in CODES]


def _trade(code: str, number: int) -> TradeEvent:
    return msgspec.structs.replace(numbered_trade(code, 0, number), epoch=EPOCH)


def _hub() -> Hub:
    """It has the first trade of each market."""
    hub = Hub()
    hub.register(WANTS)
    hub.asked(hub.wants.union)
    hub.publish([msgspec.structs.replace(_trade(code, 0), stream_type="SNAPSHOT") for code in CODES], EPOCH)
    return hub


@given(
    capacity=st.integers(1, 9),
    steps=st.lists(st.tuples(st.sampled_from(["take", "batch", "read", "read"]), st.integers(1, 9)), max_size=30),
)
@example(capacity=8, steps=[("batch", 1), ("read", 7)] * 3)
def test_e3_what_found_no_room_comes_before_anything_newer_and_all_of_it(
    virtual_run: Run, capacity: int, steps: list[tuple[str, int]]
) -> None:
    async def main() -> None:
        hub, channel = _hub(), Channel(Block(capacity, 5.0))
        hub.attach(WANTS, channel)
        number, got = 0, list[TradeEvent]()
        left: list[Event] = []
        for step, amount in [*steps, *[("batch", 1)] * 300]:
            if step == "read":
                left += [_trade(CODES[number % len(CODES)], number := number + 1) for _ in range(amount)]
            elif channel.statistics().buffered:
                with anyio.fail_after(1):
                    got += await channel.receive_batch() if step == "batch" else [await channel.receive()]
            left = [*hub.publish(left, EPOCH)]
        assert len(channel.unshown) == len(left) == 0
        for code in CODES:
            ids = [trade.sequential_id for trade in got if trade.code == code]
            assert ids == [0, *(one for one in range(1, number + 1) if CODES[(one - 1) % len(CODES)] == code)]

    virtual_run(main)


async def test_the_time_is_known_for_which_a_reader_has_waited() -> None:
    hub, channel = _hub(), Channel(Block(1, 9.0))
    hub.attach(WANTS[:1], channel)
    for seconds in (2.0, 5.0):
        begun = hub.holds.seconds()
        async with anyio.create_task_group() as group:
            group.start_soon(hub.holds.wait)
            await anyio.sleep(1.0)
            assert hub.holds.seconds() == begun + 1.0
            await anyio.sleep(seconds - 1.0)
            channel.receive_nowait()
        await anyio.sleep(10.0)
        assert hub.holds.seconds() == begun + seconds
        channel.put(_trade(CODES[0], 1))


async def test_who_takes_each_present_state_in_time_does_not_fail() -> None:
    """The deadline is for each."""
    hub, channel = _hub(), Channel(Block(1, 1.0))
    hub.attach(WANTS, channel)
    async with anyio.create_task_group() as group:

        async def read() -> None:
            left = hub.publish([_trade(CODES[0], 1)], EPOCH)
            while left:
                await hub.holds.wait()
                left = hub.publish(left, EPOCH)

        group.start_soon(read)
        for _ in range(len(CODES) + 1):
            await anyio.sleep(0.9)
            await channel.receive()
    assert channel.statistics().dropped == 0


async def test_who_leaves_is_known_to_no_route() -> None:
    hub = Hub()
    hub.register(WANTS)
    hub.asked(hub.wants.union)
    states = [Want(DataType.TRADE, code, realtime=False) for code in CODES]
    for wants, watches in ((WANTS, False), (WANTS, True), (states, False)):
        channel = Channel(DropOldest(3))
        hub.attach(wants, channel, watches=watches)
        assert all(channel in route.channels() for route in hub.holders()[0])
        hub.detach(wants, channel)
        for route in hub.holders()[0]:
            assert not {*route.channels(), *route.owed, *route.states, *route.watchers}


async def test_b1_a_closed_stream_keeps_nothing() -> None:
    hub, channel = _hub(), Channel(Block(1))
    hub.attach(WANTS, channel)
    assert len(channel.unshown) == len(CODES) - 1
    channel.close()
    assert not channel.unshown


def test_b1_what_may_find_no_room_is_counted_before_it_comes() -> None:
    hub = Hub()
    hub.register(WANTS)
    bounds = []
    for policy in (Block(10), Fail(10)):
        channel = Channel(policy)
        hub.attach(WANTS, channel)
        bounds.append(memory_bound([hub], Config()).streams)
        hub.detach(WANTS, channel)
    assert bounds[0] >= bounds[1] + len(WANTS) * event_bytes(DataType.TRADE)
