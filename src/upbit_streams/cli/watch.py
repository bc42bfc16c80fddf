"""``upbit-streams watch``: live data on the terminal, or as JSON lines."""

import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext

import anyio
import anyio.to_thread
import attrs
import msgspec
from rich.console import Console
from rich.live import Live

from upbit_streams import (
    Config,
    ConnectFailedError,
    ConnectionState,
    DataType,
    DropOldest,
    Event,
    EventStream,
    Manager,
    open_manager,
    to_fields,
)
from upbit_streams.testing import open_exchange

from .simulation import Simulation
from .table import MarketTable, summary

__all__ = ["Watch"]

# A terminal or a pipe may pause for a while; this is how much may pile up before anything is lost, and told.
_CAPACITY = 1 << 16
_REFRESH_SECONDS = 0.1


@attrs.define(kw_only=True)
class Watch:
    """One run of the command."""

    codes: Sequence[str]
    types: Sequence[DataType[Event]]
    config: Config
    simulation: Simulation | None
    json: bool
    count: int | None
    duration: float | None
    _counts: Counter[str] = attrs.field(factory=Counter, init=False)

    async def run(self) -> int:
        """Watch until the count, the duration or a signal ends it. Returns the exit status.

        Raises :class:`ConnectFailedError` if nobody answers at the start; later it never gives up.
        """
        async with self._endpoint() as config, open_manager(config) as manager:
            async with manager.open_client("watch") as client:
                stream = client.stream(self.types, self.codes, backpressure=DropOldest(_CAPACITY))
                async with stream:
                    await _wait_connected(manager, config)
                    started = anyio.current_time()
                    interrupted = await self._watch(manager, stream)
                    seconds = anyio.current_time() - started
            status, statistics = manager.status(), stream.statistics()
        Console(stderr=self.json).print(summary(self._counts, status, statistics, seconds))
        return 130 if interrupted and self.json else 0

    @asynccontextmanager
    async def _endpoint(self) -> AsyncIterator[Config]:
        if self.simulation is None:
            yield self.config
        else:
            async with open_exchange(self.simulation.exchange()) as url:
                yield attrs.evolve(self.config, url=url)

    async def _watch(self, manager: Manager, stream: EventStream[Event]) -> bool:
        """Show events until something ends it. Returns whether that was a signal."""
        interrupted = False
        table = MarketTable(self.codes, manager, stream)

        async def heed_signals() -> None:
            nonlocal interrupted
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    interrupted = True
                    group.cancel_scope.cancel()

        async def refresh(live: Live) -> None:
            while True:
                live.update(table.render(), refresh=True)
                await anyio.sleep(_REFRESH_SECONDS)

        screen = nullcontext() if self.json else Live(console=Console(), auto_refresh=False, transient=False)
        with screen as live:
            async with anyio.create_task_group() as group:
                group.start_soon(heed_signals, name="watch signals")
                if live is None:
                    group.start_soon(_tell_state, manager, name="watch state")
                else:
                    group.start_soon(refresh, live, name="watch refresh")
                with anyio.move_on_after(self.duration):
                    await self._consume(stream, table)
                group.cancel_scope.cancel()
            if live is not None:
                live.update(table.render(), refresh=True)
        return interrupted

    async def _consume(self, stream: EventStream[Event], table: MarketTable) -> None:
        left = self.count if self.count is not None else sys.maxsize
        async for batch in stream.batches():
            shown = batch[:left]
            left -= len(shown)
            self._counts.update(event.type for event in shown)
            if self.json:
                # In a thread, because a pipe that nobody reads blocks.
                await anyio.to_thread.run_sync(_write_lines, shown, abandon_on_cancel=True)
            else:
                table.take(shown)
            if not left:
                return


async def _wait_connected(manager: Manager, config: Config) -> None:
    with anyio.move_on_after(config.connect_timeout):
        while manager.status().epoch is None:
            await manager.wait_status_changed()
        return
    status = manager.status()
    why = status.reason if status.failed_attempts else f"no answer within {config.connect_timeout:g} s"
    raise ConnectFailedError(config.url, why.removeprefix(f"cannot connect to {config.url}: "))


async def _tell_state(manager: Manager) -> None:
    """Say on stderr when the connection comes and goes."""
    told: object = None
    while True:
        status = manager.status()
        if status.state is ConnectionState.RECONNECTING and told != status.reason:
            print(f"upbit-streams: reconnecting: {status.reason}", file=sys.stderr)  # noqa: T201 -- a command's output
            told = status.reason
        elif status.state is ConnectionState.CONNECTED and told is not None:
            assert status.epoch is not None
            print(f"upbit-streams: connected again, epoch {status.epoch.number}", file=sys.stderr)  # noqa: T201
            told = None
        await manager.wait_status_changed()


def _write_lines(events: Sequence[Event]) -> None:
    lines = b"".join(
        msgspec.json.encode({**to_fields(event), "epoch": event.epoch.number, "received_at": event.received_at}) + b"\n"
        for event in events
    )
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()
