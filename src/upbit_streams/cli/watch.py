"""``upbit-streams watch``: live data on the terminal, or as JSON lines."""

import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

import anyio
import attrs
from rich.console import Console

from upbit_streams import (
    Config,
    ConnectFailedError,
    DataType,
    DropOldest,
    Event,
    EventStream,
    FeedError,
    Manager,
    open_manager,
)
from upbit_streams.testing import open_exchange

from .lines import JsonLines
from .signals import INTERRUPTED, receive_signals
from .simulation import Simulation
from .table import MarketTable
from .tally import Tally, summary

__all__ = ["Watch"]

# A terminal or a pipe may pause for a while; this is how much may pile up before anything is lost, and told.
_CAPACITY = 1 << 16


class Display(Protocol):
    """What shows the events of a stream to whoever watches."""

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

        Cancelling it leaves nothing half shown, and nothing tallied that was not shown.
        """
        ...

    def finish(self) -> None:
        """Show what is to stay above the summary."""
        ...


@attrs.define(kw_only=True)
class Watch:
    """One run of the command."""

    types: Sequence[DataType[Event]]
    codes: Sequence[str]
    config: Config
    simulation: Simulation | None
    json: bool
    count: int | None
    duration: float | None
    _report: Callable[[], None] = attrs.field(default=lambda: None, init=False)

    async def run(self) -> int:
        """Watch until the count, the duration, a signal or a closed pipe ends it. Returns the exit status.

        Raises :class:`FeedError` if nobody answers at the start; later it never gives up.
        """
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
                    await self._watch()
                except Exception as why:  # noqa: BLE001 -- raised again below, outside the group
                    failure = why
                group.cancel_scope.cancel()
            # Ctrl-C ends a whole pipeline, and whoever read our output may have been quicker.
            if failure is not None and not (interrupted and isinstance(failure, BrokenPipeError)):
                raise failure
            self._report()  # within the block, so that a second Ctrl-C does not cut it off
        return INTERRUPTED if interrupted and self.json else 0

    async def _watch(self) -> None:
        async with (
            self._endpoint() as config,
            open_manager(config) as manager,
            manager.open_client("watch") as client,
            client.stream(self.types, self.codes, backpressure=DropOldest(_CAPACITY)) as stream,
        ):
            tally = Tally(self.types, self.codes)
            display: Display = (JsonLines if self.json else MarketTable)(tally, manager, stream)
            started = anyio.current_time()
            try:
                with display.screen:
                    await _connected(manager, display, config)
                    started = anyio.current_time()
                    with anyio.move_on_after(self.duration):
                        await self._show(display)
            finally:
                seconds = anyio.current_time() - started
                self._report = partial(_report, display, tally, manager, stream, seconds)

    async def _show(self, display: Display) -> None:
        left = sys.maxsize if self.count is None else self.count
        while left:
            left -= await display.show(left)

    @asynccontextmanager
    async def _endpoint(self) -> AsyncGenerator[Config, None]:
        if self.simulation is None:
            yield self.config
        else:
            async with open_exchange(self.simulation.exchange()) as url:
                yield attrs.evolve(self.config, url=url)


async def _connected(manager: Manager, display: Display, config: Config) -> None:
    """Wait for the first connection. Raises :class:`FeedError` if there is none within the connect time-out."""
    with anyio.move_on_after(config.connect_timeout):
        while manager.status().epoch is None:
            await display.wait()
        return
    status = manager.status()
    if not status.failed_attempts:
        raise ConnectFailedError(config.url, f"no answer within {config.connect_timeout:g} s")
    raise FeedError(status.reason)


def _report(display: Display, tally: Tally, manager: Manager, stream: EventStream[Event], seconds: float) -> None:
    display.finish()
    display.console.print(summary(tally, manager.status(), stream.statistics(), seconds))
