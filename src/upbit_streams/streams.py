"""What a consumer iterates."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Generic, Self, TypeVar, cast

import anyio

from .engine.backpressure import Coalesce, Policy, Throttle
from .engine.channel import Channel
from .engine.hub import Hub
from .engine.topics import key_of
from .exceptions import InvalidConfigError, ScopeError, UsageError
from .model.events import Event
from .model.metrics import StreamStatistics
from .model.notices import Notice
from .model.subscriptions import Want, Wants, list_of, normalise_code

__all__ = ["Batches", "EventStream"]

E_co = TypeVar("E_co", bound=Event | Notice, covariant=True)


class EventStream(Generic[E_co]):
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
        more: Callable[[list[str]], Mapping[Hub, Wants]],
        policy: Policy,
        enter: Callable[["EventStream[Any]"], None],
        leave: Callable[["EventStream[Any]", StreamStatistics], None],
        *,
        notices: Collection[type[Notice]],
    ) -> None:
        _check_room(policy, {want for wants in parts.values() for want in wants})
        self._parts = dict(parts)
        self._more = more
        self._is_by_market = any(want.code for wants in parts.values() for want in wants)
        self._policy = policy
        self._enter = enter
        self._leave = leave
        self._notices = notices
        self._channel: Channel | None = None
        self._is_inside = False
        self._given_back = ExitStack()

    async def __aenter__(self) -> Self:
        if self._channel is not None:
            raise ScopeError(
                "this stream has been entered already, and a stream has one block; "
                "make another one with client.stream(...)"
            )
        channel = Channel(self._policy, notices=self._notices)
        with ExitStack() as given_back:
            given_back.callback(channel.close)
            self._enter(self)
            given_back.callback(lambda: self._leave(self, channel.statistics()))
            for hub, wants in self._parts.items():
                hub.register(wants)
                given_back.callback(self._unregister, hub)
            for hub, wants in self._parts.items():
                hub.attach(wants, channel)
                given_back.callback(self._detach, hub, channel)
            self._channel = channel
            self._is_inside = True
            self._given_back = given_back.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream before its block is left, and give back what it has: whoever waits in it gets a
        :class:`ScopeError`.

        Its client does this when the client's own block is left, so that nobody waits for events that never come.
        """
        self._is_inside = False
        self._given_back.close()

    def widen(self, codes: str | Iterable[str]) -> None:
        """More markets: from now on the stream has all its types, with its options, for these as well.

        A new market begins with its present state, as in a new stream, at the place where the stream is by then; what
        comes before stays before. One that comes back does not repeat the trades that the stream was told of before.
        Markets that are there already, and no codes at all, change nothing. Leaving the block gives all of them back.

        It does not wait, and changes all or nothing. Raises :class:`ScopeError` outside the stream's block,
        :class:`UsageError` for a stream that is not by market, as of balances or of the orders of all markets, and what
        :meth:`Client.stream` raises for these codes. A stream that has ended, as its policy or the exchange had it, is
        not brought back.
        """
        channel = self._by_market()
        markets = list_of("codes", codes)
        # No codes are all markets to some types, and an error to others.
        asked = self._more(markets) if markets else {}
        new = {hub: more for hub, wants in asked.items() if (more := wants - self._parts[hub])}
        wants = {want for wants in (*self._parts.values(), *new.values()) for want in wants}
        _check_room(self._policy, wants, channel.topics)
        for hub, more in new.items():
            hub.check(more)
        for hub, more in new.items():
            hub.register(more)
            hub.attach(more, channel)
            self._parts[hub] |= more

    def narrow(self, codes: str | Iterable[str]) -> None:
        """Fewer markets: from now on the stream has nothing of these.

        What has come of them and waits is still delivered. No market may be left; the stream then waits for the next
        :meth:`widen`. No codes change nothing.

        It does not wait, and changes all or nothing. Raises :class:`UsageError` for a market that the stream does not
        have: the market that was meant would go on coming, and nothing would show it. Otherwise it raises as
        :meth:`widen`.
        """
        channel = self._by_market()
        markets = {normalise_code(code) for code in list_of("codes", codes)}
        have = {want.code for wants in self._parts.values() for want in wants if want.code}
        if missing := markets - have:
            raise UsageError(
                f"this stream cannot be narrowed by {', '.join(sorted(missing))}, which it does not have; "
                f"its markets are {', '.join(sorted(have)) or 'none'}"
            )
        for hub, wants in self._parts.items():
            gone = frozenset(want for want in wants if want.code in markets)
            hub.detach(gone, channel, stays=True)
            hub.unregister(gone)
            self._parts[hub] -= gone

    async def receive(self) -> E_co:
        """Wait for the next event.

        Cancelling it loses nothing: the event stays for the next call. Raises :class:`ScopeError` outside the stream's
        block; :class:`AuthenticationError`, once, when the exchange refuses the key that this stream needs, after what
        had come before: who goes on waits for another key; :class:`SubscriptionError` when the exchange refuses a part
        of what this stream is of, and every time from then on; :class:`BackpressureError` if its policy is ``Fail``
        or ``Block`` and it was read too slowly.
        """
        try:
            return cast("E_co", await self._open().receive())
        except anyio.ClosedResourceError:
            raise _closed() from None

    def receive_nowait(self) -> E_co:
        """The next event if one waits. Raises ``anyio.WouldBlock`` if none does, and otherwise as :meth:`receive`."""
        try:
            event: E_co = (self._channel or self._open()).receive_nowait()
            return event
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

    @property
    def delivered(self) -> int:
        """How many events were taken from it; 0 before it was entered. The statistics tell more, and cost more."""
        return 0 if self._channel is None else self._channel.delivered

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E_co:
        return await self.receive()

    def _by_market(self) -> Channel:
        """The channel of a stream whose markets may change."""
        channel = self._open()
        if not self._is_inside:
            raise ScopeError("the block of this stream has been left; widen and narrow it inside the block")
        if not self._is_by_market:
            raise UsageError(
                "this stream cannot be widened or narrowed: it has all markets, or nothing that is asked for by market"
            )
        return channel

    def _unregister(self, hub: Hub) -> None:
        hub.unregister(self._parts[hub])

    def _detach(self, hub: Hub, channel: Channel) -> None:
        hub.detach(self._parts[hub], channel)

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


def _check_room(policy: Policy, wants: Collection[Want], waiting: Collection[Hashable] = ()) -> None:
    """Raise :class:`InvalidConfigError` if a policy that keeps one event of each topic has no room for all topics, and
    for those that are waiting."""
    topics = {(want.type.name, key_of(want)) for want in wants}.union(waiting)
    if isinstance(policy, Coalesce | Throttle) and policy.capacity < len(topics):
        gone = len(topics) - len(wants)
        raise InvalidConfigError(
            f"{policy} has room for {policy.capacity} types and markets, and this stream has {len(topics)} of them"
            + (f", with {gone} that it was narrowed by and that wait" if gone else "")
            + f"; give it a capacity of at least {len(topics)}"
        )


def _not_entered() -> ScopeError:
    return ScopeError(
        "this stream has not been entered; write 'async with client.stream(...) as stream:' and use it inside the block"
    )


def _closed() -> ScopeError:
    return ScopeError("the block of this stream has been left, and its events with it; receive inside the block")
