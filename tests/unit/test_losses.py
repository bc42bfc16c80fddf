"""E7: a loss is told exactly where the events are missing, whatever is lost while it is being read.

The oracle is told what goes in and what comes out. It keeps all that waits in one list, events and losses alike, and
knows of no notices: a loss takes the place of the event that is lost.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio
import attrs
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.world import numbered_trade

from upbit_streams import (
    Coalesce,
    DropNewest,
    DropOldest,
    Epoch,
    EpochEnded,
    EpochStarted,
    Lagged,
    Notice,
    Policy,
    Stale,
    Throttle,
    TradeEvent,
)
from upbit_streams.engine.channel import Channel
from upbit_streams.testing import settle

Run = Callable[..., Any]
ALL: tuple[type[Notice], ...] = (EpochStarted, EpochEnded, Lagged, Stale)
CODES = ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL")
INTERVAL = 1.0
EPOCHS = [Epoch("public", number, float(number), 0.0, "test") for number in range(60)]

POLICIES: dict[str, Callable[[int], Policy]] = {
    "DropOldest": DropOldest,
    "DropNewest": DropNewest,
    "Coalesce": Coalesce,
    "Throttle": lambda capacity: Throttle(INTERVAL, capacity),
}


@attrs.define(eq=False)
class Waits:
    """One event that waits; or, where it ``is_lost``, that does not any more."""

    event: TradeEvent
    due: float = 0.0
    is_lost: bool = False
    is_safe: bool = False
    """Whether it stands behind a loss that was told, and cannot be lost as well."""

    @property
    def topic(self) -> str:
        return self.event.code

    @property
    def is_in_buffer(self) -> bool:
        return not self.is_lost and not self.is_safe


@attrs.define(eq=False)
class Oracle:
    """All that waits, in the order in which it has to come out."""

    name: str
    capacity: int
    order: list[Waits] = attrs.field(factory=list)
    lost: int = 0
    told: int = 0
    """The epoch that was begun last."""
    _taken: OrderedDict[str, float] = attrs.field(factory=OrderedDict)
    _earliest: float = -math.inf

    def put(self, event: TradeEvent, now: float) -> None:
        buffered = [each for each in self.order if each.is_in_buffer]
        is_full, new = len(buffered) >= self.capacity, Waits(event)
        if self.name == "DropNewest" and is_full:
            new.is_lost = True
            self.lost += 1
        elif self.name in ("Coalesce", "Throttle"):
            if buffered and buffered[-1].event.epoch is not event.epoch:
                self._earliest = max(each.due for each in buffered)
            earlier = next((each for each in buffered if each.topic == new.topic), None)
            if earlier is not None and earlier.event.epoch is event.epoch:
                earlier.event = event
                return
            if earlier is not None:
                self.order.remove(earlier)
            elif is_full:
                self._lose(buffered[0])
            if self.name == "Throttle":
                new.due = max(self._taken.get(new.topic, -math.inf) + INTERVAL, self._earliest)
        elif is_full:
            self._lose(buffered[0])
        index = len(self.order)
        while index and self.order[index - 1].is_in_buffer and self.order[index - 1].due > new.due:
            index -= 1
        self.order.insert(index, new)

    def take(self, item: Any, now: float) -> None:
        """Something has come out: it has to be what is the next."""
        match item:
            case EpochStarted(epoch):
                assert epoch.number > self.told
                self.told = epoch.number
            case Lagged(dropped):
                assert dropped > 0
                for _ in range(dropped):
                    assert self.order, f"{item}, and nothing waits"
                    assert self.order[0].is_lost, f"{item}, and nothing is missing here"
                    gone = self.order.pop(0).event
                    assert gone.epoch.number >= self.told, f"{item} stands behind the start of a later epoch"
                self._save(now)
            case TradeEvent():
                assert self.order, f"{item} waits nowhere"
                waits = self.order.pop(0)
                assert not waits.is_lost, f"{waits.event.sequential_id} is missing, and nobody was told so"
                assert item is waits.event, f"{item.sequential_id} comes before {waits.event.sequential_id}"
                assert item.epoch.number == self.told, "an event of an epoch that has not begun"
                if not waits.is_safe:
                    self._note_taken(item.code, now)

    def _lose(self, waits: Waits) -> None:
        waits.is_lost = True
        self.lost += 1

    def _save(self, now: float) -> None:
        if any(each.is_safe for each in self.order):
            return
        first = next((each for each in self.order if not each.is_lost), None)
        if first is not None and first.due <= now:
            first.is_safe = True
            self._note_taken(first.topic, now)

    def _note_taken(self, topic: str, now: float) -> None:
        """A market has to wait from now on. As many are known as may wait, as long as it matters."""
        self._taken[topic] = now
        self._taken.move_to_end(topic)
        while len(self._taken) > self.capacity or next(iter(self._taken.values())) + INTERVAL <= now:
            self._taken.popitem(last=False)


STEPS = ["put", "put", "put", "put", "take", "take", "batch", "wait", "rest", "reconnect"]
Steps = Sequence[tuple[str, int]]
steps = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), max_size=60)

# As it was seen: two events, a reconnect, and four more, of which the last three come while the losses are being read.
SEEN = [("put", 0), ("put", 0), ("reconnect", 0), ("put", 0), *[("take", 0), ("put", 0)] * 3]
SEEN_OF_TWO = [("put", 0), ("reconnect", 0), ("put", 1), ("put", 0), ("take", 0), ("take", 0), ("put", 0), ("put", 1)]


async def _live(name: str, capacity: int, steps: Steps) -> list[Any]:
    """Drive a channel and its oracle by the same steps, and then take what is left. Returns what came out."""
    oracle, taken, number, epoch = Oracle(name, capacity), list[Any](), 0, 1
    channel = Channel(POLICIES[name](capacity), notices=ALL)
    waiting = 0

    def took(items: Sequence[Any]) -> None:
        for item in items:
            oracle.take(item, anyio.current_time())
        taken.extend(items)

    async def wait() -> None:
        nonlocal waiting
        waiting += 1
        try:
            with suppress(anyio.ClosedResourceError):
                took([await channel.receive()])
        finally:
            waiting -= 1

    async with anyio.create_task_group() as group:
        channel.begin(EPOCHS[epoch], 0.0)
        for step, which in [*steps, *[("rest", 3), ("batch", 0)] * 12]:
            match step:
                case "put":
                    trade = numbered_trade(CODES[which], 0, number)
                    event = msgspec.structs.replace(trade, epoch=EPOCHS[epoch], received_at=anyio.current_time())
                    oracle.put(event, anyio.current_time())
                    channel.put(event)
                    number += 1
                case "take":
                    with suppress(anyio.WouldBlock):
                        took([channel.receive_nowait()])
                case "batch":
                    with anyio.move_on_after(0.01):
                        took(await channel.receive_batch())
                case "wait" if not waiting:  # among several each backend has its own order
                    group.start_soon(wait)
                case "rest":
                    await anyio.sleep(0.3 * (which + 1))
                case "reconnect" if epoch < 58:
                    channel.end(EPOCHS[epoch], "test", 0.0, 0.0)
                    epoch += 1
                    channel.begin(EPOCHS[epoch], 0.0)
            await settle()
        assert not oracle.order, "something is left that nobody was told of"
        assert channel.statistics().dropped == oracle.lost
        channel.close()
    return taken


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=30)
@given(capacity=st.integers(1, 4), steps=steps)
@example(capacity=1, steps=SEEN)
@example(capacity=1, steps=SEEN_OF_TWO)
def test_e7_a_loss_stands_exactly_where_the_events_are_missing(
    virtual_run: Run, name: str, capacity: int, steps: Steps
) -> None:
    virtual_run(_live, name, capacity, steps)


async def test_e7_a_loss_behind_an_event_that_is_read_next_is_told_behind_it() -> None:
    """What was told was ``Lagged(2)`` before trade 4, and nothing between 4 and 6."""
    taken = await _live("DropOldest", 1, SEEN)
    told = [
        item.dropped if isinstance(item, Lagged) else f"trade {item.sequential_id}"
        for item in taken
        if isinstance(item, Lagged | TradeEvent)
    ]
    assert told == [2, 1, "trade 3", 1, "trade 5"]
