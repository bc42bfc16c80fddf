"""The simulated exchange as the command line's options describe it."""

import time
from pathlib import Path

import attrs

from upbit_streams.testing import (
    DEFAULT_CODES,
    MarketSimulation,
    MarketSource,
    Replay,
    SimulatedExchange,
    read_recording,
)

__all__ = ["Simulation"]


@attrs.frozen(kw_only=True)
class Simulation:
    """What to simulate."""

    codes: tuple[str, ...] = ()
    """Markets that must exist, besides the usual ones."""
    seed: int = 0
    rate: float = 100.0
    """Messages a second."""
    replay: Path | None = None
    speed: float = 1.0

    def exchange(self) -> SimulatedExchange:
        """Make it. Raises ``RecordingError`` for a file that is no recording."""
        if self.replay is not None:
            return SimulatedExchange(Replay(read_recording(self.replay), self.speed))
        codes = dict.fromkeys((*DEFAULT_CODES, *self.codes))
        now_ms = int(time.time() * 1000)  # noqa: TID251 -- a market that moves in real time
        return SimulatedExchange(
            MarketSource(MarketSimulation(seed=self.seed, codes=codes, rate=self.rate, start_ms=now_ms))
        )
