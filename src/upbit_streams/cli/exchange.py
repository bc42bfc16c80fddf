"""``upbit-streams exchange``: the simulated exchange on a real socket, until a signal ends it."""

import signal

import anyio

from upbit_streams.testing import open_exchange

from .simulation import Simulation

__all__ = ["run_exchange"]


async def run_exchange(simulation: Simulation, host: str, port: int) -> int:
    """Serve until SIGINT or SIGTERM. Returns the exit status."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_exchange(simulation.exchange(), host, port) as url:
            print(f"listening on {url}", flush=True)  # noqa: T201 -- the command line's output
            async for _ in signals:
                break
    return 0
