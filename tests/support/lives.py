"""Lives of a manager under faults, for the properties of the invariants: short ones, of which each has what matters.

An example without a reconnect says nothing about most invariants, and one whose buffers are never full nothing about
the others. So each life has both, and what is drawn is how many, when and in which order.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import anyio
import attrs
from hypothesis import Phase, settings
from hypothesis import strategies as st
from tests.support.market import StampedMarket
from tests.support.sent import Sent, Telling
from tests.support.world import CODES, wall

from upbit_streams import (
    Backoff,
    BackpressureError,
    Config,
    ConnectionState,
    Event,
    EventStream,
    Manager,
    StreamStatistics,
    open_manager,
)
from upbit_streams.testing import (
    Ban,
    Close,
    Drop,
    Fault,
    Refuse,
    SimulatedExchange,
    TooManyConnects,
    memory_connector,
    play,
    settle,
)

__all__ = [
    "BEAT",
    "CI_EXAMPLES",
    "Burst",
    "Life",
    "LiveWorld",
    "Reader",
    "enough",
    "lives",
    "open_live_world",
    "readers",
]

Test = TypeVar("Test", bound=Callable[..., Any])
BEAT = 1.0
"""Seconds from one event of the market to the next. The markets take turns."""
CI_EXAMPLES = 40
_RECOVERY = 60.0


def enough(test: Test) -> Test:
    """Run a property of an invariant as often as it takes to find what breaks it; less where all is to be quick."""
    profile = settings.default
    assert profile is not None
    examples = profile.max_examples
    return settings(max_examples=max(examples, CI_EXAMPLES) if Phase.shrink in profile.phases else examples)(test)


@attrs.frozen(kw_only=True)
class Burst(Fault):
    """Much happens in one market in one moment."""

    code: str = CODES[0]
    count: int = 6

    def strike(self, exchange: SimulatedExchange, now: float) -> None:
        assert isinstance(exchange.source, StampedMarket)
        exchange.source.burst(now, self.code, self.count)


@attrs.frozen
class Life:
    """What happens, and what chance has dealt for all waits."""

    script: Sequence[Fault]
    draw: float = 0.5


@attrs.define(eq=False)
class Reader:
    """Reads one stream at its own pace, and notes what it gets."""

    pause: float
    """Seconds between two reads."""
    is_batched: bool
    items: list[Any] = attrs.field(factory=list)
    failures: list[BackpressureError] = attrs.field(factory=list)

    async def run(self, stream: EventStream[Any]) -> None:
        """Read until this is cancelled, or the stream has failed."""
        while True:
            try:
                self.items += await stream.receive_batch() if self.is_batched else [await stream.receive()]
            except BackpressureError as failure:
                self.failures.append(failure)
                return
            await anyio.sleep(self.pause)

    def drain(self, stream: EventStream[Any]) -> bool:
        """Read all that is there. Tells whether there was anything."""
        before = len(self.items)
        try:
            while True:
                self.items.append(stream.receive_nowait())
        except BackpressureError as failure:
            self.failures.append(failure)
        except anyio.WouldBlock:
            pass
        return len(self.items) > before

    @property
    def events(self) -> list[Any]:
        return [item for item in self.items if isinstance(item, Event)]


def readers(max_size: int = 3) -> st.SearchStrategy[list[Reader]]:
    """Readers of any pace."""
    one = st.builds(Reader, st.sampled_from([0.0, 0.3, 2.0, 7.0]), st.booleans())
    return st.lists(one, min_size=1, max_size=max_size)


_AFTER = st.sampled_from([0.0, 0.05, BEAT, 1.7]) | st.floats(0.0, 4.0)
_BURST = st.builds(lambda after, code, count: [Burst(after=after, code=code, count=count)],
                   _AFTER, st.sampled_from(CODES), st.integers(5, 9))  # fmt: skip
_DROP = st.builds(lambda after: [Drop(after=after)], _AFTER)
_CLOSE = st.builds(lambda after, code: [Close(after=after, code=code)], _AFTER, st.sampled_from([1000, 1001, 1011]))
_REFUSED = st.builds(
    lambda after, lasts: [Refuse(after=after, lasts=lasts), Drop()], _AFTER, st.sampled_from([0.2, 1.0, 3.0])
)
_LIMITED = st.builds(lambda after: [TooManyConnects(after=after), Drop()], _AFTER)
_BANNED = st.builds(
    lambda after, seconds: [Ban(after=after, seconds=seconds), Drop()], _AFTER, st.sampled_from([5.0, 8.0])
)


@st.composite
def lives(draw: st.DrawFn, *, draws: st.SearchStrategy[float] | None = None, banned: bool = False) -> Life:
    """Lives with a burst and a reconnect each; and, if ``banned``, one who connects too early is told so."""
    # Most come back at once: then a snapshot repeats what was told before.
    loss = draw(_DROP | _CLOSE)
    needed = [draw(_BURST), loss, *([draw(_BANNED)] if banned else [])]
    more = draw(st.lists(st.one_of(_BURST, _DROP, _CLOSE, _REFUSED, _LIMITED, _BANNED), max_size=2))
    parts = draw(st.permutations([*needed, *more]))
    return Life([fault for part in parts for fault in part], draw(draws) if draws is not None else 0.5)


@attrs.define
class LiveWorld:
    """An exchange that knows what it has sent, and a manager that is connected to it."""

    exchange: Telling
    manager: Manager
    life: Life
    sent: list[list[Sent]] = attrs.field(factory=list)
    """What each connection was sent, when the streams were read to their ends."""

    async def live(self) -> None:
        """Let everything happen that the life has, after the first connect and some events; and then wait until all is
        well again and something has come."""
        await anyio.sleep(1.5 * BEAT)
        await play(self.life.script, self.exchange, wall)
        await settle()  # so that the last of it was noticed
        await self.recover()
        await anyio.sleep(3.5 * BEAT)

    async def live_with(self, pairs: Sequence[tuple[EventStream[Any], "Reader"]]) -> list[StreamStatistics]:
        """Live, while each reader reads its stream; then have them read what is left. Returns the streams' ledgers of
        that moment, and leaves what was sent until then in ``sent``."""
        async with AsyncExitStack() as stack:
            for stream, _ in pairs:
                await stack.enter_async_context(stream)
            async with anyio.create_task_group() as group:
                for stream, reader in pairs:
                    group.start_soon(reader.run, stream)
                await self.live()
                group.cancel_scope.cancel()
            # Somebody who reads makes room for what the connection's reader holds in its hands.
            while any(reader.drain(stream) for stream, reader in pairs):
                await settle()
            self.sent = [list(talk.sent) for talk in self.exchange.talks]
            return [stream.statistics() for stream, _ in pairs]

    async def recover(self) -> None:
        """Wait until the connection serves what is wanted; not for ever, so that a property can say what is wrong."""
        with anyio.move_on_after(_RECOVERY):
            while self.manager.status().state is not ConnectionState.ACTIVE:
                await self.manager.wait_status_changed()


@asynccontextmanager
async def open_live_world(life: Life, **config: Any) -> AsyncIterator[LiveWorld]:
    """Open an exchange in memory and a manager connected to it."""
    exchange = Telling(StampedMarket(BEAT))
    settings = Config(**{"url": "ws://localhost/v1", "backoff": Backoff(initial=0.5, maximum=4.0), **config})
    async with open_manager(
        settings, connector=memory_connector(exchange, wall), wall=wall, draw=lambda: life.draw
    ) as manager:
        yield LiveWorld(exchange, manager, life)
