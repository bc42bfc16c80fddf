"""Code that the user gave. It may raise anything and give anything, and that is never called a bug of this library."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from ..exceptions import ConnectionLostError, InvalidConfigError
from ..foreign import failure_text

__all__ = ["Stray", "called", "check_frames", "check_transport", "checked_draw", "checked_wall", "loss_of"]

_TRANSPORT = ("receive", "send", "ping", "aclose")
_YEAR_10000 = 253_402_300_800.0


class Stray(Exception):  # noqa: N818 -- it is no error but a cancellation
    """What the user's code has awaited was cancelled, and nobody has asked for that."""


async def called(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function of the user's, and wait for what it gives if that can be waited for.

    Raises what it raises, and :class:`Stray` for a cancellation that nobody has asked for: it would end a task of ours
    without a word. Cancelling it cancels the function where it waits.
    """
    try:
        result = function(*arguments)
        return await result if isinstance(result, Awaitable) else result
    except anyio.get_cancelled_exc_class() as cancelled:  # noqa: ASYNC103 -- raised below if somebody has asked for it
        if not _is_stray(cancelled):
            raise
        why = cancelled
    raise Stray("what it has awaited was cancelled") from why


def loss_of(method: str, why: BaseException) -> BaseException:
    """What a transport's method has raised, as the loss that it is; itself if it is one, or no error at all."""
    if isinstance(why, ConnectionLostError) or not (isinstance(why, Exception) or _is_stray(why)):
        return why
    lost = ConnectionLostError(f"{method}() of its transport raised {failure_text(why)}")
    lost.__cause__ = why
    return lost


def check_transport(transport: object) -> None:
    """Raise :class:`InvalidConfigError` for what a connector gave, if it is no transport."""
    missing = [f"{name}()" for name in _TRANSPORT if not callable(getattr(transport, name, None))]
    if missing:
        raise InvalidConfigError(
            f"the connector gave a {type(transport).__name__}, which has no {', '.join(missing)}; "
            f"a connector returns an open Transport, or raises ConnectFailedError"
        )


def check_frames(frames: object) -> None:
    """Raise :class:`ConnectionLostError` for what a transport has received, if those are no messages."""
    if isinstance(frames, list | tuple) and all(isinstance(frame, bytes | str) for frame in frames):
        return
    raise ConnectionLostError(
        "receive() of its transport gave something else than messages; it has to give a list of bytes or texts"
    )


def checked_wall(wall: Callable[[], float]) -> Callable[[], float]:
    """The user's wall clock, with a look at what it gives."""
    return _checked("wall", wall, 0.0, _YEAR_10000, "seconds since the Unix epoch")


def checked_draw(draw: Callable[[], float]) -> Callable[[], float]:
    """The user's source of random numbers, with a look at what it gives."""
    return _checked("draw", draw, 0.0, 1.0, "a number from 0 to 1")


def _checked(name: str, function: Callable[[], float], least: float, most: float, what: str) -> Callable[[], float]:
    """A function of the user's that gives a number, with a look at what it gives.

    The one that is returned raises :class:`InvalidConfigError` if the user's raises anything, or gives anything but a
    number from ``least`` to ``most``. Raises the same for what is no function.
    """
    if not callable(function):
        raise InvalidConfigError(f"{name} is a function of no arguments that gives {what}, not {function!r}")

    def look() -> float:
        try:
            given: object = function()
        except Exception as why:
            raise InvalidConfigError(f"{name}() raised {failure_text(why)}; it has to give {what}") from why
        if not isinstance(given, int | float) or not least <= given <= most:
            raise InvalidConfigError(f"{name}() gave {given!r}; it has to give {what}")
        return given

    return look


def _is_stray(why: BaseException) -> bool:
    is_cancellation = isinstance(why, anyio.get_cancelled_exc_class())
    return is_cancellation and not anyio.get_current_task().has_pending_cancellation()
