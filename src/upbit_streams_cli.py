"""Where the program ``upbit-streams`` begins: outside the package, since importing that takes a moment."""

import os
import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit. An interrupt ends it on the spot, until the command line has something to close.

    Otherwise Ctrl-C in the first moments would show the traceback of an import.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os._exit(130))
    from upbit_streams.cli import main as run

    run()
