"""The trading desk of the simulated exchange: takes orders of accounts to the market, and tells everybody of it."""

from collections.abc import Callable, Sequence

from ..model.events import OrderbookEvent
from .accounts import Account
from .orders import Order, OrderNotFoundError, UnknownMarketError
from .placing import Ticket, order_for
from .sources import MarketSource

__all__ = ["MarketDesk"]


class MarketDesk:
    """Lets accounts trade in the markets of a source."""

    def __init__(self, source: MarketSource, wake: Callable[[], None]) -> None:
        """``wake`` is called when there is news for clients, out of turn."""
        self.codes: Sequence[str] = source.codes
        self._source = source
        self._wake = wake
        self._simulation = source.simulation

    def place(self, now: float, account: Account, code: str, ticket: Ticket) -> str:
        """Place an order of an account and return its id. Raises :class:`~.orders.OrderError`."""
        now_ms = self._source.advance(now)
        market = self._simulation.market(code)
        if market is None:
            raise UnknownMarketError(f"there is no market {code!r}; there are {', '.join(self._source.codes)}")
        order = order_for(ticket, market, account, account.new_order_uuid(), now_ms)
        account.opened(order, now_ms)
        events = market.place(order, now_ms)
        self._simulation.changed()
        self._source.publish(events)
        self._wake()
        return order.uuid

    def cancel(self, now: float, order: Order) -> None:
        """Cancel what is left of an order that was open a moment ago; it may have been filled meanwhile."""
        now_ms = self._source.advance(now)
        if not order.is_open:
            raise OrderNotFoundError(f"order {order.uuid} is not open any more")
        market = self._simulation.market(order.code)
        assert market is not None  # noqa: S101 -- it was there when the order was placed
        events = market.cancel(order, now_ms)
        order.owner.ended(order, "cancel", now_ms)
        self._source.publish(events)
        self._wake()

    def book(self, now: float, code: str) -> OrderbookEvent:
        """The order book of a market as it is now."""
        self._source.advance(now)
        event = self._source.snapshot("orderbook", code)
        if not isinstance(event, OrderbookEvent):
            raise UnknownMarketError(f"there is no market {code!r}; there are {', '.join(self._source.codes)}")
        return event
