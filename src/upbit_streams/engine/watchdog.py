"""Looks now and then whether what usually comes still comes, of connections that answer pings and nothing else."""

from collections.abc import Callable

import anyio
import attrs

from ..exceptions import ConnectionLostError
from ..model.epoch import Epoch
from ..model.notices import Stale
from ..rules.freshness import Habit
from .clocks import Clocks
from .hub import Heard, Hub
from .patience import caught_up

__all__ = ["Watchdog"]

LOOK_SECONDS = 5.0


@attrs.define(eq=False)
class Watchdog:
    """Knows the habits of what one connection brings, over all its epochs."""

    hub: Hub
    clocks: Clocks
    alarms: int = 0
    """How many epochs it has ended."""
    _habits: dict[object, Habit] = attrs.field(factory=dict, init=False)
    """Of each topic; under None, of all together."""

    async def watch(self, epoch: Epoch, asked: anyio.Event, taken: Callable[[], int]) -> None:
        """Raise :class:`ConnectionLostError` once something has fallen silent against its habit, or the clocks have
        jumped.

        The silence begins when ``asked`` is set, not when the first event comes. ``taken`` tells how many
        messages have been read. Cancelling it ends it.
        """
        await asked.wait()
        for habit in self._habits.values():
            habit.asked(anyio.current_time() + epoch.wall_offset)
        while True:
            held = self.hub.holds.seconds()
            await anyio.sleep(LOOK_SECONDS)
            await self.clocks.check()
            await caught_up(taken)
            # A reader that waits for a consumer most of the time is behind, and nobody knows what it has yet to read.
            is_behind = self.hub.holds.seconds() - held > LOOK_SECONDS / 2
            if not is_behind:
                self._look(epoch, anyio.current_time() + epoch.wall_offset)

    def _look(self, epoch: Epoch, now: float) -> None:
        heard = self.hub.heard(epoch)
        topics: dict[object, Heard] = dict(heard)
        if heard:
            # One market of many may be silent for hours, but hardly all of them.
            topics[None] = Heard("", "", max(one.at for one in heard.values()))
        if not self._habits.keys() - {None} <= heard.keys():
            self._habits.pop(None, None)  # the one that has left may have been the busy one
        stale: list[Stale] = []
        habits: dict[object, Habit] = {}
        for key, one in topics.items():
            habit = habits[key] = self._habits.get(key) or Habit(now)
            silent_for = habit.look(now, one.at)
            if silent_for is not None:
                stale.append(Stale(epoch, one.type, one.code, silent_for, habit.usual))
        self._habits = habits
        if not stale:
            return
        self.alarms += 1
        self.hub.tell_stale(stale)
        first = stale[0]
        what = f"{first.type} of {first.code}" if first.code else "everything"
        more = f" (and {len(stale) - 1} more)" if len(stale) > 1 and first.code else ""
        raise ConnectionLostError(
            f"{what}{more} has been silent for {first.silent_for:.0f} s, "
            f"where {first.usual:.0f} s were the longest silence so far"
        )
