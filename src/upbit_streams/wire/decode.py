"""Frames to events.

The decoder is made from the field table: for every kind a subclass of its public event class that differs in the names
on the wire only. One call into C decodes a frame straight into such an object, whatever its type; the receive stamp is
set on the object that the decoder just made and nobody else holds yet, which is why the frozen fields may be set.
"""

from collections.abc import Iterable
from typing import Any, Union

import msgspec
from msgspec.structs import force_setattr

from ..model.epoch import NO_EPOCH, Epoch
from ..model.events import Event
from ..model.kinds import Format
from .fields import TABLE, Kind
from .replies import Reply, reply_to

__all__ = ["Decoder"]

# The stamp is ours: under these names on the wire, nothing that the exchange could ever send sets it.
_STAMP_NAMES = {"epoch": "upbit_streams epoch", "received_at": "upbit_streams received_at"}
_STAMP_MEMBERS: list[Any] = [("epoch", Any, NO_EPOCH), ("received_at", float, 0.0)]


def _wire_class(kind: Kind, format: Format, tag: str | None) -> type:
    simple = format is Format.SIMPLE
    names = {field.name: field.simple if simple else field.name for field in kind.fields}
    members = list(_STAMP_MEMBERS) if tag else []
    for field in kind.fields:
        wire_type = field.type
        if isinstance(wire_type, Kind):
            wire_type = tuple[_wire_class(wire_type, format, None), ...]  # type: ignore[misc]
        if field.null or field.optional:
            members.append((field.name, wire_type | None, None))
        else:
            members.append((field.name, wire_type))
    return msgspec.defstruct(
        kind.event.__name__,
        members,
        bases=(kind.event,),
        rename={**names, **_STAMP_NAMES},
        tag_field=("ty" if simple else "type") if tag else None,
        tag=tag,
        frozen=True,
        gc=False,
        kw_only=True,
    )


class Decoder:
    """Decodes the frames of one connection, all in one format."""

    def __init__(self, format: Format) -> None:
        classes = tuple(_wire_class(kind, format, name) for name, kind in TABLE.items())
        self._decode: Any = msgspec.json.Decoder(Union[classes]).decode  # noqa: UP007 -- made from a tuple

    def decode(
        self, frames: Iterable[bytes | str], epoch: Epoch, received_at: float
    ) -> tuple[list[Event], list[Reply]]:
        """The events among the frames, stamped and in their order, and everything else that the exchange said.

        Never raises on what the exchange sent: a frame that is neither event nor reply is a
        :class:`~upbit_streams.wire.replies.BadFrame`.
        """
        decode, events, replies = self._decode, [], []
        for frame in frames:
            try:
                event = decode(frame)
            except Exception as why:  # noqa: BLE001 -- whatever it is, a frame must not end the reader
                replies.append(reply_to(frame, why))
            else:
                force_setattr(event, "epoch", epoch)
                force_setattr(event, "received_at", received_at)
                events.append(event)
        return events, replies
