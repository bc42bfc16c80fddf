"""The command line: ``upbit-streams watch`` and ``upbit-streams exchange``.

Its libraries come with the extra ``cli``.
"""

import os
import sys
from io import TextIOWrapper

from .signals import ignore, leave_at_once

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    leave_at_once()
    try:
        from .commands import run
    except ModuleNotFoundError as missing:
        sys.exit(f"upbit-streams: {missing.name} is not installed; pip install 'upbit-streams[cli]' brings it")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has every character
    try:
        status = run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it flushes at exit.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    ignore()
    sys.exit(status)
