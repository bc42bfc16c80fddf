"""Sliding-window limits (protocol section 7).

Over *any* window of a limit's length at most its count of things may happen: a token bucket would allow a burst at the
seam of two windows, and the exchange punishes that.
"""

from collections import deque
from collections.abc import Sequence

import attrs

__all__ = ["CONNECTS", "MESSAGES", "Limit", "RateLimit"]


@attrs.frozen
class Limit:
    """At most ``count`` in any ``seconds``."""

    count: int
    seconds: float


# The exchange sees things later than we send them, each by another delay, so two that we send a window apart may arrive
# a little closer. The margin on each window is that little.
CONNECTS = (Limit(5, 1.0 + 0.1),)
"""Connects, over all connections from one address: 5 a second."""
MESSAGES = (Limit(5, 1.0 + 0.1), Limit(100, 60.0 + 0.5))
"""Messages, for each connection: 5 a second and 100 a minute."""


class RateLimit:
    """Remembers what happened, and says how long to wait before the next. It owns no clock; times come as arguments."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = limits
        self._times: deque[float] = deque(maxlen=max(limit.count for limit in limits))
        self._blocked_until = float("-inf")
        self._blocks = 0

    def wait(self, now: float) -> float:
        """Seconds from ``now`` until one more would break no limit; 0 if it may happen at once."""
        times = self._times
        waits = [times[-limit.count] + limit.seconds - now for limit in self._limits if len(times) >= limit.count]
        return max([0.0, self._blocked_until - now, *waits])

    def record(self, now: float) -> None:
        """One happens now."""
        self._times.append(now)

    def block(self, now: float, until: float) -> None:
        """Whoever enforces the limits says that nothing may happen before then. The longest of several counts.

        Several that were on their way may be told of one and the same block.
        """
        self._blocks = self.blocks_before(now) + 1
        self._blocked_until = max(self._blocked_until, until)

    def blocks_before(self, now: float) -> int:
        """How many blocks there were in a row before the one that begins now, or has begun."""
        return max(self._blocks - (now < self._blocked_until), 0)

    def passed(self) -> None:
        """One was let through: the next block is the first of a row."""
        self._blocks = 0
