"""What it costs to hand a message to one more stream: by itself, beside ten thousand others, and by policy.

One round puts a read of messages through a hub and has the consumers take them. All contenders run in turns within one
process, in an order that changes from round to round, so that a machine that changes its speed changes it for all.
What counts is the ratio to another contender of the same round; the tables have the median over the rounds. Time is
that of this process, without what others take of the machine; the garbage collector runs as in any program.

A stream's cost is that of a hub with two streams less that of the same hub with one: what every message costs, whoever
wants it, is in both. Beside it stands anyio's own memory object stream, one ``send_nowait`` and one ``receive_nowait``
a message: no stream could be had for less.
"""

import argparse
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
import msgspec

from upbit_streams import (
    Block,
    Coalesce,
    DataType,
    DropNewest,
    DropOldest,
    Endpoint,
    Epoch,
    Event,
    EventStream,
    Fail,
    Manager,
    Policy,
    Throttle,
    TickerEvent,
    open_manager,
)
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.hub import Hub
from upbit_streams.testing import MarketSimulation

BATCH = 200
"""Messages of a round, fewer than a stream has room for."""
CODES = [f"KRW-M{number}" for number in range(20)]
STREAMS = 5
OTHERS = 10_000
START_MS = 1_795_000_000_000
EPOCH = Epoch(connection="public", number=1, started_at=0.0, wall_offset=0.0, reason="first connect")
STREAM_GOAL, OTHERS_GOAL = 2.5, 1.05

POLICIES: list[tuple[Policy, Policy]] = [
    (DropOldest(), DropOldest(BATCH)),
    (DropNewest(), DropNewest(BATCH)),
    (Coalesce(), Coalesce(len(CODES) // 2)),
    (Throttle(1e-9), Throttle(3600.0, len(CODES) // 2)),
    (Block(), Block(BATCH)),
    (Fail(), Fail(BATCH)),
]
"""Each with room for a round, and with so little that it is full after a round that nobody takes."""

Round = Callable[[], Awaitable[object] | None]
Costs = dict[str, list[float]]


def messages() -> list[Event]:
    """Tickers of all the markets."""
    market, now_ms, events = MarketSimulation(codes=CODES, seed=1, start_ms=START_MS), START_MS, list[Event]()
    while len(events) < BATCH:
        now_ms += 1000
        events += [event for event in market.advance(now_ms) if event.type == "ticker"]
    return [msgspec.structs.replace(event, epoch=EPOCH) for event in events[:BATCH]]


async def never(*_: Any) -> Any:
    """A connector that gets no answer: what is published here comes from no socket."""
    await anyio.sleep_forever()


async def opened(stack: AsyncExitStack, name: str, streams: int, others: int = 0) -> tuple[Hub, list[Any]]:
    """A hub, and so many streams that are fed with all its tickers; others want those of other markets."""
    manager: Manager = await stack.enter_async_context(open_manager(connector=never, name=name))
    client = await stack.enter_async_context(manager.open_client("benchmark"))
    mine = [client.stream(DataType.TICKER, CODES) for _ in range(streams)]
    rest = [client.stream(DataType.TICKER, f"KRW-X{number}") for number in range(others)]
    for stream in [*mine, *rest]:
        await stack.enter_async_context(stream)
    hub = manager._connections[Endpoint.PUBLIC].hub
    hub.asked(hub.wants.union)
    first = {event.code: msgspec.structs.replace(event, stream_type="SNAPSHOT") for event in messages()}
    hub.publish(list(first.values()), EPOCH)
    for stream in mine:
        assert len(await stream.receive_batch()) == len(CODES)
    return hub, mine


def one_by_one(hub: Hub, streams: Sequence[EventStream[TickerEvent]], events: Sequence[Event]) -> None:
    hub.publish(events, EPOCH)
    for stream in streams:
        for _ in events:
            stream.receive_nowait()


async def at_once(hub: Hub, streams: Sequence[EventStream[TickerEvent]], events: Sequence[Event]) -> None:
    hub.publish(events, EPOCH)
    for stream in streams:
        await stream.receive_batch()


def bare(stack: AsyncExitStack, events: Sequence[Event]) -> Round:
    """The least that a bounded buffer between two tasks costs."""
    send, receive = anyio.create_memory_object_stream[Event](1024)
    stack.enter_context(send)
    stack.enter_context(receive)

    def pair() -> None:
        for event in events:
            send.send_nowait(event)
        for _ in events:
            receive.receive_nowait()

    return pair


def with_room(policy: Policy, events: Sequence[Event]) -> Round:
    channel = Channel(policy)

    def put_and_take() -> None:
        for event in events:
            channel.put(event)
        for _ in range(channel.statistics().buffered):
            channel.receive_nowait()

    return put_and_take


def without_room(policy: Policy, events: Sequence[Event]) -> Round:
    channel = Channel(policy)

    def put() -> None:
        for event in events:
            channel.put(event)

    return put


async def play(run: Round) -> None:
    if (unfinished := run()) is not None:
        await unfinished


async def measure(contenders: dict[str, Round], rounds: int, seconds: float) -> Costs:
    """Seconds a message of each contender in each round. ``seconds`` is about how long one takes its turn."""
    repeats = {}
    for name, run in contenders.items():
        await play(run)
        started = time.process_time()
        await play(run)
        repeats[name] = max(1, round(seconds / (time.process_time() - started)))
    costs: Costs = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            run, repeat = contenders[name], range(repeats[name])
            started = time.process_time()
            for _ in repeat:
                await play(run)
            costs[name].append((time.process_time() - started) / len(repeat) / BATCH)
    return costs


def nanoseconds(costs: Sequence[float]) -> float:
    return statistics.median(costs) * 1e9


def ratio(costs: Sequence[float], others: Sequence[float]) -> float:
    """The median over the rounds of one cost divided by another."""
    return statistics.median(one / other for one, other in zip(costs, others, strict=True))


async def report_streams(rounds: int, seconds: float) -> None:
    events = messages()
    async with AsyncExitStack() as stack:
        contenders: dict[str, Round] = {"pair": bare(stack, events)}
        for name, take in (("receive_nowait()", one_by_one), ("batches()", at_once)):
            for count in (1, 1 + STREAMS):
                contenders[f"{name} {count}"] = partial(take, *await opened(stack, f"{name} {count}", count), events)
        costs = await measure(contenders, rounds, seconds)
    print(f"  {'a bare pair':34}{nanoseconds(costs['pair']):6.0f} ns a message")
    for name in ("receive_nowait()", "batches()"):
        pairs = zip(costs[f"{name} {1 + STREAMS}"], costs[f"{name} 1"], strict=True)
        extra = [(many - one) / STREAMS for many, one in pairs]
        print(
            f"  {f'one more stream, {name}':34}{nanoseconds(extra):6.0f} ns a message"
            f"   {ratio(extra, costs['pair']):.2f} x a bare pair (goal: at most {STREAM_GOAL})"
        )


async def report_others(rounds: int, seconds: float) -> None:
    events = messages()
    async with AsyncExitStack() as stack:
        contenders: dict[str, Round] = {
            name: partial(at_once, *await opened(stack, name, 1, others), events)
            for name, others in (("alone", 0), ("crowded", OTHERS))
        }
        costs = await measure(contenders, rounds, seconds)
    print(f"  {'a stream by itself':34}{nanoseconds(costs['alone']):6.0f} ns a message")
    print(
        f"  {f'beside {OTHERS} on other keys':34}{nanoseconds(costs['crowded']):6.0f} ns a message"
        f"   {ratio(costs['crowded'], costs['alone']):.3f} x by itself (goal: at most {OTHERS_GOAL})"
    )


async def report_policies(rounds: int, seconds: float) -> None:
    events, contenders = messages(), dict[str, Round]()
    for roomy, full in POLICIES:
        contenders[f"{type(roomy).__name__} roomy"] = with_room(roomy, events)
        contenders[f"{type(full).__name__} full"] = without_room(full, events)
    costs = await measure(contenders, rounds, seconds)
    print("  a channel alone; full, Block and Fail have failed and only count")
    print(f"  {'policy':12}{'put and taken, with room':>32}{'put, when full':>32}")
    for policy, _ in POLICIES:
        name, line = type(policy).__name__, ""
        for state in ("roomy", "full"):
            mine = costs[f"{name} {state}"]
            line += f"{nanoseconds(mine):9.0f} ns{ratio(mine, costs[f'DropOldest {state}']):7.2f} x DropOldest"
        print(f"  {name:12}{line}")


async def report(backend: str, rounds: int, seconds: float) -> None:
    print(f"{backend}: rounds of {BATCH} tickers of {len(CODES)} markets, median of {rounds} rounds")
    await report_streams(rounds, seconds)
    await report_others(rounds, seconds)
    await report_policies(rounds, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="more rounds and longer ones")
    arguments = parser.parse_args()
    rounds, seconds = (101, 0.008) if arguments.full else (21, 0.003)
    for backend in ("asyncio", "trio"):
        anyio.run(report, backend, rounds, seconds, backend=backend)


if __name__ == "__main__":
    main()
