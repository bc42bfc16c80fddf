"""The seam: what the engine asks of a connection to the exchange.

A transport is one open connection. It is made by a :data:`Connector`, which is all that the engine knows of the world.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from anyio.abc import ByteStream

from ..model.config import Config
from ..model.secret import Secret

__all__ = ["Connector", "Dial", "Transport"]


class Transport(Protocol):
    """One open connection. One task receives; any number send and ping meanwhile."""

    async def receive(self) -> Sequence[bytes | str]:
        """Wait for messages, and return all that one read of the socket brought: at least one.

        Raises :class:`~upbit_streams.exceptions.ConnectionLostError` once the connection has ended and everything
        received before has been returned. Cancelling it loses nothing.
        """
        ...

    async def send(self, message: str) -> None:
        """Send one text message. Raises ``ConnectionLostError``. A cancelled send may have sent a part: close then."""
        ...

    async def ping(self) -> None:
        """Send a ping and wait for its pong; somebody has to be receiving. Raises ``ConnectionLostError``."""
        ...

    async def aclose(self) -> None:
        """Say goodbye and close. Takes at most the configured ``close_timeout``, then closes by force.

        When cancelled it closes by force at once.
        """
        ...


Connector = Callable[[str, Config, Secret | None], Awaitable[Transport]]
"""Opens a connection to a URL, handshake included. The secret is a login token, which belongs into the handshake's
``Authorization`` header and nowhere else; None for an endpoint without login. Raises
:class:`~upbit_streams.exceptions.ConnectFailedError` or :class:`~upbit_streams.exceptions.HandshakeRefusedError`.
Cancelling it leaves nothing open."""

Dial = Callable[[str, int], Awaitable[ByteStream]]
"""Opens a stream of bytes to a host and a port, for whoever reaches them in another way than by a socket of their own:
by a proxy, or by a wire in memory. Raises ``OSError``, or what a stream raises at its end."""
