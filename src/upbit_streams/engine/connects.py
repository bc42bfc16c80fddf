"""The limit of connects, which all managers of a process share."""

import threading
import time
from collections.abc import Callable

import anyio
from anyio.lowlevel import RunVar

from ..rules.rate_limit import CONNECTS, RateLimit

__all__ = ["Connects", "connects_of"]

_wall = time.time  # noqa: TID251 -- to recognise a manager that uses the machine's own clock


class Connects:
    """The limit of connects, which several threads and event loops may use at once, on one clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limit = RateLimit(CONNECTS)
        self._lock = threading.Lock()

    async def take_turn(self) -> None:
        """Wait until one more connect is allowed, and count it. Cancelling it counts nothing."""
        while (pause := self._try_turn()) > 0:  # noqa: ASYNC110 -- waits for the clock alone
            await anyio.sleep(pause)

    def record(self) -> None:
        """Count one that happens now."""
        with self._lock:
            self._limit.record(self._clock())

    def wait(self) -> float:
        """Seconds until one more is allowed; 0 if it is now."""
        with self._lock:
            return self._limit.wait(self._clock())

    def block(self, seconds_after: Callable[[int], float | None]) -> float | None:
        """The exchange has refused one, and wants nobody to connect for so many seconds, or None if it does not mind.
        The function is given how many such blocks there were in a row before. Returns what it has returned."""
        with self._lock:
            now = self._clock()
            seconds = seconds_after(self._limit.blocks_before(now))
            if seconds is not None:
                self._limit.block(now, now + seconds)
            return seconds

    def passed(self) -> None:
        """One was let in: the next block is the first of a row."""
        with self._lock:
            self._limit.passed()

    def _try_turn(self) -> float:
        """Count one and return 0, or return how long to wait. It is one step, so two can never take the same turn."""
        with self._lock:
            now = self._clock()
            pause = self._limit.wait(now)
            if pause <= 0:
                self._limit.record(now)
            return pause


# The exchange counts connects by address, and a process has one, whatever its threads and event loops. Each loop has a
# clock of its own; this one they share.
of_process = Connects(time.monotonic)  # noqa: TID251 -- the one place where it enters

_of_run: RunVar[Connects] = RunVar("upbit_streams_connects")


def connects_of(wall: Callable[[], float]) -> Connects:
    """The limit that holds for a manager with this wall clock.

    With the machine's own it is the one of the process. A clock that was handed in moves with the event loop, as in
    virtual time; there hours pass in a moment and no other loop has the same time, so it is one of the event loop.
    """
    if wall is _wall:
        return of_process
    try:
        return _of_run.get()
    except LookupError:
        connects = Connects(anyio.current_time)
        _of_run.set(connects)
        return connects
