"""E1: epoch numbers of a connection grow by exactly one at each successful connect, and never repeat."""

from collections.abc import Callable
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import Life, enough, lives, open_live_world
from tests.support.world import CODES

from upbit_streams import DataType

Run = Callable[..., Any]
LIVES = lives(draws=st.floats(0, 1))


@enough
@given(life=LIVES)
def test_e1_epoch_numbers_grow_by_exactly_one_at_each_successful_connect(virtual_run: Run, life: Life) -> None:
    async def main() -> None:
        numbers: list[tuple[int, int]] = []
        async with open_live_world(life) as world, world.manager.open_client("strategy") as client:

            def look() -> None:
                epoch = world.manager.status().epoch
                numbers.append((epoch.number if epoch is not None else 0, len(world.exchange.talks)))

            async def note() -> None:
                while True:
                    await world.manager.wait_status_changed()
                    look()

            async with anyio.create_task_group() as group:
                group.start_soon(note)
                await client.register_interest(DataType.TRADE, CODES)
                await world.live()
                group.cancel_scope.cancel()
            look()
        assert numbers[-1][1] > 1
        # An epoch that lasts no moment may go unseen.
        for number, connects in numbers:
            assert number == connects, f"epoch {number} after {connects} connects"

    virtual_run(main)
