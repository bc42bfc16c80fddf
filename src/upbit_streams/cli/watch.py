"""``upbit-streams watch``: live data on the terminal, or as JSON lines."""

import logging
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

import anyio
import attrs
import click
from anyio.abc import TaskGroup
from rich.console import Console

from upbit_streams import (
    BackpressureError,
    Config,
    ConnectFailedError,
    ConnectionState,
    Credentials,
    DataType,
    Endpoint,
    Event,
    FeedError,
    Manager,
    open_manager,
)
from upbit_streams.testing import open_exchange

from .activity import keep_active, open_account
from .feeds import Feeds, open_feeds
from .keys import need_key_of_user
from .lines import JsonLines
from .signals import INTERRUPTED, receive_signals
from .simulation import Simulation
from .table import LiveTable
from .tally import Tally, summary

__all__ = ["Watch"]


class Display(Protocol):
    """What shows events to whoever watches."""

    @property
    def screen(self) -> AbstractContextManager[object]:
        """To be entered as long as anything is shown."""
        ...

    @property
    def console(self) -> Console:
        """Where the summary goes."""
        ...

    async def wait(self) -> None:
        """Let a moment pass before the first connection."""
        ...

    async def show(self, most: int) -> int:
        """Show the events of the next moment, at most so many, and tally them. Returns how many.

        Cancelling it leaves nothing half shown, and nothing tallied that was not shown. Raises why there are no more.
        """
        ...

    def finish(self) -> None:
        """Show what is to stay above the summary."""
        ...


@attrs.define(kw_only=True)
class Watch:
    """One run of the command."""

    public: Sequence[DataType[Event]]
    private: Sequence[DataType[Event]]
    codes: Sequence[str]
    """Without any, the private types are watched in all markets."""
    config: Config
    simulation: Simulation | None
    json: bool
    count: int | None
    duration: float | None
    _report: Callable[[], None] = attrs.field(default=lambda: None, init=False)

    async def run(self) -> int:
        """Watch until the count, the duration, a signal or a closed pipe ends it. Returns the exit status.

        Raises :class:`FeedError` if nobody answers at the start; later it never gives up on a connection. Raises
        :class:`AuthenticationError` whenever the exchange refuses the key.
        """
        # A key that is refused is logged as an error, and it is the error that ends this, which is told anyway.
        logging.getLogger("upbit_streams").addFilter(lambda record: record.levelno < logging.ERROR)
        interrupted = False
        failure: Exception | None = None

        async def heed_signals() -> None:
            nonlocal interrupted
            async for _ in signals:
                interrupted = True
                group.cancel_scope.cancel()

        with receive_signals() as signals:
            async with anyio.create_task_group() as group:
                group.start_soon(heed_signals, name="watch signals")
                try:
                    await self._watch(group)
                except Exception as why:  # noqa: BLE001 -- raised again below, outside the group
                    failure = why
                group.cancel_scope.cancel()
            # Ctrl-C ends a whole pipeline, and whoever read our output may have been quicker.
            if failure is not None and not (interrupted and isinstance(failure, BrokenPipeError)):
                raise failure
            self._report()  # within the block, so that a second Ctrl-C does not cut it off
        return INTERRUPTED if interrupted and self.json else 0

    async def _watch(self, group: TaskGroup) -> None:
        async with (
            self._exchange(group) as (config, credentials),
            open_manager(config, credentials=credentials) as manager,
            manager.open_client("watch") as client,
            open_feeds(client, self.public, self.private, self.codes) as feeds,
        ):
            tally = Tally(self.public, self.private, self.codes)
            display: Display = (JsonLines if self.json else LiveTable)(tally, manager, feeds)
            started = anyio.current_time()
            try:
                with display.screen:
                    await _connected(manager, display, config, Endpoint.PUBLIC if self.public else Endpoint.PRIVATE)
                    started = anyio.current_time()
                    with anyio.move_on_after(self.duration):
                        await self._show(display)
            finally:
                seconds = anyio.current_time() - started
                self._report = partial(_report, display, tally, manager, feeds, seconds)

    async def _show(self, display: Display) -> None:
        left = sys.maxsize if self.count is None else self.count
        try:
            while left:
                left -= await display.show(left)
        except BackpressureError as why:
            raise click.ClickException(
                f"this output was read too slowly: {why.missed} changes of your orders and balances, or announcements, "
                f"could not be kept and are missing, so it ends here; read it faster, and watch again"
            ) from why

    @asynccontextmanager
    async def _exchange(self, group: TaskGroup) -> AsyncGenerator[tuple[Config, Credentials | None], None]:
        """Where to connect, and the key to log in with if one is needed."""
        if self.simulation is None:
            yield self.config, need_key_of_user() if self.private else None
            return
        exchange, key = self.simulation.exchange(), None
        if self.private:
            account, key = open_account(exchange, None)
            group.start_soon(keep_active, exchange, account, self.simulation.seed, self.codes, name="activity")
        async with open_exchange(exchange) as url:
            yield attrs.evolve(self.config, url=url), key


async def _connected(manager: Manager, display: Display, config: Config, endpoint: Endpoint) -> None:
    """Wait for the first connection. Raises :class:`FeedError` if there is none within the connect time-out.

    A key that is refused is no reason to wait; whoever wants events is told.
    """
    with anyio.move_on_after(config.connect_timeout):
        while (status := manager.status(endpoint)).epoch is None and status.state is not ConnectionState.ERROR:
            await display.wait()
        return
    status = manager.status(endpoint)
    if not status.failed_attempts:
        raise ConnectFailedError(status.url, f"no answer within {config.connect_timeout:g} s")
    raise FeedError(status.reason)


def _report(display: Display, tally: Tally, manager: Manager, feeds: Feeds, seconds: float) -> None:
    display.finish()
    connections = {endpoint: manager.status(endpoint) for endpoint in Endpoint if endpoint in feeds.streams}
    display.console.print(summary(tally, connections, feeds.dropped(), seconds))
