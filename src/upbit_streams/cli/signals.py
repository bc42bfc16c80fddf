"""SIGINT and SIGTERM, from the first import to the last line."""

import os
import signal
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager

import anyio

__all__ = ["INTERRUPTED", "ignore", "leave_at_once", "receive_signals"]

INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def leave_at_once() -> None:
    """Let the signals end the process on the spot, for as long as it has nothing to close.

    Without this SIGINT raises ``KeyboardInterrupt`` wherever it strikes, inside an import or an event loop's own code,
    where Python prints it with a traceback and may even go on.
    """
    for number in _SIGNALS:
        signal.signal(number, lambda number, frame: os._exit(INTERRUPTED))


def ignore() -> None:
    """Let nothing cut off the last moments of the interpreter, which would not know what to do with a signal."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def receive_signals() -> Generator[AsyncIterator[signal.Signals], None, None]:
    """Take the signals as they come instead, as long as the block."""
    try:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            yield signals
    finally:
        leave_at_once()
