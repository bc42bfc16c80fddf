"""What every way to open a connection has in common: the URL, TLS that verifies, and troubles told in words."""

import os
import socket
import ssl
from functools import cache

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.uri import WebSocketURI, parse_uri

from ..exceptions import ConnectFailedError, HandshakeRefusedError, InvalidConfigError, UpbitStreamsError
from ..foreign import failure_text, shown
from ..model.secret import Secret
from .handshake import HandshakeStream
from .interface import Dial
from .look_up import connect_tcp

__all__ = ["ENDED", "check_verifies", "opened", "parsed", "reason", "refusal", "refused"]

_BODY = 1000
"""How much is kept of the body of an answer that is no handshake. It may say for how long to stay away."""

ENDED = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,
    OSError,
)
"""All that a stream raises when the connection is at its end. TLS errors are OSErrors, and over TLS a read may have to
write: it finds the stream busy then, and cannot go on."""


def check_verifies(ssl_context: ssl.SSLContext | None) -> None:
    """Raise :class:`InvalidConfigError` for TLS settings by which anybody could answer."""
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise InvalidConfigError(f"ssl_context is an ssl.SSLContext, not a {type(ssl_context).__name__}")
    if ssl_context is not None and not (ssl_context.verify_mode is ssl.CERT_REQUIRED and ssl_context.check_hostname):
        raise InvalidConfigError(
            "this ssl_context does not verify who answers, so anybody could; keep verify_mode=CERT_REQUIRED and "
            "check_hostname=True, and load the certificate of your own authority with load_verify_locations()"
        )


def parsed(url: str) -> WebSocketURI:
    """The parts of a URL. Raises :class:`ConnectFailedError` if it is none."""
    if not url.isprintable() or " " in url:  # what takes it apart would leave some of them out without a word
        raise ConnectFailedError(url, "it is not a WebSocket URL (it has a space, a line end or a tab in it)")
    try:
        return parse_uri(url)
    except (InvalidURI, ValueError) as why:
        told = why.msg if isinstance(why, InvalidURI) else why
        raise ConnectFailedError(url, f"it is not a WebSocket URL ({told})") from None


async def opened(uri: WebSocketURI, url: str, ssl_context: ssl.SSLContext | None, dial: Dial | None) -> ByteStream:
    """The stream of bytes to where a URL leads, encrypted if the URL says so.

    Raises :class:`ConnectFailedError`, also for whatever a ``dial`` of the user's raises; :class:`InvalidConfigError`
    if that gives no stream. Cancelling it leaves nothing open.
    """
    try:
        if dial is None:
            stream: ByteStream = await connect_tcp(uri.host, uri.port)
        else:
            stream = await _dialled(dial, uri, url)
        return await encrypted(stream, uri.host, ssl_context or system_authorities()) if uri.secure else stream
    except (*ENDED, ValueError) as why:  # the latter for a name that no host can have
        raise ConnectFailedError(url, reason(why)) from why


async def _dialled(dial: Dial, uri: WebSocketURI, url: str) -> ByteStream:
    try:
        stream = await dial(uri.host, uri.port)
    except (*ENDED, UpbitStreamsError):
        raise
    except Exception as why:
        raise ConnectFailedError(url, f"your dial raised {failure_text(why)}") from why
    missing = [f"{name}()" for name in ("receive", "send", "aclose") if not callable(getattr(stream, name, None))]
    if missing:
        raise InvalidConfigError(
            f"your dial gave a {type(stream).__name__}, which has no {', '.join(missing)}; it has to give a ByteStream"
        )
    return stream


async def encrypted(stream: ByteStream, host: str, ssl_context: ssl.SSLContext) -> ByteStream:
    """TLS over a stream, which is closed if that fails."""
    try:
        # The exchange drops idle sockets without a TLS goodbye; that is an end like any other.
        return await TLSStream.wrap(stream, hostname=host, ssl_context=ssl_context, standard_compatible=False)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


def refusal(
    why: Exception, answer: HandshakeStream, url: str, token: Secret | None
) -> HandshakeRefusedError | ConnectFailedError:
    """What was answered instead of a handshake, without the token. ``why`` is what the protocol makes of it."""
    if isinstance(why, InvalidStatus):
        return refused(url, why.response.status_code, bytes(why.response.body or b""), token)
    if answer.status:  # what it makes of a body that is not complete is no answer at all
        return refused(url, answer.status, answer.body, token)
    return ConnectFailedError(url, f"the answer is no WebSocket handshake ({shown(str(why.__cause__ or why), token)})")


def refused(url: str, status: int, body: bytes, token: Secret | None) -> HandshakeRefusedError:
    """What was answered, with the beginning of its body: some proxies answer with what they were asked."""
    text = body[: 8 * _BODY].decode("utf-8", "replace").strip()
    return HandshakeRefusedError(url, status, (text if token is None else token.hidden_in(text))[:_BODY])


@cache
def system_authorities() -> ssl.SSLContext:
    """TLS settings that trust whom the system trusts."""
    # Loading them takes some 50 ms, in which nothing else runs. A reconnect must not cost the other connections that.
    return ssl.create_default_context()


def reason(why: BaseException) -> str:
    """What went wrong, in words that a person can act on."""
    return shown(_reason(why))


def _reason(why: BaseException) -> str:
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
    # What we have raised ourselves is a sentence already.
    return str(why) if type(why) is OSError and str(why) else failure_text(why)
