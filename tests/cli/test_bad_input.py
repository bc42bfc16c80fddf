"""Whatever is wrong, the command line says it in one sentence and ends; nobody sees a traceback."""

import json
import re
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path
from threading import Thread

import pytest
from tests.cli.program import KEYS, Program

from upbit_streams.cli.commands import run

pytestmark = pytest.mark.socket

WATCH = ("watch", "KRW-BTC")
WATCH_ORDERS = ("watch", "--my-orders")


def told(program: Program) -> tuple[int, str]:
    """The exit status, and the one sentence on stderr."""
    status = program.end()
    assert status not in (0, 130)
    assert program.stdout.text() == ""
    sentence = program.stderr.text()
    assert sentence.startswith("upbit-streams: ")
    assert sentence.count("\n") == 1
    return status, sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing command"),
        (("wach",), "No such command 'wach'"),
        (("watch",), "Missing argument 'CODE...': name markets, like KRW-BTC, or give --my-orders"),
        ((*WATCH_ORDERS, "--type", "trade"), "--type is about markets"),
        ((*WATCH_ORDERS, "--access-key", "x"), "No such option"),
        ((*WATCH, "--simulat"), "No such option"),
        ((*WATCH, "--type", "tickers"), "'tickers' is not one of 'ticker', 'trade'"),
        ((*WATCH, "--backend", "curio"), "'curio' is not one of 'asyncio', 'trio'"),
        ((*WATCH, "--region", "us"), "'us' is not one of 'kr', 'sg', 'id', 'th'"),
        ((*WATCH, "--count", "0"), "--count"),
        ((*WATCH, "--duration", "-1"), "--duration"),
        ((*WATCH, "--replay", "x.ndjson"), "add --simulate"),
        ((*WATCH, "--simulate", "--speed", "2"), "add --replay"),
        ((*WATCH, "--simulate", "--replay", "x.ndjson", "--speed", "0"), "'0' is neither a number above 0 nor 'max'"),
        ((*WATCH, "--simulate", "--replay", "x.ndjson", "--speed", "fast"), "'fast' is neither a number"),
        ((*WATCH, "--simulate", "--replay", "x.ndjson", "--speed", "nan"), "'nan' is neither a number"),
        ((*WATCH, "--url", "ws://127.0.0.1:1", "--region", "sg"), "give one of them"),
        ((*WATCH, "--url", "ws://127.0.0.1:1", "--simulate"), "give one of them"),
        (("exchange", "--port", "65536"), "--port"),
        (("exchange", "--rate", "0"), "--rate"),
        (("exchange", "--speed", "2"), "add --replay"),
    ],
)
def test_a_mistake_in_the_arguments(
    arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names what is wrong and where to read more; status 2, as everywhere."""
    monkeypatch.setattr(sys, "argv", ["upbit-streams", *arguments])
    assert run() == 2  # nothing has begun that would need a process of its own
    written, sentence = capsys.readouterr()
    assert written == ""
    assert re.fullmatch(r"upbit-streams: .* Try 'upbit-streams( \w+)? --help'\.\n", sentence)
    assert words in sentence


def test_an_unknown_option() -> None:
    """The same in earnest: status, sentence, and nothing else."""
    status, sentence = told(Program(*WATCH, "--simulat"))
    assert status == 2
    assert re.fullmatch(r"upbit-streams: No such option\W.*--simulat\W.* Try '.* watch --help'\.\n", sentence)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("watch", "BTC", "--simulate"), "'BTC' is not a market code"),
        (("watch", "KRW/BTC", "--url", "ws://127.0.0.1:1"), "'KRW/BTC' is not a market code"),
        (("watch", "", "--simulate"), "'' is not a market code"),
        ((*WATCH, "--url", "http://127.0.0.1:1"), "must start with ws:// or wss://"),
        (("exchange", "--host", "192.0.2.1"), "cannot listen on port 8765 of 192.0.2.1"),
    ],
)
def test_a_value_that_cannot_be(arguments: tuple[str, ...], words: str) -> None:
    """The sentence quotes it and says what it should be like."""
    status, sentence = told(Program(*arguments))
    assert status == 1
    assert words in sentence


LOCAL = ("--url", "ws://127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (WATCH_ORDERS, {}, "set UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY in the environment"),
        (("watch", "--my-assets"), {**KEYS, "UPBIT_SECRET_KEY": ""}, "need an API key; set UPBIT_ACCESS_KEY"),
        ((*WATCH, "--announcements"), {"UPBIT_ACCESS_KEY": "x1"}, "set UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY"),
        ((*WATCH_ORDERS, *LOCAL), {**KEYS, "UPBIT_SECRET_KEY": "not a key"}, "this is not a secret key of Upbit"),
        ((*WATCH_ORDERS, "--url", "ws://192.0.2.1"), KEYS, "could read your login"),
        (("exchange", "--port", "0"), {**KEYS, "UPBIT_ACCESS_KEY": "no: key"}, "this is not an access key of Upbit"),
    ],
)
def test_a_key_that_cannot_be_used(arguments: tuple[str, ...], environment: dict[str, str], words: str) -> None:
    """None at all, half of one, something else, or one that would travel unencrypted: nobody is even connected to."""
    status, sentence = told(Program(*arguments, environment={name: key for name, key in environment.items() if key}))
    assert status == 1
    assert words in sentence


TRADE = (
    '{"ty":"trade","cd":"KRW-BTC","tms":1,"td":"2021-04-17","ttm":"00:00:00","ttms":1,"tp":1.0,"tv":1.0,"ab":"BID",'
    '"pcp":1.0,"c":"EVEN","cp":0.0,"sid":1,"st":"REALTIME"}'
)
GOOD_LINE = json.dumps({"recv": 2.0, "frame": TRADE}) + "\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read"),
        (b"", "it is empty"),
        (b"time,price\n1,2\n", "line 1"),
        (GOOD_LINE.encode() + b'{"recv": 3.0, "fra', "line 2"),
    ],
    ids=["missing", "empty", "csv", "cut off"],
)
def test_a_file_that_is_no_recording(tmp_path: Path, content: bytes | None, words: str) -> None:
    """The sentence names the file, and the line if it is only one."""
    path = tmp_path / "recording.ndjson"
    if content is not None:
        path.write_bytes(content)
    start = ("exchange", "--port", "0") if content is None else (*WATCH, "--simulate")
    status, sentence = told(Program(*start, "--replay", str(path)))
    assert status == 1
    assert str(path) in sentence
    assert words in sentence


_PAGE = b"<html>\n<h1>Try\nagain</h1>\n</html>\n"


class _Refuses(BaseHTTPRequestHandler):
    """Answers with the status that its path says, and with a page of several lines."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", str(len(_PAGE)))
        self.end_headers()
        self.wfile.write(_PAGE)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _refusing() -> Generator[str, None, None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.server_port}"
        server.shutdown()


UNREACHABLE: dict[str, tuple[Callable[[str, int], str], str]] = {
    "nobody listens": (lambda refusing, silent: "ws://127.0.0.1:1", "connection refused, nothing listens there"),
    "nobody answers": (lambda refusing, silent: f"ws://127.0.0.1:{silent}", "no answer within 10 s"),
    "nobody has orders": (lambda refusing, silent: "ws://127.0.0.1:1", "127.0.0.1:1/private: connection refused"),
    "nobody answers for orders": (lambda refusing, silent: f"ws://127.0.0.1:{silent}", "no answer within 10 s"),
    "HTTP status 200": (lambda refusing, silent: f"{refusing}/200", "HTTP status 200"),
    "HTTP status 404": (lambda refusing, silent: f"{refusing}/404", "HTTP status 404"),
    "HTTP status 429": (lambda refusing, silent: f"{refusing}/429", "HTTP status 429"),
}


@pytest.fixture(scope="module", autouse=True)
def unreachable() -> Generator[dict[str, Program], None, None]:
    """One that tries each of them, for the whole connect time-out. Meanwhile the other tests run."""
    with (
        Program.ended_with(),
        _refusing() as refusing,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        port = silent.getsockname()[1]
        yield {
            name: Program(
                *(WATCH_ORDERS if "orders" in name else WATCH),
                "--url",
                url(refusing, port),
                "--backend",
                backend,
                environment=KEYS,
            )
            for (name, (url, _)), backend in zip(UNREACHABLE.items(), cycle(["asyncio", "trio"]), strict=False)
        }


@pytest.mark.parametrize("name", UNREACHABLE)
def test_nobody_to_connect_to(unreachable: dict[str, Program], name: str) -> None:
    """Within the connect time-out one may come up; after it, the sentence says what the last attempt met."""
    status, sentence = told(unreachable[name])
    assert status == 1
    assert UNREACHABLE[name][1] in sentence
    assert len(re.findall("ws://", sentence)) == 1
