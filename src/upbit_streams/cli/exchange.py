"""``upbit-streams exchange``: the simulated exchange on a real socket, until a signal ends it."""

from contextlib import AsyncExitStack

import anyio
import click

from upbit_streams.testing import open_exchange

from .activity import keep_active, open_account
from .keys import key_of_user
from .signals import receive_signals
from .simulation import Simulation

__all__ = ["run_exchange"]


async def run_exchange(simulation: Simulation, host: str, port: int) -> int:
    """Serve until SIGINT or SIGTERM. Returns the exit status.

    With a key in the environment there is an account to log in to with that key, and somebody trades for it.
    """
    exchange, key = simulation.exchange(), key_of_user()
    account = None if key is None else open_account(exchange, key)[0]
    with receive_signals() as signals:
        async with AsyncExitStack() as stack:
            try:
                url = await stack.enter_async_context(open_exchange(exchange, host, port))
            except OSError as why:
                raise click.ClickException(f"cannot listen on port {port} of {host}: {why.strerror}") from why
            click.echo(f"listening on {url}")
            async with anyio.create_task_group() as group:
                group.start_soon(keep_active, exchange, account, simulation.seed, (), name="activity")
                await anext(signals)
                group.cancel_scope.cancel()
    return 0
