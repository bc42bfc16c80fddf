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

    def wait(self, now: float) -> float:
        """Seconds from ``now`` until one more would break no limit; 0 if it may happen at once."""
        times = self._times
        waits = [times[-limit.count] + limit.seconds - now for limit in self._limits if len(times) >= limit.count]
        return max([0.0, *waits])

    def record(self, now: float) -> None:
        """One happens now."""
        self._times.append(now)
