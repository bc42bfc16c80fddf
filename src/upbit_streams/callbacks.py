"""Callbacks: a stream and a task each, in the scope of the client that asked for it."""

from collections.abc import Awaitable, Callable, Iterable
from inspect import isasyncgenfunction
from typing import Any, Generic, TypeVar

import anyio

from .engine.user_code import Stray, called
from .exceptions import (
    AuthenticationError,
    BackpressureError,
    FrameLostError,
    ReconnectFailedError,
    ScopeError,
    SubscriptionError,
    UsageError,
)
from .model.events import Event
from .model.metrics import StreamStatistics
from .model.notices import Notice
from .streams import EventStream

__all__ = ["Callback", "OnError", "Subscription"]

T = TypeVar("T", bound=Event | Notice)
T_co = TypeVar("T_co", bound=Event | Notice, covariant=True)

Callback = Callable[[T], Awaitable[object] | object]
"""Called with one event after the other. If it is asynchronous, the next one waits for it; if it is not, everything
does, so it should be short."""

OnError = Callable[[Exception], Awaitable[object] | object]
"""Called with what a callback raised, or its stream. What this raises ends the client's scope."""


class Subscription(Generic[T_co]):
    """A callback at work. It ends with the scope of its client, or by :meth:`cancel`."""

    def __init__(self, stream: EventStream[T_co], callback: Callback[Any], on_error: OnError | None) -> None:
        _check_function(callback, "a callback")
        if on_error is not None:
            _check_function(on_error, "on_error")
        self._stream = stream
        self._callback = callback
        self._on_error = on_error
        self._scope = anyio.CancelScope()
        self._begun = anyio.Event()
        self._refusal: Exception | None = None
        """Why it never began."""
        self.errors = 0
        """How often the callback or its stream has raised."""
        self.last_error: Exception | None = None
        """What it raised last."""
        self.is_active = True
        """Whether it still gets events: not once it was cancelled or has failed for good, or its client was left."""

    def cancel(self) -> None:
        """End it. A callback that is running is cancelled where it waits. A second time it does nothing."""
        self._scope.cancel()

    def statistics(self) -> StreamStatistics:
        """What became of its events so far. Also after it has ended."""
        return self._stream.statistics()

    def widen(self, codes: str | Iterable[str]) -> None:
        """More markets for the same function, as :meth:`EventStream.widen`. Raises :class:`ScopeError` once it has
        ended."""
        self._stream.widen(codes)

    def narrow(self, codes: str | Iterable[str]) -> None:
        """Fewer markets for the same function, as :meth:`EventStream.narrow`. Raises :class:`ScopeError` once it has
        ended."""
        self._stream.narrow(codes)

    async def run(self) -> None:
        """Call the callback until it is cancelled, or its stream has failed for good. The client runs this.

        Raises what the callback or the stream raises, unless ``on_error`` takes it.
        """
        try:
            with self._scope:
                async with self._stream as stream:
                    self._begun.set()
                    await self._serve(stream)
        except Exception as why:
            if self._begun.is_set():
                raise
            self._refusal = why
        finally:
            self.is_active = False
            self._begun.set()  # or it never does

    async def wait_begun(self) -> None:
        """Wait until its stream is open. Raises why it cannot be opened. Cancelling it has no effect on anything."""
        await self._begun.wait()
        if self._refusal is not None:
            raise self._refusal

    async def _serve(self, stream: EventStream[T_co]) -> None:
        while True:
            try:
                event = await stream.receive()
            except ScopeError:
                return  # its client has been left
            except (AuthenticationError, FrameLostError) as why:
                await self._take_error(why)
                continue  # with what comes once there is another key, or after what was lost
            except (BackpressureError, ReconnectFailedError, SubscriptionError, UsageError) as ended:
                await self._take_error(ended)
                return
            if self._scope.cancel_called:
                return
            try:
                await _called(self._callback, event)
            except Exception as why:  # noqa: BLE001 -- the user's own, and told to the user
                await self._take_error(why)

    async def _take_error(self, why: Exception) -> None:
        self.errors += 1
        self.last_error = why
        if self._on_error is None:
            raise why
        await _called(self._on_error, why)


async def _called(function: Callable[[Any], Awaitable[object] | object], value: object) -> None:
    try:
        await called(function, value)
        return
    except Stray as cancelled:
        why = cancelled.__cause__
    raise UsageError(
        f"{_name(function)} was cancelled by what it has awaited, and nobody has cancelled its subscription; "
        "catch that where it is awaited"
    ) from why


def _check_function(function: object, what: str) -> None:
    """Raise :class:`UsageError` for what cannot be called with one event after the other."""
    if not callable(function):
        raise UsageError(f"{what} is a function that is called with one argument; this is {function!r}")
    if isasyncgenfunction(function):
        raise UsageError(f"{_name(function)} has a yield in it, so it would never run; {what} is a function without")


def _name(function: object) -> str:
    return getattr(function, "__qualname__", "") or repr(function)
