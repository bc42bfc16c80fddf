"""What a consumer iterates."""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Generic, Self, TypeVar, cast

import anyio

from .engine.backpressure import Channel, Policy
from .engine.hub import Hub
from .exceptions import ScopeError
from .model.events import Event
from .model.metrics import StreamStatistics
from .model.notices import Notice
from .model.subscriptions import Wants

__all__ = ["Batches", "EventStream"]

E_co = TypeVar("E_co", bound=Event | Notice, covariant=True)


class EventStream(anyio.AsyncContextManagerMixin, Generic[E_co]):
    """One consumer's events, in the order in which the exchange sent them.

    Enter it with ``async with``: from then on its events are asked for and kept, at most as many as its back-pressure
    policy allows; leaving the block gives them back. Within the block, iterate it::

        async with client.stream(DataType.TRADE, ["KRW-BTC"]) as trades:
            async for trade in trades:
                ...

    Across a reconnect the stream goes on; ``event.epoch`` tells which life of the connection an event comes from. If it
    has notices, they stand between the events, where they belong.
    """

    def __init__(
        self,
        parts: Mapping[Hub, Wants],
        policy: Policy,
        enter: Callable[["EventStream[Any]"], None],
        leave: Callable[["EventStream[Any]"], None],
        *,
        notices: Collection[type[Notice]],
    ) -> None:
        self._parts = parts
        self._policy = policy
        self._enter = enter
        self._leave = leave
        self._notices = notices
        self._channel: Channel | None = None

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self, None]:
        if self._channel is not None:
            raise ScopeError("this stream has been entered already; make another one with client.stream(...)")
        channel = Channel(self._policy, notices=self._notices)
        with ExitStack() as given_back:
            given_back.callback(channel.close)
            self._enter(self)
            given_back.callback(self._leave, self)
            for hub, wants in self._parts.items():
                hub.register(wants)
                given_back.callback(hub.unregister, wants)
            for hub, wants in self._parts.items():
                hub.attach(wants, channel)
                given_back.callback(hub.detach, wants, channel)
            self._channel = channel
            yield self

    def close(self) -> None:
        """End the stream before its block is left: whoever waits in it gets a :class:`ScopeError`.

        Its client does this when the client's own block is left, so that nobody waits for events that never come.
        """
        if self._channel is not None:
            self._channel.close()

    async def receive(self) -> E_co:
        """Wait for the next event.

        Cancelling it loses nothing: the event stays for the next call. Raises :class:`ScopeError` outside the stream's
        block; :class:`AuthenticationError`, once, when the exchange refuses the key that this stream needs, after what
        had come before: who goes on waits for another key; :class:`SubscriptionError` when the exchange refuses a part
        of what this stream is of, and every time from then on; :class:`BackpressureError` if its policy is ``Fail`` and
        it was read too slowly.
        """
        try:
            return cast("E_co", await self._open().receive())
        except anyio.ClosedResourceError:
            raise _closed() from None

    def receive_nowait(self) -> E_co:
        """The next event if one waits. Raises ``anyio.WouldBlock`` if none does, and otherwise as :meth:`receive`."""
        try:
            return cast("E_co", self._open().receive_nowait())
        except anyio.ClosedResourceError:
            raise _closed() from None

    def batches(self) -> "Batches[E_co]":
        """Iterate over all that has piled up at once, a list of at least one event each time.

        One wake-up for many events: at high rates that costs a small part of taking them one by one.
        """
        return Batches(self)

    async def receive_batch(self) -> list[E_co]:
        """Wait until at least one event is there, and take all that are. Cancelling it loses nothing. Raises as
        :meth:`receive`."""
        try:
            return await self._open().receive_batch()
        except anyio.ClosedResourceError:
            raise _closed() from None

    def check(self) -> None:
        """Raise :class:`ConflictError` if no connection can serve it beside what is wanted already,
        :class:`SubscriptionError` if the exchange refuses some of it."""
        for hub, wants in self._parts.items():
            hub.check(wants)

    def statistics(self) -> StreamStatistics:
        """What became of this stream's events so far. Also after its block was left."""
        if self._channel is None:
            raise _not_entered()
        return self._channel.statistics()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E_co:
        return await self.receive()

    def _open(self) -> Channel:
        if self._channel is None:
            raise _not_entered()
        return self._channel


class Batches(Generic[E_co]):
    """The iterator behind :meth:`EventStream.batches`."""

    def __init__(self, stream: EventStream[E_co]) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[E_co]:
        return await self._stream.receive_batch()


def _not_entered() -> ScopeError:
    return ScopeError(
        "this stream has not been entered; write 'async with client.stream(...) as stream:' and use it inside the block"
    )


def _closed() -> ScopeError:
    return ScopeError("the block of this stream has been left, and its events with it; receive inside the block")
