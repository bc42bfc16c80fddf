"""Connections that are open and bring nothing: found, told and replaced; and nothing else is."""

from collections.abc import Callable
from typing import Any

import anyio
import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import CODES, Clock, World, numbered_trade, open_world, wall

from upbit_streams import DataType, DropOldest, Epoch, EpochEnded, EpochStarted, Stale, TradeEvent
from upbit_streams.engine.hub import Hub
from upbit_streams.model.subscriptions import wants_of

Run = Callable[..., Any]

ALL = frozenset(CODES)


async def _until(condition: Any, seconds: float) -> None:
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 -- whatever the condition
            await anyio.sleep(0.5)


async def test_a_connection_that_falls_silent_is_told_and_replaced() -> None:
    """It answers pings all the time, and is asked for nothing new."""
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES, notices=True) as trades:
            await anyio.sleep(120)
            await trades.receive_batch()
            world.source.muted = ALL
            muted_at = anyio.current_time()
            await _until(lambda: world.source.sessions == 2, 60)
            assert 30 < anyio.current_time() - muted_at < 40
            world.source.muted = frozenset()
            await anyio.sleep(5)
            told = [item for item in await trades.receive_batch() if not isinstance(item, TradeEvent)]
            *stale, ended, started = told
            assert isinstance(ended, EpochEnded)
            assert isinstance(started, EpochStarted)
            assert {one.code for one in stale if isinstance(one, Stale)} == {*CODES, ""}
            assert len(stale) == 4
            assert all(isinstance(one, Stale) and 30 < one.silent_for < 40 > 10 > one.usual for one in stale)
            assert "silent for 3" in ended.reason
            assert ended.reason == started.epoch.reason
            assert started.down is not None
            assert 0 <= started.down < 5
            assert world.manager.status().stale == 1


async def test_one_market_that_falls_silent_is_enough() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES, notices=True) as trades:
            await anyio.sleep(120)
            world.source.muted = frozenset(CODES[:1])
            await _until(lambda: world.source.sessions == 2, 60)
            told = [item async for batch in _batches(trades) for item in batch if isinstance(item, Stale)]
            assert [(one.type, one.code) for one in told] == [("trade", CODES[0])]


async def _batches(stream: Any) -> Any:
    yield await stream.receive_batch()


async def test_a_market_that_has_nothing_more_to_say_is_suspected_ever_more_rarely() -> None:
    """A halted market must not cost a reconnect every half minute."""
    async with open_world(interval=5.0) as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES, backpressure=DropOldest(10)):
            await anyio.sleep(120)
            world.source.muted = ALL
            await anyio.sleep(2 * 3600)
            assert 4 <= world.manager.status().stale <= 9


async def test_a_silence_that_is_usual_is_none() -> None:
    async with open_world(interval=50.0) as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES):
            await anyio.sleep(2 * 3600)
            assert world.source.sessions == 1
            world.source.muted = ALL
            await anyio.sleep(120)
            assert world.source.sessions == 1
            await _until(lambda: world.source.sessions == 2, 100)


async def test_a_slow_consumer_never_trips_it() -> None:
    async with open_world(interval=0.5) as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES, backpressure=DropOldest(10)) as trades:
            for _ in range(10):
                await trades.receive()
                await anyio.sleep(60)
            assert world.manager.status().stale == 0
            assert world.source.sessions == 1


async def test_it_is_armed_by_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the first event: an epoch that never brings one is found, too."""
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES):
            await anyio.sleep(120)
            world.source.muted = ALL
            world.exchange.end_sessions(_now(world))
            await _until(lambda: world.source.sessions == 3, 60)
            assert world.manager.status().stale == 1


@pytest.mark.parametrize("realtime", [True, False])
async def test_when_the_busy_market_leaves_nobody_is_suspected(realtime: bool) -> None:
    """All together are more silent then, and it is nobody's fault; also if no changes of anything are wanted."""
    rare, busy = CODES[:2]
    async with open_world() as world, world.manager.open_client("strategy") as client:
        world.source.muted = frozenset([rare])
        async with client.stream(DataType.TRADE, rare, realtime=realtime):
            async with client.stream(DataType.TRADE, busy):
                await anyio.sleep(120)
            await anyio.sleep(300)
            assert world.manager.status().stale == 0
            assert world.source.sessions == 1


async def test_a_clock_that_was_set_back_hides_no_silence() -> None:
    """What came in an earlier epoch seems to lie in the future then."""
    clock = Clock()
    async with open_world(clock=clock) as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES, backpressure=DropOldest(10)):
            await anyio.sleep(120)
            world.source.muted = ALL
            clock.jump(-3600.0)
            world.exchange.end_sessions(wall())
            await _until(lambda: world.source.sessions == 3, 60)
            assert world.manager.status().stale == 1


@given(
    steps=st.lists(st.tuples(st.sampled_from(["change", "old snapshot", "snapshot", "end"]), st.sampled_from(CODES)))
)
def test_a_topic_was_heard_when_it_last_changed_in_this_epoch(virtual_run: Run, steps: list[tuple[str, str]]) -> None:
    """Every request brings the present state of every market again, which is no change; nor does it undo one."""

    async def main() -> None:
        hub, wants = Hub(), wants_of(DataType.TRADE, CODES)
        hub.register(wants)
        hub.asked(wants)
        epoch = Epoch(connection="public", number=1, started_at=0.0, wall_offset=0.0, reason="test")
        heard: dict[str, float] = dict.fromkeys(CODES, 0.0)
        last: dict[str, int] = dict.fromkeys(CODES, 0)
        for number, (what, code) in enumerate(steps, 1):
            if what == "end":
                hub.ended(epoch, "test", 0.0, 0.0)
                hub.asked(wants)
                epoch = attrs.evolve(epoch, number=epoch.number + 1)
                heard = dict.fromkeys(CODES, 0.0)
                continue
            last[code] = last[code] if what == "old snapshot" else number
            if what == "change":
                heard[code] = float(number)
            else:
                hub.asked(wants)
            trade = msgspec.structs.replace(
                numbered_trade(code, 1, last[code]),
                stream_type="REALTIME" if what == "change" else "SNAPSHOT",
                epoch=epoch,
                received_at=float(number),
            )
            hub.publish([trade], epoch)
            assert {one.code: one.at for one in hub.heard(epoch).values()} == heard

    virtual_run(main)


def _now(world: World) -> float:
    epoch = world.manager.status().epoch
    assert epoch is not None
    return epoch.wall_offset + anyio.current_time()
