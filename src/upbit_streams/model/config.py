"""Settings, checked when they are made."""

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import attrs

from ..exceptions import InvalidConfigError
from .kinds import Endpoint, Format

__all__ = ["REGIONS", "Backoff", "Config", "check_login"]

REGIONS = {
    "kr": "wss://api.upbit.com/websocket/v1",
    "sg": "wss://sg-api.upbit.com/websocket/v1",
    "id": "wss://id-api.upbit.com/websocket/v1",
    "th": "wss://th-api.upbit.com/websocket/v1",
}
"""The exchange's public endpoints by region (protocol section 1). Markets and listings are a region's own."""


def _positive(_: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InvalidConfigError(f"{attribute.name} must be a number above 0, not {value!r}")


def _count(_: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise InvalidConfigError(f"{attribute.name} must be a whole number above 0, or None, not {value!r}")


@attrs.frozen(kw_only=True)
class Backoff:
    """How long to wait between attempts to connect, in seconds."""

    initial: float = attrs.field(default=0.5, validator=_positive)
    """The bound of the first wait; it doubles with each attempt. Waits are drawn evenly from nothing to the bound."""
    maximum: float = attrs.field(default=30.0, validator=_positive)
    """The bound never grows beyond this."""
    stable_after: float = attrs.field(default=5.0, validator=_positive)
    """A connection that brought data and lived this long is a success: the next wait is short again."""
    attempts: int | None = attrs.field(default=None, validator=_count)
    """After so many attempts in a row without such a success the connection gives up: whoever waits for it gets
    :class:`ReconnectFailedError`, until its manager is left. None never gives up."""


def _websocket_url(_: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if not isinstance(value, str) or not value.startswith(("ws://", "wss://")):
        raise InvalidConfigError(f"{attribute.name} must start with ws:// or wss://, not {value!r}")
    if not value.isprintable() or " " in value:
        raise InvalidConfigError(f"{attribute.name} is {value!r}; a URL has no spaces, line ends or tabs in it")
    if "@" in value:
        raise InvalidConfigError(f"{attribute.name} has a user or a password in it; a URL is shown in errors and logs")
    try:
        parts = urlsplit(value)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        has_host = False
    if not has_host:
        raise InvalidConfigError(f"{attribute.name} is {value!r}, which names no host and port that could exist")


@attrs.frozen(kw_only=True)
class Config:
    """The settings of a manager. Times are in seconds. The defaults suit the live exchange."""

    url: str = attrs.field(default=REGIONS["kr"], validator=_websocket_url)
    """The public endpoint; :data:`REGIONS` has the exchange's own. The private and the info endpoint are below it."""
    format: Format = attrs.field(default=Format.DEFAULT, validator=attrs.validators.instance_of(Format))
    """How events travel. It makes no difference to what you get."""
    connect_timeout: float = attrs.field(default=10.0, validator=_positive)
    """From the look-up of the host's name to the end of the handshake."""
    ping_interval: float = attrs.field(default=20.0, validator=_positive)
    """The exchange drops a silent connection after about 60 s, whatever its page says (protocol section 5)."""
    ping_timeout: float = attrs.field(default=10.0, validator=_positive)
    """A connection whose pong takes longer is replaced."""
    close_timeout: float = attrs.field(default=1.0, validator=_positive)
    """How long a polite close may take before the socket is closed by force."""
    gather: float = attrs.field(default=0.05, validator=_positive)
    """Changes of what is wanted are collected for this long, then sent as one request."""
    idle_timeout: float = attrs.field(default=60.0, validator=_positive)
    """A connection from which nobody has wanted anything for this long is closed; the next want opens it again."""
    max_message_size: int = attrs.field(default=1 << 20, validator=[attrs.validators.instance_of(int), _positive])
    """In bytes, after decompression. A larger message ends the connection; the largest known is under 10 KiB."""
    backoff: Backoff = attrs.field(factory=Backoff)
    """The waits between attempts to connect."""
    login_attempts: int = attrs.field(default=3, validator=[attrs.validators.instance_of(int), _positive])
    """How often in a row a login is tried, each time with a new token, before the refusal is taken for final."""

    def url_of(self, endpoint: Endpoint) -> str:
        """Where an endpoint is (protocol section 1)."""
        if endpoint is Endpoint.PUBLIC:
            return self.url
        parts = urlsplit(self.url)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{endpoint}").geturl()


def check_login(url: str) -> None:
    """Raise :class:`InvalidConfigError` if a key would travel where others can read it."""
    parts = urlsplit(url)
    if parts.scheme != "wss" and not _is_loopback(parts.hostname or ""):
        raise InvalidConfigError(
            f"{url} is not encrypted, so everybody between here and {parts.hostname} could read your login "
            f"and use it; use a wss:// URL. Without encryption keys are sent to this machine itself only"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
