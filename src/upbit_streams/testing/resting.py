"""The orders of accounts that rest in one market's book, beside those of its makers."""

from bisect import insort

from .orders import Order

__all__ = ["Resting"]


class Resting:
    """Both sides, best price first and the oldest first among equal prices."""

    def __init__(self) -> None:
        self.asks: list[Order] = []
        self.bids: list[Order] = []

    def side(self, ask_bid: str) -> list[Order]:
        """The orders to sell (``ASK``), or those to buy."""
        return self.asks if ask_bid == "ASK" else self.bids

    def best(self, ask_bid: str) -> Order | None:
        """The order of that side whose turn it is first."""
        orders = self.side(ask_bid)
        return orders[0] if orders else None

    def add(self, order: Order) -> None:
        """Put an order behind those of the same price."""
        better = 1 if order.ask_bid == "ASK" else -1
        insort(self.side(order.ask_bid), order, key=lambda other: better * other.limit)

    def remove(self, order: Order) -> None:
        """Take an order out. One that is not there is no error."""
        if order in (orders := self.side(order.ask_bid)):
            orders.remove(order)
