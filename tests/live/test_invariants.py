"""Several invariants at once, under everything that can go wrong with an exchange. Each alone: ``tests/invariants``."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import CODES, open_world, wall

from upbit_streams import DataType, DropOldest, TradeEvent
from upbit_streams.rules.rate_limit import CONNECTS
from upbit_streams.testing import Duplicate, Fault, Garbage, play, strategies

Run = Callable[..., Any]


@given(script=strategies.faults(), pauses=st.lists(st.floats(0.1, 20), max_size=5), draws=st.floats(0, 1))
def test_e1_to_e3_and_the_limits_hold_under_any_script(
    virtual_run: Run, script: list[Fault], pauses: list[float], draws: float
) -> None:
    async def main() -> None:
        seen: list[TradeEvent] = []
        numbers: list[int] = []
        async with (
            open_world(interval=0.5, draw=lambda: draws) as world,
            world.manager.open_client("strategy") as client,
            client.stream(DataType.TRADE, CODES[:2], backpressure=DropOldest(20)) as trades,
        ):

            async def consume() -> None:
                async for trade in trades:
                    seen.append(trade)

            async def note() -> None:
                while True:
                    status = await world.manager.wait_status_changed()
                    if status.epoch is not None and (not numbers or numbers[-1] != status.epoch.number):
                        numbers.append(status.epoch.number)

            async def change() -> None:
                """So that there are requests that replace others."""
                for pause in pauses:
                    await anyio.sleep(pause)
                    async with world.manager.open_client("another") as another:
                        await another.register_interest(DataType.TRADE, CODES[2])
                        await anyio.sleep(pause)

            async with anyio.create_task_group() as group:
                for task in (consume, note, change):
                    group.start_soon(task)
                await play(script, world.exchange, wall)
                world.exchange.end_sessions(wall())  # a session that was let in silently stays silent
                await anyio.sleep(200)
                group.cancel_scope.cancel()
            status, ledger = world.manager.status(), trades.statistics()

            assert world.exchange.breaches == []
            limit = CONNECTS[0]
            times = list(world.exchange.connects)
            assert all(b - a >= limit.seconds - 1e-6 for a, b in zip(times, times[limit.count :], strict=False))

            # E1; a state that lasted no moment was not seen, so numbers may be missing here, but none comes twice.
            assert numbers == sorted(set(numbers))
            assert status.epoch is not None
            assert status.epoch.number == world.source.sessions
            # E2
            assert seen
            assert all(trade.epoch.number == trade.sequential_id // 1_000_000 for trade in seen)
            # E3: order and epochs never go back, and nothing comes twice but what the exchange has sent twice.
            ids = [trade.sequential_id for trade in seen]
            assert ids == sorted(ids)
            twice = sum(many - 1 for many in Counter(ids).values())
            assert twice <= sum(isinstance(fault, Duplicate) for fault in script)
            # The ledger: all that was sent was published, unwanted, a reply, or garbage.
            assert ledger.published == ledger.delivered + ledger.dropped + ledger.buffered
            assert ledger.delivered == len(seen)
            assert status.late == 0
            if not any(isinstance(fault, Garbage) for fault in script):
                assert status.bad_frames == 0
            assert (
                status.bad_frames + status.events + status.unwanted + status.repeated + status.errors <= status.messages
            )

    virtual_run(main)


@given(garbage=st.lists(st.sampled_from([b"", b"{", b"\xff", b"trade", b"[[["]), min_size=1, max_size=5))
def test_every_piece_of_garbage_is_counted_as_a_bad_frame_and_harms_nothing(
    virtual_run: Run, garbage: list[bytes]
) -> None:
    async def main() -> None:
        async with open_world() as world, world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()
            await play([Garbage(after=0.15, data=data) for data in garbage], world.exchange, wall)
            await anyio.sleep(1)
            status = world.manager.status()
            assert status.bad_frames == len(garbage)
            assert status.epoch is not None
            assert status.epoch.number == 1
            assert status.messages == status.events + status.bad_frames + 1  # what it serves, it has told once

    virtual_run(main)
