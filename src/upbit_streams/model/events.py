"""The events of the exchange, as immutable values.

Field names are the exchange's own. Prices and volumes of the market are ``float`` (they have at most 15 significant
digits, which a float holds exactly), amounts of your own orders and balances ``Decimal``, exact to the last digit; ids
and timestamps are ``int``. A field that the exchange may leave out, or sends as ``null``, is ``None`` then.

A field that it always sends, and that is missing all the same or cannot be understood, holds what no exchange sends:
``nan`` for ``float``, -1 for ``int``, an empty text for ``str``. That is counted in ``ConnectionStatus.drift``. Numbers
are bounded, so that each can be computed with and shown: amounts have at most a hundred digits, and an exponent within
a hundred; ``int`` has 64 bits.

The classes are invisible to the garbage collector (``gc=False``): they refer only to values that cannot refer back, so
a long history of them costs no collection pauses.
"""

from collections.abc import Hashable
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from .epoch import NO_EPOCH, Epoch

__all__ = [
    "AnnouncementEvent",
    "Asset",
    "Candle1mEvent",
    "Candle1sEvent",
    "Candle3mEvent",
    "Candle5mEvent",
    "Candle10mEvent",
    "Candle15mEvent",
    "Candle30mEvent",
    "Candle60mEvent",
    "Candle240mEvent",
    "CandleEvent",
    "Event",
    "IndicatorEvent",
    "IndicatorParams",
    "IndicatorSignalEvent",
    "IndicatorValue",
    "MarketEvent",
    "MyAssetEvent",
    "MyOrderEvent",
    "OrderbookEvent",
    "OrderbookUnit",
    "SignalParams",
    "TickerEvent",
    "TradeEvent",
    "UnknownEvent",
]


class _Value(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Equality by public class and content, whichever wire format a value was decoded from.

    The decoder makes instances of subclasses that differ in the names on the wire only; those are an implementation
    detail that neither ``==`` nor ``pickle`` shows.
    """

    _public: ClassVar[type]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_public" not in vars(cls):
            cls._public = cls

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Value) or self._public is not other._public:
            return NotImplemented
        return msgspec.structs.astuple(self) == msgspec.structs.astuple(other)

    def __hash__(self) -> int:
        content = msgspec.structs.astuple(self)
        try:
            return hash(content)
        except TypeError:  # a field of any type holds an object of the exchange's, which ``==`` alone looks at
            return hash(tuple(part for part in content if isinstance(part, Hashable)))

    def __reduce__(self) -> Any:
        return _rebuild, (self._public, msgspec.structs.asdict(self))


def _rebuild(public: type, fields: dict[str, Any]) -> Any:
    return public(**fields)


class Event(_Value, frozen=True, gc=False, kw_only=True):
    """What all events of all types have in common."""

    type: ClassVar[str]
    """The exchange's name of the data type: ``ticker``, ``trade``, ``orderbook``, ``candle.1m``, ..."""

    timestamp: int
    """The exchange's time of the event, in milliseconds since the Unix epoch."""
    stream_type: str
    """``SNAPSHOT`` for the first event of a market after a request, ``REALTIME`` for all later ones."""
    epoch: Epoch = NO_EPOCH
    """The life of the connection on whose socket this event arrived."""
    received_at: float = 0.0
    """When the read that brought this event returned, in seconds since the Unix epoch (UTC)."""

    @property
    def code(self) -> str:
        """The market: ``KRW-BTC``. Empty for an event that belongs to none."""
        return ""

    @property
    def symbol(self) -> str:
        """The same as ``code``."""
        return self.code


class MarketEvent(Event, frozen=True, gc=False, kw_only=True):
    """An event of one market."""

    code: str  # pyright: ignore[reportIncompatibleMethodOverride] -- a field reads like the property it overrides
    """The market: ``KRW-BTC``."""


class TickerEvent(MarketEvent, frozen=True, gc=False, kw_only=True):
    """The state of a market after its last trade (protocol section 4.1)."""

    type: ClassVar[str] = "ticker"

    opening_price: float
    high_price: float
    low_price: float
    trade_price: float
    prev_closing_price: float
    acc_trade_price: float
    change: str
    change_price: float
    signed_change_price: float
    change_rate: float
    signed_change_rate: float
    ask_bid: str
    trade_volume: float
    acc_trade_volume: float
    trade_date: str
    trade_time: str
    trade_timestamp: int
    acc_ask_volume: float
    acc_bid_volume: float
    highest_52_week_price: float
    highest_52_week_date: str
    lowest_52_week_price: float
    lowest_52_week_date: str
    market_state: str
    is_trading_suspended: bool | None = None
    delisting_date: Any = None
    market_warning: str | None = None
    acc_trade_price_24h: float
    acc_trade_volume_24h: float


class TradeEvent(MarketEvent, frozen=True, gc=False, kw_only=True):
    """One trade (protocol section 4.2).

    ``sequential_id`` tells trades of a market apart; it is not ordered, so it neither sorts them nor shows gaps. Where
    the exchange sent none, it is negative and made of the trade's time, price, volume and side.
    """

    type: ClassVar[str] = "trade"

    trade_price: float
    trade_volume: float
    ask_bid: str
    """The side of the taker: ``BID`` bought, ``ASK`` sold."""
    prev_closing_price: float
    change: str
    change_price: float
    """The distance from the previous day's close, never negative; ``change`` has the direction."""
    trade_date: str
    trade_time: str
    trade_timestamp: int
    """When the orders met, in milliseconds; ``timestamp`` is when the message was made."""
    sequential_id: int
    best_ask_price: float | None = None
    best_ask_size: float | None = None
    best_bid_price: float | None = None
    best_bid_size: float | None = None


class OrderbookUnit(_Value, frozen=True, gc=False, kw_only=True):
    """One ask and one bid of equal rank. The shorter side of a book is padded with zeros."""

    ask_price: float
    bid_price: float
    ask_size: float
    bid_size: float


class OrderbookEvent(MarketEvent, frozen=True, gc=False, kw_only=True):
    """A whole order book; the exchange sends no differences (protocol section 4.3)."""

    type: ClassVar[str] = "orderbook"

    total_ask_size: float
    total_bid_size: float
    orderbook_units: tuple[OrderbookUnit, ...]
    """Best first, padding included, as sent."""
    level: float | None = None
    """The price grouping in the quote currency, 0 for none; not sent by every host."""

    @property
    def asks(self) -> list[tuple[float, float]]:
        """(price, size) of the sell side, best first, without padding."""
        return [(unit.ask_price, unit.ask_size) for unit in self.orderbook_units if unit.ask_price > 0]

    @property
    def bids(self) -> list[tuple[float, float]]:
        """(price, size) of the buy side, best first, without padding."""
        return [(unit.bid_price, unit.bid_size) for unit in self.orderbook_units if unit.bid_price > 0]


class CandleEvent(MarketEvent, frozen=True, gc=False, kw_only=True):
    """The candle of one interval as it stands; the same interval is sent again as it changes (protocol section 4.4).

    There is a class for each unit, from :class:`Candle1sEvent` to :class:`Candle240mEvent`; they differ in ``type``
    alone. There is no "closed" flag: a candle is closed once a newer one has come. An interval without trades has no
    candle.
    """

    candle_date_time_utc: str
    """The start of the interval, ``yyyy-MM-ddTHH:mm:ss``."""
    candle_date_time_kst: str
    opening_price: float
    high_price: float
    low_price: float
    trade_price: float
    candle_acc_trade_volume: float
    candle_acc_trade_price: float


class Candle1sEvent(CandleEvent, frozen=True, gc=False, kw_only=True):
    type: ClassVar[str] = "candle.1s"


class Candle1mEvent(CandleEvent, frozen=True, gc=False, kw_only=True):
    type: ClassVar[str] = "candle.1m"


class Candle3mEvent(CandleEvent, frozen=True, gc=False, kw_only=True):
    type: ClassVar[str] = "candle.3m"


class Candle5mEvent(CandleEvent, frozen=True, gc=False, kw_only=True):
    type: ClassVar[str] = "candle.5m"


class Candle10mEvent(CandleEvent, frozen=True, gc=False, kw_only=True):
    type: ClassVar[str] = "candle.10m"


class Candle15mEvent(CandleEvent, frozen=True, gc=False, kw_only=True):
    type: ClassVar[str] = "candle.15m"


class Candle30mEvent(CandleEvent, frozen=True, gc=False, kw_only=True):
    type: ClassVar[str] = "candle.30m"


class Candle60mEvent(CandleEvent, frozen=True, gc=False, kw_only=True):
    type: ClassVar[str] = "candle.60m"


class Candle240mEvent(CandleEvent, frozen=True, gc=False, kw_only=True):
    type: ClassVar[str] = "candle.240m"


class MyOrderEvent(MarketEvent, frozen=True, gc=False, kw_only=True):
    """A change of one of your own orders (protocol section 4.5). The exchange sends no snapshot of open orders."""

    type: ClassVar[str] = "myOrder"

    uuid: str
    """The order's id."""
    ask_bid: str
    order_type: str
    """``limit``, ``price`` (a market buy), ``market`` (a market sell) or ``best``."""
    state: str
    """``wait``, ``watch`` (reserved), ``trade``, ``done``, ``cancel`` or ``prevented``."""
    trade_uuid: str | None = None
    price: Decimal | None = None
    """The order's price; the price of the fill where ``state`` is ``trade``."""
    avg_price: Decimal | None = None
    volume: Decimal | None = None
    """The order's volume; the volume of the fill where ``state`` is ``trade``."""
    remaining_volume: Decimal | None = None
    executed_volume: Decimal | None = None
    trades_count: int
    reserved_fee: Decimal | None = None
    remaining_fee: Decimal | None = None
    paid_fee: Decimal | None = None
    locked: Decimal | None = None
    executed_funds: Decimal | None = None
    time_in_force: str | None = None
    trade_fee: Decimal | None = None
    is_maker: bool | None = None
    identifier: str | None = None
    """The id that you gave the order."""
    smp_type: str | None = None
    prevented_volume: Decimal | None = None
    prevented_locked: Decimal | None = None
    trade_timestamp: int | None = None
    order_timestamp: int


class Asset(_Value, frozen=True, gc=False, kw_only=True):
    """What you have of one currency."""

    currency: str
    balance: Decimal
    """Free to use; what orders hold is in ``locked``."""
    locked: Decimal


class MyAssetEvent(Event, frozen=True, gc=False, kw_only=True):
    """A change of your balances (protocol section 4.6). It has the currencies that changed."""

    type: ClassVar[str] = "myAsset"

    asset_uuid: str
    assets: tuple[Asset, ...]
    asset_timestamp: int


class AnnouncementEvent(Event, frozen=True, gc=False, kw_only=True):
    """An announcement of the exchange (protocol section 4.7)."""

    type: ClassVar[str] = "announcement"

    event_type: str
    """``CREATED`` or ``UPDATED``."""
    uuid: str
    title: str
    category: str
    url: str
    first_listed_at: str
    """ISO 8601, in Korean time."""
    listed_at: str
    body: str | None = None
    """Sent only where it was asked for, and is not too large."""


class IndicatorParams(_Value, frozen=True, gc=False, kw_only=True):
    """How an indicator is computed; each kind of indicator has some of these."""

    period: int | None = None
    type: str | None = None
    """``SMA`` or ``EMA``."""
    short_period: int | None = None
    long_period: int | None = None
    multiplier: float | None = None
    fast: int | None = None
    slow: int | None = None
    signal_period: int | None = None


class IndicatorValue(_Value, frozen=True, gc=False, kw_only=True):
    """What an indicator comes to; each kind of indicator has some of these."""

    volume: float | None = None
    avg_volume: float | None = None
    ratio: float | None = None
    rsi: float | None = None
    value: float | None = None
    ma_short: float | None = None
    ma_long: float | None = None
    bb_upper: float | None = None
    bb_middle: float | None = None
    bb_lower: float | None = None
    macd: float | None = None
    macd_signal: float | None = None
    histogram: float | None = None


class SignalParams(_Value, frozen=True, gc=False, kw_only=True):
    """When an indicator's signal is given, for triggers that have a choice."""

    threshold: float | None = None
    multiplier: float | None = None


class IndicatorEvent(MarketEvent, frozen=True, gc=False, kw_only=True):
    """A technical indicator at the close of a candle (protocol section 4.9)."""

    type: ClassVar[str] = "indicator"

    timeframe: str
    """``5m``, ``15m``, ``60m``, ``240m`` or ``1d``."""
    indicator: str
    """``volume``, ``rsi``, ``moving_average``, ``ma_crossover``, ``bollinger_bands`` or ``macd``."""
    params: IndicatorParams
    candle_date_time_utc: str
    """The start of the candle."""
    value: IndicatorValue


class IndicatorSignalEvent(MarketEvent, frozen=True, gc=False, kw_only=True):
    """An indicator crossed a line at the close of a candle (protocol section 4.9)."""

    type: ClassVar[str] = "indicator_signal"

    timeframe: str
    indicator: str
    params: IndicatorParams
    trigger: str
    """``golden_cross``, ``overbought``, ``volume_spike``, ..."""
    event_params: SignalParams | None = None
    candle_date_time_utc: str
    value: IndicatorValue


class UnknownEvent(Event, frozen=True, gc=False, kw_only=True):
    """An event of a type that this library does not know yet, as it came.

    ``timestamp`` is 0 and ``stream_type`` empty where the payload has none in a known place.
    """

    type: ClassVar[str] = "unknown"

    type_name: str
    """The exchange's name of the type."""
    payload: bytes
    """The JSON object, as sent."""
