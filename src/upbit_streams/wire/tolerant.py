"""The slow look at a frame that the strict decoder refused.

The order in which an object is told apart is the protocol's (section 4.8): ``error``, ``status``, ``method``, type.
Nothing here raises, whatever the frame is.
"""

from functools import cache
from typing import Any

import msgspec

from ..model.events import Event, UnknownEvent
from ..model.kinds import Format
from .drift import DriftLog
from .fields import TABLE, Field, Kind
from .replies import BadFrame, Reply, bad_frame, control_reply
from .shapes import wire_class

__all__ = ["TolerantDecoder"]

# No exchange sends an array with more rubbish than this; what follows it is not worth the time.
_MOST_BAD_ELEMENTS = 20


_NOTHING = msgspec.Raw()


class _Head(msgspec.Struct):
    """What tells an object apart, of any shape."""

    error: msgspec.Raw = _NOTHING
    status: msgspec.Raw = _NOTHING
    method: msgspec.Raw = _NOTHING
    mthd: msgspec.Raw = _NOTHING
    type: msgspec.Raw = _NOTHING
    ty: msgspec.Raw = _NOTHING
    timestamp: msgspec.Raw = _NOTHING
    tms: msgspec.Raw = _NOTHING
    stream_type: msgspec.Raw = _NOTHING
    st: msgspec.Raw = _NOTHING


class TolerantDecoder:
    """Makes the best of a frame, and notes in what it differs from the field table."""

    def __init__(self, format: Format) -> None:
        self._simple = format.is_simple

    def decode(self, frame: bytes | str, why: str, replies: list[Reply], drift: DriftLog) -> list[Event]:
        """The events in a frame that the strict decoder refused because of ``why``; what else it holds joins the
        replies."""
        events: list[Event] = []
        try:
            elements = _elements(frame.encode() if isinstance(frame, str) else bytes(frame))
        except Exception as worse:  # noqa: BLE001 -- not JSON, not UTF-8, too deep: a frame must not end the reader
            replies.append(bad_frame(str(worse) or type(worse).__name__, frame))
            return events
        if not elements:
            replies.append(bad_frame("an empty array", frame))
        bad = 0
        for element in elements:
            try:
                found = self._element(element, why, drift)
            except Exception as worse:  # noqa: BLE001 -- one bad element must not cost the good ones beside it
                found = bad_frame(str(worse) or type(worse).__name__, element)
            if isinstance(found, Event):
                events.append(found)
                continue
            replies.append(found)
            bad += isinstance(found, BadFrame)
            if bad == _MOST_BAD_ELEMENTS:
                replies.append(bad_frame("the rest of an array with too much that is not understood", frame))
                break
        return events

    def _element(self, element: bytes, why: str, drift: DriftLog) -> Event | Reply:
        head = msgspec.json.decode(element, type=_Head)
        simple, type_name = self._simple, _text(head.ty if self._simple else head.type)
        if not type_name and (other := _text(head.type if simple else head.ty)):
            # A request that left out the format, for instance LIST_SUBSCRIPTIONS, changes that of all live streams.
            simple, type_name = not simple, other
        if _is_control(head, has_type=bool(type_name)):
            reply = control_reply(msgspec.json.decode(element))
            return reply or bad_frame(why, element)
        if not type_name:
            return bad_frame(why, element)
        if simple is not self._simple:
            drift.note("other format", type_name, element)
        if type_name not in TABLE:
            drift.note("unknown type", type_name, element)
            return _unknown(type_name, head, element)
        try:
            event: Event = _lenient(type_name, simple)(element)
        except msgspec.MsgspecError as wrong:
            return bad_frame(f"{type_name}: {wrong}", element)
        for what, where in sorted(_drift_of(element, TABLE[type_name], type_name, simple=simple)):
            drift.note(what, where, element)
        return event


def _elements(data: bytes) -> list[bytes]:
    """The objects in a frame, each as its own bytes. The list formats put them into an array."""
    if data.lstrip(b" \t\r\n")[:1] != b"[":
        return [data]
    return [bytes(raw) for raw in msgspec.json.decode(data, type=list[msgspec.Raw])]


def _text(raw: msgspec.Raw) -> str:
    """A JSON string's content; empty for anything else."""
    if bytes(raw)[:1] != b'"':
        return ""
    text: str = msgspec.json.decode(raw)
    return text


def _is_control(head: _Head, *, has_type: bool) -> bool:
    """Whether an object is a reply. One that has a type as well is taken for a reply only if it has a reply's content:
    the exchange may yet give its events a field of that name."""
    if error := bytes(head.error):
        return not has_type or error[:1] == b"{"
    if bytes(head.status):
        return not has_type or _text(head.status) == "UP"
    return _text(head.method) == "LIST_SUBSCRIPTIONS" or _text(head.mthd) == "LIST_SUBSCRIPTIONS"


@cache
def _lenient(type_name: str, simple: bool) -> Any:
    """Decodes what is near enough to a type. Straight from the bytes, so that amounts keep their last digit."""
    return msgspec.json.Decoder(wire_class(TABLE[type_name], simple=simple, strict=False, tag=type_name)).decode


def _unknown(type_name: str, head: _Head, element: bytes) -> UnknownEvent:
    try:
        timestamp = msgspec.json.decode(bytes(head.timestamp) or bytes(head.tms) or b"0", type=int)
    except msgspec.MsgspecError:
        timestamp = 0
    return UnknownEvent(
        type_name=type_name,
        payload=element,
        timestamp=timestamp,
        stream_type=_text(head.stream_type) or _text(head.st),
    )


def _drift_of(element: bytes, kind: Kind, type_name: str, *, simple: bool) -> set[tuple[str, str]]:
    """In what an object differs from the table, each once."""
    try:
        fields = msgspec.json.decode(element)
    except Exception:  # noqa: BLE001 -- a number that no type of Python can hold, in a field that the table does not have
        return {("unknown field", f"{type_name}: one that cannot be read")}
    return _drift(fields, kind, type_name, simple=simple, known={"ty" if simple else "type"})


def _drift(
    fields: dict[str, Any], kind: Kind, where: str, *, simple: bool, known: set[str] | frozenset[str] = frozenset()
) -> set[tuple[str, str]]:
    names = {field.simple if simple else field.name: field for field in kind.fields}
    found = {("unknown field", f"{where}.{name}") for name in fields if name not in names and name not in known}
    for name, content in fields.items():
        if (field := names.get(name)) is not None:
            found |= _drift_of_content(content, field, f"{where}.{field.name}", simple=simple)
    return found


def _drift_of_content(content: Any, field: Field, where: str, *, simple: bool) -> set[tuple[str, str]]:
    if content is None:
        return set() if field.null else {("unknown value", f"{where}=null")}
    if isinstance(field.type, Kind):
        parts = content if field.array else [content]
        return {drift for part in parts for drift in _drift(part, field.type, where, simple=simple)}
    if field.values and content not in field.values:
        return {("unknown value", f"{where}={content}")}
    return set()
