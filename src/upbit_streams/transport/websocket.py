"""The default transport: the sans-IO protocol of ``websockets`` over any anyio byte stream, on both backends."""

import codecs
import logging
import ssl
import traceback
from collections.abc import Sequence
from itertools import count

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint_if_cancelled
from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import CONNECTING, OPEN, Protocol

from ..exceptions import ConnectFailedError, ConnectionLostError
from ..model.config import Config, check_login
from ..model.secret import Secret
from .handshake import HandshakeStream
from .interface import Dial
from .opening import ENDED, check_verifies, opened, parsed, reason, refusal

__all__ = ["WebSocket", "connect", "quiet"]

# Several dozen frames of the exchange fit into one read of this size.
_READ_SIZE = 1 << 16

# A message may come in so many fragments. An empty one adds nothing to the message's size, but it takes memory here.
_MOST_FRAGMENTS = 4096

_utf8 = codecs.getincrementaldecoder("utf-8")

# At DEBUG the protocol would log every frame and the headers of the handshake, a login token among them. It may say
# only what is wrong; and nobody can find it by its name to let it say more.
quiet = logging.Logger("upbit_streams.websocket", logging.WARNING)  # noqa: LOG001
quiet.parent = logging.getLogger("upbit_streams")


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
        # Checks the text that comes in fragments; None while no text does.
        self._text: codecs.IncrementalDecoder | None = None
        # What is wrong with a message that the protocol itself lets pass; None while nothing is.
        self._refused: ConnectionLostError | None = None
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
        except ENDED as why:
            self._end = "" if isinstance(why, anyio.EndOfStream) else f" ({reason(why)})"
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
            elif frame.opcode is Opcode.BINARY and frame.fin:
                messages.append(bytes(frame.data))
            elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                messages += self._put_together(frame, bytes(frame.data))
            if self._refused is not None:
                break
        return messages

    def _put_together(self, frame: Frame, data: bytes) -> list[bytes]:
        """Take a fragment, or a text. Returns the message if this was its end, and refuses one that may not be."""
        if frame.opcode is Opcode.TEXT:
            self._text = _utf8()
        if self._text is not None:
            try:
                # A character may be cut by the end of a fragment, but not by the end of the message.
                self._text.decode(data, frame.fin)
            except UnicodeDecodeError as why:
                self._refuse(CloseCode.INVALID_DATA, f"a text that is not UTF-8 ({why.reason})")
                return []
        self._fragments.append(data)
        if not frame.fin:
            if len(self._fragments) >= _MOST_FRAGMENTS:
                self._refuse(CloseCode.MESSAGE_TOO_BIG, f"a message in more than {_MOST_FRAGMENTS} fragments")
            return []
        message = b"".join(self._fragments)
        self._fragments.clear()
        self._text = None
        return [message]

    def _refuse(self, code: CloseCode, what: str) -> None:
        """Close the connection, as the peer has sent what it must not."""
        self._refused = ConnectionLostError(f"the exchange sent {what}", code)
        self._fragments.clear()
        if self._protocol.state is OPEN:
            self._protocol.fail(code, what)

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
                except ENDED as why:
                    # The reader goes on: what the peer has sent before, above all why it closed, is still to be read.
                    self._send_failure = f"nothing can be sent any more ({reason(why)})"
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
        if self._refused is not None:
            return ConnectionLostError(self._refused.why, self._refused.code)
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


async def connect(
    url: str,
    config: Config,
    token: Secret | None = None,
    *,
    ssl_context: ssl.SSLContext | None = None,
    dial: Dial | None = None,
) -> WebSocket:
    """Connect and shake hands. The default :data:`~upbit_streams.transport.interface.Connector`.

    TLS verifies the certificate and the host's name against the system's authorities, or those of ``ssl_context``,
    which cannot leave that out: raises :class:`InvalidConfigError` for one that does. Compression is offered. No
    ``Origin`` is sent: the exchange lets a connection with one in only every ten seconds (protocol section 7).
    ``dial`` opens the stream that all this goes over; the default is a TCP socket.
    """
    check_verifies(ssl_context)
    if token is not None:
        check_login(url)
    try:
        with anyio.fail_after(config.connect_timeout):
            return await _connect(url, config, token, ssl_context, dial)
    except TimeoutError:
        raise ConnectFailedError(url, f"no answer within {config.connect_timeout:g} s") from None


async def _connect(
    url: str, config: Config, token: Secret | None, ssl_context: ssl.SSLContext | None, dial: Dial | None
) -> WebSocket:
    uri = parsed(url)
    stream = await opened(uri, url, ssl_context, dial)
    handshake = HandshakeStream(stream)
    try:
        protocol = ClientProtocol(
            uri,
            extensions=[ClientPerMessageDeflateFactory()],
            max_size=config.max_message_size,
            logger=quiet,
        )
        _request(protocol, token)
        websocket = WebSocket(protocol, handshake, config.close_timeout)
        await websocket._flush()
        # Whatever has come behind the handshake, even a goodbye, stays in the protocol for the first receive().
        while protocol.state is CONNECTING and protocol.handshake_exc is None:
            await websocket._read()
        if protocol.handshake_exc is not None:
            raise refusal(protocol.handshake_exc, handshake, url, token)
        websocket._stream = stream
        return websocket
    except BaseException as why:
        # What a send that was cut off has in its hands is the token.
        traceback.clear_frames(why.__traceback__)
        await anyio.aclose_forcefully(stream)
        raise


def _request(protocol: ClientProtocol, token: Secret | None) -> None:
    """Say that we want a WebSocket. What is said has the token in it, so it is kept out of frames that may fail."""
    request = protocol.connect()
    if token is not None:
        request.headers["Authorization"] = f"Bearer {token.reveal()}"
    protocol.send_request(request)
