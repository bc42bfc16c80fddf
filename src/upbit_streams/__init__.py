"""Live data of the Upbit exchange in a nursery, on asyncio and on trio."""

from .client import Client
from .engine.backpressure import DropOldest
from .exceptions import (
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
from .model.events import CandleEvent, Event, OrderbookEvent, OrderbookUnit, TickerEvent, TradeEvent
from .model.kinds import DataType, Format
from .model.metrics import ConnectionState, ConnectionStatus, StreamStatistics
from .streams import EventStream
from .wire.encode import to_fields

__all__ = [
    "REGIONS",
    "Backoff",
    "CandleEvent",
    "Client",
    "Config",
    "ConnectFailedError",
    "ConnectionLostError",
    "ConnectionState",
    "ConnectionStatus",
    "DataType",
    "DropOldest",
    "DuplicateNameError",
    "Epoch",
    "Event",
    "EventStream",
    "ExchangeError",
    "FeedCrashedError",
    "FeedError",
    "Format",
    "HandshakeRefusedError",
    "InvalidCodeError",
    "InvalidConfigError",
    "Manager",
    "NotReadyError",
    "NotRegisteredError",
    "OrderbookEvent",
    "OrderbookUnit",
    "ScopeError",
    "StreamStatistics",
    "TickerEvent",
    "TradeEvent",
    "UpbitStreamsError",
    "UsageError",
    "current_manager",
    "open_manager",
    "to_fields",
]

__version__ = "0.1.0"
