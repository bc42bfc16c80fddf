"""Live data of the Upbit exchange in a nursery, on asyncio and on trio."""

from .client import Client
from .engine.backpressure import DropOldest
from .exceptions import (
    ConflictError,
    ConnectFailedError,
    ConnectionLostError,
    DuplicateNameError,
    ExchangeError,
    FeedCrashedError,
    FeedError,
    HandshakeRefusedError,
    InvalidCodeError,
    InvalidConfigError,
    NotReadyError,
    NotRegisteredError,
    ScopeError,
    UpbitStreamsError,
    UsageError,
)
from .manager import Manager, current_manager, open_manager
from .model.config import REGIONS, Backoff, Config
from .model.epoch import Epoch
from .model.events import (
    AnnouncementEvent,
    Asset,
    CandleEvent,
    Event,
    IndicatorEvent,
    IndicatorParams,
    IndicatorSignalEvent,
    IndicatorValue,
    MarketEvent,
    MyAssetEvent,
    MyOrderEvent,
    OrderbookEvent,
    OrderbookUnit,
    SignalParams,
    TickerEvent,
    TradeEvent,
    UnknownEvent,
)
from .model.indicators import Indicator, indicator, signal
from .model.kinds import DataType, Endpoint, Format
from .model.metrics import ConnectionState, ConnectionStatus, Drift, StreamStatistics
from .streams import EventStream
from .transport.interface import Connector, Transport
from .wire.encode import convert, to_fields

__all__ = [
    "REGIONS",
    "AnnouncementEvent",
    "Asset",
    "Backoff",
    "CandleEvent",
    "Client",
    "Config",
    "ConflictError",
    "ConnectFailedError",
    "ConnectionLostError",
    "ConnectionState",
    "ConnectionStatus",
    "Connector",
    "DataType",
    "Drift",
    "DropOldest",
    "DuplicateNameError",
    "Endpoint",
    "Epoch",
    "Event",
    "EventStream",
    "ExchangeError",
    "FeedCrashedError",
    "FeedError",
    "Format",
    "HandshakeRefusedError",
    "Indicator",
    "IndicatorEvent",
    "IndicatorParams",
    "IndicatorSignalEvent",
    "IndicatorValue",
    "InvalidCodeError",
    "InvalidConfigError",
    "Manager",
    "MarketEvent",
    "MyAssetEvent",
    "MyOrderEvent",
    "NotReadyError",
    "NotRegisteredError",
    "OrderbookEvent",
    "OrderbookUnit",
    "ScopeError",
    "SignalParams",
    "StreamStatistics",
    "TickerEvent",
    "TradeEvent",
    "Transport",
    "UnknownEvent",
    "UpbitStreamsError",
    "UsageError",
    "convert",
    "current_manager",
    "indicator",
    "open_manager",
    "signal",
    "to_fields",
]

__version__ = "0.1.0"
