"""Checks that a simulated Upbit exchange takes each login token once, by hand: no library of anybody is involved.

Usage: ``python check_nonce.py ws://127.0.0.1:PORT/websocket/v1``, with the account's key in ``UPBIT_ACCESS_KEY`` and
``UPBIT_SECRET_KEY``
"""

import base64
import hmac
import json
import os
import sys
import uuid
from http.client import HTTPConnection
from urllib.parse import urlsplit

DEADLINE = 30.0


def new_token(access_key: str, secret_key: str) -> str:
    """A token with a nonce of its own, signed as the exchange recommends."""
    parts = [{"alg": "HS512", "typ": "JWT"}, {"access_key": access_key, "nonce": str(uuid.uuid4())}]
    texts = [_base64(json.dumps(part).encode()) for part in parts]
    signature = hmac.digest(secret_key.encode(), ".".join(texts).encode(), "sha512")
    return ".".join([*texts, _base64(signature)])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def connect(url: str, token: str) -> tuple[int, str]:
    """Ask for a WebSocket. Returns the status, and the name of the error if there is one."""
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE)
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Authorization": f"Bearer {token}",
    }
    try:
        connection.request("GET", parts.path, headers=headers)
        response = connection.getresponse()
        body = b"" if response.status == 101 else response.read()
        return response.status, json.loads(body)["error"]["name"] if body else ""
    finally:
        connection.close()


def main() -> None:
    """Run the check for the URL of the command line."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} WS_URL")
    keys = os.environ["UPBIT_ACCESS_KEY"], os.environ["UPBIT_SECRET_KEY"]
    private, info = f"{sys.argv[1]}/private", f"{sys.argv[1]}/info"
    token = new_token(*keys)
    # A nonce belongs to the key, whatever endpoint it was used for.
    for what, url, sent, expected in (
        ("a new token", private, token, (101, "")),
        ("the same one", private, token, (401, "nonce_used")),
        ("the same one for info", info, token, (401, "nonce_used")),
        ("another new one", private, new_token(*keys), (101, "")),
        ("one of another key", private, new_token(keys[0], keys[1][::-1]), (401, "jwt_verification")),
    ):
        answer = connect(url, sent)
        if answer != expected:
            sys.exit(f"nonce: {what} got {answer}, not {expected}")
    print("nonce: a used token is refused with 401 nonce_used, a new one is taken, ok")


if __name__ == "__main__":
    main()
