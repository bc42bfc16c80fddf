"""A second transport: the library ``trio-websocket``, on trio only, with the extra ``trio``.

It has the sockets and TLS in common with the default transport and not a line of the protocol, so each can be compared
with the other. It offers no compression, and returns one message at a time.
"""

import ssl
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import ByteStream
from websockets.frames import Close, Frame, Opcode
from websockets.headers import build_host
from websockets.uri import WebSocketURI

from ..exceptions import ConnectFailedError, ConnectionLostError, HandshakeRefusedError, InvalidConfigError
from ..foreign import shown
from ..model.config import Config, check_login
from ..model.secret import Secret
from .handshake import HandshakeStream
from .interface import Dial
from .opening import check_verifies, opened, parsed, reason, refused

if TYPE_CHECKING:
    from .trio_stream import TrioStream

__all__ = ["TrioWebSocket", "connect"]

_READ_SIZE = 1 << 16
_MOST_FRAGMENTS = 4096
"""How many fragments a message may come in, beside those that are not empty: max_message_size bounds these."""
_NOT_UNDERSTOOD = (1002, 1007)
"""The codes with which the library tells that it could not understand what has come."""
_END_SECONDS = 5.0
"""How long the host may take to end by force. It waits for nothing then, so it takes a moment."""


async def connect(
    url: str,
    config: Config,
    token: Secret | None = None,
    *,
    ssl_context: ssl.SSLContext | None = None,
    dial: Dial | None = None,
) -> "TrioWebSocket":
    """Connect and shake hands, with ``trio-websocket``. A :data:`~upbit_streams.transport.interface.Connector`.

    TLS, errors, limits and ``dial`` are those of the default transport. Raises :class:`InvalidConfigError` on asyncio,
    without the extra ``trio``, and for an ``ssl_context`` that does not verify. Cancelling it leaves nothing open.
    """
    check_verifies(ssl_context)
    if token is not None:
        check_login(url)
    _check_possible()
    uri = parsed(url)
    websocket = TrioWebSocket(config)
    try:
        with anyio.fail_after(config.connect_timeout):
            stream = await opened(uri, url, ssl_context, dial)
            await websocket._open(stream, url, uri, token)
    except TimeoutError:
        raise ConnectFailedError(url, f"no answer within {config.connect_timeout:g} s") from None
    return websocket


def _check_possible() -> None:
    try:
        import_module("trio_websocket")
        trio = import_module("trio")
    except ImportError:
        raise InvalidConfigError(
            "the package trio-websocket is not installed; install it with: pip install 'upbit-streams[trio]'"
        ) from None
    if not trio.lowlevel.in_trio_run():
        raise InvalidConfigError("trio-websocket runs on trio only; on asyncio, use the default connector")


class TrioWebSocket:
    """A :class:`~upbit_streams.transport.interface.Transport`.

    The library wants a nursery for its reader, open for as long as the connection, while a transport belongs to no
    block. So a system task of trio's holds the nursery. It ends with the connection, and closing waits for that.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._connection: Any = None
        self._stream: TrioStream | None = None
        self._scope = anyio.CancelScope()
        self._closing, self._ended = anyio.Event(), anyio.Event()
        self._failures: list[Exception] = []
        self._pings: set[anyio.CancelScope] = set()
        # Why it is lost, where the library cannot know; None while it is not.
        self._lost_here: ConnectionLostError | None = None
        # Whether that is something that was sent to us. Then there is nothing to wait for when it is closed.
        self._is_refused = False

    async def receive(self) -> Sequence[bytes | str]:
        from trio_websocket import ConnectionClosed

        try:
            message: bytes | str = await self._connection.get_message()
        except ConnectionClosed:
            self._release_pings()
            self._look_for_fault()
            raise self._lost() from None
        # The library counts a text's characters, not its bytes.
        if isinstance(message, str) and len(message.encode()) > self._config.max_message_size:
            self._refuse(self._too_large())
            raise self._lost()
        return [message]

    async def send(self, message: str | bytes) -> None:
        await self._tell("send_message", message)

    async def ping(self) -> None:
        # The library lets whoever waits for a pong wait on when the connection ends.
        with anyio.CancelScope() as scope:
            self._pings.add(scope)
            try:
                await self._tell("ping")
                return
            finally:
                self._pings.discard(scope)
        raise self._lost()

    async def aclose(self) -> None:
        if self._connection.closed is None and self._lost_here is None:
            self._lost_here = ConnectionLostError("closed here with code 1000", 1000)
        self._release_pings()
        self._look_for_fault()
        self._closing.set()
        try:
            with anyio.move_on_after(self._config.close_timeout):
                await self._ended.wait()
        finally:
            self._scope.cancel()
            with anyio.move_on_after(_END_SECONDS, shield=True):
                await self._ended.wait()

    async def _open(self, stream: ByteStream, url: str, uri: WebSocketURI, token: Secret | None) -> None:
        import trio

        from .trio_stream import TrioStream

        handshake = HandshakeStream(stream)
        adapted = self._stream = TrioStream(handshake)
        adapted.before_read = self._count_fragments
        # The library and its frames keep this very list. It is emptied once it was sent, or was not.
        headers = [] if token is None else [(b"Authorization", f"Bearer {token.reveal()}".encode())]
        trio.lowlevel.spawn_system_task(self._host, adapted, uri, headers, name="upbit-streams trio-websocket")
        try:
            await adapted.shaken.wait()
        except BaseException:
            self._scope.cancel()
            with anyio.move_on_after(_END_SECONDS, shield=True):
                await self._ended.wait()
            raise
        finally:
            headers.clear()
        if self._connection is None:
            self._scope.cancel()
            await self._ended.wait()
            raise self._refusal(url, adapted, handshake, token)
        adapted.wrapped = stream

    async def _host(self, stream: "TrioStream", uri: WebSocketURI, headers: list[tuple[bytes, bytes]]) -> None:
        """Hold the nursery in which the library reads."""
        import trio
        import trio_websocket

        untyped: Any = stream  # the library names two kinds of streams, and works with any
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._connection = await trio_websocket.wrap_client_stream(
                        nursery,
                        untyped,
                        build_host(uri.host, uri.port, uri.secure),
                        uri.resource_name,
                        extra_headers=headers,
                        # The reader hands each message over before it reads on, so an end overtakes none.
                        message_queue_size=0,
                        max_message_size=self._config.max_message_size,
                        receive_buffer_size=_READ_SIZE,
                    )
                    stream.shaken.set()
                    await self._closing.wait()
                    if self._is_refused:
                        await self._say_goodbye(stream)
                        nursery.cancel_scope.cancel()
                    else:
                        await self._connection.aclose()
        except* Exception as group:  # noqa: BLE001 -- told as a failed connect, or as a loss
            self._failures += _leaves(group)
        finally:
            await anyio.aclose_forcefully(stream.wrapped)
            stream.shaken.set()
            self._ended.set()

    async def _tell(self, method: str, *arguments: object) -> None:
        from trio_websocket import ConnectionClosed
        from wsproto.utilities import LocalProtocolError

        if self._lost_here is not None or self._connection.closed is not None:
            raise self._lost()
        try:
            await getattr(self._connection, method)(*arguments)
        except ConnectionClosed:
            self._look_for_fault()
            raise self._lost() from None
        except LocalProtocolError as why:
            if self._lost_here is None and self._connection.closed is None:
                raise ConnectionLostError(f"nothing can be sent any more ({why})") from None
            raise self._lost() from None

    def _count_fragments(self) -> None:
        import trio

        # The library bounds what the fragments of a message hold together, but empty ones hold nothing. It keeps a part
        # for each fragment and for each read within one, and a read brings a byte at least, of which up to four are one
        # character. So more parts than that are fragments. One read brings some thousands at most, so to look between
        # two reads is enough.
        parts: Sequence[object] = getattr(self._connection, "_message_parts", ())
        size: int = getattr(self._connection, "_message_size", 0)
        if len(parts) - 4 * size > _MOST_FRAGMENTS:
            self._refuse(
                ConnectionLostError(f"the exchange sent a message in more than {_MOST_FRAGMENTS} fragments", 1009)
            )
            raise trio.ClosedResourceError

    def _look_for_fault(self) -> None:
        """Tell what the library refused from what the exchange closed."""
        closed = self._connection.closed
        if closed is None or self._lost_here is not None:
            return
        assert self._stream is not None  # noqa: S101 -- there is a connection
        if closed.code in _NOT_UNDERSTOOD and not self._stream.said_goodbye:
            told = f" ({closed.reason})" if closed.reason else ""
            self._refuse(ConnectionLostError(f"the exchange broke the protocol{told}", int(closed.code)))
        elif closed.code == 1009 and (closed.reason or "").startswith("Exceeded maximum message size"):
            self._refuse(self._too_large())

    def _refuse(self, why: ConnectionLostError) -> None:
        """Close, as the exchange has sent what it must not."""
        self._lost_here, self._is_refused = why, True
        self._closing.set()

    async def _say_goodbye(self, stream: "TrioStream") -> None:
        if self._lost_here is not None and not stream.said_goodbye:
            goodbye = Frame(Opcode.CLOSE, Close(self._lost_here.code, "").serialize())
            await stream.send_all(goodbye.serialize(mask=True))

    def _release_pings(self) -> None:
        for scope in self._pings:
            scope.cancel()

    def _refusal(
        self, url: str, stream: "TrioStream", answer: HandshakeStream, token: Secret | None
    ) -> HandshakeRefusedError | ConnectFailedError:
        from trio_websocket import ConnectionRejected

        for failure in self._failures:
            if isinstance(failure, ConnectionRejected):
                return refused(url, failure.status_code, failure.body or answer.body, token)
        if answer.status:
            return refused(url, answer.status, answer.body, token)
        why = stream.failure or "it broke off"
        return ConnectFailedError(url, f"the answer is no WebSocket handshake ({shown(why, token)})")

    def _lost(self) -> ConnectionLostError:
        closed = self._connection.closed
        if self._lost_here is not None:
            return ConnectionLostError(self._lost_here.why, self._lost_here.code)
        how = "" if self._stream is None else self._stream.failure
        told = f" ({how})" if how and how != "it hung up" else ""
        if closed is None and self._failures:
            return ConnectionLostError(f"it failed here ({reason(self._failures[0])})")
        if closed is None or int(closed.code) == 1006:
            return ConnectionLostError(f"the socket ended without a close frame{told}")
        code = int(closed.code)
        told = f" ({closed.reason})" if closed.reason else ""
        return ConnectionLostError(f"the exchange closed it with code {code}{told}", code)

    def _too_large(self) -> ConnectionLostError:
        return ConnectionLostError(
            f"the exchange sent a message larger than max_message_size, {self._config.max_message_size} bytes", 1009
        )


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    leaves: list[Exception] = []
    for one in group.exceptions:
        leaves += _leaves(one) if isinstance(one, BaseExceptionGroup) else [one]
    return leaves
