"""What all clients together want from one connection."""

from collections import Counter
from collections.abc import Iterable

import anyio

from ..model.subscriptions import Want

__all__ = ["WantLedger"]


class WantLedger:
    """Counts who wants what. The union is what goes on the wire.

    Everything here is synchronous: between reading the union and acting on it nothing can change it.
    """

    def __init__(self) -> None:
        self._counts: Counter[Want] = Counter()
        self._union: frozenset[Want] | None = frozenset()
        self.changed = anyio.Event()
        """Set at the next change of the union, and then replaced: take it before you look at the union."""

    @property
    def union(self) -> frozenset[Want]:
        if self._union is None:
            self._union = frozenset(self._counts)
        return self._union

    def add(self, wants: Iterable[Want]) -> list[Want]:
        """Somebody wants these. Returns those that nobody wanted before."""
        wants = list(wants)
        new = [want for want in wants if want not in self._counts]
        self._counts.update(wants)
        self._note_change(new)
        return new

    def remove(self, wants: Iterable[Want]) -> list[Want]:
        """Somebody no longer wants these. Returns those that nobody wants now."""
        gone = []
        for want in wants:
            self._counts[want] -= 1
            if not self._counts[want]:
                del self._counts[want]
                gone.append(want)
        self._note_change(gone)
        return gone

    def _note_change(self, difference: list[Want]) -> None:
        if difference:
            self._union = None
            self.changed.set()
            self.changed = anyio.Event()
