"""Through a proxy: HTTP ``CONNECT``, before TLS, so that the proxy sees where to and nothing else."""

from base64 import b64encode
from urllib.parse import unquote, urlsplit

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from ..exceptions import InvalidConfigError
from ..foreign import shown
from ..model.secret import Secret
from .interface import Dial
from .look_up import connect_tcp

__all__ = ["through_proxy"]

_MOST = 1 << 16
"""How long the head of a proxy's answer may be, in bytes."""


def through_proxy(url: str) -> Dial:
    """Reach the exchange through an HTTP proxy: the ``dial`` of a connector.

    ``url`` is ``http://host:port``, with ``user:password@`` before the host if needed; they are shown nowhere.
    Raises :class:`InvalidConfigError` for any other URL. A proxy that cannot be reached or says no is a
    ``ConnectFailedError`` of the connect that uses it. Cancelling that leaves nothing open.
    """
    try:
        parts = urlsplit(url)
        proxy_host, proxy_port = parts.hostname, parts.port or 80
    except ValueError:  # its text may have the password in it
        parts, proxy_host, proxy_port = urlsplit(""), None, 0
    if parts.scheme != "http" or not proxy_host or not url.isprintable() or " " in url:
        raise InvalidConfigError("a proxy is given as http://host:port or http://user:password@host:port")
    login = _login(unquote(parts.username), unquote(parts.password or "")) if parts.username else None

    async def dial(host: str, port: int) -> ByteStream:
        stream = await connect_tcp(proxy_host, proxy_port)
        try:
            await stream.send(_request(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", login))
            # What comes behind the head is for whoever connects; but those wait to be spoken to first.
            answer = await BufferedByteReceiveStream(stream).receive_until(b"\r\n\r\n", _MOST)
        except (anyio.DelimiterNotFound, anyio.IncompleteRead):
            await anyio.aclose_forcefully(stream)
            raise OSError("the proxy's answer is no HTTP") from None
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        version, _, status = answer.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        if not version.startswith("HTTP/1.") or not status.startswith("2"):
            await anyio.aclose_forcefully(stream)
            raise OSError(f"the proxy refused ({shown(status, login)})")
        return stream

    return dial


def _login(user: str, password: str) -> Secret:
    """What goes into the header. The proxy may repeat it, or what it stands for."""
    return Secret(b64encode(f"{user}:{password}".encode()).decode(), beside=(Secret(password),))


def _request(target: str, login: Secret | None) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if login is not None:
        lines.append(f"Proxy-Authorization: Basic {login.reveal()}")
    return "\r\n".join([*lines, "", ""]).encode()
