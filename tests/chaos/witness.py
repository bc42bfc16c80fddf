"""Measures one connection from outside, as a program that uses it would: is there an epoch, and is its data fresh?"""

from collections.abc import Hashable, Sequence

import attrs

from upbit_streams import ConnectionStatus

from .journal import Journal
from .spans import Span

__all__ = ["Witness"]


@attrs.define(eq=False)
class Witness:
    """Writes down when a connection was of no use. Times are of the event loop.

    It is of use from the moment in which all that is wanted has come in the running epoch, until that epoch ends, or
    until something that should have come by then has not: an ``overdue`` time after the last one of its kind.
    """

    name: str
    wanted: Sequence[Hashable]
    overdue: float
    journal: Journal
    outages: list[Span] = attrs.field(factory=list)
    epochs: list[float] = attrs.field(factory=list)
    """When each began."""
    skipped: int = 0
    """Epoch numbers that did not grow by one; E1 says that there are none."""
    down_since: float | None = 0.0
    first_up: float | None = None
    """When it was of use for the first time."""
    _epoch: int = 0
    _is_open: bool = False
    _heard: dict[Hashable, float] = attrs.field(factory=dict)

    def look(self, now: float, status: ConnectionStatus) -> None:
        """Its state has changed."""
        number = status.epoch.number if status.epoch else 0
        if number != self._epoch:
            self._lose(now)
            self.skipped += number != self._epoch + 1
            self._epoch = number
            self.epochs.append(now)
            self.journal.write(f"{self.name}: epoch {number} begins ({status.reason})")
        if self._is_open and not status.state.is_open:
            self.journal.write(f"{self.name}: epoch {number} ends ({status.reason})")
            self.journal.write_hash(self.name)
            self._lose(now)
        self._is_open = status.state.is_open

    def hear(self, now: float, what: Hashable, epoch: int) -> None:
        """One of the things that are wanted has come; out of a buffer maybe, so that its epoch is over already."""
        if epoch != self._epoch or not self._is_open:
            return
        self._notice_silence(now)
        self._heard[what] = now
        if self.down_since is not None and all(now - self._heard.get(one, -1e9) <= self.overdue for one in self.wanted):
            if self.first_up is None:
                self.first_up = now
            else:
                self.outages.append((self.down_since, now))
            self.journal.write(f"{self.name}: up again after {now - self.down_since:.6f} s")
            self.down_since = None

    def finish(self, now: float) -> None:
        """Nothing is measured from now on."""
        self._notice_silence(now)
        if self.down_since is not None:
            self.outages.append((self.down_since, now))

    def _lose(self, now: float) -> None:
        """Its epoch has ended, so it is of no use, and may have been of none for a while."""
        self._notice_silence(now)
        if self.down_since is None:
            self.down_since = now
        self._heard.clear()

    def _notice_silence(self, now: float) -> None:
        if self.down_since is None:
            due = min(self._heard[one] for one in self.wanted) + self.overdue
            if due < now:
                self.down_since = due
                self.journal.write(f"{self.name}: has been silent since {due - self.overdue:.6f}")
