"""Live data of the Upbit exchange in a nursery, on asyncio and on trio."""

from .auth import Credentials, KeySource
from .callbacks import Subscription
from .client import Client
from .engine.backpressure import DropOldest, Fail
from .exceptions import (
    AuthenticationError,
    BackpressureError,
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
    MissingCredentialsError,
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
from .model.metrics import (
    Balance,
    ConnectionState,
    ConnectionStatus,
    Drift,
    Independence,
    Influence,
    Period,
    StreamStatistics,
)
from .model.notices import EpochStarted
from .model.secret import Secret
from .streams import EventStream
from .transport.interface import Connector, Transport
from .wire.encode import convert, to_fields

__all__ = [
    "REGIONS",
    "AnnouncementEvent",
    "Asset",
    "AuthenticationError",
    "Backoff",
    "BackpressureError",
    "Balance",
    "CandleEvent",
    "Client",
    "Config",
    "ConflictError",
    "ConnectFailedError",
    "ConnectionLostError",
    "ConnectionState",
    "ConnectionStatus",
    "Connector",
    "Credentials",
    "DataType",
    "Drift",
    "DropOldest",
    "DuplicateNameError",
    "Endpoint",
    "Epoch",
    "EpochStarted",
    "Event",
    "EventStream",
    "ExchangeError",
    "Fail",
    "FeedCrashedError",
    "FeedError",
    "Format",
    "HandshakeRefusedError",
    "Independence",
    "Indicator",
    "IndicatorEvent",
    "IndicatorParams",
    "IndicatorSignalEvent",
    "IndicatorValue",
    "Influence",
    "InvalidCodeError",
    "InvalidConfigError",
    "KeySource",
    "Manager",
    "MarketEvent",
    "MissingCredentialsError",
    "MyAssetEvent",
    "MyOrderEvent",
    "NotReadyError",
    "NotRegisteredError",
    "OrderbookEvent",
    "OrderbookUnit",
    "Period",
    "ScopeError",
    "Secret",
    "SignalParams",
    "StreamStatistics",
    "Subscription",
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
