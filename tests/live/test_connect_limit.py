"""The exchange counts connects by address: all event loops and threads of a process share its limit.

In real time, as threads share no other; so these tests are few and short.
"""

import threading
import time
from collections.abc import Sequence

import anyio
import attrs
import pytest
from tests.support.world import CODES, NumberedSource, open_world, wall

from upbit_streams import Backoff, Config, DataType, ReconnectFailedError, open_manager
from upbit_streams.exceptions import ConnectFailedError, HandshakeRefusedError
from upbit_streams.model.secret import Secret
from upbit_streams.testing import Refusal, SimulatedExchange, memory_connector, run
from upbit_streams.transport.interface import Connector, Transport

_now = time.monotonic  # noqa: TID251 -- what the address's limit is about
_SECONDS = 1.2


@attrs.define
class Gate:
    """An exchange that lets nobody in, and notes when each tried. Any thread may knock."""

    status: int = 0
    knocks: list[float] = attrs.field(factory=list)

    async def connect(self, url: str, config: Config, token: Secret | None = None) -> Transport:
        self.knocks.append(_now())
        if self.status:
            raise HandshakeRefusedError(url, self.status, "")
        raise ConnectFailedError(url, "nobody is there")

    def most_in_a_second(self) -> int:
        times = sorted(self.knocks)
        return max(sum(first <= each < first + 1.0 for each in times) for first in times)


async def _knock(gate: Gate, seconds: float, attempts: int | None = None, name: str = "main") -> None:
    """Try to connect again and again, as fast as it is allowed; with ``attempts``, give up after so many."""
    config = Config(url="ws://memory", backoff=Backoff(attempts=attempts))
    with anyio.move_on_after(seconds):
        async with (
            open_manager(config, connector=gate.connect, draw=lambda: 0.0, name=name) as manager,
            manager.open_client("strategy") as client,
            client.stream(DataType.TRADE, CODES) as trades,
        ):
            await trades.receive()


def test_event_loops_in_several_threads_share_the_limit_of_connects() -> None:
    gate = Gate()
    threads = [
        threading.Thread(target=anyio.run, args=(_knock, gate, _SECONDS), kwargs={"backend": backend})
        for backend in ("asyncio", "trio") * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 3 <= gate.most_in_a_second() <= 5


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_who_opens_a_manager_again_and_again_keeps_the_limit_of_connects(backend: str) -> None:
    """As a notebook does, or a program that is started over in a loop."""
    gate, started = Gate(), _now()
    while _now() < started + _SECONDS / 2:
        with pytest.raises(ReconnectFailedError):
            anyio.run(_knock, gate, 60.0, 1, backend=backend)
    assert 2 <= gate.most_in_a_second() <= 5


def test_what_one_event_loop_is_told_by_the_exchange_holds_for_the_next() -> None:
    """A 429 or 418 is about the address."""
    gate = Gate(status=418)
    anyio.run(_knock, gate, 0.05)
    anyio.run(_knock, gate, 0.1, backend="trio")
    assert len(gate.knocks) == 1


async def test_managers_of_one_run_share_what_they_are_told_in_virtual_time() -> None:
    exchange = SimulatedExchange(NumberedSource())
    exchange.refusal = Refusal(418, "blocked for 60 seconds")
    connect = memory_connector(exchange, wall)
    async with anyio.create_task_group() as group:
        for name in ("one", "two"):
            group.start_soon(_knock_in_virtual_time, connect, name)
            await anyio.sleep(1)
        await anyio.sleep(50)
        assert len(exchange.connects) == 1
        exchange.refusal = None
        await anyio.sleep(60)
        assert len(exchange.connects) == 3
        group.cancel_scope.cancel()


async def _knock_in_virtual_time(connect: Connector, name: str) -> None:
    async with (
        open_manager(Config(url="ws://memory"), connector=connect, wall=wall, name=name) as manager,
        manager.open_client("strategy") as client,
        client.stream(DataType.TRADE, CODES) as trades,
    ):
        async for _ in trades:
            pass


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_run_in_virtual_time_does_not_wait_for_what_other_runs_did(backend: str) -> None:
    async def main() -> Sequence[float]:
        async with open_world() as world, world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, CODES)
            for _ in range(8):
                world.exchange.end_sessions(wall())
                await anyio.sleep(0.01)
            await anyio.sleep(10.0)
            return list(world.exchange.connects)

    assert run(main, backend=backend) == run(main, backend=backend)
