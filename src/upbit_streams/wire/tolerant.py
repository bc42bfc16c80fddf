"""The slow look at a frame that the strict decoder refused.

The order in which an object is told apart is the protocol's (section 4.8): ``error``, ``status``, ``method``, type.
Nothing here raises, whatever the frame is.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..model.events import Event, UnknownEvent
from ..model.kinds import Format
from .bounds import is_too_deep, text_of
from .drift import DriftLog
from .fields import TABLE, Field
from .lenient import LostError, Number, event_of, integer_of, parser
from .replies import BadFrame, Reply, bad_frame, bad_frames, control_reply

__all__ = ["TolerantDecoder"]

# No exchange sends an array with more rubbish than this; what follows it is not worth the time.
_MOST_BAD_ELEMENTS = 20

_GAP = re.compile(r"[ \t\r\n]*")
_TIME = Field("timestamp", "tms", int, is_time=True)


class TolerantDecoder:
    """Makes the best of a frame, and notes in what it differs from the field table."""

    def __init__(self, format: Format) -> None:
        self._simple = format.is_simple

    def decode(self, frame: bytes | str, replies: list[Reply], drift: DriftLog) -> list[Event]:
        """The events in a frame that the strict decoder refused; what else it holds joins the replies."""
        data = frame.encode("utf-8", "replace") if isinstance(frame, str) else bytes(frame)
        events: list[Event] = []
        bad = 0
        for parsed, element in _elements(data):
            try:
                found = parsed if isinstance(parsed, BadFrame) else self._element(parsed, element, drift)
            except Exception as worse:  # noqa: BLE001 -- whatever it is, a frame must not end the reader
                found = bad_frame(str(worse) or type(worse).__name__, element)
            if isinstance(found, Event):
                events.append(found)
                continue
            replies.append(found)
            bad += isinstance(found, BadFrame)
            if bad == _MOST_BAD_ELEMENTS:
                replies.append(bad_frames("the rest of an array with too much that is not understood", data))
                break
        return events

    def _element(self, fields: Any, element: bytes, drift: DriftLog) -> Event | Reply:
        if not isinstance(fields, dict):
            return bad_frame("not an object", element)
        simple = self._simple
        type_name = _text(fields.get("ty" if simple else "type"))
        if not type_name and (other := _text(fields.get("type" if simple else "ty"))):
            # A request that left out the format, for instance LIST_SUBSCRIPTIONS, changes that of all live streams.
            simple, type_name = not simple, other
        code = _text(fields.get("cd" if simple else "code"))
        if _is_control(fields, has_type=bool(type_name)):
            return control_reply(fields) or bad_frame("a reply of a kind that is not known", element, type_name, code)
        if not type_name:
            return bad_frame("an object without a type", element)
        event: Event
        if type_name not in TABLE:
            event, differences = _unknown(type_name, fields, element), {("unknown type", type_name)}
        else:
            try:
                event, differences = event_of(fields, TABLE[type_name], type_name, simple=simple)
            except LostError as lost:
                return bad_frame(str(lost), element, type_name, code)
        if simple is not self._simple:
            differences.add(("other format", type_name))
        for what, where in sorted(differences):
            drift.note(what, where, element)
        return event


def _elements(data: bytes) -> Iterator[tuple[Any, bytes]]:
    """The values in a frame, each parsed, and its own bytes. The list formats put them into an array.

    A bad frame stands for what cannot be parsed.
    """
    if is_too_deep(data):
        yield bad_frames("arrays or objects stand too deep in one another", data), data
        return
    # Bytes that are no UTF-8 stay what they are.
    text = data.decode("utf-8", "surrogateescape")
    place = _skip(text, 0)
    is_array = text[place : place + 1] == "["
    place, closing = (_skip(text, place + 1), "]") if is_array else (place, "")
    if is_array and text[place : place + 1] == "]":
        yield bad_frame("an empty array", data), data
        return
    while True:
        begin = place
        try:
            parsed, end = parser(text, begin)
        except (ValueError, RecursionError) as wrong:
            rest = text[begin:].encode("utf-8", "surrogateescape") if is_array else data
            yield (bad_frames if is_array else bad_frame)(f"not JSON: {wrong}", rest), rest
            return
        place = _skip(text, end)
        after = text[place : place + 1]
        if after != closing and not (is_array and after == ","):
            yield bad_frames("not JSON: more follows, or less than there should", data), data
            return
        yield parsed, text[begin:end].encode("utf-8", "surrogateescape") if is_array else data
        if after != ",":
            return
        place = _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    found = _GAP.match(text, place)
    return found.end() if found else place


def _text(content: Any) -> str:
    """A JSON string's content; empty for anything else."""
    return text_of(content) if isinstance(content, str) and not isinstance(content, Number) else ""


def _is_control(fields: Mapping[str, Any], *, has_type: bool) -> bool:
    """Whether an object is a reply. One that has a type as well is taken for a reply only if it has a reply's content:
    the exchange may yet give its events a field of that name."""
    if "error" in fields:
        return not has_type or isinstance(fields["error"], dict)
    if "status" in fields:
        return not has_type or _text(fields["status"]) == "UP"
    return "LIST_SUBSCRIPTIONS" in (_text(fields.get("method")), _text(fields.get("mthd")))


def _unknown(type_name: str, fields: Mapping[str, Any], element: bytes) -> UnknownEvent:
    timestamp = fields.get("timestamp", fields.get("tms"))
    return UnknownEvent(
        type_name=type_name,
        payload=element,
        timestamp=integer_of(timestamp, _TIME) or 0,
        stream_type=_text(fields.get("stream_type", fields.get("st"))),
    )
