"""One stream's channel behind a real hub and a reader, driven step by step, and the record of what went in and came
out."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
import attrs
import msgspec
from hypothesis import strategies as st
from tests.support.world import numbered_trade

from upbit_streams import (
    BackpressureError,
    Block,
    Coalesce,
    DataType,
    DropNewest,
    DropOldest,
    Epoch,
    EpochEnded,
    EpochStarted,
    Fail,
    Lagged,
    Notice,
    Policy,
    Stale,
    Throttle,
    TradeEvent,
)
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.hub import Hub
from upbit_streams.model.subscriptions import Wants, wants_of
from upbit_streams.testing import settle

__all__ = ["ALL_NOTICES", "CODES", "DEADLINE", "INTERVAL", "POLICIES", "Ledger", "Steps", "Taken", "steps"]

CODES = ("KRW-BTC", "KRW-ETH", "KRW-XRP")
INTERVAL = 1.0
DEADLINE = 2.0
ALL_NOTICES: tuple[type[Notice], ...] = (EpochStarted, EpochEnded, Lagged, Stale)

POLICIES: dict[str, Any] = {
    "DropOldest": DropOldest,
    "DropNewest": DropNewest,
    "Coalesce": Coalesce,
    "Throttle": lambda capacity: Throttle(INTERVAL, capacity),
    "Block": lambda capacity: Block(capacity, DEADLINE),
    "Fail": Fail,
}

Steps = Sequence[tuple[str, int]]
_KINDS = ["read", "read", "read", "take", "take", "batch", "wait", "cancel", "rest", "reconnect", "stale"]


def steps(max_size: int = 40) -> st.SearchStrategy[Steps]:
    """What happens, and how much or how long. A read brings that many events, of the markets in turn."""
    return st.lists(st.tuples(st.sampled_from(_KINDS), st.integers(1, 7)), max_size=max_size)


@attrs.frozen
class Taken:
    """An item, and when it came out."""

    item: Any
    at: float

    @property
    def number(self) -> int:
        """Of an event, how many were published before."""
        number: int = self.item.sequential_id
        return number


@attrs.define(eq=False)
class Ledger:
    """Drives one channel. Events are numbered in the order in which they are published."""

    policy: Policy
    notices: Sequence[type[Notice]] = ()
    sent: list[tuple[str, int, float]] = attrs.field(factory=list)
    """Of each event that was handed out its market, its epoch and when."""
    taken: list[Taken] = attrs.field(factory=list)
    failure: BackpressureError | None = None
    most: int = 0
    """The most that was seen to wait."""
    is_held: bool = False
    """Whether the reader waits."""
    hub: Hub = attrs.field(factory=Hub, init=False)
    channel: Channel = attrs.field(init=False)
    epoch: Epoch = attrs.field(init=False)
    _scopes: list[anyio.CancelScope] = attrs.field(factory=list, init=False)
    _reading: anyio.CancelScope = attrs.field(factory=anyio.CancelScope, init=False)
    _number: int = attrs.field(default=0, init=False)
    _wants: Wants = attrs.field(factory=lambda: wants_of(DataType.TRADE, CODES), init=False)

    def __attrs_post_init__(self) -> None:
        self.channel = Channel(self.policy, notices=self.notices)
        self.hub.register(self._wants)
        self._begin(1)
        self.hub.attach(self._wants, self.channel)

    async def run(self, steps: Steps) -> None:
        """Take the steps, then all that waits or comes in time, and close it."""
        try:
            async with anyio.create_task_group() as group:
                for kind, amount in steps:
                    await self._step(kind, amount, group)
                    self.check()
                await anyio.sleep(DEADLINE + INTERVAL)
                await self._drain()
                self.check()
                group.cancel_scope.cancel()
        finally:
            self.channel.close()
        self.check()

    def check(self) -> None:
        """The ledger is exact, and no buffer holds more than it may."""
        ledger = self.channel.statistics()
        lost = ledger.dropped + ledger.coalesced + ledger.throttled
        assert ledger.published == ledger.delivered + lost + ledger.buffered, f"E4: {ledger}"
        assert ledger.published == len(self.sent), f"E4: {ledger}, and {len(self.sent)} were handed out"
        assert ledger.delivered == len(self.events()), f"E4: {ledger}, and {len(self.events())} came out"
        self.most = max(self.most, ledger.buffered)
        # What stands behind a loss that was told waits beside the buffer.
        most = self.policy.capacity + (Lagged in self.notices)
        assert self.most <= ledger.high_water <= most, f"B1: {ledger}"
        assert ledger.capacity == self.policy.capacity

    def events(self) -> list[Taken]:
        return [taken for taken in self.taken if isinstance(taken.item, TradeEvent)]

    async def _step(self, kind: str, amount: int, group: Any) -> None:
        try:
            match kind:
                case "read" if not self.is_held:
                    self.is_held = True
                    group.start_soon(self._read, amount)
                    await settle()
                case "take":
                    self._take(self.channel.receive_nowait())
                case "batch":
                    with anyio.move_on_after(0.1):
                        for item in await self.channel.receive_batch():
                            self._take(item)
                case "wait":
                    group.start_soon(self._wait)
                    await settle()
                case "cancel" if self._scopes:
                    self._scopes.pop(amount % len(self._scopes)).cancel()
                    # With or without a pause: what comes in the same moment is nobody's, or somebody else's.
                    if amount % 2:
                        await settle()
                case "rest":
                    await anyio.sleep(amount * 0.2)
                case "reconnect":
                    self._reading.cancel()
                    await settle()
                    self.hub.ended(self.epoch, "test", 0.0, 0.0)
                    self._begin(self.epoch.number + 1)
                case "stale":
                    self.hub.tell_stale([Stale(self.epoch, "trade", CODES[0], 60.0, 1.0)])
        except anyio.WouldBlock:
            pass
        except BackpressureError as failure:
            self.failure = failure

    async def _read(self, amount: int) -> None:
        """What the connection's reader does with one read of the socket."""
        now = anyio.current_time()
        events: Sequence[Any] = [self._event(number, now) for number in range(self._number, self._number + amount)]
        self._number += amount
        try:
            with anyio.CancelScope() as self._reading:
                while events:
                    events = list(events)  # what was left is taken from
                    left = self.hub.publish(events, self.epoch)
                    handed_out = events[: len(events) - len(left)]
                    self.sent += [(event.code, self.epoch.number, anyio.current_time()) for event in handed_out]
                    events = left
                    if events:
                        await self.hub.holds.wait()
            self.hub.give_up(events)
            # So that numbers tell how many were published before.
            self._number -= len(events)
        finally:
            self.is_held = False

    async def _wait(self) -> None:
        with anyio.CancelScope() as scope:
            self._scopes.append(scope)
            with suppress(anyio.ClosedResourceError, BackpressureError):
                self._take(await self.channel.receive())
        if scope in self._scopes:
            self._scopes.remove(scope)

    async def _drain(self) -> None:
        while True:
            with anyio.move_on_after(INTERVAL + 0.01) as patience:
                try:
                    for item in await self.channel.receive_batch():
                        self._take(item)
                except BackpressureError as failure:
                    self.failure = failure
                    return
            if patience.cancelled_caught:
                return

    def _take(self, item: Any) -> None:
        self.taken.append(Taken(item, anyio.current_time()))

    def _begin(self, number: int) -> None:
        self.epoch = Epoch("public", number, anyio.current_time(), 0.0, "test")
        self.hub.asked(self._wants)

    def _event(self, number: int, now: float) -> TradeEvent:
        trade = numbered_trade(CODES[number % len(CODES)], 0, number)
        # Nobody has asked for a snapshot of it.
        return msgspec.structs.replace(trade, epoch=self.epoch, received_at=now)
