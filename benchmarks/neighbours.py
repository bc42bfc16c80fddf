"""What a good consumer notices of a bad one on the same connection: nothing, but for its share of the processor.

A second process sends 500 trades a second over loopback, in real time. The good consumer takes each at once, and looks
how long ago it was sent. It does so by itself, and beside each kind of bad neighbour, in turns and in an order that
changes; what counts is the ratio to its time by itself in the same round. The connection is one for all the turns: no
event may be missing or out of order at the good consumer, and the connection may not have been replaced. That is
asserted, and times are printed.
"""

import argparse
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

import anyio
import attrs
from anyio.abc import TaskGroup
from benchmarks.sender import sending

from upbit_streams import Client, Config, ConnectionState, DataType, Manager, TradeEvent, open_manager

CODE = "KRW-BTC"
RATE = 500
PING_TIMEOUT = 0.25
"""Of the connection, in seconds. A pong comes with the events, so whoever kept those from being read would end it."""

Neighbour = Callable[[Client], Awaitable[None]]


async def nobody(client: Client) -> None:
    """No neighbour at all."""


async def never_reads(client: Client) -> None:
    async with client.stream(DataType.TRADE, CODE):
        await anyio.sleep_forever()


async def sleeps(client: Client) -> None:
    """Ten times as long as the exchange may take to answer a ping."""
    async with client.stream(DataType.TRADE, CODE) as trades:
        async for _ in trades:
            await anyio.sleep(10 * PING_TIMEOUT)


async def raises(client: Client) -> None:
    errors: list[Exception] = []

    def callback(_: TradeEvent) -> None:
        raise ValueError("a bug of the user's")

    subscription = await client.subscribe_trade(CODE, callback, on_error=errors.append)
    try:
        await anyio.sleep_forever()
    finally:
        assert subscription.errors == len(errors) > 0


async def is_slow(client: Client) -> None:
    """Half as fast as events come, and less."""

    async def callback(_: TradeEvent) -> None:
        await anyio.sleep(0.005)

    await client.subscribe_trade(CODE, callback)
    await anyio.sleep_forever()


NEIGHBOURS: dict[str, Neighbour] = {
    "by itself": nobody,
    "one that never reads": never_reads,
    f"one that sleeps for {10 * PING_TIMEOUT:g} s": sleeps,
    "one whose callback raises": raises,
    "one that takes 5 ms an event": is_slow,
}


@attrs.define
class Good:
    """The good consumer."""

    latencies: list[float] = attrs.field(factory=list)
    """Of the events of this turn, in seconds from the sender's write to the consumer."""
    last: int = 0
    """The number of the last event."""

    async def run(self, client: Client) -> None:
        async with client.stream(DataType.TRADE, CODE) as trades:
            async for trade in trades:
                self.latencies.append(time.monotonic() - trade.trade_volume)
                assert trade.sequential_id == self.last + 1, f"{trade.sequential_id} came after {self.last}"
                self.last = trade.sequential_id


@attrs.frozen
class Turn:
    """What the good consumer noticed in one turn."""

    events: int
    median: float
    high: float
    """What 99 of 100 events were at most."""


async def take_turn(manager: Manager, tasks: TaskGroup, good: Good, name: str, seconds: float) -> Turn:
    async with manager.open_client(name) as client:
        with anyio.CancelScope() as scope:
            # The block of a client is where it is misused, so that is where its consumer runs.
            async def stop() -> None:
                await anyio.sleep(0.05)
                good.latencies.clear()
                await anyio.sleep(seconds)
                scope.cancel()

            tasks.start_soon(stop)
            await NEIGHBOURS[name](client)
            await anyio.sleep_forever()
        found = sorted(good.latencies)
    return Turn(len(found), statistics.median(found), found[len(found) * 99 // 100])


async def compare(url: str, rounds: int, seconds: float) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = {name: [] for name in NEIGHBOURS}
    order, good = list(NEIGHBOURS), Good()
    async with (
        open_manager(Config(url=url, ping_interval=PING_TIMEOUT / 2, ping_timeout=PING_TIMEOUT)) as manager,
        manager.open_client("good") as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(good.run, client)
        while manager.status().state is not ConnectionState.ACTIVE:
            await manager.wait_status_changed()
        for _ in range(rounds):
            random.shuffle(order)
            for name in order:
                turns[name].append(await take_turn(manager, tasks, good, name, seconds))
        status = manager.status()
        assert status.epoch is not None
        assert status.epoch.number == 1, status.epoch.reason
        tasks.cancel_scope.cancel()
    return turns


def ratio(mine: Sequence[float], alone: Sequence[float]) -> float:
    """The median over the rounds."""
    return statistics.median(one / other for one, other in zip(mine, alone, strict=True))


def report(backend: str, turns: dict[str, list[Turn]], seconds: float) -> None:
    alone = turns["by itself"]
    alone_medians, alone_highs = [turn.median for turn in alone], [turn.high for turn in alone]
    print(f"{backend}: {RATE} events a second, {len(alone)} turns of {seconds:g} s each, medians over the turns")
    print("  every event came, in order, and the connection is in its first epoch")
    print(f"  {'beside':28}{'events':>8}{'p50':>10}{'p99':>10}{'p50/alone':>12}{'p99/alone':>12}")
    for name, mine in turns.items():
        medians, highs = [turn.median for turn in mine], [turn.high for turn in mine]
        print(
            f"  {name:28}{sum(turn.events for turn in mine):8}"
            f"{1e6 * statistics.median(medians):7.0f} us{1e6 * statistics.median(highs):7.0f} us"
            f"{ratio(medians, alone_medians):12.2f}{ratio(highs, alone_highs):12.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="more turns and longer ones")
    parser.add_argument("--backend", choices=("asyncio", "trio"), action="append")
    arguments = parser.parse_args()
    # Each turn is longer than the longest sleep.
    rounds, seconds = (10, 3.0) if arguments.full else (1, 2.6)
    with sending("--rate", str(RATE), "--codes", CODE) as url:
        for backend in arguments.backend or ("asyncio", "trio"):
            report(backend, anyio.run(compare, url, rounds, seconds, backend=backend), seconds)


if __name__ == "__main__":
    main()
