"""For your own tests: a simulated exchange with accounts, and virtual time on both backends."""

from .accounts import Account
from .clocks import DeadlockError, VirtualTimeLoop, run, settle, virtual_backend
from .exchange import Refusal, SimulatedExchange
from .keys import Key
from .market import DEFAULT_CODES, MarketSimulation
from .memory import memory_connector
from .orders import (
    InsufficientFundsError,
    InvalidOrderError,
    NoMarketError,
    OffGridError,
    OrderError,
    OrderNotFoundError,
    OrderTooSmallError,
    UnknownMarketError,
)
from .server import open_exchange
from .session import Session
from .sources import MarketSource, Recorded, RecordingError, Replay, read_recording
from .traders import Trader
from .wires import Direction, Wire, Wires, open_wires, serve_wires

__all__ = [
    "DEFAULT_CODES",
    "Account",
    "DeadlockError",
    "Direction",
    "InsufficientFundsError",
    "InvalidOrderError",
    "Key",
    "MarketSimulation",
    "MarketSource",
    "NoMarketError",
    "OffGridError",
    "OrderError",
    "OrderNotFoundError",
    "OrderTooSmallError",
    "Recorded",
    "RecordingError",
    "Refusal",
    "Replay",
    "Session",
    "SimulatedExchange",
    "Trader",
    "UnknownMarketError",
    "VirtualTimeLoop",
    "Wire",
    "Wires",
    "memory_connector",
    "open_exchange",
    "open_wires",
    "read_recording",
    "run",
    "serve_wires",
    "settle",
    "virtual_backend",
]
