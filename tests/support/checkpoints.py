"""Cancel a run at each of its checkpoints, one after the other.

A task can be interrupted only where it gives way to others. So a run is taken once as it is, to count how often any of
its tasks gives way, and then as often again, each time cancelled at another of these moments. To count them, the
coroutines are driven by hand, which is the same on both backends; and the order in which the tasks take turns, which
trio draws by lot, is drawn from the same seed each time.
"""

import os
import random
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

import anyio
import trio._core._run as trio_run

__all__ = ["Checkpoints", "at_each_checkpoint", "counting_all_tasks"]

T = TypeVar("T")

_EVERY = "UPBIT_STREAMS_EVERY_CHECKPOINT"
"""Set in the environment, it has runs cancelled at every checkpoint, not only at some of them."""
_SAMPLE = 20
"""At how many of them a run is cancelled otherwise."""
_STEPS_LEFT = 20_000
"""A run that takes more steps than this after it was cancelled does not end."""


class Checkpoints:
    """Counts the checkpoints of one run, and cancels its scope at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self.passed = 0
        self.within = 0
        """How many had been passed when the block was left that is to be cancelled."""
        self.cancelled_at: float | None = None
        """When, in the event loop's time."""
        self.where = ""
        """And where the task stood that gave way then."""
        self.at = at
        self._scope: anyio.CancelScope | None = None

    @contextmanager
    def scope(self) -> Iterator[anyio.CancelScope]:
        """What is cancelled: everything in this block. Who enters it anew after that is cancelled no more."""
        with anyio.CancelScope() as self._scope:
            if self.passed == self.at:  # the run stood before this block
                self._scope.cancel()
            yield self._scope
        self._scope = None
        self.within = self.passed

    async def counting(self, awaitable: Awaitable[T]) -> T:
        """Do the same as the awaitable, and count its checkpoints."""
        return await _stepwise(awaitable.__await__(), partial(self._pass, awaitable))

    def _pass(self, awaitable: Awaitable[Any]) -> None:
        self.passed += 1
        if self.at is None:
            return
        if self.passed == self.at:
            self.cancelled_at = anyio.current_time()
            self.where = _place_in(awaitable)
            if self._scope is not None:
                self._scope.cancel()
        assert self.passed < self.at + _STEPS_LEFT, "it does not end"


@types.coroutine
def _stepwise(steps: Generator[Any, Any, T], step_taken: Callable[[], None]) -> Generator[Any, Any, T]:
    """What ``yield from`` does, and a call whenever the task gives way."""
    resume: Callable[[], Any] = partial(next, steps)
    while True:
        try:
            waits_for = resume()
        except StopIteration as returned:
            value: T = returned.value
            return value
        step_taken()
        try:
            resume = partial(steps.send, (yield waits_for))
        except BaseException as thrown:  # noqa: BLE001 -- whatever it is, it is for those who wait
            resume = partial(steps.throw, thrown)


@contextmanager
def counting_all_tasks(checkpoints: Checkpoints) -> Iterator[None]:
    """Count the checkpoints of all tasks that the library starts in the block, too."""
    make_group = anyio.create_task_group

    def make_counting_group() -> Any:
        group: Any = make_group()
        start = group.start_soon

        def start_counted(run: Callable[..., Coroutine[Any, Any, object]], *args: Any, name: object = None) -> object:
            async def counted() -> None:
                await checkpoints.counting(run(*args))

            return start(counted, name=name)

        group.start_soon = start_counted
        return group

    with patch("anyio.create_task_group", make_counting_group):
        yield


def at_each_checkpoint(run: Callable[[Checkpoints], object]) -> int:
    """Take a run as it is, and then again and again, cancelled at its checkpoints. Returns at how many.

    The run gets what counts; it must be over when it returns.
    """
    seed = random.randrange(1 << 16)

    def take(checkpoints: Checkpoints) -> None:
        trio_run._r.seed(seed)  # noqa: SLF001 -- trio has no other way to the order of its tasks
        try:
            run(checkpoints)
        except BaseException as why:
            why.add_note(
                f"with seed {seed}, cancelled at checkpoint {checkpoints.at} of {total}, at {checkpoints.where}"
            )
            raise

    total = 0
    take(whole := Checkpoints())
    total = whole.within
    every = 1 if os.environ.get(_EVERY) else max(1, total // _SAMPLE)
    chosen = range(1 + random.randrange(every), total + 1, every)
    for at in chosen:
        take(Checkpoints(at))
    return len(chosen)


def _place_in(awaitable: Any) -> str:
    """The innermost line of the library's own at which a coroutine stands."""
    place = "no line of the library"
    while (frame := getattr(awaitable, "cr_frame", None)) is not None:
        file = frame.f_code.co_filename
        if "upbit_streams" in file:
            place = f"{file.rpartition('upbit_streams/')[2]}:{frame.f_lineno}"
        awaitable = awaitable.cr_await
    return place
