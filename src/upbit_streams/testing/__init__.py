"""For your own tests: a simulated exchange with accounts, and virtual time on both backends."""

from .accounts import Account
from .clocks import DeadlockError, VirtualTimeLoop, run, settle, virtual_backend
from .conditions import Refusal
from .exchange import SimulatedExchange
from .faults import (
    Ban,
    Close,
    Delay,
    Drop,
    Duplicate,
    ErrorFrame,
    Fault,
    Forget,
    Garbage,
    Late,
    Player,
    Refuse,
    RefuseLogin,
    RefuseWant,
    Reset,
    SilentAccept,
    Skew,
    SlowClose,
    Stall,
    TooManyConnects,
    play,
)
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
    "Ban",
    "Close",
    "DeadlockError",
    "Delay",
    "Direction",
    "Drop",
    "Duplicate",
    "ErrorFrame",
    "Fault",
    "Forget",
    "Garbage",
    "InsufficientFundsError",
    "InvalidOrderError",
    "Key",
    "Late",
    "MarketSimulation",
    "MarketSource",
    "NoMarketError",
    "OffGridError",
    "OrderError",
    "OrderNotFoundError",
    "OrderTooSmallError",
    "Player",
    "Recorded",
    "RecordingError",
    "Refusal",
    "Refuse",
    "RefuseLogin",
    "RefuseWant",
    "Replay",
    "Reset",
    "Session",
    "SilentAccept",
    "SimulatedExchange",
    "Skew",
    "SlowClose",
    "Stall",
    "TooManyConnects",
    "Trader",
    "UnknownMarketError",
    "VirtualTimeLoop",
    "Wire",
    "Wires",
    "memory_connector",
    "open_exchange",
    "open_wires",
    "play",
    "read_recording",
    "run",
    "serve_wires",
    "settle",
    "virtual_backend",
]
