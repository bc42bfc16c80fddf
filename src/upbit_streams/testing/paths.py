"""Where the endpoints are, and where a login token stands: the same for all fronts (protocol sections 1 and 9)."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from ..model.kinds import Endpoint

__all__ = ["ENDPOINTS", "PUBLIC_PATH", "endpoint_of", "token_of"]

PUBLIC_PATH = "/websocket/v1"
ENDPOINTS = {
    PUBLIC_PATH: Endpoint.PUBLIC,
    f"{PUBLIC_PATH}/private": Endpoint.PRIVATE,
    f"{PUBLIC_PATH}/info": Endpoint.INFO,
}


def endpoint_of(url: str) -> Endpoint:
    """The endpoint of a URL, whatever its path begins with: a test's may have none at all."""
    last = urlsplit(url).path.rpartition("/")[2]
    return {"private": Endpoint.PRIVATE, "info": Endpoint.INFO}.get(last, Endpoint.PUBLIC)


def token_of(headers: Mapping[str, str]) -> str | None:
    """The token in the ``Authorization`` header; None if there is none, or several headers."""
    try:
        scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
    except LookupError:
        return None
    return token.strip() or None if scheme.lower() == "bearer" else None
