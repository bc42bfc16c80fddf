"""What one consumer is to be told between its events, and where."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from itertools import groupby
from operator import itemgetter

import attrs

from ..model.epoch import Epoch
from ..model.notices import EpochEnded, EpochStarted, Lagged, Notice, Stale

__all__ = ["Notices"]

_place_of = itemgetter(0)


class Notices:
    """Notices that were not taken yet, each with its place: the number of events that had come in before it.

    They do not stand among the events in the buffer, so no policy can drop one.
    """

    def __init__(self, kinds: Collection[type[Notice]]) -> None:
        self._kinds = frozenset(kinds)
        self._waiting: list[tuple[int, Notice | int]] = []
        """A bare number is how many events are missing there."""
        self._epochs: dict[str, Epoch] = {}
        """By connection, the last epoch that was begun."""
        self._ends: dict[str, tuple[float, float]] = {}
        """By connection, when the last epoch was last heard of, and when it ended in the event loop's time."""

    def __len__(self) -> int:
        return len(self._waiting)

    def is_in(self, epoch: Epoch) -> bool:
        """Whether the consumer is told of this epoch, the last of its connection."""
        return self._epochs.get(epoch.connection) is epoch

    def begin(self, epoch: Epoch, at: float, place: int, waiting: Sequence[int]) -> None:
        """An epoch serves the consumer since ``at``. ``waiting`` are the places of all events that wait, in order."""
        self._epochs[epoch.connection] = epoch
        missing_from = down = None
        if epoch.connection in self._ends:
            missing_from, ended_at = self._ends[epoch.connection]
            down = max(_start(epoch) - ended_at, 0.0)
        self._add(place, EpochStarted(epoch, missing_from, at, down))
        if EpochStarted in self._kinds:
            self._join(epoch.connection, waiting)

    def end(self, epoch: Epoch, reason: str, heard_at: float, ended_at: float, place: int) -> None:
        """An epoch that the consumer was told of is over."""
        self._ends[epoch.connection] = heard_at, ended_at - epoch.wall_offset
        self._add(place, EpochEnded(epoch, reason, ended_at))

    def add(self, stale: Stale, place: int) -> None:
        self._add(place, stale)

    def lose(self, place: int, *, is_newest: bool = False) -> None:
        """An event was dropped: the one at that place, which was the next to be taken; or the ``newest``, which did not
        come in."""
        index = bisect_right(self._waiting, place, key=_place_of)
        if index:
            before, lost = self._waiting[index - 1]
            # Of what came before the next to be taken nothing is left, so those are missing in one place.
            if isinstance(lost, int) and (not is_newest or before == place):
                self._waiting[index - 1] = before, lost + 1
                return
        self._waiting.insert(index, (place, 1))

    def next_before(self, place: int) -> Notice | None:
        """What the consumer is to be told before the event of this place, which is the next; None if nothing is left.

        Each call takes one.
        """
        if self._waiting and self._waiting[0][0] <= place:
            notice = self._waiting.pop(0)[1]
            return Lagged(notice) if isinstance(notice, int) else notice
        return None

    def clear(self) -> None:
        self._waiting.clear()

    def _add(self, place: int, notice: Notice) -> None:
        if type(notice) in self._kinds:
            self._waiting.append((place, notice))

    def _join(self, connection: str, waiting: Sequence[int]) -> None:
        """Of several lives of a connection without an event left between them, tell one: from the first end to the last
        start. So there are never many more notices than events."""
        found, self._waiting = self._waiting, []
        for _, group in groupby(found, key=lambda each: bisect_left(waiting, each[0])):
            notices, is_begun = list(group), False
            mine = [
                (index, notice)
                for index, (_, notice) in enumerate(notices)
                if not isinstance(notice, int)
                and not isinstance(notice, Lagged)
                and notice.epoch.connection == connection
            ]
            starts = [(index, notice) for index, notice in mine if isinstance(notice, EpochStarted)]
            if len(starts) > 1:
                (begin, first), *_, (end, last) = starts
                notices[end] = notices[end][0], _joined(first, last)
                gone = {index for index, _ in mine if begin <= index < end}
                notices = [each for index, each in enumerate(notices) if index not in gone]
            for place, notice in notices:
                before = self._waiting[-1][1] if self._waiting else None
                if isinstance(notice, int) and isinstance(before, int) and is_begun:
                    self._waiting[-1] = self._waiting[-1][0], before + notice
                else:
                    self._waiting.append((place, notice))
                is_begun = True


def _start(epoch: Epoch) -> float:
    """In the event loop's time: the clock of the wall may be set between two epochs."""
    return epoch.started_at - epoch.wall_offset


def _joined(first: EpochStarted, last: EpochStarted) -> EpochStarted:
    """One notice for both, when all between them is over before it was told."""
    down = None if first.down is None else _start(last.epoch) - _start(first.epoch) + first.down
    return attrs.evolve(last, missing_from=first.missing_from, down=down)
