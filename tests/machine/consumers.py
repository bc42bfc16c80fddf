"""Those who ask for data in the machine's world, and what they have got."""

import math
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import attrs

from upbit_streams import (
    AuthenticationError,
    BackpressureError,
    DropOldest,
    Endpoint,
    Event,
    EventStream,
    Fail,
    FrameLostError,
    Policy,
    ScopeError,
    StreamStatistics,
    Subscription,
)
from upbit_streams.engine.channel import Channel

__all__ = ["Asked", "Away", "Component", "Consumer", "Holding", "joined"]


Topic = tuple[str, str]


@attrs.frozen(kw_only=True)
class Asked:
    """What somebody asks for."""

    kinds: tuple[str, ...]
    """The exchange's names of the types, all of one endpoint."""
    codes: tuple[str, ...] = ()
    count: int = 30
    """Levels of order books."""
    snapshot: bool = True
    realtime: bool = True
    policy: Policy | None = None
    notices: bool | None = None
    callback_takes: float | None = None
    """Seconds that a callback takes for each event; None for a stream that is read when the machine says so."""
    is_by_market: bool = attrs.field(default=attrs.Factory(lambda self: bool(self.codes), takes_self=True))
    """A stream by market may be left with none; all else has all."""

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.PRIVATE if self.kinds[0].startswith("my") else Endpoint.PUBLIC

    @property
    def has_notices(self) -> bool:
        return self.endpoint is Endpoint.PRIVATE if self.notices is None else self.notices

    @property
    def effective(self) -> Policy:
        """The policy, or what holds without one."""
        return self.policy or (Fail() if self.endpoint is Endpoint.PRIVATE else DropOldest())

    def topics(self) -> list[Topic]:
        """Types and codes; the empty code stands for all."""
        return [
            (kind, code)
            for kind in self.kinds
            for code in (self.codes if kind != "myAsset" and self.is_by_market else ("",))
        ]


Holding = tuple[Topic, tuple[int, bool, bool]]
"""A topic, and how it is asked for: levels, snapshot, realtime."""


def joined(several: Iterable[Asked]) -> dict[tuple[str, str], tuple[int, bool, bool]]:
    """What the exchange has to be asked for, so that all get what they ask for."""
    union: dict[tuple[str, str], tuple[int, bool, bool]] = {}
    for one in several:
        for topic in one.topics():
            count, snapshot, realtime = union.get(topic, (1, False, False))
            # A count is for order books, all else has the default.
            wanted = one.count if topic[0] == "orderbook" else 30
            union[topic] = max(count, wanted), snapshot or one.snapshot, realtime or one.realtime
    # Who asks for the orders of all markets has those of each.
    if ("myOrder", "") in union:
        union = {topic: how for topic, how in union.items() if topic[0] != "myOrder" or not topic[1]}
    return union


@attrs.define
class Away:
    """When a stream did not have a topic. Times are the event loop's."""

    left_at: float
    missing_from: float
    """What was read from then on may be missing."""
    back_at: float = math.inf


@attrs.define(eq=False)
class Consumer:
    """One stream or callback, and what came out of it."""

    number: int
    asked: Asked
    told: list[tuple["Consumer", Any]]
    """Where it puts what it gets: one list for all consumers, in the order in which they got it."""
    stream: EventStream[Any] | None = None
    subscription: Subscription[Any] | None = None
    channels: list[Channel] = attrs.field(factory=list)
    """Its channel, once there is one."""
    stack: AsyncExitStack = attrs.field(factory=AsyncExitStack)
    since: dict[Topic, int] = attrs.field(factory=dict)
    """How many events of each of its topics had come when it began to ask for that."""
    earlier: int = 0
    """How many came while it asked for topics that it asks for no more, and how many it may have been shown that had
    been there before."""
    away: dict[Topic, Away] = attrs.field(factory=dict)
    """Topics that it was narrowed by, until it got one again that came later."""
    most_topics: int = 0
    """How many it had at the same time."""
    drained_at: float | None = None
    """When it took everything that was there, unless somebody has looked at that since."""
    taken_at: dict[Topic, float] = attrs.field(factory=dict)
    """When it got the last event of each topic, in the event loop's time."""
    events: int = 0
    """How many events it got."""
    errors: list[Exception] = attrs.field(factory=list)
    failures: list[tuple[int, StreamStatistics]] = attrs.field(factory=list)
    """How many events it was told that it has missed, and its ledger in that moment. Nobody has checked them yet."""
    is_open: bool = True

    def statistics(self) -> StreamStatistics | None:
        """None before a callback's task has begun."""
        if self.stream is not None:
            return self.stream.statistics()
        try:
            return self.subscription.statistics() if self.subscription is not None else None
        except ScopeError:
            return None

    def take(self, item: Any) -> None:
        """Get an event or a notice."""
        if isinstance(item, Event):
            self.events += 1
            self.taken_at[item.type, item.code] = anyio.current_time()
        self.told.append((self, item))

    async def call(self, item: Any) -> None:
        """Get it as a callback, which takes its time."""
        self.take(item)
        assert self.asked.callback_takes is not None
        await anyio.sleep(self.asked.callback_takes)

    async def read(self, how: str, amount: int, patience: float) -> None:
        """Take some from the stream: what is there, or the next, or all in one batch, or wait in vain."""
        if self.stream is None or not self.is_open:
            return
        try:
            if how == "nowait":
                for _ in range(amount):
                    self.take(self.stream.receive_nowait())
                return
            with anyio.move_on_after(patience) as waiting:
                if how == "batch":
                    for item in await self.stream.receive_batch():
                        self.take(item)
                else:
                    for _ in range(amount):
                        self.take(await self.stream.receive())
            if waiting.cancelled_caught and patience:  # it has waited, so nothing was there
                self.drained_at = anyio.current_time()
        except anyio.WouldBlock:
            self.drained_at = anyio.current_time()
        except (AuthenticationError, FrameLostError) as why:
            self.errors.append(why)
        except BackpressureError as why:
            self.errors.append(why)
            self.failures.append((why.missed, self.stream.statistics()))


@attrs.define(eq=False)
class Component:
    """One client: its scope is open in a task of its own, which waits to be told to leave."""

    name: str
    client: Any = None
    """The :class:`Client`."""
    leave: anyio.Event = attrs.field(factory=anyio.Event)
    has_left: anyio.Event = attrs.field(factory=anyio.Event)
    interests: list[Asked] = attrs.field(factory=list)
    consumers: list[Consumer] = attrs.field(factory=list)

    @property
    def is_open(self) -> bool:
        return not self.leave.is_set()
