"""Candles from before a simulated market began, for those who need a long history: indicators.

They are made up, from a seed of their own, when somebody asks; a market that nobody asks makes none.
"""

from collections.abc import Sequence
from functools import lru_cache
from random import Random

import attrs

__all__ = ["TIMEFRAME_SPANS", "Close", "past_closes"]

_MINUTE_MS = 60_000
TIMEFRAME_SPANS = {
    "5m": 5 * _MINUTE_MS,
    "15m": 15 * _MINUTE_MS,
    "60m": 60 * _MINUTE_MS,
    "240m": 240 * _MINUTE_MS,
    "1d": 1_440 * _MINUTE_MS,
}
"""How long the candles of an indicator are, in milliseconds. A day begins at midnight, UTC."""

_MADE = 600
"""Enough for an average of 200 days to have forgotten how it began."""
_PULL = 0.02


@attrs.frozen
class Close:
    """What an indicator needs of a candle. Price and volume are in units of 10^-8."""

    start_ms: int
    price: int
    volume: int


def past_closes(seed: str, timeframe: str, real: Sequence[Close], count: int) -> list[Close]:
    """The last ``count`` candles, oldest first: the real ones, and as many before them as are missing.

    ``real`` begins with the market's first candle, as long as it has fewer than ``count``. At most 600 can be made up.
    """
    missing = count - len(real)
    if missing <= 0 or not real:
        return list(real[-count:])
    return [*_made_up(seed, timeframe, real[0])[-missing:], *real]


@lru_cache(maxsize=256)
def _made_up(seed: str, timeframe: str, first: Close) -> tuple[Close, ...]:
    """A walk backwards from the first real candle, which stays in its neighbourhood."""
    rng = Random(f"{seed}:past")  # noqa: S311, nothing here is secret
    span_ms = TIMEFRAME_SPANS[timeframe]
    # Longer candles differ more, as the square root of their length: 0.1 % in five minutes, 1.7 % in a day.
    step = 0.002 * (span_ms / TIMEFRAME_SPANS["5m"]) ** 0.5
    made: list[Close] = []
    price = float(first.price)
    for steps_ago in range(1, _MADE + 1):
        price *= 1 + step * (rng.random() - 0.5) - _PULL * (price / first.price - 1)
        volume = int(first.volume * (0.3 + 1.4 * rng.random()))
        made.append(Close(first.start_ms - steps_ago * span_ms, max(1, int(price)), max(1, volume)))
    return tuple(reversed(made))
