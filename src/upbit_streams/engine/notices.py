"""What one consumer is to be told between its events, and where."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from itertools import groupby
from operator import itemgetter

import attrs

from ..model.epoch import Epoch
from ..model.events import Event
from ..model.notices import EpochEnded, EpochStarted, FrameLost, Lagged, Notice, Stale

__all__ = ["MOST_FRAMES", "Notices"]

_place_of = itemgetter(0)
# The place of what comes before everything in the buffer, whatever happens there.
_FIRST = -1

MOST_FRAMES = 16
"""So many lost frames wait in one stream, each with its bytes. Of more, the last one tells for those before it."""


@attrs.frozen
class _End:
    """How an epoch has ended."""

    epoch: Epoch
    heard_at: float
    """When it was last heard of, in seconds since the Unix epoch, as its own ``wall_offset`` has it."""
    ended_at: float
    """In the event loop's time."""
    ended_at_wall: float
    """By the wall clock as it stood then."""


class Notices:
    """Everything that waits beside a consumer's buffer, in order: notices, losses, and at most one event.

    Each has a place, which is the number of events that had come into the buffer before it. So buffer and notices
    together have one order, which a loss in the buffer does not change. Notices do not stand among the events in the
    buffer, so no policy can drop one.
    """

    def __init__(self, kinds: Collection[type[Notice]]) -> None:
        self.kept: Event | None = None
        """The event that waits here. What is lost in the buffer from then on stands behind it."""
        self.kinds = frozenset(kinds)
        """The kinds of notices that the stream tells. A lost frame waits here in any case."""
        self._waiting: list[tuple[int, Notice | Event | int]] = []
        """A bare number is how many events are missing there."""
        self._epochs: dict[str, Epoch] = {}
        """By connection, the last epoch that was begun."""
        self._ends: dict[str, _End] = {}
        """By connection, of the last epoch."""

    def __len__(self) -> int:
        return len(self._waiting)

    def is_in(self, epoch: Epoch) -> bool:
        """Whether the consumer is told of this epoch, the last of its connection; or of none at all."""
        return self._epochs.get(epoch.connection) is epoch or not self.kinds

    def begin(self, epoch: Epoch, at: float, place: int, waiting: Sequence[int]) -> None:
        """An epoch serves the consumer since ``at``. ``waiting`` are the places of all events in the buffer, in
        order."""
        self._epochs[epoch.connection] = epoch
        missing_from = down = None
        if end := self._ends.get(epoch.connection):
            missing_from = end.heard_at + _set_back(end.epoch, epoch)
            down = max(_start(epoch) - end.ended_at, epoch.started_at - end.ended_at_wall, 0.0)
        self._add(place, EpochStarted(epoch, missing_from, at, down))
        if EpochStarted in self.kinds:
            self._join(epoch.connection, waiting)

    def end(self, epoch: Epoch, reason: str, heard_at: float, ended_at: float, moved: float, place: int) -> None:
        """An epoch that the consumer was told of is over."""
        self._ends[epoch.connection] = _End(epoch, heard_at, ended_at - epoch.wall_offset, ended_at + moved)
        self._add(place, EpochEnded(epoch, reason, ended_at + moved))

    def add(self, stale: Stale, place: int) -> None:
        self._add(place, stale)

    def lose_frame(self, lost: FrameLost, place: int) -> None:
        """A frame could not be read that came before the next event."""
        waiting = [index for index, (_, item) in enumerate(self._waiting) if isinstance(item, FrameLost)]
        if len(waiting) >= MOST_FRAMES:
            _, earlier = self._waiting.pop(waiting[-1])
            assert isinstance(earlier, FrameLost)  # noqa: S101 -- for the type checker
            lost = attrs.evolve(lost, frames=earlier.frames + lost.frames)
        self._waiting.append((place, lost))

    def is_frame_next(self, place: int) -> bool:
        """Whether ``next_before`` gives a lost frame."""
        return bool(self._waiting) and self._waiting[0][0] <= place and isinstance(self._waiting[0][1], FrameLost)

    def lose_first(self, place: int) -> None:
        """The event at this place was dropped, which would have been the next of the buffer."""
        index = self._settle(place)
        if index and isinstance(lost := self._waiting[index - 1][1], int):
            self._waiting[index - 1] = _FIRST, lost + 1
        else:
            self._waiting.insert(index, (_FIRST, 1))

    def lose_last(self, place: int) -> None:
        """An event was dropped that would have come into the buffer at this place, behind all others."""
        if self._waiting:
            before, lost = self._waiting[-1]
            if before == place and isinstance(lost, int):
                self._waiting[-1] = place, lost + 1
                return
        self._waiting.append((place, 1))

    def keep(self, event: Event, place: int) -> None:
        """The event at this place was taken out of the buffer, whose next it was, and waits here from now on."""
        self._waiting.insert(self._settle(place), (_FIRST, event))
        self.kept = event

    def next_before(self, place: int) -> Notice | Event | None:
        """What comes before the event of this place, which is the next of the buffer; None if nothing is left.

        Each call takes one.
        """
        if not self._waiting or self._waiting[0][0] > place:
            return None
        item = self._waiting.pop(0)[1]
        if item is self.kept:
            self.kept = None
        return Lagged(item) if isinstance(item, int) else item

    def clear(self) -> None:
        self._waiting.clear()
        self.kept = None

    def _add(self, place: int, notice: Notice) -> None:
        if type(notice) in self.kinds:
            self._waiting.append((place, notice))

    def _settle(self, place: int) -> int:
        """Let all that stands before the next event of the buffer, which has this place, stand before whatever is left
        there without it. Returns how much that is.

        Places alone do not tell it: a buffer may hand out its events in another order than that in which they came.
        """
        end = bisect_right(self._waiting, place, key=_place_of)
        for index in range(bisect_right(self._waiting, _FIRST, hi=end, key=_place_of), end):
            self._waiting[index] = _FIRST, self._waiting[index][1]
        return end

    def _join(self, connection: str, waiting: Sequence[int]) -> None:
        """Of several lives of a connection without an event left between them, tell one: from the first end to the last
        start. So there are never many more notices than events."""
        found, self._waiting = self._waiting, []
        kept = next((index for index, (_, item) in enumerate(found) if item is self.kept), -1)
        for _, group in groupby(
            enumerate(found), key=lambda each: -1 if each[0] <= kept else bisect_left(waiting, each[1][0])
        ):
            notices, is_begun = [each for _, each in group], False
            mine = [
                (index, notice)
                for index, (_, notice) in enumerate(notices)
                if isinstance(notice, EpochStarted | EpochEnded | Stale) and notice.epoch.connection == connection
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
    """In the event loop's time."""
    return epoch.started_at - epoch.wall_offset


def _joined(first: EpochStarted, last: EpochStarted) -> EpochStarted:
    """One notice for both, when all between them is over before it was told."""
    missing_from = down = None
    if first.missing_from is not None:
        missing_from = first.missing_from + _set_back(first.epoch, last.epoch)
    if first.down is not None:
        looped, walled = _start(last.epoch) - _start(first.epoch), last.epoch.started_at - first.epoch.started_at
        down = max(looped, walled) + first.down
    return attrs.evolve(last, missing_from=missing_from, down=down)


def _set_back(earlier: Epoch, later: Epoch) -> float:
    """What has to be added to a time that one epoch has noted, for it to be no later than that by another one's clock.

    If the wall clock was set back, the earlier time has to be, too. If it has jumped ahead, nobody knows whether it was
    set or the computer was suspended; only the time as it was noted is early enough for both.
    """
    return min(later.wall_offset - earlier.wall_offset, 0.0)
