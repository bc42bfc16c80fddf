"""What a session hears on the public and on the private endpoint, of all that happens there.

A service is one session's. It is told what was asked for, and gives the events in the way they were asked for; the
session itself knows nothing of types, markets and accounts.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from ..model.events import AnnouncementEvent, Event, MyOrderEvent, OrderbookEvent
from .accounts import Account
from .backlog import Backlog
from .grouping import shaped
from .requests import Subscription
from .sources import Feed, MarketSource, Replay, Source

__all__ = ["SILENCE", "PrivateService", "PublicService", "Service"]


class Service(Protocol):
    """Times are seconds since the Unix epoch."""

    @property
    def overflowed(self) -> bool:
        """The session has fallen so far behind that events were lost."""
        ...

    def start(self, now: float, subscriptions: Sequence[Subscription]) -> list[Event]:
        """From now on, tell this and nothing else. Returns the snapshots."""
        ...

    def put(self, event: Event) -> None:
        """Something has happened that does not come from the market."""
        ...

    def take(self, now: float) -> list[Event]:
        """What has happened since the last time, each event as often as it was asked for."""
        ...

    def next_time(self) -> float:
        """When there may be something to take."""
        ...


class PublicService:
    """The market, as its source tells it."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._subscriptions: dict[tuple[str, str], list[Subscription]] = {}

    @property
    def overflowed(self) -> bool:
        return self._feed.overflowed

    def start(self, now: float, subscriptions: Sequence[Subscription]) -> list[Event]:
        self._subscriptions = {}
        for one in subscriptions:
            self._subscriptions.setdefault((one.type, one.code), []).append(one)
        self._feed.start(now, frozenset(self._subscriptions))
        return [
            _of_size(event, one)
            for one in subscriptions
            if one.snapshot and (event := self._feed.snapshot(now, one.type, one.code))
        ]

    def put(self, event: Event) -> None:
        pass  # the public endpoint tells nothing else

    def take(self, now: float) -> list[Event]:
        return [
            _of_size(event, one)
            for event in self._feed.take(now)
            for one in self._subscriptions.get((event.type, event.code), ())
            if one.realtime
        ]

    def next_time(self) -> float:
        return self._feed.next_time()


class PrivateService:
    """The orders and balances of one account, and announcements: what happens from the subscription on."""

    def __init__(self, account: Account, source: Source) -> None:
        self._account = account
        self._market = source if isinstance(source, MarketSource) else None
        self._subscriptions: Sequence[Subscription] = ()
        self._backlog = Backlog()

    @property
    def overflowed(self) -> bool:
        return self._backlog.overflowed

    def start(self, now: float, subscriptions: Sequence[Subscription]) -> list[Event]:
        self._subscriptions = subscriptions
        return []

    def put(self, event: Event) -> None:
        # The first that has room for it: whoever asks for all orders, and for one market's too, hears each once.
        for one in self._subscriptions:
            if one.realtime and one.type == event.type and _matches(event, one):
                self._backlog.put(_with_body(event, one))
                return

    def take(self, now: float) -> list[Event]:
        if self._market is not None:
            self._market.advance(now)
        return self._backlog.take()

    def next_time(self) -> float:
        if self._market is None or not self._account.has_open_orders:
            return float("inf")
        return self._market.next_time()


def _matches(event: Event, one: Subscription) -> bool:
    if isinstance(event, MyOrderEvent):
        return one.code in ("", event.code)
    if isinstance(event, AnnouncementEvent):
        return not one.categories or event.category in one.categories
    return True


def _with_body(event: Event, one: Subscription) -> Event:
    if isinstance(event, AnnouncementEvent) and not one.include_body:
        return msgspec.structs.replace(event, body=None)
    return event


def _of_size(event: Event, one: Subscription) -> Event:
    if isinstance(event, OrderbookEvent) and (one.count < len(event.orderbook_units) or one.level):
        return shaped(event, one.count, one.level)
    return event


SILENCE: Service = PublicService(Replay(()).open())
"""What a session hears once it is over."""
