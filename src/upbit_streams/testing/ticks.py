"""Which prices a market may have: the exchange's price grid, and magnitudes that look real.

Prices and volumes are integers here and in the rest of the simulated market, in units of 10^-8 of the currency: every
tick of every market is a whole number of them, so nothing is ever rounded before it is shown.
"""

import re
from random import Random

from ..exceptions import InvalidCodeError

__all__ = ["ONE", "TickGrid", "worth_in_krw"]

ONE = 10**8
"""One whole coin, or one whole won, in the units of this package."""

_CODE = re.compile(r"([A-Z0-9]+)-([A-Z0-9]+)")

# (from this price on, the tick), highest first. From the exchange's pages on order prices: KRW as of 2026-05, USDT as
# of 2024-08. A quote currency that is not listed here has the grid of USDT.
_GRIDS = {
    "KRW": [
        (1_000_000 * ONE, 1_000 * ONE),
        (500_000 * ONE, 500 * ONE),
        (100_000 * ONE, 100 * ONE),
        (50_000 * ONE, 50 * ONE),
        (10_000 * ONE, 10 * ONE),
        (5_000 * ONE, 5 * ONE),
        (100 * ONE, ONE),
        (10 * ONE, ONE // 10),
        (ONE, ONE // 100),
        (ONE // 10, ONE // 1_000),
        (ONE // 100, ONE // 10_000),
        (ONE // 1_000, ONE // 100_000),
        (ONE // 10_000, ONE // 1_000_000),
        (ONE // 100_000, ONE // 10_000_000),
        (0, 1),
    ],
    "BTC": [(0, 1)],
    "USDT": [
        (10 * ONE, ONE // 100),
        (ONE, ONE // 1_000),
        (ONE // 10, ONE // 10_000),
        (ONE // 100, ONE // 100_000),
        (ONE // 1_000, ONE // 1_000_000),
        (ONE // 10_000, ONE // 10_000_000),
        (0, 1),
    ],
}

# What a whole coin costs, roughly, in won. Only the order of magnitude matters.
_WORTH_IN_KRW = {
    "KRW": 1.0,
    "BTC": 110_000_000.0,
    "ETH": 3_400_000.0,
    "BCH": 700_000.0,
    "SOL": 220_000.0,
    "AVAX": 30_000.0,
    "LINK": 22_000.0,
    "ETC": 24_000.0,
    "SUI": 4_500.0,
    "DOT": 5_500.0,
    "XRP": 3_100.0,
    "USDT": 1_400.0,
    "USDC": 1_400.0,
    "SGD": 1_080.0,
    "ADA": 900.0,
    "XLM": 430.0,
    "TRX": 460.0,
    "HBAR": 280.0,
    "DOGE": 250.0,
    "THB": 43.0,
    "IDR": 0.085,
    "SHIB": 0.016,
    "PEPE": 0.013,
}


class TickGrid:
    """The prices at which orders of one market may stand. The tick grows with the price."""

    def __init__(self, code: str) -> None:
        match = _CODE.fullmatch(code)
        if match is None:
            raise InvalidCodeError(code)
        self.quote, self.base = match.groups()
        self._ranges = _GRIDS.get(self.quote, _GRIDS["USDT"])

    def tick(self, price: int) -> int:
        """The tick of the range that a price lies in."""
        return next(tick for start, tick in self._ranges if price >= start)

    def nearest(self, price: int) -> int:
        """The price of the grid that is nearest to any price."""
        tick = self.tick(price)
        return (price + tick // 2) // tick * tick

    def above(self, price: int, ticks: int) -> int:
        """The price that many ticks above a price of the grid."""
        moved = price + ticks * self.tick(price)
        # The move may have ended in a range of larger ticks. A range starts on its own grid, so this never undoes it.
        return moved - moved % self.tick(moved)

    def below(self, price: int, ticks: int) -> int:
        """The price that many ticks below a price of the grid."""
        # Each tick is a multiple of the smaller ones, so the end of the move lies on the grid whichever range it is in.
        return price - ticks * self.tick(price - 1)


def worth_in_krw(currency: str, rng: Random) -> float:
    """About what one coin is worth, in won: known for the well-known, drawn between 10 and 100,000 for all others."""
    drawn = rng.random()
    known = _WORTH_IN_KRW.get(currency)
    return 10 ** (1 + 4 * drawn) if known is None else known * (0.9 + 0.2 * drawn)
