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

from ..exceptions import ConnectFailedError, HandshakeRefusedError, InvalidConfigError
from ..model.secret import Secret

__all__ = ["ENDED", "check_verifies", "encrypted", "parsed", "reason", "refusal", "short", "system_authorities"]

_SAMPLE = 200
"""How much of what a server sent instead of a handshake is shown."""

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
    if ssl_context is not None and not (ssl_context.verify_mode is ssl.CERT_REQUIRED and ssl_context.check_hostname):
        raise InvalidConfigError(
            "this ssl_context does not verify who answers, so anybody could; keep verify_mode=CERT_REQUIRED and "
            "check_hostname=True, and load the certificate of your own authority with load_verify_locations()"
        )


def parsed(url: str) -> WebSocketURI:
    """The parts of a URL. Raises :class:`ConnectFailedError` if it is none."""
    try:
        return parse_uri(url)
    except (InvalidURI, ValueError) as why:
        told = why.msg if isinstance(why, InvalidURI) else why
        raise ConnectFailedError(url, f"it is not a WebSocket URL ({told})") from None


async def encrypted(stream: ByteStream, host: str, ssl_context: ssl.SSLContext) -> ByteStream:
    """TLS over a stream, which is closed if that fails."""
    try:
        # The exchange drops idle sockets without a TLS goodbye; that is an end like any other.
        return await TLSStream.wrap(stream, hostname=host, ssl_context=ssl_context, standard_compatible=False)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


def refusal(why: Exception, url: str, token: Secret | None) -> HandshakeRefusedError | ConnectFailedError:
    """What was answered instead of a handshake, without the token."""
    if isinstance(why, InvalidStatus):
        body = bytes(why.response.body or b"").decode("utf-8", "replace").strip()
        return HandshakeRefusedError(url, why.response.status_code, short(body, token))
    return ConnectFailedError(url, f"the answer is no WebSocket handshake ({short(str(why.__cause__ or why), token)})")


def short(text: str, token: Secret | None) -> str:
    """The beginning of what a server said, without the token: some proxies answer with what they were asked."""
    return (text if token is None else token.hidden_in(text))[:_SAMPLE]


@cache
def system_authorities() -> ssl.SSLContext:
    """TLS settings that trust whom the system trusts."""
    # Loading them takes some 50 ms, in which nothing else runs. A reconnect must not cost the other connections that.
    return ssl.create_default_context()


def reason(why: BaseException) -> str:
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
