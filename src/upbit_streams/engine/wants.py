"""What all clients together want from one connection."""

from collections import Counter
from collections.abc import Hashable, Iterable

import anyio

from ..model.kinds import DataType
from ..model.subscriptions import Want, Wants, union

__all__ = ["WantLedger"]


class WantLedger:
    """Counts who wants what. The union is what goes on the wire.

    Everything here is synchronous: between reading the union and acting on it nothing can change it.
    """

    def __init__(self) -> None:
        self._counts: Counter[Want] = Counter()
        self._union: Wants | None = frozenset()
        self._refused: set[Hashable] = set()
        """Topics that the exchange refuses. They are not asked for as long as anybody wants them."""
        self.changed = anyio.Event()
        """Set at the next change, and then replaced: take it before you look at the union."""
        self.news = 0
        """Grows when the exchange has to be asked even if the union stays what it was, because somebody went and came:
        only a request brings the present state."""

    @property
    def union(self) -> Wants:
        """What the exchange has to be asked for, in normal form."""
        if self._union is None:
            # Nobody can ask for what nobody knows; it is only listened for.
            self._union = union(
                want for want in self._counts if want.type is not DataType.UNKNOWN and want.topic not in self._refused
            )
        return self._union

    def add(self, want: Want, *, is_news: bool) -> None:
        """Somebody wants this."""
        self._counts[want] += 1
        self.news += is_news
        if self._counts[want] == 1 or is_news:
            self._note_change()

    def remove(self, wants: Iterable[Want]) -> None:
        """Somebody no longer wants these."""
        for want in wants:
            self._counts[want] -= 1
            if not self._counts[want]:
                del self._counts[want]
                self._note_change()

    @property
    def has_refused(self) -> bool:
        """Whether there is anything that the exchange refuses."""
        return bool(self._refused)

    def refuse(self, topic: Hashable) -> None:
        """The exchange refuses this."""
        self._refused.add(topic)
        self._note_change()

    def forgive(self, topic: Hashable) -> None:
        """Nobody wants this any more, so whoever wants it next may try again."""
        self._refused.discard(topic)

    def _note_change(self) -> None:
        self._union = None
        self.changed.set()
        self.changed = anyio.Event()
