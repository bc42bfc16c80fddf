"""Whether memory stays what it is behind slow consumers, while a second process sends as fast as its events are taken.

The whole path over a real socket, and at its end one slow consumer for each back-pressure policy, all at the same time:
one that never reads, under ``Fail``, and one that its connection waits for, under ``Block``, among them. The resident
memory of this process is looked at a hundred times. It is flat if the median of the last quarter of these is at most
2 % above that of the second quarter; during the first one, what is to be filled is filled. It may never have grown by
more than ``memory_bound()`` says, since just before the manager was opened: a small run before that has imported all
there is to import. What became of the events is told by each stream, and has to add up to what was sent. Exits with 1
if memory is not flat or above its bound, or an event is not accounted for.
"""

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import anyio
import attrs
from benchmarks.sender import BLOCK, sending

from upbit_streams import (
    BackpressureError,
    Block,
    Coalesce,
    Config,
    ConnectionState,
    DataType,
    DropNewest,
    DropOldest,
    EventStream,
    Fail,
    MarketEvent,
    MemoryBound,
    StreamStatistics,
    Throttle,
    open_manager,
)

CODES = [f"KRW-M{number}" for number in range(5)]
TYPES = (DataType.TICKER, DataType.TRADE)
LOOKS = 100
FLAT = 1.02
_STATM = Path("/proc/self/statm")
_BARS = "▁▂▃▄▅▆▇█"

Stream = EventStream[MarketEvent]
Consumer = Callable[[Stream], Awaitable[None]]


async def one_by_one(stream: Stream, pause: float) -> None:
    """A pause after each event."""
    async for _ in stream:
        await anyio.sleep(pause)


async def in_batches(stream: Stream, pause: float) -> None:
    """Takes all that there is, then pauses."""
    async for _ in stream.batches():
        await anyio.sleep(pause)


async def never(stream: Stream) -> None:
    """Begins to read when all is over."""
    await anyio.sleep_forever()


CONSUMERS = (
    (DropOldest(), partial(one_by_one, pause=0.01)),
    (DropNewest(), partial(one_by_one, pause=0.01)),
    (Coalesce(), partial(one_by_one, pause=0.01)),
    (Throttle(0.1), partial(one_by_one, pause=0.01)),
    (Block(128), partial(in_batches, pause=0.002)),
    (Fail(), never),
)


@attrs.frozen
class Look:
    """One look at the process."""

    messages: int
    resident: int


@attrs.define
class Run:
    """What came of it."""

    sent: int
    before: int
    """The resident memory before the manager was opened."""
    bound: MemoryBound
    looks: list[Look] = attrs.field(factory=list)
    seconds: float = 0.0
    streams: dict[str, StreamStatistics] = attrs.field(factory=dict)
    failed: dict[str, int] = attrs.field(factory=dict)
    """How many events were missed by those whose stream failed."""

    def quarter(self, number: int) -> float:
        """The median of a quarter's looks, the first being 0."""
        size = len(self.looks) // 4
        return statistics.median(look.resident for look in self.looks[number * size : (number + 1) * size])

    @property
    def growth(self) -> float:
        return self.quarter(3) / self.quarter(1)

    @property
    def grown(self) -> int:
        """By how many bytes, at most, since before the manager was opened."""
        return max(look.resident for look in self.looks) - self.before

    def lost(self, statistics: StreamStatistics) -> int:
        """How many of the events that were sent are not accounted for."""
        of = statistics
        return self.sent - of.delivered - of.dropped - of.coalesced - of.throttled - of.buffered


def resident() -> int:
    """The memory of this process that is in use, in bytes."""
    return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def warm_up(config: Config) -> None:
    async with (
        open_manager(config) as manager,
        manager.open_client("warm-up") as client,
        client.stream(TYPES, CODES) as stream,
    ):
        await stream.receive_batch()


async def flood(url: str, messages: int) -> Run:
    # The sender is too busy for pings.
    config = Config(url=url, ping_interval=1e6)
    await warm_up(config)
    gc.collect()
    before = resident()
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(open_manager(config))
        client = await stack.enter_async_context(manager.open_client("slow"))
        streams: dict[str, Stream] = {}
        readers = await stack.enter_async_context(anyio.create_task_group())
        for policy, consumer in CONSUMERS:
            stream = await stack.enter_async_context(client.stream(TYPES, CODES, backpressure=policy))
            streams[type(policy).__name__] = stream
            readers.start_soon(consumer, stream)
        run = Run(messages, before, manager.memory_bound())
        while manager.status().state is not ConnectionState.ACTIVE:
            await manager.wait_status_changed()
        gc.collect()
        begun = time.monotonic()
        while (seen := manager.status().messages) < messages:
            while seen >= messages * len(run.looks) // LOOKS:
                run.looks.append(Look(seen, resident()))
            await anyio.sleep(0.001)
        # The rest of the last read may still wait for the one under ``Block``. Those that are lost never come.
        with anyio.move_on_after(10):
            while min(stream.statistics().published for stream in streams.values()) < messages:  # noqa: ASYNC110
                await anyio.sleep(0.001)
        run.seconds = time.monotonic() - begun
        readers.cancel_scope.cancel()
        for name, stream in streams.items():
            run.streams[name] = stream.statistics()
            try:
                while True:
                    stream.receive_nowait()
            except anyio.WouldBlock:
                pass
            except BackpressureError as failed:
                run.failed[name] = failed.missed
    return run


def megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def sparkline(sizes: list[int]) -> str:
    low, high = min(sizes), max(sizes)
    return "".join(_BARS[round((size - low) / max(high - low, 1) * (len(_BARS) - 1))] for size in sizes)


def report(backend: str, run: Run) -> bool:
    """Print it. Tells whether all is well."""
    sizes, bound = [look.resident for look in run.looks], run.bound
    print(f"{backend}: {run.sent} messages in {run.seconds:.1f} s, {run.sent / run.seconds / 1000:.1f} k messages/s")
    print(f"  resident memory, {megabytes(min(sizes))} to {megabytes(max(sizes))}: {sparkline(sizes)}")
    print(
        f"  second quarter {megabytes(run.quarter(1))}, last quarter {megabytes(run.quarter(3))}:"
        f" {run.growth:.3f} x, flat is at most {FLAT}"
    )
    print(
        f"  grown by {megabytes(run.grown)} at most; memory_bound(): {megabytes(bound.total)},"
        f" streams {megabytes(bound.streams)}, pool {megabytes(bound.pool)}, reading {megabytes(bound.reading)}"
    )
    names = ("delivered", "dropped", "coalesced", "throttled", "buffered")
    print(f"  {'policy':12}" + "".join(f"{name:>12}" for name in names) + f"{'blocked':>10}{'lost unseen':>14}")
    is_well = run.growth <= FLAT and run.grown <= bound.total
    for name, told in run.streams.items():
        lost = run.lost(told)
        # A stream that failed says so with an error, and how much it missed.
        is_well = is_well and lost == 0 and run.failed.get(name, 0) == (told.dropped if name == "Fail" else 0)
        counts = "".join(f"{getattr(told, each):12}" for each in names)
        print(f"  {name:12}{counts}{told.blocked_seconds:8.1f} s{lost:14}")
    return is_well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=5_000_000, help="how many, a multiple of 1,000")
    parser.add_argument("--backend", choices=("asyncio", "trio"), action="append")
    arguments = parser.parse_args()
    if not _STATM.exists():
        print("there is no /proc/self/statm here, so there is nothing to look at")
        return
    messages = arguments.messages // BLOCK * BLOCK
    wanted = ["--types", *(kind.name for kind in TYPES), "--codes", *CODES, "--messages", str(messages)]
    is_well = True
    with sending(*wanted) as url:
        for backend in arguments.backend or ("asyncio", "trio"):
            is_well &= report(backend, anyio.run(flood, url, messages, backend=backend))
    if not is_well:
        sys.exit("memory is not flat, or above its bound, or an event is not accounted for")


if __name__ == "__main__":
    main()
