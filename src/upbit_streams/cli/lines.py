"""Events as JSON lines on stdout, and on stderr how the connection stands."""

import os
import select
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress

import anyio
import click
import msgspec
from rich.console import Console

from upbit_streams import ConnectionState, Event, EventStream, Manager, to_fields

from .output import wait_writable
from .tally import QUIET_SECONDS, Tally

__all__ = ["JsonLines"]

_PORTION = 256
_LOOK_SECONDS = 0.1
# How long whoever reads our output has to take the rest of a line when we are to end.
_LINE_SECONDS = 1.0


class JsonLines:
    """One object a line: the fields of an event, and ``epoch`` and ``received_at``."""

    def __init__(self, tally: Tally, manager: Manager, stream: EventStream[Event]) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.screen = nullcontext()
        self._tally = tally
        self._manager = manager
        self._stream = stream
        self._epoch = 0
        self._told = ""
        self._tell_missing_at = float("inf")

    async def wait(self) -> None:
        await anyio.sleep(_LOOK_SECONDS)

    async def show(self, most: int) -> int:
        """Write what comes in the next moment. Cancelling it cuts no line in half; the tally has the whole ones."""
        self._tell_state()
        events: list[Event] = []
        with anyio.move_on_after(_LOOK_SECONDS):
            events.append(await self._stream.receive())
        with suppress(anyio.WouldBlock):
            while events and len(events) < min(most, _PORTION):
                events.append(self._stream.receive_nowait())
        await self._write(events)
        return len(events)

    def finish(self) -> None:
        pass

    async def _write(self, events: Sequence[Event]) -> None:
        if sys.stdout is None:  # closed before we began
            raise BrokenPipeError
        descriptor, data, written = sys.stdout.fileno(), b"".join(map(_line, events)), 0

        async def write_to(end: int) -> None:
            nonlocal written
            while written < end:
                await wait_writable(descriptor)
                with suppress(BlockingIOError):
                    written += os.write(descriptor, data[written : min(written + select.PIPE_BUF, end)])

        try:
            await write_to(len(data))
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(_LINE_SECONDS, shield=True):
                await write_to(data.index(b"\n", written - 1) + 1 if written else 0)
            raise
        finally:
            self._tally.add(events[: data.count(b"\n", 0, written)])

    def _tell_state(self) -> None:
        status, now = self._manager.status(), anyio.current_time()
        if status.epoch is not None and status.epoch.number > self._epoch:
            if self._epoch:
                self._tell_reason(status.epoch.reason)
                _tell(f"connected again, epoch {status.epoch.number}")
            else:
                self._tell_missing_at = now + QUIET_SECONDS
            self._epoch, self._told = status.epoch.number, ""
        if status.state is ConnectionState.RECONNECTING:
            self._tell_reason(status.reason)
        if now >= self._tell_missing_at:
            self._tell_missing_at = float("inf")
            if missing := self._tally.missing():
                _tell(f"no data yet: {missing}; a market that the exchange does not list never gets any")

    def _tell_reason(self, reason: str) -> None:
        if reason != self._told:
            _tell(f"reconnecting: {reason}")
            self._told = reason


def _tell(sentence: str) -> None:
    with suppress(OSError):  # nobody listens, which is no reason to end
        click.echo(f"upbit-streams: {sentence}", err=True)


def _line(event: Event) -> bytes:
    fields = {**to_fields(event), "epoch": event.epoch.number, "received_at": event.received_at}
    return msgspec.json.encode(fields) + b"\n"
