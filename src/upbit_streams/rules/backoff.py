"""How long to wait before the next attempt to connect.

Full jitter: the wait is drawn evenly from nothing to a bound that doubles with each attempt. Clients that lost their
connections in the same moment so come back spread out, and one that is refused again and again backs off.
"""

from ..model.config import Backoff

__all__ = ["delay", "next_failures"]


def delay(failures: int, backoff: Backoff, fraction: float) -> float:
    """Seconds to wait before the next attempt, after so many failures in a row; ``fraction`` is the draw, from 0 to
    1."""
    # The exponent is capped because 2.0 ** 1100 overflows, and a feed may be down for a month.
    return fraction * min(backoff.maximum, backoff.initial * 2.0 ** min(max(failures - 1, 0), 32))


def next_failures(failures: int, backoff: Backoff, lived: float, brought_data: bool) -> int:
    """How many failures in a row there are after an epoch that lived so many seconds.

    Being accepted proves nothing: a server that accepts and closes would be stormed if it did. Only an epoch that
    brought data *and* lived for a while starts the count again.
    """
    return 0 if brought_data and lived >= backoff.stable_after else failures + 1
