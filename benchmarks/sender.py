"""A second process that sends events over loopback to whoever asks for something, with nothing lost between."""

import argparse
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import msgspec
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from upbit_streams import Event, Format, TradeEvent
from upbit_streams.testing import MarketSimulation
from upbit_streams.wire.encode import encode

__all__ = ["BLOCK", "sending"]

BLOCK = 1000
"""A flood is a multiple of so many messages."""
_START_MS = 1_795_000_000_000


@contextmanager
def sending(*arguments: str) -> Iterator[str]:
    """Run the process as long as the block, which gets its URL. The arguments are those of this file's program."""
    command = [sys.executable, "-m", "benchmarks.sender", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"ws://127.0.0.1:{int(server.stdout.readline())}/websocket/v1"
        finally:
            server.kill()


class _Source(Protocol):
    def take(self) -> bytes:
        """What is to be sent now; nothing if nothing is, or not yet."""
        ...

    def pause(self) -> float | None:
        """For how many seconds there is nothing; None for ever."""
        ...


class _Flood:
    """So many messages as fast as they are taken. It is the same thousand again and again."""

    def __init__(self, messages: int, types: Sequence[str], codes: Sequence[str]) -> None:
        self._left = messages // BLOCK
        rate = 1000.0 / len(codes)
        market, now_ms, events = MarketSimulation(codes=codes, rate=rate, start_ms=_START_MS), _START_MS, list[Event]()
        while len(events) < BLOCK:
            now_ms += 1000
            events += [event for event in market.advance(now_ms) if event.type in types]
        self._block = b"".join(_frame(event) for event in events[:BLOCK])

    def take(self) -> bytes:
        self._left -= 1
        return self._block if self._left >= 0 else b""

    def pause(self) -> None:
        return None


class _Pace:
    """So many trades a second, numbered by their ids. The volume of each is when it was sent, by this machine's
    monotonic clock."""

    def __init__(self, rate: float, code: str) -> None:
        self._interval = 1 / rate
        self._next = time.monotonic()
        self._number = 0
        self._trade = TradeEvent(
            code=code,
            timestamp=_START_MS,
            stream_type="REALTIME",
            trade_price=1.0,
            trade_volume=0.0,
            ask_bid="BID",
            prev_closing_price=1.0,
            change="EVEN",
            change_price=0.0,
            trade_date="2026-11-18",
            trade_time="00:00:00",
            trade_timestamp=_START_MS,
            sequential_id=0,
        )

    def take(self) -> bytes:
        now = time.monotonic()
        if now < self._next:
            return b""
        # Who was kept from sending for long does not make up for it: a burst is not what is measured.
        self._next = max(self._next + self._interval, now - 2 * self._interval)
        self._number += 1
        return _frame(msgspec.structs.replace(self._trade, sequential_id=self._number, trade_volume=now))

    def pause(self) -> float:
        return max(self._next - time.monotonic(), 0.0)


def _frame(event: Event) -> bytes:
    return Frame(Opcode.BINARY, encode(event, Format.DEFAULT)).serialize(mask=False)


def _serve(client: socket.socket, source: _Source) -> None:
    """Shake hands, answer pings, and send once something was asked for, until the client goes."""
    protocol = ServerProtocol()  # no compression: what is measured is the library, not zlib
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setblocking(False)
    unsent, is_asked = bytearray(), False
    while True:
        if is_asked and not unsent:
            unsent += source.take()
        pause = source.pause() if is_asked and not unsent else None
        readable, writable, _ = select.select([client], [client] if unsent else [], [], pause)
        if writable:
            del unsent[: client.send(unsent)]
        if readable:
            data = client.recv(1 << 16)
            if not data:
                return
            protocol.receive_data(data)
            for event in protocol.events_received():
                if isinstance(event, Request):
                    protocol.send_response(protocol.accept(event))
                elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    is_asked = True
            said = protocol.data_to_send()
            unsent += b"".join(said)
            if b"" in said:  # both have said goodbye
                client.setblocking(True)
                client.sendall(unsent)
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, help="so many, as fast as they are taken")
    parser.add_argument("--rate", type=float, help="so many a second, without end")
    parser.add_argument("--types", nargs="+", default=["trade"])
    parser.add_argument("--codes", nargs="+", default=["KRW-BTC"])
    arguments = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        source: _Source
        if arguments.messages:
            source = _Flood(arguments.messages, arguments.types, arguments.codes)
        else:
            source = _Pace(arguments.rate, arguments.codes[0])
        with client, suppress(OSError):
            _serve(client, source)


if __name__ == "__main__":
    main()
