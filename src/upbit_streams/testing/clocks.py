"""Virtual time on both backends: hours of waiting in moments, and always the same hours.

The clock stands still while any task can run. Once every task waits, it jumps to the next timer. On trio this is trio's
own ``MockClock``; asyncio has nothing like it, so there is a loop here that does the same. On both the clock starts at
zero, and a run in which nothing can ever happen again ends with :class:`DeadlockError` instead of hanging.

In tests, as anyio's fixture::

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(request):
        return virtual_backend(request.param)

and anywhere else, :func:`run`.

Threads and sockets live in real time, and no clock can know that one of them is about to answer. They are waited for
only while no timer is set; if one is, it comes first, however short the answer would have taken. So keep timeouts away
from them in virtual time. A task that never blocks stops the clock altogether.
"""

import asyncio  # noqa: TID251 - what is made here is a part of asyncio
import contextvars
import math
import selectors
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple

import anyio

if TYPE_CHECKING:
    import trio

__all__ = ["DeadlockError", "VirtualTimeLoop", "block", "run", "settle", "virtual_backend"]

T = TypeVar("T")
Args = TypeVarTuple("Args")

PATIENCE = 1.0
"""Real seconds that a run without any timer waits for a thread, a socket or a signal before it is a deadlock."""


class DeadlockError(RuntimeError):
    """Every task waits for another one and no timer is set, so nothing would ever happen again.

    ``tasks`` has the names of those tasks. On trio the error is raised in the main task, where it waits; on asyncio out
    of the run, past all tasks.
    """

    def __init__(self, tasks: Iterable[str]) -> None:
        self.tasks = tuple(tasks)
        names = ", ".join(self.tasks)
        super().__init__(f"every task is blocked, no timer is set and nothing came from outside: {names}")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose clock jumps to the next timer whenever all its tasks wait."""

    # The base class's own, unknown to its published types.
    _scheduled: list[asyncio.TimerHandle]
    _clock_resolution: float

    def __init__(self) -> None:
        self._now = 0.0
        self._settling: list[asyncio.Future[None]] = []
        super().__init__(_IdleSelector(self))
        self._jump(0.0)

    def time(self) -> float:
        return self._now

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        # On asyncio, anyio's wait_all_tasks_blocked() looks at the tasks, sleeps for 0.1 s if one of them can run, and
        # looks again. That sleep is no timer of the program, so it lasts until the loop's next turn and moves nothing.
        # If anyio renames the function, it merely moves the clock again, and our tests tell.
        sleep = sys._getframe(1)
        if sleep.f_back is not None and sleep.f_back.f_code.co_name == "wait_all_tasks_blocked":
            delay = 0
        return super().call_later(delay, callback, *args, context=context)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        # From 3.12 on the runner gives the executor's threads five minutes to end. Those would be over at once.
        await super().shutdown_default_executor()

    async def _settle(self) -> None:
        settled = self.create_future()
        self._settling.append(settled)
        await settled

    def _idle(self) -> bool:
        """Make something happen now that no task can run. Returns False if only the world outside could do that."""
        if self._settling:
            for settled in self._settling:
                if not settled.done():
                    settled.set_result(None)
            self._settling.clear()
            return True
        # From the heap, not from the time-out that asyncio gives its selector: that one is cut at a day, so a timer at
        # infinity, which is what anyio.sleep_forever() is on asyncio, would have the clock go on and on, day by day.
        # The top of the heap is never a cancelled timer, since asyncio drops those right before it selects.
        if self._scheduled and (when := self._scheduled[0].when()) < math.inf:
            self._jump(when)
            return True
        return False

    def _jump(self, when: float) -> None:
        self._now = when
        # asyncio fires what is due before now + resolution. One float step makes this exactly what is due by now. The
        # resolution of the real clock, a nanosecond, would be lost in the sum after some months of virtual time, and
        # then no timer would ever be due again.
        self._clock_resolution = math.ulp(when)


class _IdleSelector(selectors.DefaultSelector):
    """Tells the loop when it would sleep. asyncio asks to sleep only if no callback is ready and no timer is due."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0) or self._loop._idle():
            return ready
        # call_soon_threadsafe() and signals write to a socket of the loop's own, so they end this wait too.
        ready = super().select(PATIENCE)
        if not ready:
            raise DeadlockError(sorted(task.get_name() for task in asyncio.all_tasks(self._loop)))
        return ready


class _TrioDeadlocks:
    """An instrument for trio that ends a run in which nothing can happen any more.

    With nothing to jump to, trio's ``MockClock`` looks for I/O again and again, for ever. Each time is counted here,
    and after ten in a row also drawn out. (A jump takes two, or a few more if the sum of floats misses its mark.)
    """

    NAP = 0.01

    def __init__(self) -> None:
        self._quiet = 0

    def task_scheduled(self, task: "trio.lowlevel.Task") -> None:
        self._quiet = 0

    def before_io_wait(self, timeout: float) -> None:
        self._quiet += 1
        if self._quiet <= 10:
            return
        import trio

        root = trio.lowlevel.current_root_task()
        if root is None or trio.lowlevel.current_statistics().seconds_to_next_deadline < math.inf:
            return
        time.sleep(self.NAP)
        if (self._quiet - 10) * self.NAP < PATIENCE:
            return
        # The innermost nursery of the root task has the main task in it, the others have tasks of trio's own.
        blocked = list(_tasks(root.child_nurseries[-1]))
        error = DeadlockError(task.name for task in blocked)

        def throw() -> NoReturn:
            raise error

        # An instrument cannot raise, and no public way leads into a task that waits. This is the one by which trio
        # itself delivers KeyboardInterrupt, past all shields: into the main task, and if that one was told already and
        # only waits for its children, at the next look into the first of them.
        for task in blocked:
            if task._abort_func is not None:
                task._attempt_abort(throw)
                break


def _tasks(nursery: "trio.Nursery") -> Iterator["trio.lowlevel.Task"]:
    """The tasks of a nursery and of all nurseries below, parents first."""
    for task in nursery.child_tasks:
        yield task
        for inner in task.child_nurseries:
            yield from _tasks(inner)


def virtual_backend(name: str) -> tuple[str, dict[str, Any]]:
    """The backend ``asyncio`` or ``trio`` in virtual time: anyio's name of it, and its options.

    It is what the ``anyio_backend`` fixture may return, and what ``anyio.run`` takes as ``backend`` and
    ``backend_options``. The options are good for one run, since they hold its clock.
    """
    if name == "asyncio":
        return name, {"loop_factory": VirtualTimeLoop}
    if name == "trio":
        import trio.testing

        clock = trio.testing.MockClock(autojump_threshold=0)
        return name, {"clock": clock, "instruments": [_TrioDeadlocks()]}
    raise ValueError(f"{name!r} is not a backend; the backends are 'asyncio' and 'trio'")


def run(main: Callable[[*Args], Awaitable[T]], *args: *Args, backend: str = "asyncio") -> T:
    """Run an async function in virtual time and return its result. A deadlock raises :class:`DeadlockError`."""
    name, options = virtual_backend(backend)
    try:
        return anyio.run(main, *args, backend=name, backend_options=options)
    except BaseExceptionGroup as group:
        # On trio the error passes through the task groups of the main task, on asyncio it comes from below them.
        deadlock: BaseException | None = group.subgroup(DeadlockError)
        while isinstance(deadlock, BaseExceptionGroup):
            deadlock = deadlock.exceptions[0]
        if isinstance(deadlock, DeadlockError):
            raise DeadlockError(deadlock.tasks) from group
        raise


async def settle() -> None:
    """Wait until every other task is blocked. The clock does not move, and threads are not waited for.

    On asyncio this sees more than ``anyio.wait_all_tasks_blocked()``, which looks at tasks only: a callback that is
    about to wake a task, as at the end of a task group, escapes it.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if isinstance(loop, VirtualTimeLoop):
        await loop._settle()
    else:
        await anyio.wait_all_tasks_blocked()


def block(seconds: float) -> None:
    """Let time pass in which no task runs, as a function does that blocks the event loop.

    Raises :class:`RuntimeError` where time is real.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if isinstance(loop, VirtualTimeLoop):
        loop._jump(loop.time() + seconds)
        return
    if loop is None:
        import trio.testing

        clock = trio.lowlevel.current_clock()
        if isinstance(clock, trio.testing.MockClock):
            clock.jump(seconds)
            return
    raise RuntimeError("block() moves a virtual clock, and there is none here; to block in real time, use time.sleep()")
