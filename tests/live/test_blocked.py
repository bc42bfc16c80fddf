"""An event loop that something blocks: what has come meanwhile is read before the exchange is judged by its silence."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.world import CODES, NumberedSource, wall

from upbit_streams import Config, DataType, DropOldest, open_manager
from upbit_streams.testing import SimulatedExchange, open_wires
from upbit_streams.testing.clocks import block
from upbit_streams.testing.wires import Wires

Run = Callable[..., Any]

PING = Config().ping_interval
PONG = Config().ping_timeout
moments = st.one_of(st.sampled_from([0.0, 0.1, 0.2, 1.0, PING - 1, PING, PING + 0.1]), st.floats(0.0, 60.0))
lengths = st.one_of(st.sampled_from([4.9, 5.0, 5.5, 9.5, 10.0, 10.5, 11.0]), st.floats(0.0, 30.0))


@asynccontextmanager
async def feed(source: NumberedSource) -> AsyncGenerator[Wires, None]:
    """A program that reads trades, and the wire below."""
    async with open_wires(SimulatedExchange(source), wall) as wires:
        async with (
            open_manager(
                Config(url="ws://localhost/websocket/v1"), connector=wires.connect, wall=wall, draw=lambda: 0.5
            ) as manager,
            manager.open_client("test") as client,
            client.stream(DataType.TRADE, CODES, backpressure=DropOldest(10)),
        ):
            yield wires


async def connected(wires: Wires, source: NumberedSource, sessions: int) -> None:
    with anyio.fail_after(200.0):
        while source.sessions < sessions or not wires.open:  # noqa: ASYNC110 -- an exchange tells nobody
            await anyio.sleep(0.01)


@given(moment=moments, held=st.floats(0.0, 4.8), gap=st.floats(0.0, 1.0), length=lengths)
@example(moment=PING - 1, held=4.0, gap=0.5, length=9.6)  # a ping under way
@example(moment=PING - 1, held=4.0, gap=0.5, length=10.4)
@example(moment=0.0, held=4.0, gap=0.1, length=5.5)  # the first question under way
def test_what_lies_in_the_socket_is_read_before_the_verdict(
    virtual_run: Run, moment: float, held: float, gap: float, length: float
) -> None:
    """What the exchange sends arrives while nothing runs, in good time, and is read too late for the clock."""

    async def main() -> None:
        source = NumberedSource()
        async with feed(source) as wires:
            await connected(wires, source, 1)
            await anyio.sleep(moment)
            wires.open[0].down.stall(held)
            await anyio.sleep(held * gap)
            block(length)
            await anyio.sleep(60.0)
            assert source.sessions == 1

    virtual_run(main)


@pytest.mark.parametrize(
    ("what", "length"),
    [
        *(("question", length) for length in (3.5, 4.0, 4.25, 4.5, 4.75, 5.0, 6.0, 20.0)),
        *(("ping", length) for length in (4.5, 9.25, 9.5, 9.75, 10.0, 10.25, 10.5, 30.0)),
    ],
)
def test_at_every_length_around_a_time_out(virtual_run: Run, what: str, length: float) -> None:
    async def main() -> None:
        source = NumberedSource()
        async with feed(source) as wires:
            await connected(wires, source, 1)
            if what == "ping":
                await anyio.sleep(PING - 0.5)
            wires.open[0].down.stall(3.0)
            await anyio.sleep(1.0)
            block(length)
            await anyio.sleep(30.0)
            assert source.sessions == 1

    virtual_run(main)


@pytest.mark.parametrize("length", [31.0, 39.0])
@pytest.mark.parametrize("moment", [119.0, 121.0, 124.0])
def test_what_nobody_could_read_is_no_silence(virtual_run: Run, moment: float, length: float) -> None:
    """By then the watchdog knows the markets' habits, and the loop is blocked for longer than any of them is silent."""

    async def main() -> None:
        source = NumberedSource()
        async with feed(source) as wires:
            await connected(wires, source, 1)
            await anyio.sleep(moment)
            block(length)
            await anyio.sleep(30.0)
            assert source.sessions == 1

    virtual_run(main)


@given(moment=moments, delay=st.floats(0.0, 20.0), length=lengths)
def test_a_dead_exchange_is_found_in_time_all_the_same(
    virtual_run: Run, moment: float, delay: float, length: float
) -> None:
    async def main() -> None:
        source = NumberedSource()
        async with feed(source) as wires:
            await connected(wires, source, 1)
            await anyio.sleep(moment)
            wires.open[0].down.dead = True
            died_at = anyio.current_time()
            with anyio.move_on_after(delay):
                await connected(wires, source, 2)
            block(length)
            await connected(wires, source, 2)
            assert anyio.current_time() - died_at < PING + PONG + length + 5.0

    virtual_run(main)
