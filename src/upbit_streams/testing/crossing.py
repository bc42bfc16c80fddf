"""What happens to an account's order when it comes: it trades, meets its owner's other orders, rests, or ends."""

from collections.abc import Callable

from .matching import Book
from .orders import Order

__all__ = ["enter"]


def enter(order: Order, book: Book, trade: Callable[[Order | None, int, int], None], now_ms: int) -> bool:
    """Let a new order meet the book, best price first.

    ``trade`` is called for each trade, with the order that it meets (None for a maker of the market's own), the price
    and the volume. Returns whether the book changed after the last trade.
    """
    if _must_not_trade(order, book):
        order.owner.ended(order, "cancel", now_ms)
        return False
    changed = False
    while order.is_open:
        price, size, maker = book.next_maker(order.ask_bid)
        volume = min(size, order.volume_at(price))
        if not order.takes(price) or volume == 0:
            break
        if maker is not None and maker.owner is order.owner and order.smp_type != "none":
            changed = _prevent(order, maker, book, price, volume, now_ms) or changed
            continue
        if maker is None:
            book.take_level(order.ask_bid, volume)
        trade(maker, price, volume)
        changed = False
    if not order.is_open:
        return changed
    if order.order_type == "limit" and order.time_in_force in (None, "post_only"):
        book.resting.add(order)
        return True
    order.owner.ended(order, "cancel", now_ms)
    return changed


def _must_not_trade(order: Order, book: Book) -> bool:
    """Whether the order's condition forbids what would happen."""
    price, _, _ = book.next_maker(order.ask_bid)
    if order.time_in_force == "post_only":
        return order.takes(price)
    if order.time_in_force != "fok":
        return False
    opposite = "ASK" if order.ask_bid == "BID" else "BID"
    levels = {price: size for price, size in zip(*book.levels(opposite), strict=True) if order.takes(price)}
    there = sum(levels.values())
    if order.smp_type != "none":
        own = [other for other in book.resting.side(opposite) if other.owner is order.owner]
        there -= sum(other.remaining for other in own if other.limit in levels)
    return there < order.volume_at(price)


def _prevent(order: Order, maker: Order, book: Book, price: int, volume: int, now_ms: int) -> bool:
    """An order meets another one of its own account. Returns whether the book changed."""
    if order.smp_type == "cancel_taker":
        order.owner.prevented(order, order.volume_at(price), price, now_ms)
        order.owner.ended(order, "cancel", now_ms)
        return False
    if order.smp_type == "reduce":
        order.owner.prevented(order, volume, price, now_ms)
    else:
        volume = maker.remaining
    maker.owner.prevented(maker, volume, price, now_ms)
    if maker.is_used_up:
        book.resting.remove(maker)
    for each in (maker, order):
        if each.is_used_up:
            each.owner.ended(each, "cancel", now_ms)
    return True
