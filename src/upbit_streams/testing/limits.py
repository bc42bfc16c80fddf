"""How often is too often."""

from collections.abc import Sequence

__all__ = ["within"]


def within(times: Sequence[float], now: float, seconds: float) -> int:
    """How many of the times lie in the window that ends now."""
    return sum(1 for time in times if time > now - seconds)
