"""Callbacks: a stream and a task each, in the scope of the client that asked for it."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar

import anyio

from .exceptions import AuthenticationError, BackpressureError, ReconnectFailedError, SubscriptionError
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
        self._stream = stream
        self._callback = callback
        self._on_error = on_error
        self._scope = anyio.CancelScope()
        self._begun = anyio.Event()
        self.errors = 0
        """How often the callback or its stream has raised."""
        self.last_error: Exception | None = None
        """What it raised last."""

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
            await self._run()
        finally:
            self._begun.set()  # or it never does

    async def wait_begun(self) -> None:
        """Wait until its stream is open. Cancelling it has no effect on anything."""
        await self._begun.wait()

    async def _run(self) -> None:
        with self._scope:
            async with self._stream as stream:
                self._begun.set()
                while True:
                    try:
                        event = await stream.receive()
                    except (BackpressureError, ReconnectFailedError, SubscriptionError) as ended:
                        await self._take_error(ended)
                        return
                    except AuthenticationError as refused:
                        await self._take_error(refused)
                        continue  # with what comes once there is another key
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
    result = function(value)
    if isinstance(result, Awaitable):
        await result
