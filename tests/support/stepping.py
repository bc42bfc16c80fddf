"""An event loop that somebody outside of it takes through its work, step by step."""

import threading
from collections.abc import Awaitable, Callable
from queue import Empty, SimpleQueue
from typing import Any

from upbit_streams.testing import run

__all__ = ["Handover", "SteppedRun", "SteppedRunEnded"]

_REAL_SECONDS = 60.0
"""No step takes so long, unless something hangs."""

Step = Callable[[], Awaitable[Any]]


class SteppedRunEnded(Exception):  # noqa: N818 -- that it has ended is no error by itself
    """The run has ended, so there will be no more steps. Its cause is the exception that ended it, if there was one."""


class Handover:
    """The loop's side: where it waits for steps. The clock stands still meanwhile, as the loop's own thread waits."""

    def __init__(self) -> None:
        self.steps: SimpleQueue[Step | None] = SimpleQueue()
        self.outcomes: SimpleQueue[tuple[str, Any]] = SimpleQueue()

    async def serve(self) -> None:
        """Take one step after the other, and return when there are to be no more."""
        while (step := self.steps.get()) is not None:
            try:
                outcome = "returned", await step()
            except Exception as why:  # noqa: BLE001 -- whoever asked for the step gets it
                outcome = "raised", why
            self.outcomes.put(outcome)


class SteppedRun:
    """A run in virtual time, in a thread of its own.

    The thread is no second one that runs: either whoever asks for a step waits for it, or the loop waits for the next
    step. So there are no races, and what each side sees of the other's objects stands still.
    """

    def __init__(self, main: Callable[[Handover], Awaitable[None]], backend: str) -> None:
        """``main`` calls :meth:`Handover.serve` where the steps are to happen. What it does afterwards belongs to
        :meth:`end`."""
        self._handover = Handover()
        self._main = main
        self._backend = backend
        self._ended: SteppedRunEnded | None = None
        self._thread = threading.Thread(target=self._run, name="stepped run", daemon=True)
        self._thread.start()

    def do(self, step: Step) -> Any:
        """Let a step happen within the run, and return what it returns, or raise what it raises.

        Raises :class:`SteppedRunEnded` if the run has ended, of itself or in this step.
        """
        if self._ended is None:
            self._handover.steps.put(step)
        return self._outcome()

    def end(self) -> None:
        """Let there be no more steps, and wait until the run is over. Raises what it raises. A second time it does
        nothing."""
        if self._ended is None:
            self._handover.steps.put(None)
            try:
                self._outcome()
            except SteppedRunEnded as ended:
                if ended.__cause__ is not None:
                    raise ended.__cause__  # noqa: B904 -- it is the one that it was raised from

    def _outcome(self) -> Any:
        if self._ended is not None:
            raise self._ended
        try:
            how, what = self._handover.outcomes.get(timeout=_REAL_SECONDS)
        except Empty:
            how, what = "ended", TimeoutError(f"a step took longer than {_REAL_SECONDS:g} real seconds")
        if how == "raised":
            raise what
        if how == "ended":
            self._ended = SteppedRunEnded("the run has ended")
            self._ended.__cause__ = what
            self._thread.join(_REAL_SECONDS)
            raise self._ended
        return what

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            run(self._main, self._handover, backend=self._backend)
        except BaseException as why:  # noqa: BLE001 -- it goes to the other side
            failure = why
        self._handover.outcomes.put(("ended", failure))
