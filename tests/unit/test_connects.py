"""The limit of connects, which all share who connect from one address."""

import threading
from collections.abc import Sequence

import anyio
import pytest

from upbit_streams.engine.connects import Connects


async def _turns(pauses: Sequence[float]) -> list[float]:
    """When those have their turns who want to connect after these pauses."""
    connects, started, begun = Connects(anyio.current_time), anyio.current_time(), list[float]()

    async def connect(pause: float) -> None:
        await anyio.sleep(pause)
        await connects.take_turn()
        begun.append(round(anyio.current_time() - started, 6))

    async with anyio.create_task_group() as group:
        for pause in pauses:
            group.start_soon(connect, pause)
    return begun


@pytest.mark.parametrize(
    ("pauses", "turns"),
    [
        ([0.0] * 12, [0.0] * 5 + [1.1] * 5 + [2.2] * 2),
        # Who waits counts from when it connects, and not from when it came.
        ([0.0] * 5 + [0.5] + [1.2] * 4, [0.0] * 5 + [1.1] + [1.2] * 4),
    ],
)
async def test_no_more_than_five_take_their_turns_in_one_window(pauses: list[float], turns: list[float]) -> None:
    """Also if they have waited for the same moment."""
    assert await _turns(pauses) == turns


async def test_a_connect_that_happens_without_a_turn_counts_like_all_others() -> None:
    connects = Connects(anyio.current_time)
    await connects.take_turn()
    for _ in range(4):
        assert connects.wait() == 0
        connects.record()
    assert connects.wait() == pytest.approx(1.1)


async def test_a_row_of_blocks_ends_when_one_is_let_in() -> None:
    connects, rows = Connects(anyio.current_time), list[int]()

    def seconds_after(blocks: int) -> float:
        rows.append(blocks)
        return 2.0

    assert connects.block(lambda _: None) is None
    assert connects.wait() == 0
    for _ in range(2):
        assert connects.block(seconds_after) == 2.0
        assert connects.wait() == pytest.approx(2.0)
        await anyio.sleep(3.0)
    connects.passed()
    connects.block(seconds_after)
    assert rows == [0, 1, 0]


def test_no_thread_looks_while_another_one_is_about_to_count() -> None:
    """Otherwise both would take the same turn."""
    inside, most = list[int](), list[int]()

    def clock() -> float:
        inside.append(1)
        threading.Event().wait(0.05)  # the other thread runs meanwhile
        most.append(len(inside))
        inside.pop()
        return 0.0

    connects = Connects(clock)
    threads = [threading.Thread(target=connects.record) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [1, 1]
