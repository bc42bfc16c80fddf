"""B1: memory is bounded: every buffer has a capacity, and the sum is known from the configuration."""

from collections.abc import Callable
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import BEAT, Life, Reader, enough, lives, open_live_world
from tests.support.world import CODES

from upbit_streams import Block, Coalesce, DataType, DropNewest, DropOldest, Event, Fail, Policy, Throttle

Run = Callable[..., Any]
KINDS = [DataType.TICKER, DataType.TRADE]
TOPICS = len(KINDS) * len(CODES)
POLICIES: tuple[Callable[[int], Policy], ...] = (
    DropOldest,
    DropNewest,
    Fail,
    lambda room: Coalesce(TOPICS + room),
    lambda room: Throttle(1.3, TOPICS + room),
    lambda room: Block(room, 2.0),
)
_NOTICES_PER_PLACE = 4
"""Between two events there is one place, with a few notices at most."""
LIVES = st.tuples(
    lives(), st.sampled_from(POLICIES), st.integers(1, 4), st.booleans(), st.sampled_from([0.3, 2.0, 7.0, 1e9])
)


@enough
@given(life=LIVES)
def test_b1_whatever_comes_no_more_waits_than_the_configuration_says(
    virtual_run: Run, life: tuple[Life, Callable[[int], Policy], int, bool, float]
) -> None:
    """Also behind somebody who never reads."""
    script, make, room, notices, pause = life
    policy = make(room)

    async def main() -> None:
        async with open_live_world(script) as world, world.manager.open_client("strategy") as client:
            stream = client.stream(KINDS, CODES, backpressure=policy, notices=notices)
            async with stream, anyio.create_task_group() as group:
                bound = world.manager.memory_bound()
                # What stands behind a loss that was told may wait beside the buffer.
                most = policy.capacity + notices

                async def look() -> None:
                    while True:
                        ledger = stream.statistics()
                        assert ledger.capacity == policy.capacity
                        assert ledger.buffered <= ledger.high_water <= most, f"{ledger}"
                        assert world.manager.memory_bound() == bound
                        await anyio.sleep(BEAT / 4)

                reader = Reader(pause, is_batched=False)
                group.start_soon(look)
                group.start_soon(reader.run, stream)
                await world.live()
                before = len(reader.items)
                reader.drain(stream)
                left = reader.items[before:]
                told = sum(not isinstance(item, Event) for item in left)
                assert told <= (_NOTICES_PER_PLACE + TOPICS) * (most + 1), f"{told} notices wait"
                assert len(left) - told <= most
                group.cancel_scope.cancel()

    virtual_run(main)
