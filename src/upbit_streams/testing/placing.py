"""What an account may order, and the order that comes of it: the exchange's checks, before anything happens."""

from decimal import Decimal

import attrs

from .amounts import PLACES, Amount, exact, whole_units
from .orders import InvalidOrderError, OffGridError, Order, OrderTooSmallError, Owner
from .ticks import ONE
from .trading import Market

__all__ = ["Ticket", "order_for"]

_SMP_TYPES = ("none", "reduce", "cancel_maker", "cancel_taker")

# What an order must be worth at least, and what is taken of each trade in ten-thousandths, by quote currency.
_LEAST_WORTH = {"KRW": 5_000 * ONE, "BTC": ONE // 20_000, "USDT": ONE // 2}
_FEE_RATES = {"KRW": 5}
_USUAL_FEE_RATE = 25

# What an order of a type and a side says: a price, a volume, both. The price of an order without a volume is what to
# buy for. And how long it may live.
_KINDS = {
    ("limit", "BID"): ("price", "volume"),
    ("limit", "ASK"): ("price", "volume"),
    ("price", "BID"): ("price",),
    ("market", "ASK"): ("volume",),
    ("best", "BID"): ("price",),
    ("best", "ASK"): ("volume",),
}
_LIFETIMES = {
    "limit": (None, "ioc", "fok", "post_only"),
    "price": (None,),
    "market": (None,),
    "best": ("ioc", "fok"),
}


@attrs.frozen(kw_only=True)
class Ticket:
    """An order as its account asks for it."""

    ask_bid: str
    order_type: str
    price: Amount | None
    volume: Amount | None
    time_in_force: str | None
    identifier: str | None
    smp_type: str | None


def order_for(ticket: Ticket, market: Market, owner: Owner, uuid: str, now_ms: int) -> Order:
    """The order, not placed yet. Raises :class:`~.orders.OrderError` for one that the exchange does not take."""
    kind = _KINDS.get((ticket.order_type, ticket.ask_bid))
    if kind is None:
        raise InvalidOrderError(
            f"there is no order of type {ticket.order_type!r} and side {ticket.ask_bid!r}; there are "
            + ", ".join(f"{name} {side}" for name, side in _KINDS)
        )
    if ticket.time_in_force not in _LIFETIMES[ticket.order_type]:
        raise InvalidOrderError(
            f"the time in force of {ticket.order_type} orders is one of {_LIFETIMES[ticket.order_type]}, "
            f"not {ticket.time_in_force!r}"
        )
    smp_type = ticket.smp_type or "cancel_maker"
    if smp_type not in _SMP_TYPES:
        raise InvalidOrderError(f"smp_type is one of {', '.join(_SMP_TYPES)}, not {smp_type!r}")
    price, volume = _units("price", ticket.price, kind), _units("volume", ticket.volume, kind)
    best, _, _ = market.book.next_maker(ticket.ask_bid)
    lowest, highest = market.band
    if ticket.order_type == "limit" and price is not None:
        limit = price
        _check_price(price, market, ticket.ask_bid)
    else:
        limit = best if ticket.order_type == "best" else highest if ticket.ask_bid == "BID" else lowest
    _check_worth(price if volume is None else volume * (price or best) // ONE, market)
    return Order(
        owner=owner,
        uuid=uuid,
        code=market.code,
        ask_bid=ticket.ask_bid,
        order_type=ticket.order_type,
        price=price,
        limit=limit,
        volume=volume,
        time_in_force=ticket.time_in_force,
        identifier=ticket.identifier,
        smp_type=smp_type,
        fee_rate=_FEE_RATES.get(market.grid.quote, _USUAL_FEE_RATE),
        ordered_ms=now_ms,
    )


def _units(name: str, amount: Amount | None, kind: tuple[str, ...]) -> int | None:
    if (amount is None) is (name in kind):
        raise InvalidOrderError(f"this order takes {' and '.join(kind)}; {name} is {amount!r}")
    if amount is None:
        return None
    try:
        units = whole_units(amount, PLACES)
    except ValueError as why:
        raise InvalidOrderError(f"{name}: {why}") from None
    if units == 0:
        raise InvalidOrderError(f"{name} must be above 0")
    return units


def _check_price(price: int, market: Market, ask_bid: str) -> None:
    nearest = market.grid.nearest(price)
    if nearest != price:
        raise OffGridError(
            f"{_shown(price)} is no price of {market.code}; the tick there is {_shown(market.grid.tick(price))}, "
            f"and the nearest price {_shown(nearest)}"
        )
    lowest, highest = market.band
    if price > highest if ask_bid == "BID" else price < lowest:
        raise OffGridError(
            f"{_shown(price)} is too far away; in {market.code} one can buy at up to {_shown(highest)} "
            f"and sell at down to {_shown(lowest)}"
        )


def _check_worth(worth: int | None, market: Market) -> None:
    least = _LEAST_WORTH.get(market.grid.quote, 0)
    if worth is not None and worth < least:
        raise OrderTooSmallError(
            f"the order is worth {_shown(worth)} {market.grid.quote}; {market.code} takes orders "
            f"from {_shown(least)} on"
        )


def _shown(units: int) -> Decimal:
    return exact(units, PLACES)
