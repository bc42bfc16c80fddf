"""The default transport: the sans-IO protocol of ``websockets`` over any anyio byte stream, on both backends."""

import logging
import os
import socket
import ssl
from collections.abc import Sequence
from functools import cache
from itertools import count

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint_if_cancelled
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI, PayloadTooBig
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import CONNECTING, OPEN, Protocol
from websockets.uri import parse_uri

from ..exceptions import ConnectFailedError, ConnectionLostError, HandshakeRefusedError
from ..model.config import Config

__all__ = ["WebSocket", "connect", "quiet"]

# Several dozen frames of the exchange fit into one read of this size.
_READ_SIZE = 1 << 16
_SAMPLE = 200
"""How much of what a server sent instead of a handshake is shown."""

# All that a stream raises when the connection is at its end. TLS errors are OSErrors, and over TLS a read may have to
# write: it finds the stream busy then, and cannot go on.
_ENDED = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,
    OSError,
)

# At DEBUG the protocol would log every frame and the headers of the handshake. It may say only what is wrong.
quiet = logging.getLogger("upbit_streams.websocket")
quiet.setLevel(logging.WARNING)


class WebSocket:
    """A WebSocket after its handshake, of either side: a protocol without I/O, and the byte stream it runs over.

    It is a :class:`~upbit_streams.transport.interface.Transport`.
    """

    def __init__(self, protocol: Protocol, stream: ByteStream, close_timeout: float) -> None:
        self._protocol = protocol
        self._stream = stream
        self._close_timeout = close_timeout
        # The reader answers pings while other tasks send, and closing reads until the peer has said goodbye; but a
        # stream takes one sender and one reader at a time.
        self._sending = anyio.Lock(fast_acquire=True)
        self._receiving = anyio.Lock(fast_acquire=True)
        # What the protocol has said and the stream was not given yet. Invariant: whoever holds `_sending` sends it.
        self._unsent: list[bytes] = []
        # Why nothing can be sent any more, as a frame may have been cut in two; empty while all is well.
        self._send_failure = ""
        self._end = ""
        self._fragments: list[bytes] = []
        # The pings without an answer, oldest first.
        self._pings: dict[bytes, anyio.Event] = {}
        self._ping_payloads = count()
        self._heard_at = anyio.current_time()

    def idle_seconds(self) -> float:
        """How long ago the peer was last heard, pings and pongs included."""
        return anyio.current_time() - self._heard_at

    async def receive(self) -> Sequence[bytes]:
        async with self._receiving:
            while True:
                # Taken out and returned without an await between: a cancellation finds them still in the protocol.
                if messages := self._messages():
                    return messages
                # Only now, with nothing left to hand out: a peer that reads nothing can keep us here for a while.
                await self._answer()
                if self._protocol.state is not OPEN:
                    self._release_pings()
                    raise self._lost()
                await self._read()

    async def send(self, message: str | bytes) -> None:
        self._check_open()
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        await self._flush()
        self._check_sent()

    async def send_many(self, messages: Sequence[bytes]) -> None:
        """Send binary messages in as few writes as the stream takes. Cancelling it is like cancelling :meth:`send`."""
        self._check_open()
        for message in messages:
            self._protocol.send_binary(message)
        await self._flush()
        self._check_sent()

    async def ping(self) -> None:
        self._check_open()
        payload = next(self._ping_payloads).to_bytes(8, "big")
        answered = self._pings[payload] = anyio.Event()
        try:
            self._protocol.send_ping(payload)
            await self._flush()
            self._check_sent()
            await answered.wait()
        finally:
            unanswered = self._pings.pop(payload, None)
        if unanswered is not None:
            raise self._lost()

    async def aclose(self, code: int = 1000) -> None:
        try:
            with anyio.move_on_after(self._close_timeout):
                if self._protocol.state is OPEN:
                    self._protocol.send_close(code)
                await self._flush()
                async with self._receiving:
                    # It is the server that closes the socket, as soon as both have said goodbye. The client waits for
                    # that; both sides' protocols tell by their end when there is nothing to wait for.
                    while not (self._protocol.eof_sent or self._send_failure):
                        await self._read()
                        self._protocol.events_received()
                        await self._answer()
        finally:
            self._release_pings()
            await anyio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        """Wait for one read of the stream, and give it to the protocol."""
        try:
            data = await self._stream.receive(_READ_SIZE)
        except _ENDED as why:
            self._end = "" if isinstance(why, anyio.EndOfStream) else f" ({_reason(why)})"
            self._protocol.receive_eof()
        else:
            self._heard_at = anyio.current_time()
            self._protocol.receive_data(data)

    async def _answer(self) -> None:
        """Send what the protocol has to say to what was read: pongs, and the reply to a close."""
        self._unsent += self._protocol.data_to_send()
        # A sender that waits for a peer which reads nothing must not keep us from reading what that peer sends.
        if self._unsent and not self._sending.locked():
            # Whoever cancels a receive() must not cut a pong in two, which would cost the connection.
            with anyio.move_on_after(self._close_timeout, shield=True):
                await self._flush()

    def _messages(self) -> list[bytes]:
        messages: list[bytes] = []
        for frame in self._protocol.events_received():
            if not isinstance(frame, Frame):
                continue  # the handshake's own event
            if frame.opcode is Opcode.PONG:
                self._take_pong(bytes(frame.data))
            elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                if frame.fin and not self._fragments:
                    messages.append(bytes(frame.data))
                    continue
                self._fragments.append(bytes(frame.data))
                if frame.fin:
                    messages.append(b"".join(self._fragments))
                    self._fragments.clear()
        return messages

    def _take_pong(self, payload: bytes) -> None:
        # A pong may be one that nobody asked for; otherwise it answers its ping and all before (RFC 6455, 5.5.3).
        while payload in self._pings:
            self._pings.pop(next(iter(self._pings))).set()

    def _release_pings(self) -> None:
        """Let go who waits for a pong; they find that there was none."""
        for answered in self._pings.values():
            answered.set()

    async def _flush(self) -> None:
        """Send all that the protocol has to say, or leave a reason in ``_send_failure``."""
        async with self._sending:
            while True:
                # A cancellation that comes before the stream has begun takes nothing away.
                await checkpoint_if_cancelled()
                chunks = [*self._unsent, *self._protocol.data_to_send()]
                self._unsent.clear()
                # An empty chunk asks to close our side. Over TLS that cannot be done alone; closing follows anyway.
                data = b"".join(chunks)
                if not data or self._send_failure:
                    return
                try:
                    await self._stream.send(data)
                except _ENDED as why:
                    # The reader goes on: what the peer has sent before, above all why it closed, is still to be read.
                    self._send_failure = f"nothing can be sent any more ({_reason(why)})"
                except BaseException:
                    self._send_failure = "nothing can be sent any more, as a send was cut off half way"
                    raise

    def _check_open(self) -> None:
        if self._protocol.state is not OPEN:
            raise self._lost()
        self._check_sent()

    def _check_sent(self) -> None:
        if self._send_failure:
            raise self._lost()

    def _lost(self) -> ConnectionLostError:
        protocol = self._protocol
        received, sent = protocol.close_rcvd, protocol.close_sent
        if received is not None and protocol.close_rcvd_then_sent is not False:
            told = f" ({received.reason})" if received.reason else ""
            return ConnectionLostError(f"the exchange closed it with code {received.code}{told}", received.code)
        if isinstance(protocol.parser_exc, PayloadTooBig):
            return ConnectionLostError(
                f"the exchange sent a message larger than max_message_size, {protocol.parser_exc.max_size} bytes", 1009
            )
        if sent is not None:
            told = f" ({sent.reason})" if sent.reason else ""
            return ConnectionLostError(f"closed here with code {sent.code}{told}", sent.code)
        if protocol.state is OPEN:
            return ConnectionLostError(self._send_failure)
        return ConnectionLostError(f"the socket ended without a close frame{self._end}")


async def connect(url: str, config: Config, *, ssl_context: ssl.SSLContext | None = None) -> WebSocket:
    """Connect and shake hands. The default :data:`~upbit_streams.transport.interface.Connector`.

    TLS verifies the certificate and the host's name against the system's authorities, or by ``ssl_context``.
    Compression is offered. No ``Origin`` is sent: the exchange lets a connection with one in only every ten seconds
    (protocol section 7).
    """
    try:
        with anyio.fail_after(config.connect_timeout):
            return await _connect(url, config, ssl_context)
    except TimeoutError:
        raise ConnectFailedError(url, f"no answer within {config.connect_timeout:g} s") from None


async def _connect(url: str, config: Config, ssl_context: ssl.SSLContext | None) -> WebSocket:
    try:
        uri = parse_uri(url)
    except (InvalidURI, ValueError) as why:
        told = why.msg if isinstance(why, InvalidURI) else why
        raise ConnectFailedError(url, f"it is not a WebSocket URL ({told})") from None
    try:
        stream: ByteStream
        if uri.secure:
            stream = await anyio.connect_tcp(
                uri.host,
                uri.port,
                ssl_context=ssl_context or _system_authorities(),
                tls=True,
                # The exchange drops idle sockets without a TLS goodbye; that is an end like any other.
                tls_standard_compatible=False,
            )
        else:
            stream = await anyio.connect_tcp(uri.host, uri.port)
    except (*_ENDED, ValueError) as why:  # the latter for a name that no host can have
        raise ConnectFailedError(url, _reason(why)) from why
    try:
        protocol = ClientProtocol(
            uri,
            extensions=[ClientPerMessageDeflateFactory()],
            max_size=config.max_message_size,
            logger=quiet,
        )
        protocol.send_request(protocol.connect())
        websocket = WebSocket(protocol, stream, config.close_timeout)
        await websocket._flush()
        # Whatever has come behind the handshake, even a goodbye, stays in the protocol for the first receive().
        while protocol.state is CONNECTING and protocol.handshake_exc is None:
            await websocket._read()
        if isinstance(protocol.handshake_exc, InvalidStatus):
            response = protocol.handshake_exc.response
            body = bytes(response.body or b"")[:_SAMPLE].decode("utf-8", "replace").strip()
            raise HandshakeRefusedError(url, response.status_code, body)
        if protocol.handshake_exc is not None:
            told = str(protocol.handshake_exc.__cause__ or protocol.handshake_exc)[:_SAMPLE]
            raise ConnectFailedError(url, f"the answer is no WebSocket handshake ({told})")
        return websocket
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


@cache
def _system_authorities() -> ssl.SSLContext:
    # Loading them takes some 50 ms, in which nothing else runs. A reconnect must not cost the other connections that.
    return ssl.create_default_context()


def _reason(why: BaseException) -> str:
    """What went wrong, in words that a person can act on."""
    while why.__cause__ is not None:
        why = why.__cause__
    if isinstance(why, BaseExceptionGroup):
        why = why.exceptions[0]
    if isinstance(why, socket.gaierror):
        return "no such host" if why.errno == socket.EAI_NONAME else str(why.strerror)
    if isinstance(why, ConnectionRefusedError):
        return "connection refused, nothing listens there"
    if isinstance(why, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({why.verify_message})"
    if isinstance(why, ssl.SSLError):
        return f"TLS failed ({(why.reason or str(why)).replace('_', ' ').lower()})"
    if isinstance(why, OSError) and why.errno is not None:
        return os.strerror(why.errno)  # its own text is another one on each backend
    if isinstance(why, anyio.EndOfStream):
        return "it hung up"
    return str(why) or type(why).__name__
