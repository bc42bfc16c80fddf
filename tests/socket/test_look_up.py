"""Looking up a host's name: a resolver that hangs costs one thread, however often somebody tries."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import attrs
import pytest
from anyio.abc import ByteStream, SocketAttribute
from tests.socket.test_websocket import CONFIG, serving, wait_silently

from upbit_streams import ConnectFailedError
from upbit_streams.transport.look_up import connect_tcp
from upbit_streams.transport.websocket import connect

pytestmark = pytest.mark.socket


_getaddrinfo = socket.getaddrinfo


class Resolver:
    """Hangs until it is released, and gives these addresses then."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()
        self.answer: Any = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    def __call__(self, host: Any, *arguments: Any, **options: Any) -> Any:
        if not str(host).endswith(".invalid"):  # addresses, which others look at by this function
            return _getaddrinfo(host, *arguments, **options)
        self.asked.append(host)
        assert self.released.wait(30)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.released.set()
    for thread in look_ups():
        thread.join(10)


def look_ups() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "look-up of" in thread.name]


async def test_a_resolver_that_hangs_costs_one_thread_for_all_attempts(resolver: Resolver) -> None:
    impatient = attrs.evolve(CONFIG, connect_timeout=0.02)
    for _ in range(10):
        with pytest.raises(ConnectFailedError, match=r"no answer within 0\.02 s"):
            await connect("ws://exchange.invalid/", impatient)
    assert resolver.asked == ["exchange.invalid"]
    assert len(look_ups()) == 1
    with pytest.raises(ConnectFailedError):
        await connect("ws://other.invalid/", impatient)
    assert resolver.asked == ["exchange.invalid", "other.invalid"]


async def test_whoever_comes_later_shares_the_look_up_that_is_under_way(resolver: Resolver) -> None:
    connected: list[ByteStream] = []

    async def reach(port: int) -> None:
        connected.append(await connect_tcp("exchange.invalid", port))

    async with serving(wait_silently) as address:
        port = int(address.rpartition(":")[2])
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(reach, port)
            await anyio.sleep(0.02)
            resolver.released.set()
        assert (len(connected), len(resolver.asked)) == (3, 1)
        connected.append(await connect_tcp("exchange.invalid", port))
        assert len(resolver.asked) == 2, "an answer is not kept"
        for stream in connected:
            await anyio.aclose_forcefully(stream)


async def test_what_a_look_up_fails_with_is_for_all_who_wait(resolver: Resolver) -> None:
    resolver.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    told: list[str] = []

    async def reach() -> None:
        with pytest.raises(ConnectFailedError) as failed:
            await connect("ws://exchange.invalid/", CONFIG)
        told.append(failed.value.why)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(reach)
        await anyio.sleep(0.02)
        resolver.released.set()
    assert told == ["no such host"] * 3


async def test_an_address_that_does_not_answer_does_not_keep_the_next_one_waiting(resolver: Resolver) -> None:
    nowhere = ("::1", 0, 0, 0)
    resolver.answer = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", nowhere), *resolver.answer]
    resolver.released.set()
    async with serving(wait_silently) as address:
        port = int(address.rpartition(":")[2])
        with anyio.fail_after(5):
            stream = await connect_tcp("exchange.invalid", port)
        assert stream.extra(SocketAttribute.remote_address)[0] == "127.0.0.1"  # noqa: S610
        await anyio.aclose_forcefully(stream)
    with pytest.raises(OSError, match="none of its addresses"):
        await connect_tcp("exchange.invalid", port)


async def test_a_thread_that_does_not_start_costs_one_attempt_and_no_more(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise everybody who asks for this name would wait for it for ever."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    resolver.released.set()
    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="start new thread"):
            await connect_tcp("exchange.invalid", 443)
    with anyio.fail_after(5), pytest.raises(socket.gaierror):
        await connect_tcp("exchange.invalid", 443)


FORKED = """
import os, socket, threading, anyio
from upbit_streams.transport.look_up import connect_tcp
released, real = threading.Event(), socket.getaddrinfo
def hang(*arguments, **options):
    released.wait(30)
    raise socket.gaierror(socket.EAI_NONAME, "no such host")
def fail(*arguments, **options):
    raise socket.gaierror(socket.EAI_NONAME, "no such host")
async def reach(seconds):
    with anyio.move_on_after(seconds):
        try:
            await connect_tcp("exchange.invalid", 443)
        except OSError:
            return "told"
    return "waiting"
socket.getaddrinfo = hang
assert anyio.run(reach, 0.05) == "waiting"
child = os.fork()
if not child:
    socket.getaddrinfo = fail
    os._exit(0 if anyio.run(reach, 5.0) == "told" else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
released.set()
raise SystemExit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes can be forked")
def test_a_forked_process_does_not_wait_for_a_look_up_of_its_parent() -> None:
    """The thread that would answer stays behind in the parent."""
    assert subprocess.run([sys.executable, "-c", FORKED], check=False).returncode == 0  # noqa: S603
