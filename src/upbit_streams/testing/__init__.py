"""For your own tests: a simulated exchange, and virtual time on both backends."""

from .clocks import DeadlockError, VirtualTimeLoop, run, settle, virtual_backend
from .exchange import Refusal, Session, SimulatedExchange
from .market import DEFAULT_CODES, MarketSimulation
from .memory import memory_connector
from .server import open_exchange
from .sources import MarketSource, Recorded, RecordingError, Replay, read_recording

__all__ = [
    "DEFAULT_CODES",
    "DeadlockError",
    "MarketSimulation",
    "MarketSource",
    "Recorded",
    "RecordingError",
    "Refusal",
    "Replay",
    "Session",
    "SimulatedExchange",
    "VirtualTimeLoop",
    "memory_connector",
    "open_exchange",
    "read_recording",
    "run",
    "settle",
    "virtual_backend",
]
