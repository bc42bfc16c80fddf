"""One order of an account: what was ordered, how far it has come, and the event that says so (protocol section 4.5)."""

from typing import Protocol

import attrs

from ..exceptions import ExchangeError
from ..model.events import MyOrderEvent
from .amounts import FINE_PLACES, FUNDS_PLACES, FUNDS_TO_FINE, PLACES, VOLUME_TO_FINE, exact, quotient
from .ticks import ONE

__all__ = [
    "Fill",
    "InsufficientFundsError",
    "InvalidOrderError",
    "NoMarketError",
    "OffGridError",
    "Order",
    "OrderError",
    "OrderNotFoundError",
    "OrderTooSmallError",
    "Owner",
    "UnknownMarketError",
]


class OrderError(ExchangeError):
    """The simulated exchange does not take an order, or does not cancel it. Nothing has changed."""


class InvalidOrderError(OrderError):
    """Options that do not go together, or a number that is none."""


class UnknownMarketError(OrderError):
    """There is no such market."""


class NoMarketError(OrderError):
    """The exchange's source is a recording, or another one in which nobody can trade."""


class OffGridError(OrderError):
    """The price is none of the market's prices, or too far away from them."""


class OrderTooSmallError(OrderError):
    """The order is worth less than the exchange takes."""


class InsufficientFundsError(OrderError):
    """The account has less than the order needs, fees included."""


class OrderNotFoundError(OrderError):
    """The account has no such order, or none that is still open."""


@attrs.frozen
class Fill:
    """One trade of an order, as its owner sees it."""

    price: int
    volume: int
    uuid: str
    """The same for both orders, if both belong to accounts."""
    is_maker: bool
    traded_ms: int


class Owner(Protocol):
    """Whose order it is. It keeps the books; the market only says what happens. Times are those of the messages."""

    def filled(self, order: "Order", fill: Fill, now_ms: int) -> None: ...

    def prevented(self, order: "Order", volume: int, price: int, now_ms: int) -> None:
        """So much of the order is not traded at this price, as its owner stands on the other side too."""
        ...

    def ended(self, order: "Order", state: str, now_ms: int) -> None:
        """Nothing more happens to the order: it is ``done``, or what is left of it is cancelled (``cancel``)."""
        ...


@attrs.define(eq=False, kw_only=True)
class Order:
    """An order. Prices and volumes are in units of 10^-8, funds in 10^-16, fees and what is locked in 10^-20.

    Invariant: it either has a volume, or funds to buy for (a market buy, and a best buy).
    """

    owner: Owner
    uuid: str
    code: str
    ask_bid: str
    order_type: str
    price: int | None
    """As ordered: the price of a limit order, or what to buy for, in units of 10^-8."""
    limit: int
    """The worst price at which it trades."""
    volume: int | None
    time_in_force: str | None
    identifier: str | None
    smp_type: str
    fee_rate: int
    """In ten-thousandths of the funds."""
    ordered_ms: int
    remaining: int = 0
    """The volume that is not traded yet."""
    remaining_funds: int = 0
    """What is not spent yet, of an order without a volume."""
    executed: int = 0
    executed_funds: int = 0
    trades: int = 0
    paid_fee: int = 0
    prevented_volume: int = 0
    prevented_locked: int = 0
    is_open: bool = True
    reserved_fee: int = 0

    def __attrs_post_init__(self) -> None:
        if self.volume is not None:
            self.remaining = self.volume
        elif self.price is not None:
            self.remaining_funds = self.price * ONE
        self.reserved_fee = self.remaining_fee

    @property
    def is_used_up(self) -> bool:
        """Nothing is left of it to trade."""
        return not (self.remaining_funds if self.volume is None else self.remaining)

    @property
    def held_funds(self) -> int:
        """What a buyer still needs to pay for the rest, fees not included."""
        if self.ask_bid == "ASK" or not self.is_open:
            return 0
        return self.remaining_funds if self.volume is None else self.remaining * self.limit

    @property
    def remaining_fee(self) -> int:
        """What is still reserved for fees. Sellers pay theirs out of what they get."""
        return self.held_funds * self.fee_rate

    @property
    def locked(self) -> int:
        """What the order holds: of the quote currency for a buyer, of the coin for a seller."""
        if self.ask_bid == "ASK":
            return self.remaining * VOLUME_TO_FINE if self.is_open else 0
        return self.held_funds * FUNDS_TO_FINE + self.remaining_fee

    def takes(self, price: int) -> bool:
        """Whether it trades at a price."""
        return price <= self.limit if self.ask_bid == "BID" else price >= self.limit

    def volume_at(self, price: int) -> int:
        """How much it would trade at a price. 0 where funds do not buy the smallest unit any more."""
        return self.remaining_funds // price if self.volume is None else self.remaining

    def reduce(self, volume: int, price: int) -> None:
        """So much of it is traded at a price, or prevented."""
        if self.volume is None:
            self.remaining_funds -= volume * price
        else:
            self.remaining -= volume

    def event(self, state: str, now_ms: int, fill: Fill | None = None) -> MyOrderEvent:
        """What the exchange says of it now. After a trade, price and volume are those of the trade."""
        price, volume = (self.price, self.volume) if fill is None else (fill.price, fill.volume)
        fee = None if fill is None else exact(fill.price * fill.volume * self.fee_rate, FINE_PLACES)
        return MyOrderEvent(
            code=self.code,
            uuid=self.uuid,
            ask_bid=self.ask_bid,
            order_type=self.order_type,
            state=state,
            trade_uuid=None if fill is None else fill.uuid,
            price=None if price is None else exact(price, PLACES),
            avg_price=exact(quotient(self.executed_funds, self.executed), PLACES),
            volume=None if volume is None else exact(volume, PLACES),
            remaining_volume=None if self.volume is None else exact(self.remaining, PLACES),
            executed_volume=exact(self.executed, PLACES),
            trades_count=self.trades,
            reserved_fee=exact(self.reserved_fee, FINE_PLACES),
            remaining_fee=exact(self.remaining_fee, FINE_PLACES),
            paid_fee=exact(self.paid_fee, FINE_PLACES),
            locked=exact(self.locked, FINE_PLACES),
            executed_funds=exact(self.executed_funds, FUNDS_PLACES),
            time_in_force=self.time_in_force,
            trade_fee=fee,
            is_maker=None if fill is None else fill.is_maker,
            identifier=self.identifier,
            smp_type=self.smp_type,
            prevented_volume=exact(self.prevented_volume, PLACES),
            prevented_locked=exact(self.prevented_locked, FINE_PLACES),
            trade_timestamp=None if fill is None else fill.traded_ms,
            # The exchange tells it in whole seconds.
            order_timestamp=self.ordered_ms // 1000 * 1000,
            timestamp=now_ms,
            stream_type="REALTIME",
        )
