"""The order book of a simulated market: thirty levels a side, taken from by takers and refilled by makers."""

from collections.abc import Callable
from random import Random

import attrs

from .ticks import TickGrid

__all__ = ["DEPTH", "Book", "Side"]

DEPTH = 30
"""Levels on each side, always: what the exchange sends at most."""


@attrs.define
class Side:
    """One side of a book, best level first. Sizes are whole lots and never zero."""

    prices: list[int]
    sizes: list[int]

    @property
    def best(self) -> tuple[int, int]:
        """Price and size of the best level."""
        return self.prices[0], self.sizes[0]


class Book:
    """The resting orders of one market, by price.

    Invariants: both sides have ``DEPTH`` levels on the price grid; asks ascend, bids descend, and the best ask is above
    the best bid. Nobody owns an order here; makers are a random number generator.
    """

    def __init__(self, grid: TickGrid, rng: Random, *, best_ask: int, typical_size: int) -> None:
        self._grid = grid
        self._rng = rng
        self._typical_size = typical_size
        # Sizes have about ten digits, so that the volume of a day has no more than the fifteen that any float holds.
        self.lot: int = 10 ** max(0, len(str(typical_size)) - 9)
        self.asks = self._side(best_ask, self._higher)
        self.bids = self._side(self._lower(best_ask), self._lower)

    def take(self, ask_bid: str, share: float) -> tuple[int, int]:
        """A taker of that side takes a share of the best opposite level, all of it for 1 or more.

        Returns the price and the volume of the trade. A level that is used up leaves the book, and a maker adds one
        behind the last; so the spread is wider until :meth:`improve` closes it.
        """
        side, worse = (self.asks, self._higher) if ask_bid == "BID" else (self.bids, self._lower)
        price, size = side.best
        volume = min(size, self._lots(size * share))
        if volume < size:
            side.sizes[0] -= volume
        else:
            del side.prices[0], side.sizes[0]
            side.prices.append(worse(side.prices[-1]))
            side.sizes.append(self.draw_size())
        return price, volume

    def improve(self) -> bool:
        """A maker of either side offers a better price, if the spread is wide enough for one. Tells whether it was."""
        best_ask, best_bid = self.asks.prices[0], self.bids.prices[0]
        if self._rng.random() < 0.5:
            side, better = self.asks, self._lower(best_ask)
            wide = self._lower(better) >= best_bid
        else:
            side, better = self.bids, self._higher(best_bid)
            wide = self._higher(better) <= best_ask
        if wide:
            side.prices.insert(0, better)
            side.sizes.insert(0, self.draw_size())
            del side.prices[DEPTH:], side.sizes[DEPTH:]
        return wide

    def resize(self) -> None:
        """A maker changes the size of some level, more often of one near the best."""
        side = self.asks if self._rng.random() < 0.5 else self.bids
        side.sizes[int(DEPTH * self._rng.random() ** 2)] = self.draw_size()

    def draw_size(self) -> int:
        """What makers put on a level: mostly little, now and then three times the typical size."""
        return self._lots(self._typical_size * (0.05 + 3 * self._rng.random() ** 3))

    def _side(self, best: int, worse: Callable[[int], int]) -> Side:
        prices = [best]
        while len(prices) < DEPTH:
            prices.append(worse(prices[-1]))
        return Side(prices, [self.draw_size() for _ in prices])

    def _higher(self, price: int) -> int:
        return self._grid.above(price, self._gap(price))

    def _lower(self, price: int) -> int:
        return self._grid.below(price, self._gap(price))

    def _gap(self, price: int) -> int:
        # One tick where ticks are coarse; up to a five-thousandth of the price where they are fine, as in real books.
        widest = price // (5_000 * self._grid.tick(price))
        return 1 + int(self._rng.random() * widest)

    def _lots(self, size: float) -> int:
        return max(1, int(size) // self.lot) * self.lot
