"""What the exchange says that is not an event (protocol sections 2.5, 4.8, 5 and 6)."""

import re
from collections.abc import Mapping
from typing import Any

import attrs

from .bounds import amount_of, text_of

__all__ = [
    "BadFrame",
    "ErrorReply",
    "Reply",
    "StatusReply",
    "Subscribed",
    "SubscriptionsReply",
    "bad_frame",
    "bad_frames",
    "control_reply",
]

_SAMPLE = 200
"""How much of a frame that nobody understands is kept, to show to a person."""


_MOST_PAYLOAD = 16 * 1024
"""How much of it is kept for a program. The largest event known, a full order book, has 4 KiB."""
# A frame that cannot be parsed may tell what it was to be all the same. Names within an object come after these.
_TYPE = re.compile(r'"(?:type|ty)"\s*:\s*"([^"\\]{1,50})"')
_CODE = re.compile(r'"(?:code|cd)"\s*:\s*"([^"\\]{1,50})"')


def _short(content: Any) -> str:
    return text_of(str(content)[:_SAMPLE])


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
class Subscribed:
    """One entry of what the exchange believes is subscribed."""

    type: str
    codes: frozenset[str] = frozenset()
    """As it spells them, maybe with the number of levels behind: ``KRW-BTC.15``. Empty where it tells none."""
    level: float | None = None
    """Of order books; None where it is not told."""
    timeframe: str = ""
    """Of indicators; empty where it is not told."""
    indicators: frozenset[str] = frozenset()
    """The types of the indicators; empty where they are not told."""


@attrs.frozen
class SubscriptionsReply:
    """The answer to ``LIST_SUBSCRIPTIONS`` (protocol section 2.5)."""

    ticket: str
    subscriptions: tuple[Subscribed, ...] | None
    """None if the answer has no list."""


@attrs.frozen
class BadFrame:
    """A frame, or an element of one, that is neither an event nor a reply.

    ``sample``, ``type`` and ``code`` are the exchange's text: show them only as what may be shown of such text.
    """

    why: str = attrs.field(converter=_short)
    """What is wrong with it; short, whatever was sent."""
    sample: str
    """The first 200 characters."""
    type: str = attrs.field(default="", converter=_short)
    """The exchange's name of the data type, as it stands in the frame; empty if that cannot be read."""
    code: str = attrs.field(default="", converter=_short)
    """The market, as it stands in the frame; empty if that cannot be read."""
    payload: bytes = attrs.field(default=b"", repr=False)
    """The raw bytes of the frame, or of the element of an array; at most the first 16 KiB."""
    place: int = 0
    """How many events of the same read came before its frame."""


Reply = ErrorReply | StatusReply | SubscriptionsReply | BadFrame


def control_reply(fields: Mapping[str, Any]) -> Reply | None:
    """The reply that an object is, in either spelling; None if it is none. An event has none of the names looked
    for."""
    if fields.get("error") is not None:
        error = fields["error"]
        if not isinstance(error, Mapping):
            return ErrorReply("", _short(error))
        return ErrorReply(_short(error.get("name", "")), _short(error.get("message", "")))
    if fields.get("status") is not None:
        return StatusReply(_short(fields["status"]))
    if "method" in fields or "mthd" in fields:
        entries = fields.get("result", fields.get("rslt"))
        ticket = fields.get("ticket", fields.get("tckt", ""))
        return SubscriptionsReply(
            _short(ticket),
            tuple(_subscribed(entry) for entry in entries if isinstance(entry, Mapping))
            if isinstance(entries, list)
            else None,
        )
    return None


def bad_frame(why: str, frame: bytes, type_name: str = "", code: str = "") -> BadFrame:
    """The bad frame that a frame or an element of one is, with all that can be read of it."""
    payload = frame[:_MOST_PAYLOAD]
    text = payload.decode("utf-8", "replace")
    if not type_name and (found := _TYPE.search(text)):
        type_name = found[1]
    if not code and (found := _CODE.search(text)):
        code = found[1]
    return BadFrame(why, text[:_SAMPLE], type_name, code, payload)


def bad_frames(why: str, frames: bytes) -> BadFrame:
    """The bad frame that several elements are, which cannot be told apart. It has a type and a market only if all of
    them have the same, because it is told to every stream for which one of them may have been."""
    text = frames.decode("utf-8", "replace")
    types, codes = _TYPE.findall(text), _CODE.findall(text)
    is_one_type = len(set(types)) == 1
    is_one_code = is_one_type and len(set(codes)) == 1 and len(codes) == len(types)
    return BadFrame(
        why,
        text[:_SAMPLE],
        types[0] if is_one_type else "",
        codes[0] if is_one_code else "",
        frames[:_MOST_PAYLOAD],
    )


def _subscribed(entry: Mapping[str, Any]) -> Subscribed:
    codes = entry.get("codes", entry.get("cds"))
    level = entry.get("level", entry.get("lv"))
    indicators = entry.get("indicators", entry.get("ind"))
    return Subscribed(
        type=_short(entry.get("type", entry.get("ty", ""))),
        codes=frozenset(map(_short, codes)) if isinstance(codes, list) else frozenset(),
        level=None if level is None or (amount := amount_of(str(level))) is None else float(amount),
        timeframe=_short(entry.get("timeframe", entry.get("tf", ""))),
        indicators=frozenset(_short(one.get("type", one.get("ty", ""))) for one in indicators if isinstance(one, dict))
        if isinstance(indicators, list)
        else frozenset(),
    )
