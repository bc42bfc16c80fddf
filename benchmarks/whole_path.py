"""How much of a bare loop's speed is left after the whole path: socket, codec, epoch stamp, hub, stream, consumer.

A second process sends trades over loopback as fast as the socket takes them. The bare loop is the same transport and
the same typed decoder, and nothing else. All variants run in turns within one run, so that a machine that changes its
speed changes it for all; what counts is the ratio to the bare loop of the same turn.
"""

import argparse
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from upbit_streams import Config, DataType, DropOldest, Epoch, Format, open_manager
from upbit_streams.testing import MarketSimulation
from upbit_streams.transport.websocket import connect
from upbit_streams.wire.decode import Decoder
from upbit_streams.wire.encode import encode
from upbit_streams.wire.requests import subscribe

CODE = "KRW-BTC"
Variant = Callable[[str, int], Awaitable[float]]


def serve(messages: int) -> None:
    """Send so many trades to every client that asks for something, until killed."""
    simulation = MarketSimulation(codes=[CODE], rate=1000.0, start_ms=1_795_000_000_000)
    trades: list[bytes] = []
    now_ms = 1_795_000_000_000
    while len(trades) < 1000:
        now_ms += 1000
        trades += [encode(event, Format.DEFAULT) for event in simulation.advance(now_ms) if event.type == "trade"]
    block = b"".join(Frame(Opcode.BINARY, trade).serialize(mask=False) for trade in trades[:1000])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        with client:
            protocol = ServerProtocol()  # no compression: what is measured is the library, not zlib
            requested = False
            while not requested and (data := client.recv(65536)):
                protocol.receive_data(data)
                for event in protocol.events_received():
                    if isinstance(event, Request):
                        protocol.send_response(protocol.accept(event))
                    else:
                        requested = True
                for chunk in protocol.data_to_send():
                    client.sendall(chunk)
            try:
                for _ in range(messages // 1000):
                    client.sendall(block)
                while client.recv(65536):  # until the client goes
                    pass
            except OSError:
                pass


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
    parser.add_argument("--serve", type=int, metavar="MESSAGES", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
    messages, turns = (200_000, 9) if arguments.full else (40_000, 3)
    command = [sys.executable, __file__, "--serve", str(messages)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"ws://127.0.0.1:{int(server.stdout.readline())}/websocket/v1"
            for backend in ("asyncio", "trio"):
                report(backend, url, messages, turns)
        finally:
            server.kill()


def report(backend: str, url: str, messages: int, turns: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for turn in range(turns):
        print(f"\r{backend}: turn {turn + 1} of {turns} ", end="", file=sys.stderr, flush=True)
        for name, variant in VARIANTS.items():
            rates[name].append(messages / anyio.run(variant, url, messages, backend=backend))
    print("\r", end="", file=sys.stderr)
    print(f"{backend}: {messages} trades a run, median of {turns} turns")
    for name, measured in rates.items():
        ratios = [rate / base for rate, base in zip(measured, rates["bare loop"], strict=True)]
        print(
            f"  {name:10} {statistics.median(measured) / 1000:7.1f} k messages/s"
            f"   {statistics.median(ratios):.2f} x bare loop ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
