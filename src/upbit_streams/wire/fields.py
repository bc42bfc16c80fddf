"""The one table of the exchange's fields (protocol section 4). The decoder and the encoder are made from it.

A new data type is one entry here, its event class in :mod:`upbit_streams.model.events`, and its constant of
:class:`~upbit_streams.DataType`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from ..model import events
from ..model.indicators import INDICATORS, TIMEFRAMES, TRIGGERS
from ..model.subscriptions import CATEGORIES

__all__ = ["TABLE", "Field", "Kind"]


@attrs.frozen
class Field:
    """One field of one kind of event."""

    name: str
    """Its name in the DEFAULT format, and on the event."""
    simple: str
    """Its name in the SIMPLE format."""
    type: Any
    """``float``, ``int``, ``str``, ``bool``, ``Decimal``, ``Any``, or the :class:`Kind` of an object within."""
    array: bool = False
    """An array of these."""
    optional: bool = False
    """Some hosts, or some years, do not send it."""
    null: bool = False
    """It may be sent as ``null``."""
    values: tuple[str, ...] = ()
    """The values that the exchange is known to send, where they are few; others must be expected."""
    of: bool = False
    """What the event is of: without it there is no event. No other field costs an event, whatever is wrong with it.

    If the field is optional as well, it may be missing, but what is sent has to be understood.
    """
    is_time: bool = False
    """Milliseconds since the Unix epoch."""


@attrs.frozen
class Kind:
    """One kind of event: its class, and its fields in the order in which the exchange sends them."""

    event: type
    fields: tuple[Field, ...]


_CODE = Field("code", "cd", str, of=True)
_TIMESTAMP = Field("timestamp", "tms", int, of=True, is_time=True)
_STREAM_TYPE = Field("stream_type", "st", str, values=("SNAPSHOT", "REALTIME"))
_ASK_BID = Field("ask_bid", "ab", str, values=("ASK", "BID"))
_CHANGE = Field("change", "c", str, values=("RISE", "EVEN", "FALL"))

_TICKER = (
    _CODE,
    Field("opening_price", "op", float),
    Field("high_price", "hp", float),
    Field("low_price", "lp", float),
    Field("trade_price", "tp", float),
    Field("prev_closing_price", "pcp", float),
    Field("acc_trade_price", "atp", float),
    _CHANGE,
    Field("change_price", "cp", float),
    Field("signed_change_price", "scp", float),
    Field("change_rate", "cr", float),
    Field("signed_change_rate", "scr", float),
    _ASK_BID,
    Field("trade_volume", "tv", float),
    Field("acc_trade_volume", "atv", float),
    Field("trade_date", "tdt", str),
    Field("trade_time", "ttm", str),
    Field("trade_timestamp", "ttms", int, is_time=True),
    Field("acc_ask_volume", "aav", float),
    Field("acc_bid_volume", "abv", float),
    Field("highest_52_week_price", "h52wp", float),
    Field("highest_52_week_date", "h52wdt", str),
    Field("lowest_52_week_price", "l52wp", float),
    Field("lowest_52_week_date", "l52wdt", str),
    Field("market_state", "ms", str, values=("PREVIEW", "ACTIVE", "DELISTED")),
    Field("is_trading_suspended", "its", bool, optional=True),
    Field("delisting_date", "dd", Any, optional=True, null=True),
    Field("market_warning", "mw", str, optional=True, values=("NONE", "CAUTION")),
    _TIMESTAMP,
    Field("acc_trade_price_24h", "atp24h", float),
    Field("acc_trade_volume_24h", "atv24h", float),
    _STREAM_TYPE,
)

_TRADE = (
    _CODE,
    _TIMESTAMP,
    Field("trade_date", "td", str),
    Field("trade_time", "ttm", str),
    Field("trade_timestamp", "ttms", int, is_time=True),
    Field("trade_price", "tp", float, of=True),
    Field("trade_volume", "tv", float, of=True),
    _ASK_BID,
    Field("prev_closing_price", "pcp", float),
    _CHANGE,
    Field("change_price", "cp", float),
    Field("sequential_id", "sid", int),
    Field("best_ask_price", "bap", float, optional=True),
    Field("best_ask_size", "bas", float, optional=True),
    Field("best_bid_price", "bbp", float, optional=True),
    Field("best_bid_size", "bbs", float, optional=True),
    _STREAM_TYPE,
)

_ORDERBOOK_UNIT = Kind(
    events.OrderbookUnit,
    (
        Field("ask_price", "ap", float),
        Field("bid_price", "bp", float),
        Field("ask_size", "as", float),
        Field("bid_size", "bs", float),
    ),
)

_ORDERBOOK = (
    _CODE,
    _TIMESTAMP,
    Field("total_ask_size", "tas", float),
    Field("total_bid_size", "tbs", float),
    Field("orderbook_units", "obu", _ORDERBOOK_UNIT, array=True, of=True),
    _STREAM_TYPE,
    Field("level", "lv", float, optional=True, of=True),
)

_CANDLE = (
    _CODE,
    Field("candle_date_time_utc", "cdttmu", str, of=True),
    Field("candle_date_time_kst", "cdttmk", str),
    Field("opening_price", "op", float),
    Field("high_price", "hp", float),
    Field("low_price", "lp", float),
    Field("trade_price", "tp", float),
    Field("candle_acc_trade_volume", "catv", float),
    Field("candle_acc_trade_price", "catp", float),
    _TIMESTAMP,
    _STREAM_TYPE,
)

_MY_ORDER = (
    _CODE,
    Field("uuid", "uid", str, of=True),
    _ASK_BID,
    Field("order_type", "ot", str, values=("limit", "price", "market", "best")),
    Field("state", "s", str, values=("wait", "watch", "trade", "done", "cancel", "prevented"), of=True),
    Field("trade_uuid", "tuid", str, optional=True, null=True),
    Field("price", "p", Decimal, optional=True, null=True),
    Field("avg_price", "ap", Decimal, optional=True, null=True),
    Field("volume", "v", Decimal, optional=True, null=True),
    Field("remaining_volume", "rv", Decimal, optional=True, null=True),
    Field("executed_volume", "ev", Decimal, optional=True, null=True),
    Field("trades_count", "tc", int),
    Field("reserved_fee", "rsf", Decimal, optional=True, null=True),
    Field("remaining_fee", "rmf", Decimal, optional=True, null=True),
    Field("paid_fee", "pf", Decimal, optional=True, null=True),
    Field("locked", "l", Decimal, optional=True, null=True),
    Field("executed_funds", "ef", Decimal, optional=True, null=True),
    Field("time_in_force", "tif", str, optional=True, null=True, values=("ioc", "fok", "post_only")),
    Field("trade_fee", "tf", Decimal, optional=True, null=True),
    Field("is_maker", "im", bool, optional=True, null=True),
    Field("identifier", "id", str, optional=True, null=True),
    Field("smp_type", "smpt", str, optional=True, null=True, values=("none", "reduce", "cancel_maker", "cancel_taker")),
    Field("prevented_volume", "pv", Decimal, optional=True, null=True),
    Field("prevented_locked", "pl", Decimal, optional=True, null=True),
    Field("trade_timestamp", "ttms", int, is_time=True, optional=True, null=True),
    Field("order_timestamp", "otms", int, is_time=True),
    _TIMESTAMP,
    _STREAM_TYPE,
)

_ASSET = Kind(
    events.Asset,
    (
        Field("currency", "cu", str, of=True),
        Field("balance", "b", Decimal, of=True),
        Field("locked", "l", Decimal, of=True),
    ),
)

_MY_ASSET = (
    Field("asset_uuid", "astuid", str),
    Field("assets", "ast", _ASSET, array=True, of=True),
    Field("asset_timestamp", "asttms", int, is_time=True),
    _TIMESTAMP,
    _STREAM_TYPE,
)

_ANNOUNCEMENT = (
    Field("event_type", "et", str, values=("CREATED", "UPDATED")),
    Field("uuid", "uid", str, of=True),
    Field("title", "tt", str),
    Field("category", "cat", str, values=CATEGORIES),
    Field("url", "url", str),
    Field("first_listed_at", "flat", str),
    Field("listed_at", "lat", str),
    _TIMESTAMP,
    _STREAM_TYPE,
    Field("body", "bd", str, optional=True, null=True),
)

_INDICATOR_PARAMS = Kind(
    events.IndicatorParams,
    (
        Field("period", "p", int, optional=True, of=True),
        Field("type", "t", str, optional=True, values=("SMA", "EMA"), of=True),
        Field("short_period", "shp", int, optional=True, of=True),
        Field("long_period", "lop", int, optional=True, of=True),
        Field("multiplier", "m", float, optional=True, of=True),
        Field("fast", "f", int, optional=True, of=True),
        Field("slow", "s", int, optional=True, of=True),
        Field("signal_period", "sgp", int, optional=True, of=True),
    ),
)

_INDICATOR_VALUE = Kind(
    events.IndicatorValue,
    (
        Field("volume", "vol", float, optional=True),
        Field("avg_volume", "av", float, optional=True),
        Field("ratio", "rto", float, optional=True),
        Field("rsi", "rsi", float, optional=True),
        Field("value", "value", float, optional=True),
        Field("ma_short", "mas", float, optional=True),
        Field("ma_long", "mal", float, optional=True),
        Field("bb_upper", "bbu", float, optional=True),
        Field("bb_middle", "bbm", float, optional=True),
        Field("bb_lower", "bbl", float, optional=True),
        Field("macd", "macd", float, optional=True),
        Field("macd_signal", "macds", float, optional=True),
        Field("histogram", "hist", float, optional=True),
    ),
)

_SIGNAL_PARAMS = Kind(
    events.SignalParams,
    (
        Field("threshold", "th", float, optional=True, of=True),
        Field("multiplier", "mul", float, optional=True, of=True),
    ),
)

_TIMEFRAME = Field("timeframe", "tf", str, values=TIMEFRAMES, of=True)
_INDICATOR_NAME = Field("indicator", "ind", str, values=tuple(INDICATORS), of=True)

_INDICATOR = (
    _CODE,
    _TIMEFRAME,
    _INDICATOR_NAME,
    Field("params", "p", _INDICATOR_PARAMS, of=True),
    Field("candle_date_time_utc", "cdttmu", str),
    Field("value", "v", _INDICATOR_VALUE, of=True),
    _TIMESTAMP,
    _STREAM_TYPE,
)

_INDICATOR_SIGNAL = (
    _CODE,
    _TIMEFRAME,
    _INDICATOR_NAME,
    Field("params", "p", _INDICATOR_PARAMS, of=True),
    Field("trigger", "tr", str, values=TRIGGERS, of=True),
    Field("event_params", "ep", _SIGNAL_PARAMS, optional=True, of=True),
    Field("candle_date_time_utc", "cdttmu", str),
    Field("value", "v", _INDICATOR_VALUE, of=True),
    _TIMESTAMP,
    _STREAM_TYPE,
)

TABLE: Mapping[str, Kind] = {
    "ticker": Kind(events.TickerEvent, _TICKER),
    "trade": Kind(events.TradeEvent, _TRADE),
    "orderbook": Kind(events.OrderbookEvent, _ORDERBOOK),
    "candle.1s": Kind(events.Candle1sEvent, _CANDLE),
    "candle.1m": Kind(events.Candle1mEvent, _CANDLE),
    "candle.3m": Kind(events.Candle3mEvent, _CANDLE),
    "candle.5m": Kind(events.Candle5mEvent, _CANDLE),
    "candle.10m": Kind(events.Candle10mEvent, _CANDLE),
    "candle.15m": Kind(events.Candle15mEvent, _CANDLE),
    "candle.30m": Kind(events.Candle30mEvent, _CANDLE),
    "candle.60m": Kind(events.Candle60mEvent, _CANDLE),
    "candle.240m": Kind(events.Candle240mEvent, _CANDLE),
    "myOrder": Kind(events.MyOrderEvent, _MY_ORDER),
    "myAsset": Kind(events.MyAssetEvent, _MY_ASSET),
    "announcement": Kind(events.AnnouncementEvent, _ANNOUNCEMENT),
    "indicator": Kind(events.IndicatorEvent, _INDICATOR),
    "indicator_signal": Kind(events.IndicatorSignalEvent, _INDICATOR_SIGNAL),
}
"""From the exchange's name of a type to its kind."""
