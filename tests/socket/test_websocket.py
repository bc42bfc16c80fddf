"""The default transport over real sockets: what goes through, what ends it, and that nothing of it stays behind."""

import random
import socket
import ssl
import struct
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import attrs
import pytest
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener, TLSStream
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from upbit_streams import Config, ConnectFailedError, ConnectionLostError, HandshakeRefusedError
from upbit_streams.engine.service import open_service
from upbit_streams.transport import trio_websocket
from upbit_streams.transport.websocket import WebSocket, connect

pytestmark = pytest.mark.socket

CONFIG = Config(connect_timeout=5.0, close_timeout=0.2)
IMPATIENT = attrs.evolve(CONFIG, connect_timeout=0.1)
# Far more than any kernel keeps for a socket whose other side does not read.
TOO_MUCH = 32 << 20

Handler = Callable[[ByteStream], Awaitable[None]]


# The other side


class Peer:
    """The server's side of one connection, driven by the test: messages, frames or plain bytes."""

    def __init__(self, stream: ByteStream, *, compression: bool = False) -> None:
        self.stream = stream
        self.protocol = ServerProtocol(
            extensions=[ServerPerMessageDeflateFactory()] if compression else None, max_size=None
        )
        self.answers = False
        """Whether pings and a goodbye are answered, with the next :meth:`flush`."""
        self.bytes_received = self.bytes_sent = 0
        self._frames: list[Frame] = []

    async def shake_hands(self, then: bytes = b"") -> Request:
        """Accept the client, with more bytes right behind the answer."""
        request: Request = await self._event(Request)
        self.protocol.send_response(self.protocol.accept(request))
        await self.stream.send(b"".join(self.protocol.data_to_send()) + then)
        return request

    async def send(self, *messages: str | bytes) -> None:
        """Send messages, all in one write."""
        for message in messages:
            if isinstance(message, str):
                self.protocol.send_text(message.encode())
            else:
                self.protocol.send_binary(message)
        await self.flush()

    async def flush(self) -> None:
        data = b"".join(self.protocol.data_to_send())
        self.bytes_sent += len(data)
        await self.stream.send(data)

    async def next_frame(self) -> Frame:
        frame = await self._event(Frame)
        return Frame(frame.opcode, bytes(frame.data), frame.fin)

    async def at_end(self) -> bool:
        """Read on until the client's side of the socket has ended."""
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            while True:
                await self.stream.receive()
        return True

    async def reset(self) -> None:
        """End the connection the hard way: the client gets a reset instead of an end."""
        raw: socket.socket = self.stream.extra(SocketAttribute.raw_socket)  # noqa: S610
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(self.stream)

    async def _event(self, kind: type[Any]) -> Any:
        while not self._frames:
            data = await self.stream.receive()
            self.bytes_received += len(data)
            self.protocol.receive_data(data)
            self._frames += [event for event in self.protocol.events_received() if isinstance(event, kind)]
            if not self.answers:
                self.protocol.data_to_send()
        return self._frames.pop(0)


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncGenerator[str, None]:
    """A server that gives each client to the handler. Yields its address, and bounds the time of the whole test."""

    async def handle(stream: ByteStream) -> None:
        try:
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                await handler(stream)
        finally:
            await anyio.aclose_forcefully(stream)

    with anyio.fail_after(10):
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as tcp:
            port = tcp.extra(SocketAttribute.local_port)  # noqa: S610
            listener = TLSListener(tcp, tls, standard_compatible=False) if tls else tcp
            async with open_service(partial(listener.serve, handle), "test server"):
                yield f"127.0.0.1:{port}"


@asynccontextmanager
async def connected(
    config: Config = CONFIG, *, compression: bool = False, then: bytes = b""
) -> AsyncGenerator[tuple[WebSocket, Peer], None]:
    """A connection, and its other side."""
    sender, receiver = anyio.create_memory_object_stream[Peer](1)

    async def handler(stream: ByteStream) -> None:
        peer = Peer(stream, compression=compression)
        await peer.shake_hands(then)
        await sender.send(peer)
        await anyio.sleep_forever()  # keeps the socket open

    async with sender, receiver, serving(handler) as address:
        websocket = await connect(f"ws://{address}/websocket/v1", config)
        try:
            yield websocket, await receiver.receive()
        finally:
            with anyio.CancelScope() as closing:
                closing.cancel()
                await websocket.aclose()


async def until_lost(websocket: WebSocket) -> tuple[list[bytes], ConnectionLostError]:
    """All that still comes, and how the connection ends."""
    messages: list[bytes] = []
    with pytest.raises(ConnectionLostError) as lost:
        while True:
            messages += await websocket.receive()
    return messages, lost.value


async def collect(websocket: WebSocket, count: int) -> list[bytes]:
    messages: list[bytes] = []
    while len(messages) < count:
        messages += await websocket.receive()
    return messages


async def nothing_works_any_more(websocket: WebSocket) -> None:
    """Whatever is tried on a lost connection says at once that it is lost."""
    for attempt in (websocket.receive, websocket.ping, partial(websocket.send, "x"), websocket.receive):
        with anyio.fail_after(1), pytest.raises(ConnectionLostError):
            await attempt()
    with anyio.fail_after(1):
        await websocket.aclose()


async def wait_silently(stream: ByteStream) -> None:
    while True:
        await stream.receive()


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def greet(stream: ByteStream) -> None:
    peer = Peer(stream)
    await peer.shake_hands()
    await peer.send(b"hello")
    assert (await peer.next_frame()).data == b"and to you"
    await peer.send(b"goodbye")


async def test_tls_with_a_certificate_of_a_trusted_authority_works(authority: trustme.CA) -> None:
    async with serving(greet, server_tls(authority)) as address:
        websocket = await connect(f"wss://{address}/", CONFIG, ssl_context=trusting(authority))
        assert await websocket.receive() == [b"hello"]
        await websocket.send("and to you")
        # The server closes the socket without a goodbye, neither of WebSocket nor of TLS.
        messages, lost = await until_lost(websocket)
        assert (messages, lost.code) == ([b"goodbye"], 1006)
        await nothing_works_any_more(websocket)


async def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    async with serving(greet, server_tls(authority)) as address:
        with pytest.raises(ConnectFailedError, match=r"its certificate is not valid .*issuer certificate"):
            await connect(f"wss://{address}/", CONFIG)
        with pytest.raises(ConnectFailedError, match="its certificate is not valid"):
            await connect(f"wss://{address}/", CONFIG, ssl_context=trusting(trustme.CA()))


async def test_a_certificate_of_another_host_is_refused(authority: trustme.CA) -> None:
    async with serving(greet, server_tls(authority, "exchange.example")) as address:
        with pytest.raises(ConnectFailedError, match=r"its certificate is not valid .*not valid for '127.0.0.1'"):
            await connect(f"wss://{address}/", CONFIG, ssl_context=trusting(authority))


async def test_a_server_without_tls_is_told_in_a_sentence() -> None:
    async def plain(stream: ByteStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await wait_silently(stream)

    async def hang_up(stream: ByteStream) -> None:
        await stream.receive()

    async with serving(plain) as address:
        with pytest.raises(ConnectFailedError, match=r"TLS failed \("):
            await connect(f"wss://{address}/", CONFIG)
    async with serving(hang_up) as address:
        with pytest.raises(ConnectFailedError, match="it hung up"):
            await connect(f"wss://{address}/", CONFIG)


async def test_bytes_that_are_no_tls_end_a_tls_connection(authority: trustme.CA) -> None:
    async def break_tls(stream: ByteStream) -> None:
        peer = Peer(stream)
        await peer.shake_hands()
        await peer.send(b"hello")
        assert isinstance(stream, TLSStream)
        await stream.transport_stream.send(b"\x00" * 100)
        await anyio.sleep_forever()

    async with serving(break_tls, server_tls(authority)) as address:
        websocket = await connect(f"wss://{address}/", CONFIG, ssl_context=trusting(authority))
        messages, lost = await until_lost(websocket)
        assert messages == [b"hello"]
        assert "TLS failed" in lost.why
        await nothing_works_any_more(websocket)


# Handshake


async def test_the_request_has_one_of_each_header_and_no_origin() -> None:
    requests: list[str] = []

    async def refuse(stream: ByteStream) -> None:
        requests.append((await stream.receive()).decode())
        await stream.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    async with serving(refuse) as address:
        with pytest.raises(HandshakeRefusedError):
            await connect(f"ws://{address}/websocket/v1", CONFIG)
        first, *lines = requests[0].removesuffix("\r\n\r\n").split("\r\n")
        assert first == "GET /websocket/v1 HTTP/1.1"
        names = [line.partition(":")[0].lower() for line in lines]
        assert len(set(names)) == len(names)
        headers = dict(line.lower().split(": ", 1) for line in lines)
        assert "origin" not in headers
        assert headers["host"] == address
        assert headers["sec-websocket-extensions"].startswith("permessage-deflate")


@pytest.mark.parametrize("compression", [True, False])
async def test_compression_is_used_both_ways_if_the_server_has_it(compression: bool) -> None:
    book = b'{"ask_price":1.0,"bid_price":1.0}' * 2000
    async with connected(compression=compression) as (websocket, peer):
        assert bool(peer.protocol.extensions) == compression
        before = peer.bytes_received
        for round in range(3):  # the second message onwards relies on what the first has left in the window
            await websocket.send(book.decode())
            assert (await peer.next_frame()).data == book, round
            await peer.send(book, b"small")
            assert await collect(websocket, 2) == [book, b"small"], round
        assert (peer.bytes_received - before < len(book)) == compression
        assert (peer.bytes_sent < len(book)) == compression


@pytest.mark.parametrize("status", [401, 404, 418, 429, 200, 301])
async def test_a_refused_handshake_has_the_status_and_the_body(status: int) -> None:
    async def refuse(stream: ByteStream) -> None:
        await stream.receive()
        answer = f"HTTP/1.1 {status} No\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n"
        await stream.send(answer.encode() + b"blocked ")
        await stream.send(b"for 60 s")
        await wait_silently(stream)

    async with serving(refuse) as address:
        with pytest.raises(HandshakeRefusedError, match=f"status {status}: blocked for 60 s") as refused:
            await connect(f"ws://{address}/", CONFIG)
        assert (refused.value.status, refused.value.body) == (status, "blocked for 60 s")


async def test_of_a_long_body_the_beginning_is_kept() -> None:
    async def refuse(stream: ByteStream) -> None:
        await stream.receive()
        # Without a length, the body ends with the socket.
        await stream.send(b"HTTP/1.1 403 No\r\n\r\n" + ("가" * 5000).encode())

    async with serving(refuse) as address:
        with pytest.raises(HandshakeRefusedError) as refused:
            await connect(f"ws://{address}/", CONFIG)
        assert refused.value.body.startswith("가가가")
        assert len(refused.value.body) == 1000
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0-OpenSSH_9.6"),
        (b"\x00\xff" * 50_000, ""),  # each version of websockets has its own words
        (b"x" * 5000 + b"\r\n", "xxx"),
        (b"", "connection closed"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n", "connection closed"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "Connection"),
        (
            b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: A\r\n\r\n",
            "Accept",
        ),
    ],
    ids=["another protocol", "garbage", "long", "nothing", "half an answer", "no upgrade", "wrong key"],
)
async def test_an_answer_that_is_no_handshake_fails_the_connect(answer: bytes, told: str) -> None:
    async def misbehave(stream: ByteStream) -> None:
        await stream.receive()
        await stream.send(answer)

    async with serving(misbehave) as address:
        with pytest.raises(ConnectFailedError, match="the answer is no WebSocket handshake") as failed:
            await connect(f"ws://{address}/", CONFIG)
        assert told in failed.value.why
        assert len(failed.value.why) < 300


@pytest.mark.parametrize("is_kept_open", [False, True])
@pytest.mark.parametrize("head", ["", "Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("status", [418, 503])
async def test_a_refusal_whose_body_does_not_end_is_a_refusal(
    status: int, head: str, anyio_backend: str, *, is_kept_open: bool
) -> None:
    """What has come of it counts: it may say for how long to stay away."""

    async def refuse(stream: ByteStream) -> None:
        await stream.receive()
        for part in (f"HTTP/1.1 {status} No\r\n{head}\r", "\nfor ", "60 s"):
            await stream.send(part.encode())
            await anyio.sleep(0.01)
        if is_kept_open:
            await wait_silently(stream)

    async with serving(refuse) as address:
        for client in (connect, trio_websocket.connect):
            if client is trio_websocket.connect and anyio_backend != "trio":
                continue
            with pytest.raises(HandshakeRefusedError, match=f"status {status}") as refused:
                await client(f"ws://{address}/", attrs.evolve(CONFIG, connect_timeout=1.0))
            assert refused.value.status == status
            assert "for " in refused.value.body or "chunked" in head


async def test_a_refusal_that_never_ends_takes_no_more_than_it_may() -> None:
    async def refuse(stream: ByteStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 503 No\r\n\r\n")
        with suppress(anyio.BrokenResourceError):
            while True:
                await stream.send(b"x" * 65536)

    async with serving(refuse) as address:
        with anyio.fail_after(0.9), pytest.raises(HandshakeRefusedError, match="status 503: xxx"):
            await connect(f"ws://{address}/", CONFIG)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Switching Protocols\r\nUpgr"], ids=["silence", "half"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_server_that_does_not_finish_its_answer_costs_the_connect_timeout(scheme: str, answer: bytes) -> None:
    ends: list[bool] = []

    async def stall(stream: ByteStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):  # it may be over before it has begun
            await stream.receive()
            if scheme == "ws":
                await stream.send(answer)
        ends.append(await Peer(stream).at_end())

    async with serving(stall) as address:
        started = anyio.current_time()
        with pytest.raises(ConnectFailedError, match=r"no answer within 0\.1 s"):
            await connect(f"{scheme}://{address}/", IMPATIENT)
        assert 0.09 < anyio.current_time() - started < 1
        while not ends:  # noqa: ASYNC110 -- the server sees the end a moment later
            await anyio.sleep(0.005)


async def test_a_port_that_nobody_listens_on_is_told_in_a_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        for host in ("127.0.0.1", "localhost"):
            with anyio.fail_after(5), pytest.raises(ConnectFailedError, match="connection refused"):
                await connect(f"ws://{host}:{free.getsockname()[1]}/", CONFIG)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no such host"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "Temporary failure"),
    ],
)
async def test_a_name_without_an_address_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, error: OSError, told: str
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with anyio.fail_after(5), pytest.raises(ConnectFailedError, match=told):
        await connect("ws://exchange.invalid/", CONFIG)


@pytest.mark.parametrize(
    "url", ["ws://", "ws://[::1", "ws://host:99999/", "ws://host/#part", "ws://user@host/", "ws://가..나"]
)
async def test_a_url_that_cannot_be_is_a_failed_connect(url: str) -> None:
    with pytest.raises(ConnectFailedError, match="it is not a WebSocket URL"):
        await connect(url, CONFIG)


async def test_a_name_that_no_host_can_have_is_a_failed_connect() -> None:
    for url in (f"ws://{'a' * 70}.invalid/", "ws://a..b/"):
        with anyio.fail_after(5), pytest.raises(ConnectFailedError):
            await connect(url, CONFIG)


async def test_a_name_that_no_certificate_can_have_is_a_failed_connect(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    async with serving(greet, server_tls(authority)) as address:
        port = int(address.rpartition(":")[2])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
        with pytest.raises(ConnectFailedError, match="leading dot"):
            await connect(f"wss://.exchange.invalid:{port}/", CONFIG)


@pytest.mark.parametrize("stage", ["accepted", "request read", "half answered", "tls"])
async def test_cancelling_connect_leaves_no_socket_open(stage: str, authority: trustme.CA) -> None:
    reached, ended = anyio.Event(), anyio.Event()

    async def stall(stream: ByteStream) -> None:
        if stage in ("request read", "half answered"):
            await stream.receive()
        if stage == "half answered":
            await stream.send(b"HTTP/1.1 101 Switching Protocols\r\n")
        reached.set()
        await Peer(stream).at_end()
        ended.set()

    async with serving(stall, server_tls(authority) if stage == "tls" else None) as address:
        async with anyio.create_task_group() as group:
            scheme = "wss" if stage == "tls" else "ws"
            group.start_soon(partial(connect, f"{scheme}://{address}/", CONFIG, ssl_context=trusting(authority)))
            await reached.wait()
            group.cancel_scope.cancel()
        await ended.wait()


async def test_connects_cancelled_at_random_moments_leave_no_socket_open() -> None:
    opened = ended = 0

    async def answer(stream: ByteStream) -> None:
        nonlocal opened, ended
        opened += 1
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            peer = Peer(stream)
            await peer.shake_hands()
            await close_seen_by(peer)
        ended += 1

    moments = random.Random(7)
    async with serving(answer) as address:
        usual = 5.0
        for _ in range(60):
            websocket: WebSocket | None = None
            started = anyio.current_time()
            with anyio.move_on_after(moments.uniform(0, 1.5 * usual)):
                websocket = await connect(f"ws://{address}/", CONFIG)
                usual = min(usual, anyio.current_time() - started)
            if websocket is not None:
                await websocket.aclose()
        while ended < opened:  # noqa: ASYNC110 -- the server sees the ends a moment later
            await anyio.sleep(0.005)


# Messages


async def test_all_messages_of_one_read_are_returned_together_whatever_their_kind() -> None:
    async with connected() as (websocket, peer):
        await peer.send("text", b"binary", "", b"\x00\xff", "김치")
        assert await websocket.receive() == [b"text", b"binary", b"", b"\x00\xff", "김치".encode()]


async def test_messages_right_behind_the_handshake_are_not_lost() -> None:
    frames = [Frame(Opcode.TEXT, b"first"), Frame(Opcode.CLOSE, struct.pack("!H", 1001))]
    async with connected(then=b"".join(frame.serialize(mask=False) for frame in frames)) as (websocket, _):
        messages, lost = await until_lost(websocket)
        assert (messages, lost.code) == ([b"first"], 1001)
        await nothing_works_any_more(websocket)


async def test_a_fragmented_message_is_put_together_around_a_ping() -> None:
    async with connected() as (websocket, peer):
        peer.protocol.send_binary(b"one ", fin=False)
        peer.protocol.send_ping(b"between")
        peer.protocol.send_continuation(b"two ", fin=False)
        peer.protocol.send_continuation(b"", fin=False)
        await peer.flush()
        with anyio.move_on_after(0.02) as scope:
            await websocket.receive()
        assert scope.cancelled_caught
        assert await peer.next_frame() == Frame(Opcode.PONG, b"between")
        peer.protocol.send_continuation(b"three", fin=True)
        await peer.send("whole")
        assert await websocket.receive() == [b"one two three", b"whole"]


async def test_what_is_sent_arrives() -> None:
    async with connected() as (websocket, peer):
        await websocket.send("김치")
        await websocket.send(b"\x00\xff")
        await websocket.send_many([b"one", b"two"])
        await websocket.send("")
        assert [await peer.next_frame() for _ in range(5)] == [
            Frame(Opcode.TEXT, "김치".encode()),
            Frame(Opcode.BINARY, b"\x00\xff"),
            Frame(Opcode.BINARY, b"one"),
            Frame(Opcode.BINARY, b"two"),
            Frame(Opcode.TEXT, b""),
        ]


@pytest.mark.parametrize("compression", [True, False])
@pytest.mark.parametrize("fragments", [1, 5])
async def test_a_message_above_the_limit_ends_the_connection_and_says_so(fragments: int, compression: bool) -> None:
    async with connected(attrs.evolve(CONFIG, max_message_size=10_000), compression=compression) as (websocket, peer):
        # What does not get smaller in compression gets larger, and that counts as well.
        largest = b"largest   " * 1000 if compression else random.Random(7).randbytes(10_000)
        await peer.send(largest)
        assert await collect(websocket, 1) == [largest]
        part = random.Random(7).randbytes(10_005 // fragments)
        for number in range(fragments):
            send = peer.protocol.send_binary if number == 0 else peer.protocol.send_continuation
            send(part, fin=number == fragments - 1)
        await peer.flush()
        messages, lost = await until_lost(websocket)
        assert (messages, lost.code) == ([], 1009)
        assert "a message larger than max_message_size, 10000 bytes" in lost.why
        goodbye = await peer.next_frame()
        assert (goodbye.opcode, goodbye.data[:2]) == (Opcode.CLOSE, struct.pack("!H", 1009))
        await nothing_works_any_more(websocket)


async def test_a_compression_bomb_takes_no_more_memory_than_the_limit() -> None:
    deflate = zlib.compressobj(wbits=-15)
    packed = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(64)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    packed = packed.removesuffix(b"\x00\x00\xff\xff")
    assert len(packed) < 100_000
    async with connected(compression=True) as (websocket, peer):
        tracemalloc.start()
        try:
            await peer.stream.send(struct.pack("!BBQ", 0b1100_0010, 127, len(packed)) + packed)
            _, lost = await until_lost(websocket)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert lost.code == 1009
        assert peak < 8 << 20


class Chopped(ByteStream):
    """A server in memory. What it sends comes in the pieces it was cut into."""

    def __init__(self, sends: Callable[[ServerProtocol], None], cut: Callable[[bytes], Sequence[bytes]]) -> None:
        self._protocol = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()])
        self._sends = sends
        self._cut = cut
        self._pieces: list[bytes] | None = None
        self.answered = self.closed = False
        self.messages: list[bytes] = []

    async def send(self, item: bytes) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
        self._protocol.receive_data(item)
        for event in self._protocol.events_received():
            self.answered = self.answered or (isinstance(event, Frame) and event.opcode is Opcode.PONG)
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self.messages.append(bytes(event.data))
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
                self._sends(self._protocol)
                self._pieces = list(self._cut(b"".join(self._protocol.data_to_send())))

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint()
        assert self._pieces is not None
        while self._pieces:
            if piece := self._pieces.pop(0):
                return piece
        raise anyio.EndOfStream

    async def send_eof(self) -> None:
        raise NotImplementedError  # as over TLS

    async def aclose(self) -> None:
        self.closed = True


def in_two(data: bytes) -> list[bytes]:
    """The answer to the handshake, and what comes behind it."""
    answer, end, rest = data.partition(b"\r\n\r\n")
    return [answer + end, rest]


def returns(stream: ByteStream) -> Callable[..., Awaitable[ByteStream]]:
    """In the place of ``connect_tcp``."""

    async def connect_tcp(*args: object, **kwargs: object) -> ByteStream:
        return stream

    return connect_tcp


async def test_bytes_may_be_cut_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    long = b"long enough for a length in two bytes; " * 4

    def sends(protocol: ServerProtocol) -> None:
        protocol.send_text(b"text")
        protocol.send_ping(b"ping")
        protocol.send_binary(b"one ", fin=False)
        protocol.send_pong(b"unsolicited")
        protocol.send_continuation(b"two", fin=True)
        protocol.send_binary(long)
        protocol.send_binary(long)
        protocol.send_close(1000, "maintenance")

    async def run(cut: Callable[[bytes], Sequence[bytes]]) -> None:
        stream = Chopped(sends, cut)
        monkeypatch.setattr(anyio, "connect_tcp", returns(stream))
        websocket = await connect("ws://127.0.0.1/", CONFIG)
        messages, lost = await until_lost(websocket)
        assert messages == [b"text", b"one two", long, long]
        assert (lost.code, "maintenance" in lost.why) == (1000, True)
        await websocket.aclose()
        assert (stream.answered, stream.closed) == (True, True)

    lengths: list[int] = []
    await run(lambda data: [bytes([byte]) for byte in data])

    def whole(data: bytes) -> list[bytes]:
        lengths.append(len(data))
        return [data]

    await run(whole)
    for cut in range(1, lengths[0]):
        await run(lambda data, cut=cut: [data[:cut], data[cut:]])  # type: ignore[misc]


# Pings


async def test_a_ping_of_the_server_is_answered() -> None:
    async with connected() as (websocket, peer):
        for payload in (b"", b"who is there"):
            peer.protocol.send_ping(payload)
        await peer.send(b"message")
        assert await websocket.receive() == [b"message"]  # first, so that no peer can keep it from us
        async with anyio.create_task_group() as group:
            group.start_soon(websocket.receive)
            assert [await peer.next_frame() for _ in range(2)] == [
                Frame(Opcode.PONG, b""),
                Frame(Opcode.PONG, b"who is there"),
            ]
            group.cancel_scope.cancel()


async def test_a_ping_returns_on_its_pong_and_on_nothing_else() -> None:
    async with connected() as (websocket, peer):
        returned: list[int] = []

        async def ping(number: int) -> None:
            await websocket.ping()
            returned.append(number)

        async with anyio.create_task_group() as group:
            payloads: list[bytes] = []
            for number in range(3):
                group.start_soon(ping, number)
                frame = await peer.next_frame()
                assert frame.opcode is Opcode.PING
                payloads.append(bytes(frame.data))
            assert len(set(payloads)) == 3

            async def pong(payload: bytes) -> list[int]:
                peer.protocol.send_pong(payload)
                await peer.send(b"message")
                assert await websocket.receive() == [b"message"]
                await anyio.wait_all_tasks_blocked()
                return sorted(returned)

            assert await pong(b"nobody asked") == []
            assert await pong(b"") == []
            assert await pong(payloads[0]) == [0]
            # A server may answer several pings with one pong, to the last of them.
            assert await pong(payloads[2]) == [0, 1, 2]
            assert await pong(payloads[1]) == [0, 1, 2]


async def test_a_ping_that_gets_no_pong_before_the_end_says_so() -> None:
    for code in (1000, None):
        async with connected() as (websocket, peer):
            outcome: list[ConnectionLostError] = []

            async def ping(websocket: WebSocket = websocket, outcome: list[ConnectionLostError] = outcome) -> None:
                with pytest.raises(ConnectionLostError) as lost:
                    await websocket.ping()
                outcome.append(lost.value)

            async with anyio.create_task_group() as group:
                group.start_soon(ping)
                await peer.next_frame()
                if code is None:
                    await peer.stream.aclose()
                else:
                    peer.protocol.send_close(code)
                    await peer.flush()
                await until_lost(websocket)
            assert [lost.code for lost in outcome] == [code or 1006]


async def test_a_cancelled_ping_leaves_the_connection_as_it_was() -> None:
    async with connected() as (websocket, peer):
        with anyio.move_on_after(0.02):
            await websocket.ping()
        peer.protocol.send_pong((await peer.next_frame()).data)  # too late
        await peer.send(b"message")
        assert await websocket.receive() == [b"message"]
        async with anyio.create_task_group() as group:
            group.start_soon(websocket.ping)
            peer.protocol.send_pong((await peer.next_frame()).data)
            await peer.send(b"another")
            assert await websocket.receive() == [b"another"]


# The end


async def test_a_close_of_the_server_has_its_code_and_reason_and_comes_after_the_messages() -> None:
    async with connected() as (websocket, peer):
        peer.protocol.send_binary(b"last words")
        peer.protocol.send_close(1012, "점검")
        await peer.flush()
        messages, lost = await until_lost(websocket)
        assert (messages, lost.code) == ([b"last words"], 1012)
        assert "code 1012 (점검)" in lost.why
        assert await peer.next_frame() == Frame(Opcode.CLOSE, struct.pack("!H", 1012) + "점검".encode())
        await nothing_works_any_more(websocket)


async def test_a_close_without_a_code_is_a_close() -> None:
    async with connected() as (websocket, peer):
        await peer.stream.send(Frame(Opcode.CLOSE, b"").serialize(mask=False))
        _, lost = await until_lost(websocket)
        assert lost.code == 1005


@pytest.mark.parametrize("way", ["end", "reset", "half a frame"])
async def test_an_end_without_a_close_frame_has_code_1006(way: str) -> None:
    async with connected() as (websocket, peer):
        await peer.send(b"last words")
        assert await websocket.receive() == [b"last words"]
        if way == "half a frame":
            await peer.stream.send(Frame(Opcode.BINARY, b"x" * 200).serialize(mask=False)[:-1])
        await (peer.reset() if way == "reset" else peer.stream.aclose())
        messages, lost = await until_lost(websocket)
        assert (messages, lost.code) == ([], 1006)
        assert "without a close frame" in lost.why
        assert ("Connection reset by peer" in lost.why) == (way == "reset")
        await nothing_works_any_more(websocket)


async def test_a_server_that_breaks_the_protocol_is_left() -> None:
    async with connected() as (websocket, peer):
        await peer.stream.send(Frame(Opcode.TEXT, b"fine").serialize(mask=False) + b"\xff\xff\xff\xff")
        messages, lost = await until_lost(websocket)
        assert (messages, lost.code) == ([b"fine"], 1002)
        await nothing_works_any_more(websocket)


async def test_sending_into_a_connection_that_is_gone_says_so() -> None:
    async with connected() as (websocket, peer):
        await peer.reset()
        with pytest.raises(ConnectionLostError):
            while True:  # the kernel takes the first of them
                await websocket.send("x" * 1000)
        with pytest.raises(ConnectionLostError):
            await websocket.send("x")
        with pytest.raises(ConnectionLostError):
            await websocket.ping()
        await until_lost(websocket)
        await nothing_works_any_more(websocket)


@pytest.mark.parametrize("attempt", [WebSocket.ping, lambda websocket: websocket.send("x")], ids=["ping", "send"])
async def test_a_message_from_before_the_end_is_read_even_if_sending_failed_first(
    attempt: Callable[[WebSocket], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What was sent last tells why the connection ended. A failure to send must not hide it.
    failing = anyio.Event()

    class Failing(Chopped):
        async def send(self, item: bytes) -> None:
            if failing.is_set():
                raise anyio.BrokenResourceError
            await super().send(item)

    def sends(protocol: ServerProtocol) -> None:
        protocol.send_binary(b"last words")
        protocol.send_close(1012)

    monkeypatch.setattr(anyio, "connect_tcp", returns(Failing(sends, in_two)))
    websocket = await connect("ws://127.0.0.1/", CONFIG)
    failing.set()
    with anyio.fail_after(5), pytest.raises(ConnectionLostError, match="nothing can be sent any more"):
        await attempt(websocket)
    messages, lost = await until_lost(websocket)
    assert (messages, lost.code) == ([b"last words"], 1012)
    await nothing_works_any_more(websocket)


# Closing


async def close_seen_by(peer: Peer) -> Frame:
    """The client's close frame; the server answers it and closes the socket, as servers do."""
    peer.answers = True
    frame = await peer.next_frame()
    await peer.flush()
    await peer.stream.aclose()
    return frame


async def test_closing_says_goodbye_and_waits_for_the_answer() -> None:
    async with connected(attrs.evolve(CONFIG, close_timeout=5.0)) as (websocket, peer):
        await peer.send(b"nobody reads this any more")
        async with anyio.create_task_group() as group:
            started = anyio.current_time()
            group.start_soon(websocket.aclose)
            assert await close_seen_by(peer) == Frame(Opcode.CLOSE, struct.pack("!H", 1000))
        assert anyio.current_time() - started < 1
        with pytest.raises(ConnectionLostError, match="closed here with code 1000"):
            await websocket.receive()
        await nothing_works_any_more(websocket)


@pytest.mark.parametrize("still_sends", [False, True])
async def test_a_server_that_never_answers_the_goodbye_costs_the_close_timeout(still_sends: bool) -> None:
    async with connected() as (websocket, peer):
        async with anyio.create_task_group() as group:

            async def babble() -> None:
                with suppress(anyio.BrokenResourceError):
                    while True:
                        await peer.send(b"x" * 1000)

            if still_sends:
                group.start_soon(babble)
            started = anyio.current_time()
            await websocket.aclose()
            assert 0.19 < anyio.current_time() - started < 1
            group.cancel_scope.cancel()
        assert await peer.at_end()
        await nothing_works_any_more(websocket)


async def test_a_cancelled_close_closes_by_force_at_once() -> None:
    async with connected(attrs.evolve(CONFIG, close_timeout=5.0)) as (websocket, peer):
        started = anyio.current_time()
        with anyio.move_on_after(0.02):
            await websocket.aclose()
        assert await peer.at_end()
        assert anyio.current_time() - started < 1
        await nothing_works_any_more(websocket)
    async with connected() as (websocket, peer):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await websocket.aclose()
        assert await peer.at_end()
        await nothing_works_any_more(websocket)


async def test_closing_ends_who_receives_and_who_waits_for_a_pong() -> None:
    async with connected(attrs.evolve(CONFIG, close_timeout=5.0)) as (websocket, peer):
        ended: list[str] = []

        async def expect_loss(attempt: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(ConnectionLostError) as lost:
                await attempt()
            ended.append(lost.value.why)

        async with anyio.create_task_group() as group:
            group.start_soon(expect_loss, websocket.receive)
            group.start_soon(expect_loss, websocket.ping)
            assert (await peer.next_frame()).opcode is Opcode.PING
            await anyio.wait_all_tasks_blocked()
            closed = anyio.Event()

            async def close() -> None:
                await websocket.aclose()
                closed.set()

            group.start_soon(close)
            peer.answers = True
            assert (await peer.next_frame()).opcode is Opcode.CLOSE
            await anyio.wait_all_tasks_blocked()
            # That somebody else receives does not keep it from waiting for the answer.
            assert not closed.is_set()
            await peer.flush()
            await peer.stream.aclose()
        assert ended == ["closed here with code 1000"] * 2


async def test_closing_ends_who_waits_for_a_pong_though_nobody_receives() -> None:
    async with connected() as (websocket, peer):
        async with anyio.create_task_group() as group:

            async def ping() -> None:
                with pytest.raises(ConnectionLostError, match="closed here"):
                    await websocket.ping()

            group.start_soon(ping)
            assert (await peer.next_frame()).opcode is Opcode.PING
            group.start_soon(websocket.aclose)
            await close_seen_by(peer)


async def test_closing_ends_a_send_to_a_server_that_does_not_read() -> None:
    async with connected() as (websocket, peer):
        async with anyio.create_task_group() as group:

            async def send() -> None:
                with pytest.raises(ConnectionLostError):
                    await websocket.send(bytes(TOO_MUCH))

            group.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            started = anyio.current_time()
            await websocket.aclose()
            assert anyio.current_time() - started < 1
        assert await peer.at_end()


# Cancelling, and several tasks at once


async def test_cancelling_receive_at_any_moment_loses_nothing() -> None:
    count = 3000
    async with connected(compression=True) as (websocket, peer):
        moments = random.Random(7)

        async def send() -> None:
            number = 0
            while number < count:
                # A ping in each write makes the reader write as well.
                peer.protocol.send_ping(b"?")
                burst = range(number, min(count, number + moments.randint(1, 20)))
                await peer.send(*(b"%d" % each for each in burst))
                number = burst.stop
                if moments.random() < 0.3:
                    await anyio.sleep(moments.uniform(0, 0.002))

        received: list[int] = []
        cancelled = 0
        async with anyio.create_task_group() as group:
            group.start_soon(send)
            while len(received) < count:
                with anyio.move_on_after(moments.choice([0, 0, 0.0002, 0.001])) as scope:
                    received += map(int, await websocket.receive())
                cancelled += scope.cancelled_caught
        assert received == list(range(count))
        assert cancelled > 20
        # All the pongs have gone out whole, too.
        await websocket.send("still well")
        while (frame := await peer.next_frame()).opcode is Opcode.PONG:
            assert frame.data == b"?"
        assert frame.data == b"still well"


async def test_many_tasks_send_and_ping_while_one_receives() -> None:
    senders, count = 10, 40
    async with connected(compression=True) as (websocket, peer):

        async def echo() -> None:
            peer.answers = True
            while True:
                frame = await peer.next_frame()
                if frame.opcode is Opcode.TEXT:
                    peer.protocol.send_text(frame.data)
                await peer.flush()  # the pongs, too

        async def send(sender: int) -> None:
            for number in range(count):
                await websocket.send(f"{sender} {number} {'x' * number * 10}")
                if number % 10 == 0:
                    await websocket.ping()

        async with anyio.create_task_group() as group:
            group.start_soon(echo)
            for sender in range(senders):
                group.start_soon(send, sender)
            messages = await collect(websocket, senders * count)
            # The last pings have their pongs behind the last message.
            with anyio.move_on_after(0.05):
                await websocket.receive()
            group.cancel_scope.cancel()
        for sender in range(senders):
            own = [message.decode() for message in messages if message.split()[0] == b"%d" % sender]
            assert own == [f"{sender} {number} {'x' * number * 10}" for number in range(count)]


async def test_a_send_to_a_server_that_does_not_read_keeps_nobody_from_receiving() -> None:
    async with connected() as (websocket, peer):
        async with anyio.create_task_group() as group:
            group.start_soon(websocket.send, bytes(TOO_MUCH))
            await anyio.wait_all_tasks_blocked()
            for number in range(3):
                peer.protocol.send_ping(b"%d" % number)
                await peer.send(b"message")
                assert await websocket.receive() == [b"message"]
            # As soon as the server reads, it gets all there is.
            assert len((await peer.next_frame()).data) == TOO_MUCH
            assert [(await peer.next_frame()).data for _ in range(3)] == [b"0", b"1", b"2"]


async def test_after_a_send_was_cut_in_two_nothing_follows_it() -> None:
    async with connected() as (websocket, peer):
        with anyio.move_on_after(0.05) as scope:
            await websocket.send(bytes(TOO_MUCH))
        assert scope.cancelled_caught
        with pytest.raises(ConnectionLostError, match="cut off half way"):
            await websocket.send("this would be taken for a part of the other")
        with pytest.raises(ConnectionLostError):
            await websocket.ping()
        # Receiving still works, until the connection is closed, which does not wait for an answer to no goodbye.
        await peer.send(b"message")
        assert await websocket.receive() == [b"message"]
        started = anyio.current_time()
        await websocket.aclose()
        assert anyio.current_time() - started < 0.15


class Gated(Chopped):
    """A stream that takes what it is given when the gate opens. Once it has begun, it may be cancelled or not."""

    def __init__(self, *, cancellable: bool) -> None:
        super().__init__(lambda protocol: protocol.send_ping(b"?"), in_two)
        self.gate = anyio.Event()
        self.gate.set()
        self._cancellable = cancellable

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()
        with anyio.CancelScope(shield=not self._cancellable):
            await self.gate.wait()
        await super().send(item)


@pytest.mark.parametrize("close_timeout", [5.0, 0.3])
async def test_a_receive_that_is_cancelled_in_the_middle_of_a_pong_sends_it_whole_if_that_takes_no_longer_than_a_close(
    close_timeout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Gated(cancellable=True)
    monkeypatch.setattr(anyio, "connect_tcp", returns(stream))
    websocket = await connect("ws://127.0.0.1/", attrs.evolve(CONFIG, close_timeout=close_timeout))
    stream.gate = anyio.Event()

    async def receive() -> None:
        # Where the machine is so slow that the pong is given up before the cancellation comes.
        with suppress(ConnectionLostError):
            await websocket.receive()

    with anyio.fail_after(3):
        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
            if close_timeout > 1:
                stream.gate.set()
    stream.gate.set()
    if close_timeout > 1:
        await websocket.send("one")
        assert (stream.answered, stream.messages) == (True, [b"one"])
    else:
        with pytest.raises(ConnectionLostError, match="cut off half way"):
            await websocket.send("one")
        assert not stream.answered


async def test_a_send_that_is_cancelled_takes_nothing_of_others_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Gated(cancellable=False)
    monkeypatch.setattr(anyio, "connect_tcp", returns(stream))
    websocket = await connect("ws://127.0.0.1/", CONFIG)
    stream.gate = anyio.Event()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as others, anyio.create_task_group() as cancelled:
            cancelled.start_soon(websocket.send, "one")
            await anyio.wait_all_tasks_blocked()
            others.start_soon(websocket.send, "two")
            await anyio.wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
            stream.gate.set()
    assert stream.messages == [b"one", b"two"]
    await websocket.send("three")
    assert stream.messages == [b"one", b"two", b"three"]


async def test_a_send_that_was_cancelled_before_it_began_leaves_the_connection_as_it_was() -> None:
    async with connected() as (websocket, peer):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await websocket.send("first")
        await websocket.send("second")
        assert [(await peer.next_frame()).data for _ in range(2)] == [b"first", b"second"]
