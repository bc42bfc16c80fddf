"""Logging in: the keys, and a token for every handshake (protocol section 9)."""

import os
import re
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import attrs
import jwt

from .exceptions import InvalidConfigError, MissingCredentialsError
from .model.secret import Secret

__all__ = ["ACCESS_KEY", "SECRET_KEY", "Credentials", "KeySource", "login_token"]

ACCESS_KEY = "UPBIT_ACCESS_KEY"
SECRET_KEY = "UPBIT_SECRET_KEY"  # noqa: S105 -- the name of the variable, as the official SDK has it

# The exchange's keys are letters and digits; what else base64 has may come.
_KEY = re.compile(r"[A-Za-z0-9+/=_-]{1,500}")

Algorithm = Literal["HS512", "HS256"]


@attrs.frozen(init=False, repr=False)
class Credentials:
    """An API key of the exchange: the two texts that its page shows when the key is made.

    Neither of them is ever shown; :class:`Secret` has stars in their place. ``algorithm`` is what tokens are signed
    with; the exchange recommends ``HS512`` and takes ``HS256`` too.

    Raises :class:`InvalidConfigError` for texts that cannot be keys. Blanks and line ends around them are left out, as
    files and vaults tend to add some.
    """

    access_key: Secret
    secret_key: Secret
    algorithm: Algorithm

    def __init__(self, access_key: str | Secret, secret_key: str | Secret, *, algorithm: Algorithm = "HS512") -> None:
        access, secret = _key(access_key), _key(secret_key)
        # A traceback with local variables shows those of the frame that raises.
        del access_key, secret_key
        if access is None or secret is None:
            which = "an access key" if access is None else "a secret key"
            raise InvalidConfigError(f"this is not {which} of Upbit; keys are texts of letters and digits, no spaces")
        if algorithm not in ("HS512", "HS256"):
            raise InvalidConfigError(f"algorithm must be 'HS512' or 'HS256', not {algorithm!r}")
        self.__attrs_init__(access, secret, algorithm)  # pyright: ignore[reportAttributeAccessIssue]

    def __repr__(self) -> str:
        return "Credentials(***)"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Credentials":
        """The key in ``UPBIT_ACCESS_KEY`` and ``UPBIT_SECRET_KEY``.

        Raises :class:`MissingCredentialsError` if one is not set, :class:`InvalidConfigError` if it is no key.
        """
        found = os.environ if environment is None else environment
        keys = [found.get(name, "") for name in (ACCESS_KEY, SECRET_KEY)]
        missing = [name for name, key in zip((ACCESS_KEY, SECRET_KEY), keys, strict=True) if not key]
        # A traceback with local variables shows those of every frame that an error passes.
        del found, environment
        if missing:
            keys.clear()
            raise MissingCredentialsError(
                f"orders, balances, announcements and indicators need an API key, and {' and '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} not set in the environment; set both, or open the manager "
                f"with credentials=Credentials(access_key, secret_key)"
            )
        return cls(keys.pop(0), keys.pop(0))


KeySource = Credentials | Callable[[], Credentials | Awaitable[Credentials]]
"""A key, or a function that gets it, for those who keep theirs in a vault. It is called before every handshake, and may
be asynchronous; one that is not must not block, since nothing else runs meanwhile."""


def login_token(credentials: Credentials, nonce: str) -> Secret:
    """A token for one handshake. The exchange takes a nonce once, so every token needs a new one."""
    with warnings.catch_warnings():
        # The exchange's keys have 40 characters, whatever a signature's length recommends.
        warnings.simplefilter("ignore")
        token = jwt.encode(
            {"access_key": credentials.access_key.reveal(), "nonce": nonce},
            credentials.secret_key.reveal(),
            credentials.algorithm,
        )
    return Secret(token, beside=(credentials.access_key, credentials.secret_key))


def _key(text: object) -> Secret | None:
    """The one place where a key is stripped and looked at; None if no key can look like that."""
    if isinstance(text, Secret):
        text = text.reveal()
    stripped = text.strip() if isinstance(text, str) else ""
    return Secret(stripped) if _KEY.fullmatch(stripped) else None
