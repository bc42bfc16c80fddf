"""A market whose every event says which of its events it is, and on whose session it was told."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

import attrs
import msgspec
from tests.support.world import CODES, numbered_trade

from upbit_streams import Asset, Event, MyAssetEvent, MyOrderEvent, OrderbookEvent, OrderbookUnit, TickerEvent

__all__ = ["Stamp", "StampedMarket", "asset_event", "order_event", "stamp_of_event", "stamp_of_frame"]


class Stamp(NamedTuple):
    """What tells one event from all others."""

    kind: str
    code: str
    serial: int
    """Which of the market's events it is, or of the account's: later ones have higher numbers."""
    session: int
    """Which public session it was told on; 0 for the private ones."""


# The fields that carry the stamp.
_SERIAL = {
    "trade": "trade_price",
    "ticker": "trade_price",
    "orderbook": "total_ask_size",
    "myOrder": "trades_count",
    "myAsset": "asset_uuid",
}
_SESSION = {"trade": "trade_volume", "ticker": "trade_volume", "orderbook": "total_bid_size"}


def stamp_of_frame(frame: Any) -> Stamp | None:
    """The stamp of a frame as it came; None if it is no event of these."""
    if not isinstance(frame, Mapping) or not isinstance(kind := frame.get("type"), str) or kind not in _SERIAL:
        return None
    session = frame.get(_SESSION.get(kind, ""), 0)
    serial = frame.get(_SERIAL[kind])
    return None if serial is None else Stamp(kind, frame.get("code", ""), int(serial), int(session))


def stamp_of_event(event: Event) -> Stamp:
    session = getattr(event, _SESSION[event.type]) if event.type in _SESSION else 0
    return Stamp(event.type, event.code, int(getattr(event, _SERIAL[event.type])), int(session))


_TICKER = TickerEvent(
    code="",
    timestamp=0,
    stream_type="REALTIME",
    opening_price=1.0,
    high_price=1.0,
    low_price=1.0,
    trade_price=1.0,
    prev_closing_price=1.0,
    acc_trade_price=1.0,
    change="EVEN",
    change_price=0.0,
    signed_change_price=0.0,
    change_rate=0.0,
    signed_change_rate=0.0,
    ask_bid="BID",
    trade_volume=1.0,
    acc_trade_volume=1.0,
    trade_date="20261118",
    trade_time="000000",
    trade_timestamp=0,
    acc_ask_volume=1.0,
    acc_bid_volume=1.0,
    highest_52_week_price=1.0,
    highest_52_week_date="2026-11-18",
    lowest_52_week_price=1.0,
    lowest_52_week_date="2026-11-18",
    market_state="ACTIVE",
    acc_trade_price_24h=1.0,
    acc_trade_volume_24h=1.0,
)
_BOOK = OrderbookEvent(
    code="",
    timestamp=0,
    stream_type="REALTIME",
    total_ask_size=1.0,
    total_bid_size=1.0,
    orderbook_units=tuple(
        OrderbookUnit(ask_price=2.0 + level, bid_price=1.0, ask_size=1.0, bid_size=1.0) for level in range(2)
    ),
    level=0,
)
_TEMPLATES: dict[str, Event] = {"trade": numbered_trade("", 0, 0), "ticker": _TICKER, "orderbook": _BOOK}
# The exchange's ids are unique and not ordered, so these are not, either.
_STRIDE, _IDS = 7_919, 1_000_003


@attrs.define(eq=False)
class StampedMarket:
    """It moves whether or not anybody listens: at each beat, the next market has a trade, a ticker and an order
    book."""

    interval: float = 1.0
    codes: Sequence[str] = CODES
    sessions: int = 0
    serial: int = 0
    _latest: dict[str, tuple[int, float]] = attrs.field(factory=dict)
    _next: float | None = None
    _feeds: WeakSet["_StampedFeed"] = attrs.field(factory=WeakSet)

    def open(self) -> "_StampedFeed":
        self.sessions += 1
        feed = _StampedFeed(self, self.sessions)
        self._feeds.add(feed)
        return feed

    def advance(self, now: float) -> None:
        """Let happen what has happened until now."""
        if self._next is None:
            self._next = now
            for code in self.codes:
                self._happen(code, now)
        while self._next <= now:
            self._happen(self.codes[self.serial % len(self.codes)], self._next)
            self._next += self.interval

    def burst(self, now: float, code: str, count: int) -> None:
        """Much happens in one moment."""
        self.advance(now)
        for _ in range(count):
            self._happen(code, now)

    def next_time(self) -> float:
        return self._next if self._next is not None else float("inf")

    def snapshot(self, kind: str, code: str, session: int) -> Event | None:
        if kind not in _TEMPLATES or code not in self._latest:
            return None
        return self.event(kind, code, *self._latest[code], session, "SNAPSHOT")

    def event(self, kind: str, code: str, serial: int, at: float, session: int, stream_type: str) -> Event:
        stamp: dict[str, Any] = {_SERIAL[kind]: float(serial), _SESSION[kind]: float(session)}
        if kind == "trade":
            stamp["sequential_id"] = serial * _STRIDE % _IDS
        return msgspec.structs.replace(
            _TEMPLATES[kind], code=code, timestamp=int(at * 1000), stream_type=stream_type, **stamp
        )

    def _happen(self, code: str, at: float) -> None:
        self.serial += 1
        self._latest[code] = self.serial, at
        for feed in self._feeds:
            feed.waiting.append((code, self.serial, at))


class _StampedFeed:
    overflowed = False

    def __init__(self, market: StampedMarket, session: int) -> None:
        self.waiting: list[tuple[str, int, float]] = []
        self._market = market
        self._session = session
        self._keys: frozenset[tuple[str, str]] = frozenset()

    def start(self, now: float, keys: frozenset[tuple[str, str]]) -> None:
        self._market.advance(now)
        self.waiting.clear()
        self._keys = keys

    def snapshot(self, now: float, type_name: str, code: str) -> Event | None:
        return self._market.snapshot(type_name, code, self._session)

    def take(self, now: float) -> list[Event]:
        self._market.advance(now)
        waiting, self.waiting = self.waiting, []
        return [
            self._market.event(kind, code, serial, at, self._session, "REALTIME")
            for code, serial, at in waiting
            for kind in _TEMPLATES
            if (kind, code) in self._keys
        ]

    def next_time(self) -> float:
        return self._market.next_time() if self._keys else float("inf")


def order_event(code: str, serial: int, now: float) -> MyOrderEvent:
    """Something that happens to an order of the account."""
    return MyOrderEvent(
        code=code,
        timestamp=int(now * 1000),
        stream_type="REALTIME",
        uuid=f"order {serial % 5}",
        ask_bid="BID",
        order_type="limit",
        state=("wait", "trade", "cancel")[serial % 3],
        trades_count=serial,
        order_timestamp=int(now * 1000),
    )


def asset_event(serial: int, now: float) -> MyAssetEvent:
    """A change of the account's balances."""
    return MyAssetEvent(
        timestamp=int(now * 1000),
        stream_type="REALTIME",
        asset_uuid=str(serial),
        assets=(Asset(currency="KRW", balance=serial, locked=0),),  # type: ignore[arg-type]
        asset_timestamp=int(now * 1000),
    )
