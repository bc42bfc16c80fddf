"""Events as JSON lines on stdout, and on stderr how the connections stand."""

import os
import select
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress

import anyio
import click
import msgspec
from rich.console import Console

from upbit_streams import (
    ConnectionState,
    ConnectionStatus,
    Endpoint,
    EpochStarted,
    Event,
    FrameLostError,
    Manager,
    to_fields,
    visible,
)

from .feeds import Feeds
from .output import wait_writable
from .tally import QUIET_SECONDS, Tally

__all__ = ["JsonLines"]

_PORTION = 256
_LOOK_SECONDS = 0.1
# How long whoever reads our output has to take the rest of a line when we are to end.
_LINE_SECONDS = 1.0
# By then a key that is refused has ended the program, which says why in one sentence, and not in a second one before.
_LOGIN_SECONDS = 3.0

# Amounts are exact, and stay numbers.
_encoder = msgspec.json.Encoder(decimal_format="number")


class JsonLines:
    """One object a line: the fields of an event, and ``epoch`` and ``received_at``."""

    def __init__(self, tally: Tally, manager: Manager, feeds: Feeds) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.screen = nullcontext()
        self._tally = tally
        self._manager = manager
        self._feeds = feeds
        self._news = {endpoint: _News(endpoint) for endpoint in feeds.streams}
        self._tell_missing_at: float | None = None

    async def wait(self) -> None:
        await anyio.sleep(_LOOK_SECONDS)

    async def show(self, most: int) -> int:
        """Write what comes in the next moment. Cancelling it cuts no line in half; the tally has the whole ones."""
        items = self._feeds.take(min(most, _PORTION))
        if not items:
            await self._feeds.wait(_LOOK_SECONDS)
            items = self._feeds.take(min(most, _PORTION))
        for endpoint, news in self._news.items():
            news.tell(self._manager.status(endpoint), anyio.current_time())
        self._tell_missing()
        events = [item for item in items if isinstance(item, Event)]
        await self._write(events)
        for item in items[len(events) :]:
            if isinstance(item, EpochStarted | FrameLostError) and self._tally.gaps.take(item):
                _tell(self._tally.gaps.last)
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

    def _tell_missing(self) -> None:
        now = anyio.current_time()
        if self._tell_missing_at is None and self._manager.status().epoch is not None:
            self._tell_missing_at = now + QUIET_SECONDS
        if self._tell_missing_at is not None and now >= self._tell_missing_at:
            self._tell_missing_at = float("inf")
            if missing := self._tally.missing():
                _tell(f"no data yet: {missing}; a market that the exchange does not list never gets any")


class _News:
    """Tells whenever a connection is lost or comes back."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._which = "" if endpoint is Endpoint.PUBLIC else f"{endpoint} connection: "
        self._since = anyio.current_time()
        self._epoch = 0
        self._told = ""

    def tell(self, status: ConnectionStatus, now: float) -> None:
        if status.epoch is not None and status.epoch.number > self._epoch:
            if self._epoch:
                self._tell_reason(status.epoch.reason)
                _tell(f"{self._which}connected again, epoch {status.epoch.number}")
            self._epoch, self._told = status.epoch.number, ""
        if status.state is ConnectionState.RECONNECTING and (self._epoch or now >= self._since + _LOGIN_SECONDS):
            self._tell_reason(status.reason)

    def _tell_reason(self, reason: str) -> None:
        if reason != self._told:
            _tell(f"{self._which}reconnecting: {reason}")
            self._told = reason


def _tell(sentence: str) -> None:
    with suppress(OSError):  # nobody listens, which is no reason to end
        click.echo(f"upbit-streams: {visible(sentence)}", err=True)


def _line(event: Event) -> bytes:
    fields = {**to_fields(event), "epoch": event.epoch.number, "received_at": event.received_at}
    return _encoder.encode(fields) + b"\n"
