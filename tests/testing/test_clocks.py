"""Virtual time: what the clock does, and above all when it stands still."""

import asyncio  # noqa: TID251 - one of the clocks is a loop of asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from upbit_streams.testing.clocks import DeadlockError, VirtualTimeLoop, run, settle, virtual_backend

both = pytest.mark.parametrize("backend", ["asyncio", "trio"])
"""These tests drive the runs themselves, from outside; so the backend is an argument, not anyio's fixture."""

DAY = 86_400.0

waits = pytest.mark.parametrize(
    "wait", [settle, anyio.wait_all_tasks_blocked], ids=["settle", "wait_all_tasks_blocked"]
)


@both
def test_a_day_passes_beat_by_beat(backend: str) -> None:
    async def main() -> float:
        assert anyio.current_time() == 0
        for beat in range(int(DAY) // 10):
            assert anyio.current_time() == beat * 10
            await anyio.sleep(10)
        return anyio.current_time()

    assert run(main, backend=backend) == DAY


@both
def test_arguments_go_in_and_the_result_comes_out(backend: str) -> None:
    async def main(*args: int) -> tuple[int, ...]:
        return args

    assert run(main, 1, 2, 3, backend=backend) == (1, 2, 3)


@both
def test_an_error_comes_out(backend: str) -> None:
    async def main() -> None:
        raise LookupError

    async def group() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(main)

    with pytest.raises(LookupError):
        run(main, backend=backend)
    with pytest.raises(ExceptionGroup) as raised:
        run(group, backend=backend)
    assert raised.group_contains(LookupError)


@both
def test_each_run_starts_at_zero(backend: str) -> None:
    async def main() -> float:
        started = anyio.current_time()
        await anyio.sleep(5)
        return started

    assert [run(main, backend=backend), run(main, backend=backend)] == [0, 0]


@both
def test_timers_fire_in_the_order_of_their_times(backend: str) -> None:
    fired: list[tuple[float, float]] = []

    async def sleeper(delay: float) -> None:
        await anyio.sleep(delay)
        fired.append((delay, anyio.current_time()))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for delay in (5, 0.25, 3 * DAY, 1, 2, 0.5, DAY):
                tasks.start_soon(sleeper, delay)

    run(main, backend=backend)
    assert fired == [(delay, delay) for delay in (0.25, 0.5, 1, 2, 5, DAY, 3 * DAY)]


@both
def test_the_clock_stands_still_while_a_task_can_run(backend: str) -> None:
    async def main() -> float:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 0.001)
            for _ in range(1000):
                await anyio.lowlevel.checkpoint()
                assert anyio.current_time() == 0
        return anyio.current_time()

    assert run(main, backend=backend) == 0.001


@both
def test_a_timer_beyond_a_day(backend: str) -> None:
    async def main() -> float:
        await anyio.sleep(3 * DAY)
        return anyio.current_time()

    assert run(main, backend=backend) == 3 * DAY


@both
def test_a_short_timer_after_ten_years(backend: str) -> None:
    """On asyncio the resolution of the real clock, a nanosecond, is lost in such a sum, and no timer is ever due."""

    async def main() -> float:
        await anyio.sleep(3650 * DAY)
        await anyio.sleep(0.25)
        return anyio.current_time()

    assert run(main, backend=backend) == 3650 * DAY + 0.25


@both
def test_move_on_after(backend: str) -> None:
    async def main() -> float:
        with anyio.move_on_after(10) as scope:
            await anyio.sleep(20)
        assert scope.cancelled_caught
        return anyio.current_time()

    assert run(main, backend=backend) == 10


@both
def test_fail_after(backend: str) -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            with anyio.fail_after(10):
                await anyio.Event().wait()
        return anyio.current_time()

    assert run(main, backend=backend) == 10


@both
def test_a_deadline_ends_sleep_forever(backend: str) -> None:
    async def main() -> float:
        with anyio.move_on_after(2 * DAY):
            await anyio.sleep_forever()
        return anyio.current_time()

    assert run(main, backend=backend) == 2 * DAY


@both
def test_nested_scopes_end_from_the_inside_out(backend: str) -> None:
    async def main() -> list[float]:
        ends = []
        outer, never, inner = scopes = anyio.move_on_after(4), anyio.move_on_after(8), anyio.move_on_after(1)
        with outer:
            with never:
                with inner:
                    await anyio.sleep_forever()
                ends.append(anyio.current_time())
                await anyio.sleep(2)
                ends.append(anyio.current_time())
                await anyio.sleep_forever()
        ends.append(anyio.current_time())
        assert [scope.cancelled_caught for scope in scopes] == [True, False, True]
        return ends

    assert run(main, backend=backend) == [1, 3, 4]


@both
def test_time_goes_on_in_a_shield_while_the_scope_around_it_is_cancelled(backend: str) -> None:
    async def tidy() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)

    async def main() -> float:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tidy)
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()
        return anyio.current_time()

    assert run(main, backend=backend) == 6


@both
def test_cancelled_timers_do_not_move_the_clock(backend: str) -> None:
    async def main() -> float:
        async with anyio.create_task_group() as tasks:
            for delay in range(1, 500):
                tasks.start_soon(anyio.sleep, delay)
            await settle()
            tasks.cancel_scope.cancel()
        assert anyio.current_time() == 0
        for delay in range(1, 500):
            with anyio.move_on_after(delay):
                await settle()
        assert anyio.current_time() == 0
        await anyio.sleep(1000)
        return anyio.current_time()

    assert run(main, backend=backend) == 1000


@both
@waits
def test_settling_lets_all_others_go_on_without_moving_the_clock(
    backend: str, wait: Callable[[], Awaitable[None]]
) -> None:
    async def main() -> None:
        steps: list[int] = []

        async def busy() -> None:
            for step in range(100):
                await anyio.lowlevel.checkpoint()
                steps.append(step)
            await anyio.sleep(0.01)
            steps.append(-1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(busy)
            await wait()
            assert steps == list(range(100))
            assert anyio.current_time() == 0
        assert steps[-1] == -1
        assert anyio.current_time() == 0.01

    run(main, backend=backend)


@both
def test_settling_sees_a_task_group_end(backend: str) -> None:
    """On asyncio the host of a task group is woken by a callback, and is blocked by all appearances until then."""

    async def child(steps: int) -> None:
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()

    async def host(steps: int, ended: list[bool]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child, steps)
        ended.append(True)

    async def main() -> None:
        for steps in range(20):
            ended: list[bool] = []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(host, steps, ended)
                await settle()
                assert ended == [True]

    run(main, backend=backend)


@both
def test_many_settle_at_once(backend: str) -> None:
    async def main() -> float:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            async with anyio.create_task_group() as settlers:
                for _ in range(5):
                    settlers.start_soon(settle)
                    settlers.start_soon(anyio.wait_all_tasks_blocked)
            tasks.cancel_scope.cancel()
        return anyio.current_time()

    assert run(main, backend=backend) == 0


@both
def test_settling_can_be_cancelled(backend: str) -> None:
    async def main() -> float:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(settle)
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await settle()
        await anyio.sleep(1)
        return anyio.current_time()

    assert run(main, backend=backend) == 1


@both
def test_settling_in_real_time(backend: str) -> None:
    async def main() -> None:
        event = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 0)
            tasks.start_soon(event.wait)
            await settle()
            event.set()

    anyio.run(main, backend=backend)


@both
def test_a_sleep_as_long_as_anyios_nap_is_a_timer(backend: str) -> None:
    async def main() -> float:
        await anyio.sleep(0.1)
        return anyio.current_time()

    assert run(main, backend=backend) == 0.1


@both
def test_a_thread_is_waited_for(backend: str) -> None:
    async def main() -> tuple[int, float]:
        def work() -> int:
            time.sleep(0.2)
            return threading.get_ident()

        return await anyio.to_thread.run_sync(work), anyio.current_time()

    thread, now = run(main, backend=backend)
    assert thread != threading.get_ident()
    assert now == 0


@both
def test_a_thread_calls_back(backend: str) -> None:
    async def main() -> list[float]:
        def work() -> list[float]:
            time.sleep(0.05)
            times = [anyio.from_thread.run_sync(anyio.current_time)]
            anyio.from_thread.run(anyio.sleep, 30)
            return [*times, anyio.from_thread.run_sync(anyio.current_time)]

        return await anyio.to_thread.run_sync(work)

    assert run(main, backend=backend) == [0, 30]


@both
def test_a_socket_is_waited_for(backend: str) -> None:
    async def main() -> bytes:
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            threading.Timer(0.2, far.send, [b"hello"]).start()
            await anyio.wait_readable(near)
            return near.recv(10)

    assert run(main, backend=backend) == b"hello"


@both
def test_deadlock(backend: str) -> None:
    async def stuck() -> None:
        await anyio.Event().wait()

    async def main() -> None:
        await anyio.sleep(3 * DAY)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stuck)
            tasks.start_soon(anyio.sleep_forever)

    started = time.perf_counter()
    with pytest.raises(DeadlockError, match=r"anyio\.sleep_forever") as raised:
        run(main, backend=backend)
    assert 0.9 < time.perf_counter() - started < 10
    assert len(raised.value.tasks) == 3
    assert any(name.endswith("stuck") for name in raised.value.tasks)
    assert "no timer is set" in str(raised.value)


@both
def test_deadlock_of_one_task(backend: str) -> None:
    async def main() -> None:
        await anyio.Event().wait()

    with pytest.raises(DeadlockError):
        run(main, backend=backend)


@both
def test_deadlock_behind_a_shield(backend: str) -> None:
    async def stuck() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep_forever()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stuck)
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()

    with pytest.raises(DeadlockError):
        run(main, backend=backend)


@both
def test_deadlock_cleans_up(backend: str) -> None:
    ends: list[float] = []

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(60)
            ends.append(anyio.current_time())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)

    with pytest.raises(DeadlockError):
        run(main, backend=backend)
    assert ends == [60]


@both
def test_many_deadlines_that_wake_nobody_are_no_deadlock(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upbit_streams.testing.clocks.PATIENCE", 0.0)

    async def shielded(delay: float) -> None:
        with anyio.move_on_after(delay), anyio.CancelScope(shield=True):
            await anyio.sleep(1000)

    async def main() -> float:
        async with anyio.create_task_group() as tasks:
            for delay in range(1, 100):
                tasks.start_soon(shielded, delay)
        return anyio.current_time()

    assert run(main, backend=backend) == 1000


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGALRM on Windows")
@both
def test_a_signal_is_waited_for(backend: str) -> None:
    async def main() -> signal.Signals:
        with anyio.open_signal_receiver(signal.SIGALRM) as signals:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            async for number in signals:
                return number
        raise AssertionError

    assert run(main, backend=backend) is signal.SIGALRM


def test_a_backend_as_anyio_takes_it() -> None:
    assert virtual_backend("asyncio") == ("asyncio", {"loop_factory": VirtualTimeLoop})
    name, options = virtual_backend("trio")
    assert name == "trio"
    assert options["clock"].autojump_threshold == 0
    assert options["clock"] is not virtual_backend("trio")[1]["clock"]


PLUGGED = """
import anyio, pytest
from upbit_streams.testing.clocks import virtual_backend

pytestmark = pytest.mark.anyio

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return virtual_backend(request.param)

@pytest.fixture
async def ten():
    await anyio.sleep(10)
    yield
    await anyio.sleep(10)
    assert anyio.current_time() == 120

async def test_time(ten):
    await anyio.sleep(100)
    assert anyio.current_time() == 110

async def test_stuck():
    await anyio.sleep_forever()

async def test_time_again(ten):
    await anyio.sleep(100)
"""


def test_a_backend_for_anyios_pytest_plugin(tmp_path: Path) -> None:
    """The plugin drives a run piecemeal, test by test and fixture by fixture, and trio as a guest."""
    plugged = tmp_path / "test_plugged.py"
    plugged.write_text(PLUGGED)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "-p", "anyio", "-p", "no:cacheprovider", "-c", os.devnull, plugged],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "2 failed, 4 passed" in done.stdout, done.stdout
    for backend in ("asyncio", "trio"):
        assert f"test_stuck[{backend}] - upbit_streams.testing.clocks.DeadlockError" in done.stdout, done.stdout


def test_an_unknown_backend() -> None:
    with pytest.raises(ValueError, match="'curio' is not a backend; the backends are 'asyncio' and 'trio'"):
        virtual_backend("curio")
    with pytest.raises(ValueError, match="curio"):
        run(anyio.sleep, 1, backend="curio")


def test_an_infinite_timer_is_none_but_any_finite_one_is() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        fired = asyncio.Event()
        loop.call_later(math.inf, fired.set)
        loop.call_later(1e15, fired.set)
        await fired.wait()
        return loop.time()

    assert run(main) == 1e15


def test_the_default_executor_of_asyncio_may_finish() -> None:
    done: list[int] = []

    def work() -> None:
        time.sleep(0.3)
        done.append(1)

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, work)

    run(main)
    assert done == [1]
