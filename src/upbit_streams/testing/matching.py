"""The order book of a simulated market: thirty levels a side, taken from by takers and refilled by makers.

Orders of accounts rest beside the makers' levels. At one price they come first.
"""

from collections.abc import Callable
from random import Random

import attrs

from .orders import Order
from .resting import Resting
from .ticks import TickGrid

__all__ = ["DEPTH", "Book", "Side"]

DEPTH = 30
"""Levels on each side, always: what the exchange sends at most."""


@attrs.define
class Side:
    """The makers' side of a book, best level first. Sizes are never zero, and whole lots until an account's order takes
    a part of one."""

    prices: list[int]
    sizes: list[int]

    @property
    def best(self) -> tuple[int, int]:
        """Price and size of the best level."""
        return self.prices[0], self.sizes[0]


class Book:
    """The resting orders of one market, by price.

    Invariants: both sides have ``DEPTH`` levels on the price grid; asks ascend, bids descend, and the best ask is above
    the best bid, the orders of accounts included. Nobody owns a level; makers are a random number generator. Without
    orders of accounts, what happens is the same as if there were no accounts.
    """

    def __init__(self, grid: TickGrid, rng: Random, *, best_ask: int, typical_size: int) -> None:
        self._grid = grid
        self._rng = rng
        self._typical_size = typical_size
        # Sizes have about ten digits, so that the volume of a day has no more than the fifteen that any float holds.
        self.lot: int = 10 ** max(0, len(str(typical_size)) - 9)
        self.asks = self._side(best_ask, self._higher)
        self.bids = self._side(self._lower(best_ask), self._lower)
        self.resting = Resting()
        """The orders of accounts. Who changes it keeps the invariants."""

    def levels(self, ask_bid: str) -> tuple[list[int], list[int]]:
        """Prices and sizes of the best ``DEPTH`` levels of a side, the orders of accounts included."""
        side, orders = self._makers(ask_bid), self.resting.side(ask_bid)
        if not orders:
            return side.prices, side.sizes
        sizes = dict(zip(side.prices, side.sizes, strict=True))
        for order in orders:
            sizes[order.limit] = sizes.get(order.limit, 0) + order.remaining
        prices = sorted(sizes, reverse=ask_bid == "BID")[:DEPTH]
        return prices, [sizes[price] for price in prices]

    def next_maker(self, ask_bid: str) -> tuple[int, int, Order | None]:
        """Who trades next with a taker of that side: price, size, and the order if it is one of an account."""
        opposite = "ASK" if ask_bid == "BID" else "BID"
        price, size = self._makers(opposite).best
        order = self.resting.best(opposite)
        if order is not None and (order.limit <= price if opposite == "ASK" else order.limit >= price):
            return order.limit, order.remaining, order
        return price, size, None

    def take(self, ask_bid: str, share: float) -> tuple[int, int, Order | None]:
        """A taker of that side takes a share of the best opposite level, all of it for 1 or more.

        Returns the price and the volume of the trade, and the order if it is one of an account: then nothing has
        changed yet, as it is for its owner to reduce it. A maker's level that is used up leaves the book, and a maker
        adds one behind the last; so the spread is wider until :meth:`improve` closes it.
        """
        price, size, order = self.next_maker(ask_bid)
        if order is not None:
            # A taker does not come for more because an account offers more: an order of any size takes its time.
            return price, min(size, self._lots(self.draw_size() * share)), order
        volume = min(size, self._lots(size * share))
        self.take_level(ask_bid, volume)
        return price, volume, None

    def take_level(self, ask_bid: str, volume: int) -> None:
        """A taker of that side takes so much of the makers' best opposite level, which has it."""
        side, worse = (self.asks, self._higher) if ask_bid == "BID" else (self.bids, self._lower)
        if volume < side.sizes[0]:
            side.sizes[0] -= volume
        else:
            del side.prices[0], side.sizes[0]
            side.prices.append(worse(side.prices[-1]))
            side.sizes.append(self.draw_size())

    def improve(self) -> bool:
        """A maker of either side offers a better price, if the spread is wide enough for one. Tells whether it was."""
        best_ask, best_bid = self.asks.prices[0], self.bids.prices[0]
        ask, bid = self.resting.best("ASK"), self.resting.best("BID")
        if self._rng.random() < 0.5:
            side, better = self.asks, self._lower(best_ask)
            wide = self._lower(better) >= (best_bid if bid is None else max(best_bid, bid.limit))
        else:
            side, better = self.bids, self._higher(best_bid)
            wide = self._higher(better) <= (best_ask if ask is None else min(best_ask, ask.limit))
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

    def _makers(self, ask_bid: str) -> Side:
        return self.asks if ask_bid == "ASK" else self.bids

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
