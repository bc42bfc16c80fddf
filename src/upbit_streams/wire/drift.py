"""Where the exchange has moved on from the field table: counted by kind, with a sample of each for a person to look
at."""

from collections.abc import Callable

from ..model.metrics import Drift

__all__ = ["DriftLog"]

_MOST_KINDS = 100
_SAMPLE = 200


class DriftLog:
    """Counts differences. Its size is bounded, whatever the exchange sends: beyond a hundred kinds they count as
    others."""

    def __init__(self, shown: Callable[[str], str]) -> None:
        """``shown`` makes of a text of the exchange what may be shown of it."""
        self._shown = shown
        self._counts: dict[tuple[str, str], int] = {}
        self._samples: dict[tuple[str, str], str] = {}

    def note(self, what: str, where: str, frame: bytes) -> None:
        """One frame has this difference."""
        key = (what, self._shown(where[:_SAMPLE]))
        if key not in self._counts and len(self._counts) >= _MOST_KINDS:
            key = ("others", "")
        if key not in self._counts:
            self._samples[key] = self._shown(frame[:_SAMPLE].decode("utf-8", "replace"))
        self._counts[key] = self._counts.get(key, 0) + 1

    def records(self) -> tuple[Drift, ...]:
        """What was found so far, the first found first."""
        return tuple(
            Drift(what, where, count, self._samples[what, where]) for (what, where), count in self._counts.items()
        )
