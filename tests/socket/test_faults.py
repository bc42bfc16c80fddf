"""Faults that look different on a real socket than in memory, and that one script does for both."""

import json
import time
from functools import partial

import anyio
import pytest
from tests.support.world import NumberedSource

from upbit_streams import Config, ConnectionLostError, HandshakeRefusedError
from upbit_streams.testing import (
    Ban,
    Delay,
    Duplicate,
    Fault,
    Garbage,
    Reset,
    SimulatedExchange,
    SlowClose,
    open_exchange,
    play,
)
from upbit_streams.transport.websocket import connect

pytestmark = [pytest.mark.socket, pytest.mark.anyio]

CONFIG = Config(connect_timeout=5.0, close_timeout=3.0)
TRADES = json.dumps([{"ticket": "test"}, {"type": "trade", "codes": ["KRW-BTC"]}])
wall = time.time  # noqa: TID251 -- real sockets live in real time


async def test_a_reset_comes_in_the_middle_of_a_frame() -> None:
    exchange = SimulatedExchange(NumberedSource(0.01))
    with anyio.fail_after(10):
        async with open_exchange(exchange) as url:
            transport = await connect(url, CONFIG)
            await transport.send(TRADES)
            await transport.receive()
            await play([Reset()], exchange, wall)
            with pytest.raises(ConnectionLostError) as lost:
                while True:
                    await transport.receive()
            await transport.aclose()
    assert lost.value.code == 1006
    assert "reset" in lost.value.why.lower()


@pytest.mark.parametrize("seconds", [0.0, 0.4])
async def test_a_slow_goodbye_takes_its_time(seconds: float) -> None:
    exchange = SimulatedExchange(NumberedSource())
    with anyio.fail_after(10):
        async with open_exchange(exchange) as url, anyio.create_task_group() as group:
            group.start_soon(play, [SlowClose(lasts=5, seconds=seconds)], exchange, wall)
            transport = await connect(url, CONFIG)
            started = anyio.current_time()
            await transport.aclose()
            took = anyio.current_time() - started
            group.cancel_scope.cancel()
    assert seconds <= took + 0.05 < seconds + 0.4


async def test_one_script_does_for_both_fronts() -> None:
    exchange = SimulatedExchange(NumberedSource(0.05))
    script: list[Fault] = [
        Garbage(after=0.2, data=b"?"),
        Duplicate(after=0.05),
        Delay(lasts=0.1, seconds=0.2),
        Ban(seconds=9),
    ]
    heard: list[bytes] = []
    with anyio.fail_after(10):
        async with open_exchange(exchange) as url, anyio.create_task_group() as group:
            transport = await connect(url, CONFIG)
            await transport.send(TRADES)
            group.start_soon(partial(play, script, exchange, wall))
            with anyio.move_on_after(1):
                while True:
                    heard += await transport.receive()
            with pytest.raises(HandshakeRefusedError) as refused:
                await connect(url, CONFIG)
            await transport.aclose()
    assert refused.value.status == 418
    assert "9 seconds" in refused.value.body
    assert heard.count(b"?") + len(heard) - len(set(heard)) >= 2
    numbers = [json.loads(frame)["sequential_id"] for frame in heard if frame != b"?"]
    assert numbers == sorted(numbers)
