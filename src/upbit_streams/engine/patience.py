"""A time-out that stands still while nobody could hear the answer."""

import math
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial

import anyio
from anyio.lowlevel import checkpoint

from .service import first_of

__all__ = ["Patience", "caught_up"]

_IDLE_TURNS = 100
"""A reader that takes nothing in so many turns of the event loop has nothing to take. A read takes a handful of turns,
through TLS and a proxy some more."""
_MOST_TURNS = 10_000
"""In so many turns a reader takes more than any kernel keeps for it. What it takes then is new."""


async def caught_up(taken: Callable[[], int]) -> None:
    """Wait until the reader has taken what lies in the socket already. ``taken`` tells how much it has taken so far.

    Something that blocks the event loop keeps the reader from running, and a time-out may be over before the reader
    runs again. So whoever is about to judge the other side by its silence waits here first. It takes turns of the event
    loop and no time. Cancelling it has no effect on anything.
    """
    last, idle = taken(), 0
    for _ in range(_MOST_TURNS):
        await checkpoint()
        now = taken()
        last, idle = now, 0 if now != last else idle + 1
        if idle == _IDLE_TURNS:
            return


class Patience:
    """How long an answer is waited for, by one task, while another one may be kept from reading it.

    ``taken`` tells how much that other one has read so far.
    """

    def __init__(self, taken: Callable[[], int]) -> None:
        self._taken = taken
        self._scope = anyio.CancelScope()
        self._seconds = math.inf
        """What is left of the time-out when the pause ends."""
        self._is_paused = False

    @contextmanager
    def of(self, seconds: float) -> Generator[anyio.CancelScope, None, None]:
        """Cancel what is in the block after so many seconds, pauses not counted."""
        self._seconds = seconds
        deadline = math.inf if self._is_paused else anyio.current_time() + seconds
        with anyio.CancelScope(deadline=deadline) as self._scope:
            yield self._scope

    async def lasts(self, answer: Callable[[], Awaitable[object]], seconds: float, name: str) -> bool:
        """Wait for an answer at most so many seconds, pauses not counted, and as long as it may lie in the socket.

        Returns whether it has come. Raises what ``answer`` raises. Cancelling it cancels that.
        """
        has_come = False

        async def wait() -> None:
            nonlocal has_come
            await answer()
            has_come = True

        tasks: dict[str, Callable[[], Awaitable[object]]] = {
            name: wait,
            f"{name} time-out": partial(self._run_out, seconds),
        }
        await first_of(**tasks)
        return has_come

    async def _run_out(self, seconds: float) -> None:
        while True:
            with self.of(seconds):
                await anyio.sleep_forever()
            await caught_up(self._taken)
            if not self._is_paused:
                return
            seconds = 0.0

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """Within this block no time passes."""
        if self._scope.deadline < math.inf:
            self._seconds = self._scope.deadline - anyio.current_time()
        self._scope.deadline = math.inf
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False
            self._scope.deadline = anyio.current_time() + self._seconds
