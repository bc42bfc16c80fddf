"""Which refusals are about the login, and what can be done about each (protocol sections 6 and 9)."""

import json
import re
from collections.abc import Callable, Mapping

from ..exceptions import AuthenticationError, HandshakeRefusedError

__all__ = ["REFUSALS", "login_refusal", "refused_handshake"]

REFUSALS: Mapping[str, str] = {
    "INVALID_AUTH": "check that both keys are those of this region's exchange",
    "jwt_verification": "the signature is wrong; check the secret key",
    "invalid_access_key": "no such key; check the access key, and that it is of this region's exchange",
    "expired_access_key": "the key has expired or was deleted; make a new one on the exchange's page",
    "nonce_used": "somebody used the same nonce; is a token being sent twice?",
    "no_authorization_ip": "this machine's address is not in the key's list; add it on the exchange's page",
    "no_authorization_token": "no token arrived; does a proxy remove the Authorization header?",
    "out_of_scope": "the key may not see this; let it view orders and assets on the exchange's page",
    "invalid_query_payload": "the token's content was not understood",
}
"""The exchange's names for them, with what to do. New names must be expected."""

_FORBIDDEN = (401, 403)
_NAME = re.compile(r'"name"\s*:\s*"([^"]{1,100})"')
_MESSAGE = re.compile(r'"message"\s*:\s*"((?:[^"\\]|\\.){1,300})')


def login_refusal(url: str, name: str, message: str) -> AuthenticationError | None:
    """The error that an error frame stands for; None if it is not about the login."""
    if name not in REFUSALS:
        return None
    return AuthenticationError(url, name, message, REFUSALS[name])


def refused_handshake(refused: HandshakeRefusedError, hidden: Callable[[str], str] = str) -> AuthenticationError | None:
    """The error that a refused handshake stands for; None if it is not about the login.

    ``hidden`` takes the secrets out of a text. The exchange's words are looked at once they are unescaped.
    """
    if refused.status not in _FORBIDDEN:
        return None
    # By pattern, as the text may have been cut, or come from something that is not the exchange.
    name, message = _NAME.search(refused.body), _MESSAGE.search(refused.body)
    found = name[1] if name else ""
    advice = REFUSALS.get(found, "check the keys, and that they are of this region's exchange")
    told = _unescaped(message[1]) if message else refused.body
    return AuthenticationError(refused.url, hidden(found), hidden(told), advice, status=refused.status)


def _unescaped(text: str) -> str:
    """A text as JSON spells it."""
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text
