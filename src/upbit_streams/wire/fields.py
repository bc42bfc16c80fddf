"""The one table of the exchange's fields (protocol section 4). The decoder and the encoder are made from it.

A new data type is one entry here and its event class in :mod:`upbit_streams.model.events`.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from ..model import events

__all__ = ["TABLE", "Field", "Kind"]


@attrs.frozen
class Field:
    """One field of one kind of event."""

    name: str
    """Its name in the DEFAULT format, and on the event."""
    simple: str
    """Its name in the SIMPLE format."""
    type: Any
    """``float``, ``int``, ``str``, ``bool``, ``Any``, or the :class:`Kind` of the objects in an array."""
    optional: bool = False
    """Some hosts, or some years, do not send it."""
    null: bool = False
    """It may be sent as ``null``."""


@attrs.frozen
class Kind:
    """One kind of event: its class, and its fields in the order in which the exchange sends them."""

    event: type
    fields: tuple[Field, ...]


_CODE = Field("code", "cd", str)
_TIMESTAMP = Field("timestamp", "tms", int)
_STREAM_TYPE = Field("stream_type", "st", str)

_TICKER = (
    _CODE,
    Field("opening_price", "op", float),
    Field("high_price", "hp", float),
    Field("low_price", "lp", float),
    Field("trade_price", "tp", float),
    Field("prev_closing_price", "pcp", float),
    Field("acc_trade_price", "atp", float),
    Field("change", "c", str),
    Field("change_price", "cp", float),
    Field("signed_change_price", "scp", float),
    Field("change_rate", "cr", float),
    Field("signed_change_rate", "scr", float),
    Field("ask_bid", "ab", str),
    Field("trade_volume", "tv", float),
    Field("acc_trade_volume", "atv", float),
    Field("trade_date", "tdt", str),
    Field("trade_time", "ttm", str),
    Field("trade_timestamp", "ttms", int),
    Field("acc_ask_volume", "aav", float),
    Field("acc_bid_volume", "abv", float),
    Field("highest_52_week_price", "h52wp", float),
    Field("highest_52_week_date", "h52wdt", str),
    Field("lowest_52_week_price", "l52wp", float),
    Field("lowest_52_week_date", "l52wdt", str),
    Field("market_state", "ms", str),
    Field("is_trading_suspended", "its", bool, optional=True),
    Field("delisting_date", "dd", Any, optional=True, null=True),
    Field("market_warning", "mw", str, optional=True),
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
    Field("trade_timestamp", "ttms", int),
    Field("trade_price", "tp", float),
    Field("trade_volume", "tv", float),
    Field("ask_bid", "ab", str),
    Field("prev_closing_price", "pcp", float),
    Field("change", "c", str),
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
    Field("orderbook_units", "obu", _ORDERBOOK_UNIT),
    _STREAM_TYPE,
    Field("level", "lv", float, optional=True),
)

_CANDLE = (
    _CODE,
    Field("candle_date_time_utc", "cdttmu", str),
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
}
"""From the exchange's name of a type to its kind."""
