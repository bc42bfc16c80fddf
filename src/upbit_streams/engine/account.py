"""What a user's own account looks like, as far as it was told on the private connection.

The exchange tells changes only. So an order that nobody touched since the connection was made is not here, and after a
reconnect what is here may be old: everything says of which epoch it is.

An event that comes late does not replace a newer one: the exchange's own stamps decide, and of equal ones the order of
arrival. An order that is done or cancelled stays so.
"""

from collections import OrderedDict
from collections.abc import Collection
from typing import TypeVar

from ..model.events import AnnouncementEvent, Event, MyAssetEvent, MyOrderEvent
from ..model.kinds import DataType
from ..model.metrics import Balance
from .stamps import stamp_of

__all__ = ["MOST_ANNOUNCEMENTS", "MOST_DONE", "MOST_ORDERS", "Account"]

_DONE_STATES = ("done", "cancel")
# Each has a bound, so that a month of trading does not fill the memory. Orders that are done go first.
MOST_ORDERS = 10_000
MOST_DONE = 1_000
MOST_ANNOUNCEMENTS = 100

T = TypeVar("T")


class Account:
    """The newest that was told of each order, of each currency and of each announcement."""

    def __init__(self) -> None:
        self.open_orders: OrderedDict[str, MyOrderEvent] = OrderedDict()
        """By uuid, the one that changed last at the end."""
        self.done_orders: OrderedDict[str, MyOrderEvent] = OrderedDict()
        self.balances: dict[str, Balance] = {}
        """By currency."""
        self._balance_stamps: dict[str, float] = {}
        self.announcements: OrderedDict[str, AnnouncementEvent] = OrderedDict()
        """By uuid, the newest at the end."""

    def take(self, event: Event) -> None:
        """Something has been told."""
        if isinstance(event, MyOrderEvent):
            self._take_order(event)
        elif isinstance(event, MyAssetEvent):
            self._take_assets(event)
        elif isinstance(event, AnnouncementEvent):
            known = self.announcements.get(event.uuid)
            if known is None or _stamp(event) >= _stamp(known):
                _put_last(self.announcements, event.uuid, event, MOST_ANNOUNCEMENTS)

    def forget(self, kind: DataType[Event], codes: Collection[str]) -> None:
        """Nobody is told any more of a type but in these markets; an empty text stands for all."""
        if "" in codes:
            return
        if kind is DataType.MY_ORDER:
            for orders in (self.open_orders, self.done_orders):
                for uuid in [order.uuid for order in orders.values() if order.code not in codes]:
                    del orders[uuid]
        elif kind is DataType.MY_ASSET:
            self.balances.clear()
            self._balance_stamps.clear()
        elif kind is DataType.ANNOUNCEMENT:
            self.announcements.clear()

    def forget_done(self, before: float) -> int:
        """Drop the orders that were done before then, in seconds since the Unix epoch. Returns how many there were."""
        dropped = 0
        while self.done_orders and next(iter(self.done_orders.values())).received_at < before:
            self.done_orders.popitem(last=False)
            dropped += 1
        return dropped

    def clear(self) -> None:
        """It is somebody else's account from now on."""
        for kept in (self.open_orders, self.done_orders, self.balances, self._balance_stamps, self.announcements):
            kept.clear()

    def order(self, uuid: str) -> MyOrderEvent | None:
        return self.open_orders.get(uuid) or self.done_orders.get(uuid)

    def _take_assets(self, event: MyAssetEvent) -> None:
        stamp = stamp_of(event, event.asset_timestamp)
        for asset in event.assets:
            if stamp >= self._balance_stamps.get(asset.currency, stamp):
                self._balance_stamps[asset.currency] = stamp
                self.balances[asset.currency] = Balance(
                    currency=asset.currency,
                    balance=asset.balance,
                    locked=asset.locked,
                    asset_timestamp=event.asset_timestamp,
                    epoch=event.epoch,
                    received_at=event.received_at,
                )

    def _take_order(self, order: MyOrderEvent) -> None:
        known, is_done = self.order(order.uuid), order.state in _DONE_STATES
        if known is not None:
            was_done = known.state in _DONE_STATES
            if was_done > is_done or (was_done == is_done and _stamp(order) < _stamp(known)):
                return
        if is_done:
            self.open_orders.pop(order.uuid, None)
            _put_last(self.done_orders, order.uuid, order, MOST_DONE)
        else:
            _put_last(self.open_orders, order.uuid, order, MOST_ORDERS)


def _stamp(event: Event) -> float:
    return stamp_of(event, event.timestamp)


def _put_last(kept: OrderedDict[str, T], key: str, value: T, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
