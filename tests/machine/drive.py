"""One life of a manager, driven step by step, with every invariant checked after each."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
import attrs
from tests.machine.invariants import Invariants
from tests.machine.live import LeaveBy, LiveWorld
from tests.support.stepping import SteppedRun, SteppedRunEnded

__all__ = ["Drive", "Step", "Way", "replayed", "shrunk"]


@attrs.frozen
class Way:
    """What holds for a whole life: the backend, how the manager is left at the end, and what its chance always says."""

    backend: str
    leave_by: LeaveBy
    draw: float


@attrs.frozen
class Step:
    """What happens, by the name of the world's method, and how long one waits afterwards."""

    what: str
    arguments: tuple[Any, ...]
    pause: float

    def __str__(self) -> str:
        return f"{self.what}{self.arguments}, then {self.pause:g} s"


class Drive:
    """Drives it, and remembers the steps."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.steps: list[Step] = []
        self.failure: BaseException | None = None
        """What was wrong first."""
        self.tally: Counter[str] = Counter()
        self.world = LiveWorld(way.leave_by, way.draw)
        self._invariants = Invariants(self.world)
        self._run = SteppedRun(self.world.live, way.backend)

    def do(self, step: Step) -> None:
        """Let something happen and then some time pass, and check all invariants but L1. Raises what is wrong."""
        self.steps.append(step)

        async def act() -> tuple[int, int]:
            await getattr(self.world, step.what)(*step.arguments)
            if step.pause:
                await anyio.sleep(step.pause)
            return self._invariants.check(anyio.current_time())

        try:
            events, notices = self._run.do(act)
        except BaseException as why:  # noqa: BLE001 -- whatever it is, it goes on
            self.failure = why.__cause__ or why if isinstance(why, SteppedRunEnded) else why
            raise self.failure from None
        self.tally.update(steps=1, events=events, notices=notices)

    def end(self) -> None:
        """Leave the manager, and check L1. Raises what is wrong, unless something was before: that tells more."""
        try:
            if self.failure is None:
                self.do(Step("read_all", (), 0.0))
        finally:
            self.tally.update(examples=1, epochs=sum(len(lives) for lives in self.world.tap.lives.values()))
            self._leave()

    def _leave(self) -> None:
        try:
            self._run.end()
            if self.failure is None:
                self._invariants.l1_nothing_is_left_of_the_manager()
        except BaseException as why:
            if self.failure is None:
                self.failure = why
                raise


def replayed(way: Way, steps: Sequence[Step]) -> str:
    """Drive these steps again. Returns what is wrong then; empty if nothing is."""
    drive = Drive(way)
    with suppress(Exception):  # the drive remembers it
        try:
            for step in steps:
                drive.do(step)
        finally:
            drive.end()
    return str(drive.failure or "")


def shrunk(way: Way, steps: Sequence[Step], invariant: str) -> list[Step]:
    """The steps without those that it takes not to break the invariant.

    Hypothesis shrinks further, and takes much longer: it also looks for the smallest of every number.
    """
    kept = list(steps)
    size = max(len(kept) // 2, 1)
    while size:
        place, before = 0, len(kept)
        while place < len(kept):
            fewer = kept[:place] + kept[place + size :]
            if replayed(way, fewer).startswith(f"{invariant}:"):
                kept = fewer
            else:
                place += size
        size = size // 2 if size > 1 or len(kept) == before else 1
    return kept
