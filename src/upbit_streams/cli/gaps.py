"""Gaps in what the exchange tells once: from when to when something may be missing."""

from collections.abc import Sequence
from datetime import UTC, datetime

from upbit_streams import DataType, EpochStarted, Event, FrameLostError

__all__ = ["Gaps"]

_WORDS = {"myOrder": "orders", "myAsset": "balances", "announcement": "announcements"}


class Gaps:
    """Those that there were so far."""

    def __init__(self, private: Sequence[DataType[Event]]) -> None:
        self.count = 0
        self.last = ""
        """In words; empty if there was none."""
        self._what = " and ".join(_WORDS[kind.name] for kind in private)

    def take(self, notice: EpochStarted | FrameLostError) -> bool:
        """Whether there is a gap here; if so, it is the last one from now on."""
        if isinstance(notice, FrameLostError):
            self.count += 1
            what = "a frame" if notice.frames == 1 else f"{notice.frames} frames"
            self.last = f"{what} could not be read ({notice.why}): {_WORDS.get(notice.type, self._what)} may be missing"
            return True
        if notice.missing_from is None:
            return False
        self.count += 1
        self.last = f"gap from {_iso(notice.missing_from)} to {_iso(notice.missing_to)}: {self._what} may be missing"
        return True


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
