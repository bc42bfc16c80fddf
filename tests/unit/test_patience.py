"""A time-out that stands still now and then."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from upbit_streams.engine.patience import Patience
from upbit_streams.testing import settle

Run = Callable[..., Any]
spans = st.lists(st.integers(1, 20), max_size=8)


@given(before=st.integers(0, 5), seconds=st.integers(1, 30), spans=spans)
@example(before=0, seconds=5, spans=[1, 3, 10])
@example(before=1, seconds=5, spans=[3, 3, 10])
def test_pauses_do_not_count(virtual_run: Run, before: int, seconds: int, spans: Sequence[int]) -> None:
    """Pauses of these lengths in turns with time that counts; the first one may have begun before the time-out."""

    async def main() -> None:
        patience, ended_at = Patience(lambda: 0), list[float]()

        async def wait() -> None:
            await anyio.sleep(before)
            with patience.of(seconds):
                await anyio.sleep_forever()
            ended_at.append(anyio.current_time())

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await settle()
            for number, span in enumerate(spans):
                if number % 2:
                    await anyio.sleep(span)
                else:
                    with patience.paused():
                        await anyio.sleep(span)
        counted, now = 0.0, 0.0
        for number, span in enumerate([*spans, *([1] if len(spans) % 2 == 0 else []), 1000]):
            counts = number % 2 == 1 or number >= len(spans)
            begin = max(now, before)
            passing = max(now + span - begin, 0.0) if counts else 0.0
            if counted + passing >= seconds:
                assert ended_at == [pytest.approx(begin + seconds - counted)]
                return
            counted, now = counted + passing, now + span
        raise AssertionError

    virtual_run(main)
