"""The default transport: the sans-IO protocol of ``websockets`` over any anyio byte stream, on both backends."""

import logging
import socket
import ssl
from collections.abc import Sequence
from itertools import count

import anyio
from anyio.abc import ByteStream
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol
from websockets.uri import parse_uri

from ..exceptions import ConnectFailedError, ConnectionLostError, HandshakeRefusedError
from ..model.config import Config

__all__ = ["WebSocket", "connect", "quiet"]

# Several dozen frames of the exchange fit into one read of this size.
_READ_SIZE = 1 << 16
_BODY_SAMPLE = 200

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
        # The reader answers pings while other tasks send, and a stream takes one sender at a time.
        self._sending = anyio.Lock()
        self._fragments: list[bytes] = []
        self._pings: dict[bytes, anyio.Event] = {}
        self._ping_payloads = count()
        self._heard_at = anyio.current_time()

    def idle_seconds(self) -> float:
        """How long ago the peer was last heard, pings and pongs included."""
        return anyio.current_time() - self._heard_at

    async def receive(self) -> Sequence[bytes]:
        while True:
            # Taken out and returned without an await between: a cancellation finds them still in the protocol.
            if messages := self._messages():
                return messages
            if self._protocol.state is not OPEN:
                raise self._lost()
            try:
                data = await self._stream.receive(_READ_SIZE)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._protocol.receive_eof()
            else:
                self._heard_at = anyio.current_time()
                self._protocol.receive_data(data)
            await self._flush()

    async def send(self, message: str | bytes) -> None:
        if self._protocol.state is not OPEN:
            raise self._lost()
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        await self._flush()

    async def send_many(self, messages: Sequence[bytes]) -> None:
        """Send binary messages in as few writes as the stream takes."""
        if self._protocol.state is not OPEN:
            raise self._lost()
        for message in messages:
            self._protocol.send_binary(message)
        await self._flush()

    async def ping(self) -> None:
        if self._protocol.state is not OPEN:
            raise self._lost()
        payload = next(self._ping_payloads).to_bytes(4, "big")
        answered = self._pings[payload] = anyio.Event()
        try:
            self._protocol.send_ping(payload)
            await self._flush()
            await answered.wait()
        finally:
            self._pings.pop(payload, None)

    async def aclose(self, code: int = 1000) -> None:
        try:
            with anyio.move_on_after(self._close_timeout):
                if self._protocol.state is OPEN:
                    self._protocol.send_close(code)
                    await self._flush()
                while True:  # until the peer has answered and closed its side
                    self._protocol.receive_data(await self._stream.receive(_READ_SIZE))
                    self._protocol.events_received()
                    await self._flush()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionLostError):
            pass
        finally:
            await anyio.aclose_forcefully(self._stream)

    def _messages(self) -> list[bytes]:
        messages: list[bytes] = []
        for frame in self._protocol.events_received():
            if not isinstance(frame, Frame):
                continue  # the handshake's own event
            if frame.opcode is Opcode.PONG:
                # The protocol allows pongs that nobody asked for.
                if answered := self._pings.get(bytes(frame.data)):
                    answered.set()
            elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                if frame.fin and not self._fragments:
                    messages.append(bytes(frame.data))
                    continue
                self._fragments.append(bytes(frame.data))
                if frame.fin:
                    messages.append(b"".join(self._fragments))
                    self._fragments.clear()
        return messages

    async def _flush(self) -> None:
        async with self._sending:
            if not (chunks := self._protocol.data_to_send()):
                return
            try:
                # An empty chunk asks to close our side. Over TLS that cannot be done alone; closing follows anyway.
                if data := b"".join(chunks):
                    await self._stream.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._protocol.receive_eof()

    def _lost(self) -> ConnectionLostError:
        received, sent = self._protocol.close_rcvd, self._protocol.close_sent
        if received is not None:
            told = f" ({received.reason})" if received.reason else ""
            return ConnectionLostError(f"the exchange closed it with code {received.code}{told}", received.code)
        if sent is not None:
            return ConnectionLostError(f"closed here with code {sent.code} ({sent.reason})", sent.code)
        return ConnectionLostError("the socket ended without a close frame")


async def connect(url: str, config: Config, *, ssl_context: ssl.SSLContext | None = None) -> WebSocket:
    """Connect and shake hands. The default :data:`~upbit_streams.transport.interface.Connector`.

    TLS verifies the certificate and the host's name against the system's authorities, or by ``ssl_context``. Compression is
    offered. No ``Origin`` is sent: the exchange lets a connection with one in only every ten seconds (protocol section 7).
    """
    try:
        with anyio.fail_after(config.connect_timeout):
            return await _connect(url, config, ssl_context)
    except TimeoutError:
        raise ConnectFailedError(url, f"no answer within {config.connect_timeout:g} s") from None


async def _connect(url: str, config: Config, ssl_context: ssl.SSLContext | None) -> WebSocket:
    uri = parse_uri(url)
    try:
        stream: ByteStream
        if uri.secure:
            stream = await anyio.connect_tcp(
                uri.host,
                uri.port,
                ssl_context=ssl_context or ssl.create_default_context(),
                tls=True,
                # The exchange drops idle sockets without a TLS goodbye; that is an end like any other.
                tls_standard_compatible=False,
            )
        else:
            stream = await anyio.connect_tcp(uri.host, uri.port)
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as why:
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
        while protocol.state is not OPEN and protocol.handshake_exc is None:
            try:
                protocol.receive_data(await stream.receive(_READ_SIZE))
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                protocol.receive_eof()
        if isinstance(protocol.handshake_exc, InvalidStatus):
            response = protocol.handshake_exc.response
            body = bytes(response.body or b"")[:_BODY_SAMPLE].decode("utf-8", "replace").strip()
            raise HandshakeRefusedError(url, response.status_code, body)
        if protocol.handshake_exc is not None:
            raise ConnectFailedError(url, f"the answer is no WebSocket handshake ({protocol.handshake_exc})")
        return websocket
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


def _reason(why: BaseException) -> str:
    """What went wrong, in words that a person can act on."""
    while why.__cause__ is not None:
        why = why.__cause__
    if isinstance(why, BaseExceptionGroup):
        why = why.exceptions[0]
    if isinstance(why, socket.gaierror):
        return "no such host"
    if isinstance(why, ConnectionRefusedError):
        return "connection refused, nothing listens there"
    if isinstance(why, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({why.verify_message})"
    return str(why) or type(why).__name__
