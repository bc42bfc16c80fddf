"""The way of frames from the simulated exchange to a client."""

from collections import deque

__all__ = ["Line"]


class Line:
    """Frames on their way. Each takes its time, and none overtakes another. Times are seconds since the Unix epoch."""

    def __init__(self) -> None:
        self._frames: deque[tuple[float, bytes]] = deque()
        self.last: bytes | None = None
        """What was sent last."""

    @property
    def is_empty(self) -> bool:
        return not self._frames

    def carry(self, now: float, frames: list[bytes], delay: float) -> list[bytes]:
        """Send these, each to arrive so many seconds from now. Returns what arrives now."""
        if frames:
            self.last = frames[-1]
        if self._frames or delay > 0:
            due = max(now + delay, self._frames[-1][0] if self._frames else now)
            self._frames.extend((due, frame) for frame in frames)
            frames = []
            while self._frames and self._frames[0][0] <= now:
                frames.append(self._frames.popleft()[1])
        return frames

    def free_at(self, now: float) -> float:
        """When what is sent now arrives at the soonest: after all that is on its way."""
        return max(now, self._frames[-1][0]) if self._frames else now

    def next_time(self) -> float:
        """When the next one arrives."""
        return self._frames[0][0] if self._frames else float("inf")
