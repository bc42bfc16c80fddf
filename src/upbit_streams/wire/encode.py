"""Events to frames, from the same table as the decoder. The simulated exchange and the recorders send these."""

from typing import Any

import msgspec

from ..model.events import Event
from ..model.kinds import Format
from .fields import TABLE, Field, Kind

__all__ = ["encode", "to_fields"]

_encoder = msgspec.json.Encoder()


def encode(event: Event, format: Format) -> bytes:
    """The frame that the exchange would send for this event. Epoch and receive time are not part of it."""
    return _encoder.encode(to_fields(event, format))


def to_fields(event: Event, format: Format = Format.DEFAULT) -> dict[str, Any]:
    """The event as the exchange's own fields, in its order: field name to plain value.

    A field that is ``None`` is left out, unless the exchange sends it as ``null``.
    """
    simple = format is Format.SIMPLE
    return {"ty" if simple else "type": event.type, **_fields(event, TABLE[event.type], simple)}


def _fields(value: Any, kind: Kind, simple: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in kind.fields:
        content = getattr(value, field.name)
        if content is not None or field.null:
            found[field.simple if simple else field.name] = _content(content, field, simple)
    return found


def _content(content: Any, field: Field, simple: bool) -> Any:
    if isinstance(field.type, Kind):
        return [_fields(unit, field.type, simple) for unit in content]
    return content
