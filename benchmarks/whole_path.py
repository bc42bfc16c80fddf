"""How much of a bare loop's speed is left after the whole path: socket, codec, epoch stamp, hub, stream, consumer.

A second process sends trades over loopback as fast as the socket takes them. The bare loop is the same transport and
the same typed decoder, and nothing else. All variants run in turns within one run, so that a machine that changes its
speed changes it for all; what counts is the ratio to the bare loop of the same turn.
"""

import argparse
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from benchmarks.sender import sending

from upbit_streams import Config, DataType, DropOldest, Epoch, Format, open_manager
from upbit_streams.transport.websocket import connect
from upbit_streams.wire.decode import Decoder
from upbit_streams.wire.requests import subscribe

CODE = "KRW-BTC"
Variant = Callable[[str, int], Awaitable[float]]


async def bare(url: str, messages: int) -> float:
    """The transport and the decoder, in a loop."""
    config, decoder = Config(url=url), Decoder(Format.DEFAULT)
    epoch = Epoch(
        connection="bare", number=1, started_at=0.0, wall_offset=time.time() - anyio.current_time(), reason=""
    )
    transport = await connect(url, config)
    await transport.send(subscribe([], "ticket", Format.DEFAULT))
    seen, started = 0, 0.0
    while seen < messages:
        frames = await transport.receive()
        events, _ = decoder.decode(frames, epoch, anyio.current_time() + epoch.wall_offset)
        started = started or time.perf_counter()
        seen += len(events)
    elapsed = time.perf_counter() - started
    await transport.aclose()
    return elapsed


async def streamed(url: str, messages: int, *, batched: bool) -> float:
    """The whole library, one consumer."""
    async with open_manager(Config(url=url)) as manager, manager.open_client("benchmark") as client:
        trades = client.stream(DataType.TRADE, CODE, backpressure=DropOldest(messages))
        async with trades:
            seen, started = 0, 0.0
            if batched:
                async for batch in trades.batches():
                    started = started or time.perf_counter()
                    seen += len(batch)
                    if seen >= messages:
                        break
            else:
                async for _ in trades:
                    started = started or time.perf_counter()
                    seen += 1
                    if seen >= messages:
                        break
            elapsed = time.perf_counter() - started
            assert trades.statistics().dropped == 0
    return elapsed


VARIANTS: dict[str, Variant] = {
    "bare loop": bare,
    "batches()": partial(streamed, batched=True),
    "per item": partial(streamed, batched=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="more messages and more turns")
    arguments = parser.parse_args()
    messages, turns = (200_000, 9) if arguments.full else (40_000, 3)
    with sending("--messages", str(messages)) as url:
        for backend in ("asyncio", "trio"):
            report(backend, url, messages, turns)


def report(backend: str, url: str, messages: int, turns: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(turns):
        for name, variant in VARIANTS.items():
            rates[name].append(messages / anyio.run(variant, url, messages, backend=backend))
    print(f"{backend}: {messages} trades a run, median of {turns} turns")
    for name, measured in rates.items():
        ratios = [rate / base for rate, base in zip(measured, rates["bare loop"], strict=True)]
        print(
            f"  {name:10} {statistics.median(measured) / 1000:7.1f} k messages/s"
            f"   {statistics.median(ratios):.2f} x bare loop ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
