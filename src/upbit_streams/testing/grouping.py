"""Order books as the exchange sends them to somebody who asked for fewer levels, or for wider ones."""

from collections.abc import Iterable
from itertools import zip_longest
from math import ceil, floor

import msgspec

from ..model.events import OrderbookEvent, OrderbookUnit

__all__ = ["shaped"]


def shaped(book: OrderbookEvent, count: int, level: float) -> OrderbookEvent:
    """The best ``count`` levels, after all have been grouped by ``level`` in the quote currency (0 for not at all).

    A group's price is the one that is worse for the taker: asks are rounded up, bids down. So the sides never meet.
    Where one side has fewer groups it is padded with zeros. The total sizes stay those of the whole book.
    """
    units = _grouped(book, level) if level else book.orderbook_units
    return msgspec.structs.replace(book, orderbook_units=units[:count], level=level or book.level)


def _grouped(book: OrderbookEvent, level: float) -> tuple[OrderbookUnit, ...]:
    asks = _summed((ceil(price / level) * level, size) for price, size in book.asks)
    bids = _summed((floor(price / level) * level, size) for price, size in book.bids)
    return tuple(
        OrderbookUnit(ask_price=ask[0], ask_size=ask[1], bid_price=bid[0], bid_size=bid[1])
        for ask, bid in zip_longest(asks, bids, fillvalue=(0.0, 0.0))
    )


def _summed(levels: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    sizes: dict[float, float] = {}
    for price, size in levels:
        sizes[float(price)] = round(sizes.get(float(price), 0.0) + size, 8)
    return list(sizes.items())
