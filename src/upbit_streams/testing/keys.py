"""The API keys of the simulated exchange, and how it checks a login token (protocol section 9)."""

from collections import deque
from random import Random
from string import ascii_letters, digits
from typing import Any

import attrs
import jwt
import msgspec

from ..exceptions import UsageError
from ..model.secret import Secret

__all__ = ["Key", "Keyring", "TokenError"]

_ALGORITHMS = ("HS256", "HS512")
_NONCES = 100_000
"""How many nonces are remembered. The exchange allows five connects a second, so that is some hours of them."""
_KEY_LENGTH = 40

_MESSAGES = {
    "no_authorization_token": "There is no token in the request.",
    "jwt_verification": "The token could not be verified.",
    "invalid_access_key": "There is no such access key.",
    "invalid_query_payload": "The token has no nonce.",
    "nonce_used": "The nonce was used before.",
    "expired_access_key": "The access key has expired.",
    "no_authorization_ip": "The access key is not for this address.",
}


class TokenError(Exception):
    """A token that the exchange does not take. ``name`` is the exchange's own name for why."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: {_MESSAGES[name]}")
        self.name = name

    @property
    def body(self) -> str:
        """The answer as the exchange writes it."""
        return msgspec.json.encode({"error": {"name": self.name, "message": _MESSAGES[self.name]}}).decode()


@attrs.define(eq=False)
class Key:
    """An API key of an account. Change what it may, and the exchange goes by it from then on."""

    access_key: str = attrs.field(repr=False)
    secret_key: Secret
    revoked: bool = False
    expires_at: float = float("inf")
    """In seconds since the Unix epoch."""
    address_allowed: bool = True
    """Whether the client's address is on the key's list."""
    can_view_orders: bool = True
    """The scope that ``myOrder`` needs."""
    can_view_assets: bool = True
    """The scope that ``myAsset`` needs."""


class Keyring:
    """All keys of an exchange, and the nonces that were used."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._nonces: set[tuple[str, str]] = set()
        self._nonces_by_age: deque[tuple[str, str]] = deque()
        # An exchange that is made anew makes the same keys, and no test depends on chance.
        self._rng = Random("upbit-streams")  # noqa: S311 -- these keys protect nothing

    def add(self, access_key: str | None = None, secret_key: str | None = None) -> Key:
        """Take up a key, or make one. Raises :class:`UsageError` for an access key that exists."""
        key = Key(access_key or self._new_text(), Secret(secret_key or self._new_text()))
        if key.access_key in self._keys:
            raise UsageError("this access key exists already")
        self._keys[key.access_key] = key
        return key

    def verified(self, token: str | None, now: float) -> Key:
        """The key that a token was signed with. Its nonce is used from now on. Raises :class:`TokenError`."""
        if not token:
            raise TokenError("no_authorization_token")
        payload = _payload(token, None)
        access_key = payload.get("access_key")
        key = self._keys.get(access_key) if isinstance(access_key, str) else None
        if key is None:
            raise TokenError("invalid_access_key")
        _payload(token, key.secret_key)
        if key.revoked or now >= key.expires_at:
            raise TokenError("expired_access_key")
        if not key.address_allowed:
            raise TokenError("no_authorization_ip")
        nonce = payload.get("nonce")
        if not isinstance(nonce, str) or not nonce:
            raise TokenError("invalid_query_payload")
        self._use((key.access_key, nonce))
        return key

    def _use(self, nonce: tuple[str, str]) -> None:
        if nonce in self._nonces:
            raise TokenError("nonce_used")
        self._nonces.add(nonce)
        self._nonces_by_age.append(nonce)
        if len(self._nonces_by_age) > _NONCES:
            self._nonces.remove(self._nonces_by_age.popleft())

    def _new_text(self) -> str:
        return "".join(self._rng.choices(ascii_letters + digits, k=_KEY_LENGTH))


def _payload(token: str, secret: Secret | None) -> dict[str, Any]:
    """What a token says, its signature verified if there is a secret. Times in it mean nothing here."""
    try:
        decoder = jwt.PyJWS(algorithms=list(_ALGORITHMS))
        if secret is None:
            text = decoder.decode_complete(token, options={"verify_signature": False})["payload"]
            if jwt.get_unverified_header(token).get("alg") not in _ALGORITHMS:
                raise TokenError("jwt_verification")
        else:
            text = decoder.decode_complete(token, _padded(secret, token), algorithms=list(_ALGORITHMS))["payload"]
        return msgspec.json.decode(text, type=dict[str, Any])
    except (jwt.PyJWTError, msgspec.MsgspecError, ValueError, RecursionError):
        raise TokenError("jwt_verification") from None


def _padded(secret: Secret, token: str) -> bytes:
    """The key, in the length that PyJWT recommends. HMAC itself pads a shorter key with zeros, up to its block."""
    length = {"HS256": 32, "HS512": 64}.get(str(jwt.get_unverified_header(token).get("alg")), 64)
    return secret.reveal().encode().ljust(length, b"\0")
