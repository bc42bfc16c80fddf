"""The sections of the table that have your orders, your balances and the announcements."""

from collections import deque
from decimal import Decimal

import attrs
from rich.text import Text

from upbit_streams import AnnouncementEvent, Asset, FrameLostError, MyAssetEvent, MyOrderEvent

from .columns import COLOURS, number, plain
from .feeds import Item

__all__ = ["Announcements", "Balances", "Orders"]

_ENDED_ORDERS = 5
_MOST_ORDERS = 500
_ANNOUNCEMENTS = 3
_LONGEST_TITLE = 50
_ENDED = ("done", "cancel")


@attrs.define
class _Order:
    """What is known of one order."""

    last: MyOrderEvent
    price: Decimal | None
    volume: Decimal | None

    @classmethod
    def after(cls, event: MyOrderEvent, before: "_Order | None") -> "_Order":
        if event.state != "trade":
            return cls(event, event.price, event.volume)
        # The price and the volume of such an event are those of the fill.
        if before is not None:
            return cls(event, before.price, before.volume)
        return cls(event, event.price, (event.executed_volume or Decimal()) + (event.remaining_volume or Decimal()))

    def is_newer_than(self, event: MyOrderEvent) -> bool:
        """Whether an event of the order was told late. One that has ended stays so; otherwise the stamps decide."""
        had_ended, has_ended = self.last.state in _ENDED, event.state in _ENDED
        return had_ended > has_ended or (had_ended == has_ended and self.last.timestamp > event.timestamp)


class Orders:
    """The orders that are open, and the last that have ended; the latest change first."""

    name = "orders"

    def __init__(self) -> None:
        self._open: dict[str, _Order] = {}
        self._ended: dict[str, _Order] = {}
        self._epoch = 0

    def take(self, item: Item) -> None:
        self._epoch = item.epoch if isinstance(item, FrameLostError) else item.epoch.number
        if not isinstance(item, MyOrderEvent):
            return
        before = self._open.get(item.uuid) or self._ended.get(item.uuid)
        if before is not None and before.is_newer_than(item):
            return
        self._open.pop(item.uuid, None)
        self._ended.pop(item.uuid, None)
        order = _Order.after(item, before)
        kept, most = (self._ended, _ENDED_ORDERS) if item.state in _ENDED else (self._open, _MOST_ORDERS)
        kept[item.uuid] = order
        if len(kept) > most:
            del kept[next(iter(kept))]

    def size(self) -> int:
        return len(self._open) + len(self._ended)

    def columns(self, most: int) -> dict[str, list[Text]]:
        orders = [*reversed(self._open.values()), *reversed(self._ended.values())][:most]
        return {
            "order": [plain(order.last.uuid[:8]) for order in orders],
            "market": [plain(order.last.code) for order in orders],
            "side": [plain(order.last.ask_bid, COLOURS.get(order.last.ask_bid, "")) for order in orders],
            "state": [self._state(order) for order in orders],
            "price": [Text(number(order.price)) for order in orders],
            "volume": [Text(number(order.volume)) for order in orders],
            "remaining": [Text(number(order.last.remaining_volume)) for order in orders],
            "type": [plain(order.last.order_type) for order in orders],
        }

    def _state(self, order: _Order) -> Text:
        # What was open before a gap may have ended in it, and the exchange does not tell that again.
        is_doubtful = order.last.state not in _ENDED and order.last.epoch.number < self._epoch
        return plain(f"{order.last.state}?" if is_doubtful else order.last.state)


class Balances:
    """The newest balance of each currency. A currency whose balance has not changed yet is not known."""

    name = "currencies"

    def __init__(self) -> None:
        self._assets: dict[str, tuple[int, Asset]] = {}
        """By currency, with the exchange's stamp."""

    def take(self, item: Item) -> None:
        if isinstance(item, MyAssetEvent):
            stamp = item.asset_timestamp
            for asset in item.assets:
                if asset.currency not in self._assets or stamp >= self._assets[asset.currency][0]:
                    self._assets[asset.currency] = stamp, asset

    def size(self) -> int:
        return len(self._assets)

    def columns(self, most: int) -> dict[str, list[Text]]:
        assets = [asset for _, (_, asset) in sorted(self._assets.items())][:most]
        return {
            "currency": [plain(asset.currency) for asset in assets],
            "balance": [Text(number(asset.balance)) for asset in assets],
            "locked": [Text(number(asset.locked)) for asset in assets],
        }


class Announcements:
    """The last few, the latest first."""

    name = "announcements"

    def __init__(self) -> None:
        self._last: deque[AnnouncementEvent] = deque(maxlen=_ANNOUNCEMENTS)

    def take(self, item: Item) -> None:
        if isinstance(item, AnnouncementEvent):
            self._last.append(item)

    def size(self) -> int:
        return len(self._last)

    def columns(self, most: int) -> dict[str, list[Text]]:
        latest = list(reversed(self._last))[:most]
        return {
            "announced": [plain(each.listed_at[:19].replace("T", " ")) for each in latest],
            "title": [_title(each) for each in latest],
            "category": [plain(each.category) for each in latest],
        }


def _title(announcement: AnnouncementEvent) -> Text:
    title = plain(announcement.title)
    title.truncate(_LONGEST_TITLE, overflow="ellipsis")
    return title
