"""Checks of how a connection opens: who does not answer, what is cancelled, and where the token goes."""

import traceback
from functools import partial

import anyio
import attrs
from anyio.abc import ByteStream

from ...exceptions import ConnectFailedError, UpbitStreamsError
from ...model.secret import Secret
from .check import Check, check, expect
from .peer import CONFIG, Peer, served
from .stage import Stage

__all__ = ["CONNECT_CHECKS"]

_TOKEN = Secret("eyJhbGciOiJIUzUxMiJ9.c29tZWJvZHk.bm9ib2R5IHNob3VsZCBzZWUgdGhpcw")


@check(over_bytes=True)
async def who_cannot_be_reached_is_a_failed_connect(stage: Stage) -> None:
    """Where nobody listens, connecting must raise ConnectFailedError."""
    assert stage.unreachable is not None  # noqa: S101 -- it comes with bytes
    async with stage.unreachable() as (connect, url):
        try:
            await connect(url, CONFIG, None)
        except ConnectFailedError:
            return
        expect(False, "It connected.")


@check(over_bytes=True)
async def who_does_not_answer_is_given_up(stage: Stage) -> None:
    """Connecting must raise ConnectFailedError after connect_timeout, and leave no stream open."""
    ended = anyio.Event()

    async def say_nothing(stream: ByteStream) -> None:
        await Peer(stream).at_end()
        ended.set()

    async with served(stage)(say_nothing) as (connect, url):
        started = anyio.current_time()
        try:
            await connect(url, attrs.evolve(CONFIG, connect_timeout=0.3), None)
        except ConnectFailedError:
            pass
        else:
            expect(False, "It connected.")
        expect(anyio.current_time() - started < 1.5, "It took a second longer.")
        await ended.wait()


@check(over_bytes=True)
async def who_hangs_up_or_speaks_no_http_is_a_failed_connect(stage: Stage) -> None:
    """An end or nonsense instead of an answer must raise ConnectFailedError, and soon."""

    async def answer(nonsense: bytes, stream: ByteStream) -> None:
        await stream.receive()
        if nonsense:
            await stream.send(nonsense)

    for nonsense in (b"", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"HTTP/1.1 101 Switching"):
        async with served(stage)(partial(answer, nonsense)) as (connect, url):
            started = anyio.current_time()
            try:
                await connect(url, CONFIG, None)
            except ConnectFailedError:
                pass
            else:
                expect(False, "It connected.")
            expect(anyio.current_time() - started < 2.0, "It took more than 2 s.")


@check(over_bytes=True)
async def a_cancelled_connect_leaves_nothing_open(stage: Stage) -> None:
    """Cancelled in the middle of the handshake, connecting must close what it has opened."""
    for beginning in (b"", b"HTTP/1.1 101 Switching Protocols\r\n"):
        reached, ended = anyio.Event(), anyio.Event()

        async def stall(
            stream: ByteStream, beginning: bytes = beginning, reached: anyio.Event = reached, ended: anyio.Event = ended
        ) -> None:
            await stream.receive()
            if beginning:
                await stream.send(beginning)
            reached.set()
            await Peer(stream).at_end()
            ended.set()

        async with served(stage)(stall) as (connect, url), anyio.create_task_group() as group:
            group.start_soon(connect, url, CONFIG, None)
            await reached.wait()
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True), anyio.move_on_after(2.0):
                await ended.wait()
            expect(ended.is_set(), "The server still sees a client after 2 s.")


@check(over_bytes=True)
async def the_token_goes_into_its_header_only(stage: Stage) -> None:
    """The token must be sent as the header Authorization: Bearer, without an Origin, and be shown nowhere: not in an
    error whose server repeats the request, nor in the local variables of its traceback."""
    requests: list[str] = []

    async def repeat(stream: ByteStream) -> None:
        request = await _request(stream)
        requests.append(request.decode())
        await stream.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n" % len(request) + request)

    async def hang_up(stream: ByteStream) -> None:
        requests.append((await _request(stream)).decode())

    for behave in (repeat, hang_up):
        async with served(stage)(behave) as (connect, url):
            try:
                await connect(url, CONFIG, _TOKEN)
            except UpbitStreamsError as why:
                expect(_TOKEN.reveal() not in _shown(why), "The error shows the token.")
            else:
                expect(False, "It connected.")
    lines = [line.partition(": ") for line in requests[0].split("\r\n")]
    headers = {name.lower(): value for name, _, value in lines}
    expect(headers.get("authorization") == f"Bearer {_TOKEN.reveal()}", "The header was another one.")
    expect("origin" not in headers, "There was an Origin.")


async def _request(stream: ByteStream) -> bytes:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += await stream.receive()
    return request


def _shown(error: BaseException) -> str:
    """Whatever a tool could print of an error: its text, its causes, and the variables of their tracebacks, but for
    those of these checks themselves."""
    texts: list[str] = []
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        texts += [repr(one), str(one), *getattr(one, "__notes__", ())]
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_globals is not globals():
                texts += [repr(value) for value in frame.f_locals.values()]
    return "\n".join(texts)


CONNECT_CHECKS: tuple[Check, ...] = (
    who_cannot_be_reached_is_a_failed_connect,
    who_does_not_answer_is_given_up,
    who_hangs_up_or_speaks_no_http_is_a_failed_connect,
    a_cancelled_connect_leaves_nothing_open,
    the_token_goes_into_its_header_only,
)
