"""What one consumer is to be told between its events, and where."""

from collections.abc import Callable, Collection

import attrs

from ..model.epoch import Epoch
from ..model.notices import EpochEnded, EpochStarted, Lagged, Notice, Stale

__all__ = ["Notices"]


class Notices:
    """Notices that were not taken yet, each with the number of events that come before it.

    They do not stand among the events in the buffer, so no policy can drop one.
    """

    def __init__(self, kinds: Collection[type[Notice]]) -> None:
        self._kinds = frozenset(kinds)
        self._waiting: list[tuple[int, Notice]] = []
        self._told = 0
        """How many events the consumer has taken, or knows to be missing."""
        self._epochs: dict[str, Epoch] = {}
        """By connection, the last epoch that was begun."""
        self._ends: dict[str, tuple[float, float]] = {}
        """By connection, when the last epoch was last heard of, and when it ended in the event loop's time."""

    def __len__(self) -> int:
        return len(self._waiting)

    def is_in(self, epoch: Epoch) -> bool:
        """Whether the consumer is told of this epoch, the last of its connection."""
        return self._epochs.get(epoch.connection) is epoch

    def begin(self, epoch: Epoch, at: float, position: int, front: int) -> None:
        """An epoch serves the consumer since ``at``. ``front`` is how many events come before the next one that can be
        taken."""
        self._epochs[epoch.connection] = epoch
        missing_from = down = None
        if epoch.connection in self._ends:
            missing_from, ended_at = self._ends[epoch.connection]
            down = max(_start(epoch) - ended_at, 0.0)
        self._add(position, EpochStarted(epoch, missing_from, at, down), front)

    def end(self, epoch: Epoch, reason: str, heard_at: float, ended_at: float, position: int, front: int) -> None:
        """An epoch that the consumer was told of is over."""
        self._ends[epoch.connection] = heard_at, ended_at - epoch.wall_offset
        self._add(position, EpochEnded(epoch, reason, ended_at), front)

    def add(self, stale: Stale, position: int, front: int) -> None:
        self._add(position, stale, front)

    def next_before(self, index: int) -> Notice | None:
        """What the consumer is to be told before the event of this index, which is the next; None if nothing is left.

        Each call takes one.
        """
        position = min(self._waiting[0][0] if self._waiting else index, index)
        missing, self._told = position - self._told, max(position, self._told)
        if missing > 0 and Lagged in self._kinds:
            return Lagged(missing)
        if self._waiting and self._waiting[0][0] <= index:
            return self._waiting.pop(0)[1]
        return None

    def take(self, index: int) -> None:
        """The consumer has taken the event of this index."""
        self._told = index + 1

    def clear(self) -> None:
        self._waiting.clear()

    def _add(self, position: int, notice: Notice, front: int) -> None:
        if type(notice) not in self._kinds:
            return
        self._waiting.append((position, notice))
        if isinstance(notice, EpochStarted):
            # Events that were dropped stand between no two notices any more, so there are never many more than events.
            self._join(lambda place: place <= front, notice.epoch)
            self._join(lambda place: place == position, notice.epoch)

    def _join(self, is_here: Callable[[int], bool], epoch: Epoch) -> None:
        """Of several lives of a connection without an event between them, tell one: from the first end to the last
        start."""
        mine = [
            (index, notice)
            for index, (place, notice) in enumerate(self._waiting)
            if is_here(place) and not isinstance(notice, Lagged) and notice.epoch.connection == epoch.connection
        ]
        starts = [(index, notice) for index, notice in mine if isinstance(notice, EpochStarted)]
        if len(starts) > 1:
            (begin, first), *_, (end, last) = starts
            self._waiting[end] = self._waiting[end][0], _joined(first, last)
            gone = {index for index, _ in mine if begin <= index < end}
            self._waiting = [each for index, each in enumerate(self._waiting) if index not in gone]


def _start(epoch: Epoch) -> float:
    """In the event loop's time: the clock of the wall may be set between two epochs."""
    return epoch.started_at - epoch.wall_offset


def _joined(first: EpochStarted, last: EpochStarted) -> EpochStarted:
    """One notice for both, when all between them is over before it was told."""
    down = None if first.down is None else _start(last.epoch) - _start(first.epoch) + first.down
    return attrs.evolve(last, missing_from=first.missing_from, down=down)
