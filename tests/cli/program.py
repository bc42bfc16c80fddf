"""A running ``upbit-streams``, seen from outside."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from upbit_streams.testing import Replay, SimulatedExchange

__all__ = ["KEYS", "PATIENCE", "Exchange", "Output", "Program", "keys"]

PATIENCE = 30.0
"""Nothing takes this long. It is what a test waits before it says that something hangs."""


def keys(access_key: str, secret_key: str) -> dict[str, str]:
    """The environment that has this key."""
    return {"UPBIT_ACCESS_KEY": access_key, "UPBIT_SECRET_KEY": secret_key}


KEYS = keys("AccessKeyOfTheTests" * 2, "SecretKeyOfTheTests" * 2)

_SIMULATED = SimulatedExchange(Replay(())).open_account()  # the first account of every exchange has the same key
_TOKEN = re.compile(r"eyJ[\w-]{8,}|Bearer")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Output:
    """What a program has written to one descriptor so far, read all the time by a thread."""

    def __init__(self, descriptor: int, beside: "Output | None" = None) -> None:
        """``beside`` is what else the program writes, for the message of a test that fails."""
        self._descriptor = descriptor
        self._beside = beside
        self._bytes = bytearray()
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def data(self) -> bytes:
        """All of it."""
        with self._news:
            return bytes(self._bytes)

    def text(self) -> str:
        """All of it, without a terminal's control sequences."""
        return _CONTROL.sub("", self.data().decode(errors="replace")).replace("\r", "")

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Wait until the text matches somewhere."""
        give_up = time.perf_counter() + seconds
        while (match := re.search(pattern, self.text())) is None:
            with self._news:
                left = give_up - time.perf_counter()
                if self._ended or left <= 0:
                    others = self._beside.text() if self._beside else ""
                    raise AssertionError(f"{pattern!r} did not come: {self.text()[-2000:]!r} {others[-2000:]}")
                self._news.wait(min(left, 0.2))
        return match

    def shows_cursor(self) -> bool:
        """The terminal is left as it was found."""
        data = self.data()
        return data.rfind(b"\x1b[?25h") > data.rfind(b"\x1b[?25l") >= 0

    def wait_ended(self) -> None:
        self._reader.join(PATIENCE)
        assert self._ended, "somebody still holds the output open"

    def _read(self) -> None:
        while data := self._some():
            with self._news:
                self._bytes += data
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
        os.close(self._descriptor)

    def _some(self) -> bytes:
        try:
            return os.read(self._descriptor, 1 << 16)
        except OSError:  # how a terminal ends
            return b""


class Program:
    """One ``upbit-streams`` with its arguments."""

    _started: ClassVar[list["Program"]] = []

    def __init__(
        self,
        *arguments: str,
        terminal: bool = False,
        read: bool = True,
        python_options: tuple[str, ...] = (),
        columns: int = 200,
        lines: int = 50,
        wrapper: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        start: tuple[str, ...] = ("-m", "upbit_streams.cli"),
    ) -> None:
        """Start it. With ``terminal`` its stdout is one; without ``read`` nobody reads its stdout yet.

        ``environment`` is what it has besides the usual, which has no key; ``start`` is how Python gets to the command
        line.
        """
        mine, its = pty.openpty() if terminal else os.pipe()
        errors, its_errors = os.pipe()
        self._secrets = {_SIMULATED.access_key, _SIMULATED.secret_key.reveal(), *(environment or {}).values()}
        usual = {name: value for name, value in os.environ.items() if not name.startswith("UPBIT_")}
        size = {"COLUMNS": str(columns), "LINES": str(lines)}
        command = (*wrapper, sys.executable, *python_options, *start, *arguments)
        self.process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=its,
            stderr=its_errors,
            env={**usual, "TERM": "xterm-256color", "PYTHONWARNINGS": "error", **size, **(environment or {})},
        )
        self._started.append(self)
        os.close(its)
        os.close(its_errors)
        self.stdout_descriptor = mine
        self.stderr = Output(errors)
        self._outputs = [self.stderr]
        self._events: list[dict[str, Any]] = []
        self._parsed = 0
        if read:
            self.read_stdout()

    def read_stdout(self) -> None:
        """Begin to read its stdout, to the end."""
        self.stdout = Output(self.stdout_descriptor, self.stderr)
        self._outputs.append(self.stdout)

    def events(self) -> list[dict[str, Any]]:
        """Its JSON lines so far. Every line must be whole once the program has ended."""
        *lines, rest = self.stdout.data()[self._parsed :].split(b"\n")
        assert self.process.poll() is None or rest == b""
        self._parsed += sum(len(line) + 1 for line in lines)
        self._events += map(json.loads, lines)
        return self._events

    def wait_events(self, count: int, seconds: float = PATIENCE, **fields: Any) -> list[dict[str, Any]]:
        """Wait for so many events with these fields, and return all that have come."""
        give_up = time.perf_counter() + seconds
        while True:
            events = self.events()
            if sum(all(event[name] == value for name, value in fields.items()) for event in events) >= count:
                return events
            assert time.perf_counter() < give_up, f"{len(events)} events, too few with {fields}: {self.stderr.text()}"
            time.sleep(0.02)

    def wait_stuck(self) -> None:
        """Wait until the pipe that nobody reads takes no more: until what it holds has not grown for a while."""
        before, give_up = -1, time.perf_counter() + PATIENCE
        while True:
            (now,) = struct.unpack("i", fcntl.ioctl(self.stdout_descriptor, termios.FIONREAD, bytes(4)))
            if before == now > select.PIPE_BUF:
                return
            assert self.process.poll() is None, f"it ended: {self.stderr.text()}"
            assert time.perf_counter() < give_up, f"{now} bytes only: {self.stderr.text()}"
            before = now
            time.sleep(0.2)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end. Returns its exit status."""
        return self.process.wait(seconds)

    def end(self, seconds: float = PATIENCE) -> int:
        """Wait for its end. Returns its exit status, after a look for what no user should ever see."""
        status = self.wait(seconds)
        for output in self._outputs:
            output.wait_ended()
            text = output.text()
            assert "Traceback" not in text, text
            assert "Exception ignored" not in text, text
            assert "never awaited" not in text, text
        self.check_no_secret()
        return status

    def check_no_secret(self) -> None:
        """No key and no token is ever shown to anybody."""
        for output in self._outputs:
            text = output.text()
            assert not any(secret in text for secret in self._secrets)
            assert not _TOKEN.search(text)

    @classmethod
    @contextmanager
    def ended_with(cls) -> Generator[None, None, None]:
        """However the block ends, the programs that were started in it end with it."""
        before = len(cls._started)
        try:
            yield
        finally:
            for program in cls._started[before:]:
                program.send(signal.SIGKILL)
                program.process.wait()
            programs = cls._started[before:]
            del cls._started[before:]
            for program in programs:
                program.check_no_secret()


class Exchange(Program):
    """``upbit-streams exchange``, which listens already."""

    def __init__(self, *arguments: str, port: int = 0, environment: Mapping[str, str] | None = None) -> None:
        super().__init__("exchange", "--port", str(port), *arguments, environment=environment)
        self.url = self.stdout.wait_for(r"\Alistening on (ws://\S+)\n")[1]
        self.port = int(self.url.rpartition(":")[2].partition("/")[0])

    def kill(self) -> None:
        """End it as a power failure does."""
        self.send(signal.SIGKILL)
        assert self.end() == -signal.SIGKILL
