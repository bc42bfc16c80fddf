"""The command line: ``upbit-streams watch`` and ``upbit-streams exchange``. Its libraries come with the extra ``cli``."""

import os
import sys

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> None:
    """Run the command line and exit."""
    try:
        try:
            from .commands import run
        except ImportError as missing:
            sys.exit(f"upbit-streams: {missing.name} is not installed; pip install 'upbit-streams[cli]' brings it")
        sys.exit(run())
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
