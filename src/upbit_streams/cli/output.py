"""Writing to whoever reads slowly, or not at all, without holding up anything else."""

import errno

import anyio
from anyio.lowlevel import checkpoint
from rich.console import Console

__all__ = ["TerminalConsole", "wait_writable"]


class TerminalConsole(Console):
    """Stdout for people. If it breaks, that is an error like any other."""

    def on_broken_pipe(self) -> None:
        # The base class would end the program from here, through whatever is open.
        raise BrokenPipeError(errno.EPIPE, "broken pipe")


async def wait_writable(descriptor: int) -> None:
    """Wait until a little can be written without waiting; to a pipe that is ``select.PIPE_BUF`` bytes.

    Cancelling it has no effect on anything.
    """
    try:
        await anyio.wait_writable(descriptor)
    except PermissionError:  # what epoll says of a file, which takes everything at any time
        await checkpoint()
