"""Events to frames, from the same table as the decoder, and from one format to another."""

from collections.abc import Iterable
from typing import Any

import msgspec

from ..exceptions import UsageError
from ..model.events import Event, UnknownEvent
from ..model.kinds import Format
from .bounds import is_too_deep
from .fields import TABLE, Field, Kind

__all__ = ["convert", "encode", "to_fields"]

# Amounts are numbers on the wire, and every digit of them counts.
_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(event: Event, format: Format, leave_out: Iterable[str] = ()) -> bytes:
    """The frame that the exchange would send for this event. Epoch and receive time are not part of it, nor are the
    fields of these names, in the spelling of the format."""
    if isinstance(event, UnknownEvent):
        return b"[" + event.payload + b"]" if format.is_list else event.payload
    fields = to_fields(event, format)
    for name in leave_out:
        fields.pop(name, None)
    return _encoder.encode([fields] if format.is_list else fields)


def to_fields(event: Event, format: Format = Format.DEFAULT) -> dict[str, Any]:
    """The event as the exchange's own fields, in its order: field name to plain value.

    A field that is ``None`` is left out, unless the exchange sends it as ``null``. The list formats give the object
    within the array.
    """
    if isinstance(event, UnknownEvent):
        fields: dict[str, Any] = msgspec.json.decode(event.payload)
        return fields
    simple = format.is_simple
    return {"ty" if simple else "type": event.type, **_fields(event, TABLE[event.type], simple)}


def _fields(value: Any, kind: Kind, simple: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in kind.fields:
        content = getattr(value, field.name)
        if content is not None or field.null:
            found[field.simple if simple else field.name] = _content(content, field, simple)
    return found


def _content(content: Any, field: Field, simple: bool) -> Any:
    if not isinstance(field.type, Kind):
        return content
    if field.array:
        return [_fields(each, field.type, simple) for each in content]
    return _fields(content, field.type, simple)


def convert(frame: bytes | str, format: Format) -> bytes:
    """The same frame in another format: the names change, and nothing else does.

    Fields that the table does not know keep their names, and numbers keep their spelling. A frame without a known type
    is only put into an array or taken out of it. Raises :class:`UsageError` for a frame that is not JSON, that holds
    several objects where the format has room for one, or two fields that would get one name.
    """
    if is_too_deep(frame.encode("utf-8", "replace") if isinstance(frame, str) else frame):
        raise UsageError("not a frame of the exchange: arrays or objects stand too deep in one another")
    try:
        parsed = msgspec.json.decode(frame, type=list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as why:
        raise UsageError(f"not a frame of the exchange: {why}") from None
    objects = parsed if isinstance(parsed, list) else [parsed]
    converted = [_converted(each, format.is_simple) for each in objects]
    if format.is_list:
        return _encoder.encode(converted)
    if len(converted) != 1:
        raise UsageError(f"{format} holds one event a frame, and this frame has {len(converted)}; convert each alone")
    return _encoder.encode(converted[0])


def _converted(fields: dict[str, msgspec.Raw], simple: bool) -> dict[str, Any]:
    was_simple, tag = "ty" in fields, "ty" if simple else "type"
    kind = TABLE.get(_parsed(fields.get("ty" if was_simple else "type", msgspec.Raw(b"null")), str, ""))
    if kind is None:
        return dict(fields)
    rest = {name: content for name, content in fields.items() if name != ("ty" if was_simple else "type")}
    return {tag: fields["ty" if was_simple else "type"], **_renamed(rest, kind, was_simple, simple)}


def _renamed(fields: dict[str, msgspec.Raw], kind: Kind, was_simple: bool, simple: bool) -> dict[str, Any]:
    known = {field.simple if was_simple else field.name: field for field in kind.fields}
    renamed: dict[str, Any] = {}
    for name, content in fields.items():
        field = known.get(name)
        new = name if field is None else field.simple if simple else field.name
        if new in renamed:
            raise UsageError(f"{name!r} would become a second {new!r}; this frame cannot be converted")
        renamed[new] = content if field is None else _renamed_content(content, field, was_simple, simple)
    return renamed


def _renamed_content(content: msgspec.Raw, field: Field, was_simple: bool, simple: bool) -> Any:
    """The content with the names within it changed; content of another shape than expected stays as it is."""
    kind = field.type
    if not isinstance(kind, Kind):
        return content
    if field.array:
        parts = _parsed(content, list[dict[str, msgspec.Raw]], None)
        return content if parts is None else [_renamed(part, kind, was_simple, simple) for part in parts]
    part = _parsed(content, dict[str, msgspec.Raw], None)
    return content if part is None else _renamed(part, kind, was_simple, simple)


def _parsed(content: msgspec.Raw, shape: Any, otherwise: Any) -> Any:
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return otherwise
