"""``upbit-streams exchange``: the simulated exchange on a real socket, until a signal ends it."""

from contextlib import AsyncExitStack

import click

from upbit_streams.testing import open_exchange

from .signals import receive_signals
from .simulation import Simulation

__all__ = ["run_exchange"]


async def run_exchange(simulation: Simulation, host: str, port: int) -> int:
    """Serve until SIGINT or SIGTERM. Returns the exit status."""
    with receive_signals() as signals:
        async with AsyncExitStack() as stack:
            try:
                url = await stack.enter_async_context(open_exchange(simulation.exchange(), host, port))
            except OSError as why:
                raise click.ClickException(f"cannot listen on port {port} of {host}: {why.strerror}") from why
            click.echo(f"listening on {url}")
            await anext(signals)
    return 0
