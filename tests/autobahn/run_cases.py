"""Autobahn's test suite plays the server, and the default transport echoes what it sends, on both backends.

Plain ``websockets`` does the same beside it, as the reference: its protocol is the transport's too. Usage::

    python tests/autobahn/run_cases.py path/to/wstest [--short | --only GROUP_OR_CASE ...]

Prints the verdicts by group. Fails if the transport does not pass a case that plain ``websockets`` passes, or fails
another case than 7.1.5. There the server closes in the middle of a message, and wants the code 1000 back; plain
``websockets`` takes that for a broken message, and answers 1002.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteStream
from websockets.asyncio.client import connect as plain_connect
from websockets.exceptions import ConnectionClosed

from upbit_streams import Config, ConnectionLostError
from upbit_streams.transport.websocket import connect

SHORT = ("1", "2", "3", "4", "5", "6", "7", "10")
FULL = (*SHORT, "12")
EXPECTED = {"7.1.5"}

VERDICTS = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "failed")
PASSED = VERDICTS[:3]

LARGEST = 32 << 20
AT_ONCE = 4
CASE_SECONDS = 300.0  # the large ones of group 12 take half a minute on a quiet machine
START_SECONDS = 30.0
CLOSE_SECONDS = 2.0

TEXT, BINARY = 1, 2

Echo = Callable[[str], Awaitable[None]]
Verdicts = Mapping[str, str]
"""The verdict on each case, by its number."""


@dataclass
class Noting(ByteStream):
    """A stream that notes of each message whether it is a text, because ``receive()`` gives bytes for both."""

    stream: ByteStream
    texts: deque[bool]
    """Whether each message that has begun and was not taken from here is a text, oldest first."""
    unread: bytes = b""
    """What has come and is not yet understood: a part of the handshake, or of a frame's head."""
    to_skip: int = 0
    in_frames: bool = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self.stream.receive(max_bytes)
        self._note(data)
        return data

    def _note(self, data: bytes) -> None:
        self.unread += data
        if not self.in_frames:
            # Frames may come in one read with the end of the handshake.
            _, end, behind = self.unread.partition(b"\r\n\r\n")
            if not end:
                return
            self.unread, self.in_frames = behind, True
        while True:
            skipped = min(self.to_skip, len(self.unread))
            self.unread, self.to_skip = self.unread[skipped:], self.to_skip - skipped
            head = length_of_head(self.unread)
            if self.to_skip or len(self.unread) < head:
                return
            opcode, size = self.unread[0] & 0x0F, self.unread[1] & 0x7F
            self.to_skip = int.from_bytes(self.unread[2:head], "big") if head > 2 else size
            self.unread = self.unread[head:]
            if opcode in (TEXT, BINARY):
                self.texts.append(opcode == TEXT)

    async def send(self, item: bytes) -> None:
        await self.stream.send(item)

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self.stream.extra_attributes


def length_of_head(frame: bytes) -> int:
    """How many bytes the head of a server's frame takes, as far as the bytes that are there tell."""
    return 2 if len(frame) < 2 else 2 + {126: 2, 127: 8}.get(frame[1] & 0x7F, 0)


async def echo_ours(url: str) -> None:
    texts: deque[bool] = deque()

    async def dial(host: str, port: int) -> ByteStream:
        return Noting(await anyio.connect_tcp(host, port), texts)

    config = Config(max_message_size=LARGEST, connect_timeout=START_SECONDS, close_timeout=CLOSE_SECONDS)
    transport = await connect(url, config, dial=dial)
    try:
        while True:
            for message in await transport.receive():
                await transport.send(message.decode() if texts.popleft() else message)
    except ConnectionLostError:
        pass
    finally:
        await transport.aclose()


async def echo_plain(url: str) -> None:
    async with plain_connect(url, max_size=LARGEST, close_timeout=CLOSE_SECONDS, proxy=None) as websocket:
        try:
            async for message in websocket:
                await websocket.send(message)
        except ConnectionClosed:
            pass


# What is compared, by the names in the table. The first is the reference.
CLIENTS: dict[str, tuple[Echo, str]] = {
    "websockets": (echo_plain, "asyncio"),
    "ours-asyncio": (echo_ours, "asyncio"),
    "ours-trio": (echo_ours, "trio"),
}


async def run_cases(url: str, client: str, echo: Echo, count: int) -> None:
    """Let one client echo in every case. What goes wrong there is for the server to judge."""
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def run_case(number: int) -> None:
        async with limiter:
            with anyio.move_on_after(CASE_SECONDS) as scope:
                try:
                    await echo(f"{url}/runCase?case={number}&agent={client}")
                except Exception as why:  # noqa: BLE001 -- the others go on
                    print(f"{client}, the case at place {number}: {why!r}"[:200])
            if scope.cancelled_caught:
                print(f"{client}, the case at place {number}: no end within {CASE_SECONDS:g} s")

    async with anyio.create_task_group() as group:
        for number in range(1, count + 1):
            group.start_soon(run_case, number)


async def ask(url: str) -> list[str | bytes]:
    """What the server says to a question, until it closes."""
    async with plain_connect(url, proxy=None, open_timeout=None, ping_interval=None) as websocket:
        return [message async for message in websocket]


async def count_cases(url: str, server: subprocess.Popen[bytes]) -> int:
    """Wait until the server is there, and ask it how many cases it has."""
    with anyio.fail_after(START_SECONDS):
        while True:
            try:
                (count,) = await ask(f"{url}/getCaseCount")
                return int(count)
            except OSError:
                if server.poll() is not None:
                    raise
                await anyio.sleep(0.2)


@contextmanager
def served(wstest: str, url: str, folder: Path, groups: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """Autobahn's server, which writes its verdicts into a folder; it ends with the block."""
    spec = folder / "spec.json"
    cases = [group if group.count(".") == 2 else f"{group}.*" for group in groups]
    told: dict[str, object] = {"url": url, "outdir": str(folder), "cases": cases}
    spec.write_text(json.dumps(told | {"exclude-cases": [], "exclude-agent-cases": {}}), "utf-8")
    log = folder / "server.log"
    with log.open("wb") as output:
        # Without the second port, on which it would show its reports.
        command = [wstest, "-m", "fuzzingserver", "-s", str(spec), "-u", "0"]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
        try:
            yield server
        except BaseException:
            print(log.read_text("utf-8", "replace")[-2000:])
            raise
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def verdicts(wstest: str, groups: tuple[str, ...]) -> dict[str, Verdicts]:
    """Run the cases of some groups with every client. Returns the server's verdicts by the client's name."""
    url = f"ws://127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as name, served(wstest, url, Path(name), groups) as server:
        count = anyio.run(count_cases, url, server)
        for client, (echo, backend) in CLIENTS.items():
            anyio.run(partial(run_cases, url, client, echo, count), backend=backend)
        anyio.run(ask, f"{url}/updateReports?agent={next(iter(CLIENTS))}")
        index: dict[str, dict[str, dict[str, str]]] = json.loads((Path(name) / "index.json").read_text("utf-8"))
    for client in CLIENTS:
        if len(index.get(client, {})) != count:
            sys.exit(f"{client}: {len(index.get(client, {}))} verdicts on {count} cases")
    return {
        client: {case: judged(found["behavior"], found["behaviorClose"]) for case, found in index[client].items()}
        for client in CLIENTS
    }


def judged(behavior: str, close: str) -> str:
    """One verdict for what was sent and for how the connection was closed."""
    return behavior if behavior in VERDICTS and close in ("OK", "INFORMATIONAL", "UNIMPLEMENTED") else "failed"


def print_table(found: Mapping[str, Verdicts]) -> None:
    groups = sorted({case.partition(".")[0] for by_case in found.values() for case in by_case}, key=int)
    print(f"{'client':<14} {'group':>5}" + "".join(f" {verdict.lower():>13}" for verdict in VERDICTS))
    for client, by_case in found.items():
        for group in (*groups, "all"):
            counted = Counter(by for case, by in by_case.items() if group in ("all", case.partition(".")[0]))
            print(f"{client:<14} {group:>5}" + "".join(f" {counted[verdict]:>13}" for verdict in VERDICTS))


def complaints(found: Mapping[str, Verdicts]) -> list[str]:
    """What must not be: a failure that is not expected, and what only the reference passes."""
    (_, reference), *ours = found.items()
    lines = []
    for client, by_case in ours:
        passed_by_reference = [case for case, by in by_case.items() if by not in PASSED and reference[case] in PASSED]
        failed = [case for case, by in by_case.items() if by == "failed" and case not in EXPECTED]
        if passed_by_reference:
            lines.append(f"{client} does not pass what plain websockets passes: {', '.join(passed_by_reference)}")
        if failed:
            lines.append(f"{client} fails what it is not known to fail: {', '.join(failed)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Run Autobahn's cases with the default transport.")
    parser.add_argument("wstest", type=Path, help="Autobahn's program")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--short", action="store_true", help="without the cases of compression")
    which.add_argument("--only", nargs="+", default=FULL, help="these only: groups (12), parts (12.1), cases (12.1.1)")
    options = parser.parse_args()
    found = verdicts(str(options.wstest.absolute()), SHORT if options.short else tuple(options.only))
    print_table(found)
    for client, by_case in found.items():
        print(f"{client} fails: {', '.join(case for case, by in by_case.items() if by == 'failed') or 'nothing'}")
    wrong = complaints(found)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
