"""L1: after ``async with open_manager()`` is left, however it is left, no task, socket, channel or timer of ours
exists."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import Life, LiveWorld, Reader, enough, lives, open_live_world
from tests.support.world import CODES

from upbit_streams import DataType, DropOldest, EventStream, ScopeError

Run = Callable[..., Any]
LIVES = st.tuples(lives(), st.floats(0, 15), st.sampled_from(["return", "raise", "cancel"]))


class _UserError(Exception):
    pass


@enough
@given(life=LIVES)
def test_l1_nothing_of_ours_outlives_the_manager_however_it_is_left(
    virtual_run: Run, life: tuple[Life, float, str]
) -> None:
    script, leave_after, way = life

    async def main() -> None:
        tasks_before = {task.id for task in anyio.get_running_tasks()}
        worlds: list[LiveWorld] = []
        streams: list[EventStream[Any]] = []

        async def body() -> None:
            async with open_live_world(script) as world, world.manager.open_client("strategy") as client:
                worlds.append(world)
                await client.subscribe_ticker(CODES, lambda _: None)
                async with anyio.create_task_group() as group:
                    streams.append(client.stream(DataType.TRADE, CODES, backpressure=DropOldest(3)))
                    group.start_soon(_read, streams[0])
                    group.start_soon(world.live)
                    await anyio.sleep(leave_after)
                    if way == "cancel":
                        await anyio.sleep_forever()
                    # Out of the inner group, so that what is tested is this library's own wrapping.
                    group.cancel_scope.cancel()
                if way == "raise":
                    raise _UserError

        if way == "raise":
            with pytest.raises(_UserError):
                await body()
        else:
            with anyio.move_on_after(leave_after + 1 if way == "cancel" else None):
                await body()
        assert not worlds[0].exchange.sessions, "a connection is still open"
        assert {task.id for task in anyio.get_running_tasks()} == tasks_before
        with pytest.raises(ScopeError):
            streams[0].receive_nowait()
        told = len(worlds[0].exchange.connects)
        await anyio.sleep(100)
        assert len(worlds[0].exchange.connects) == told, "somebody connects still"

    virtual_run(main)


async def _read(stream: EventStream[Any]) -> None:
    async with stream:
        await Reader(0.1, is_batched=False).run(stream)
