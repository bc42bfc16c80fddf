"""TCP to a host by its name, with one look-up of a name at a time in the whole process.

A resolver may hang for minutes, and the thread that waits for it cannot be stopped. If every attempt to connect had a
look-up of its own, each would leave a thread behind; so an attempt shares the one that is under way.
"""

import os
import socket
from concurrent.futures import Future
from ipaddress import ip_address
from itertools import chain, zip_longest
from threading import Lock, Thread

import anyio
from anyio.abc import ByteStream

__all__ = ["connect_tcp"]

_HEAD_START = 0.25
"""How long an address has before the next one is tried beside it (RFC 8305)."""
_LOOK_SECONDS = 0.001, 0.05
"""How long to wait before the first look whether an answer is there, and at most before each next one."""

_lock = Lock()
_Key = tuple[int, str]
"""A process, as a thread does not come along into one that was forked from it, and a host."""
_under_way: dict[_Key, "Future[list[str]]"] = {}


async def connect_tcp(host: str, port: int) -> ByteStream:
    """Open a TCP connection to the first of the host's addresses that answers.

    Raises ``OSError`` if there is none, ``ValueError`` for a name that no host can have. Cancelling it leaves no socket
    open. A look-up goes on, for whoever asks for the same name next.
    """
    addresses = await _look_up(host)
    if len(addresses) == 1:
        return await anyio.connect_tcp(addresses[0], port)
    connected: list[ByteStream] = []
    failures: list[OSError] = []

    async def attempt(address: str, over: anyio.Event) -> None:
        try:
            stream = await anyio.connect_tcp(address, port)
        except OSError as why:
            failures.append(why)
            over.set()
            return
        connected.append(stream)
        group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                over = anyio.Event()
                group.start_soon(attempt, address, over)
                with anyio.move_on_after(_HEAD_START):
                    await over.wait()
        for late in connected[1:]:  # two may answer in the same moment
            await anyio.aclose_forcefully(late)
    except BaseException:
        for stream in connected:
            await anyio.aclose_forcefully(stream)
        raise
    if not connected:
        raise OSError("none of its addresses answers") from failures[0]
    return connected[0]


async def _look_up(host: str) -> list[str]:
    """The addresses of a host, in the order in which they are to be tried. Raises ``OSError`` or ``ValueError``."""
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return [host]
    key = os.getpid(), host
    with _lock:
        answer = _under_way.get(key)
        is_new = answer is None
        if answer is None:
            answer = _under_way[key] = Future()
    if is_new:
        thread = Thread(target=_resolve, args=(key, answer), name=f"upbit-streams look-up of {host}", daemon=True)
        try:
            thread.start()
        except RuntimeError as why:  # there are too many threads
            _end(key, answer, [], why)
    # By looking, and not by being woken: those who wait may be in several event loops, and each of them may end.
    pause, longest = _LOOK_SECONDS
    while not answer.done():
        await anyio.sleep(pause)
        pause = min(2 * pause, longest)
    return answer.result()


def _resolve(key: _Key, answer: "Future[list[str]]") -> None:
    """Runs in a thread of its own, as the look-up blocks."""
    addresses: list[str] = []
    failure: BaseException | None = None
    try:
        found = socket.getaddrinfo(key[1], None, type=socket.SOCK_STREAM)
        six = [str(address[0]) for family, *_, address in found if family == socket.AF_INET6]
        four = [str(address[0]) for family, *_, address in found if family == socket.AF_INET]
        addresses = [each for each in chain.from_iterable(zip_longest(six, four)) if each is not None]
        if not addresses:
            failure = OSError("it has no address")
    except BaseException as why:  # noqa: ASYNC103, BLE001 -- in a thread, and told to those who wait
        failure = why
    _end(key, answer, addresses, failure)


def _end(key: _Key, answer: "Future[list[str]]", addresses: list[str], failure: BaseException | None) -> None:
    """Give the answer to whoever waits; from now on it is looked up anew."""
    with _lock:
        del _under_way[key]
    if failure is None:
        answer.set_result(addresses)
    else:
        answer.set_exception(failure)
