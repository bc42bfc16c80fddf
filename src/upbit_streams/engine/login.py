"""The key of a manager, from which each handshake gets a token of its own."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import anyio

from ..auth import Credentials, KeySource, login_token
from ..exceptions import ConnectFailedError
from ..model.secret import Secret
from .user_code import Stray, called

__all__ = ["Login"]


class Login:
    """Where the key comes from, and that it may be replaced while everything runs."""

    def __init__(self, source: KeySource | None) -> None:
        """Without a source the key is looked for in the environment once it is needed."""
        self._source = source
        self.access_key: Secret | None = None
        """Whose it was."""
        self.replaced = anyio.Event()
        """Set when there is another key, and then replaced."""

    def replace(self, source: KeySource) -> None:
        """Take the key from somewhere else from now on."""
        self._source = source
        self.replaced.set()
        self.replaced = anyio.Event()

    def is_of(self, access_key: Secret | None) -> bool:
        """Whether the next handshake is known to have this key. What a function will give, nobody knows."""
        return isinstance(self._source, Credentials) and self._source.access_key == access_key

    def check(self) -> None:
        """Raise :class:`MissingCredentialsError` if there is no key to be had."""
        if self._source is None:
            self._source = Credentials.from_environment()

    async def token(self, url: str, timeout: float) -> Secret:  # noqa: ASYNC109 -- of somebody else's function
        """A new token for one handshake with that endpoint.

        Raises :class:`ConnectFailedError` if the user's function gives no key within ``timeout`` seconds.
        """
        self.check()
        source = self._source
        if not isinstance(source, Credentials):
            assert source is not None  # noqa: S101 -- check() has seen to that
            source = await _called(source, url, timeout)
        self.access_key = source.access_key
        return login_token(source, str(uuid4()))


async def _called(
    source: Callable[[], Credentials | Awaitable[Credentials]],
    url: str,
    timeout: float,  # noqa: ASYNC109 -- of somebody else's function
) -> Credentials:
    try:
        with anyio.fail_after(timeout):
            found = await called(source)
        if isinstance(found, Credentials):
            return found
        why = f"gave a {type(found).__name__} instead of Credentials"
    except Stray:
        why = "was cancelled"  # by itself; that is no reason to stop
    except Exception as error:  # noqa: BLE001 -- the user's own, whose text may have the key in it
        why = f"raised {type(error).__name__}"
    raise ConnectFailedError(url, f"your function for the key {why}")
