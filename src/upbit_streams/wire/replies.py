"""What the exchange says that is not market data (protocol sections 4.8, 5 and 6)."""

from typing import Any

import attrs
import msgspec

__all__ = ["BadFrame", "ErrorReply", "Reply", "StatusReply", "reply_to"]

_SAMPLE = 200
"""How many bytes of a frame that nobody understands are kept, to show to a person."""


@attrs.frozen
class ErrorReply:
    """The exchange refused the last request; it closes the connection soon after (protocol section 6)."""

    name: str
    """``INVALID_PARAM``, ``NO_CODES``, ...; new names must be expected."""
    message: str
    """Korean or English, depending on the host."""


@attrs.frozen
class StatusReply:
    """The answer to a text ``PING``: ``UP``, every ten seconds."""

    status: str


@attrs.frozen
class BadFrame:
    """A frame that is neither an event nor a reply."""

    why: str
    sample: str


Reply = ErrorReply | StatusReply | BadFrame


class _Control(msgspec.Struct):
    error: dict[str, Any] | None = None
    status: str | None = None


_decode_control = msgspec.json.Decoder(_Control).decode


def reply_to(frame: bytes | str, why: Exception) -> Reply:
    """What a frame is that did not decode as an event because of ``why``. Never raises."""
    try:
        control = _decode_control(frame)
    except Exception:  # noqa: BLE001 -- not even an object; `why` says more
        control = _Control()
    if control.error is not None:
        return ErrorReply(str(control.error.get("name", "")), str(control.error.get("message", "")))
    if control.status is not None:
        return StatusReply(control.status)
    head = frame[:_SAMPLE]
    return BadFrame(str(why), head.decode("utf-8", "replace") if isinstance(head, bytes) else head)
