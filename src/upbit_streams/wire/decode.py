"""Frames to events.

The decoder is made from the field table: for every kind a subclass of its public event class that has the names of one
format. One call into C decodes a frame straight into such an object, whatever its type; the receive stamp is set on the
object that was just made and that nobody else holds yet, which is why its frozen fields may be set.

That fast path is strict: it takes no field and no value that the table does not know. What it refuses is looked at
again slowly and with tolerance (see :mod:`upbit_streams.wire.tolerant`): most often it is an event all the same, of an
exchange that has moved on.
"""

import types
from collections.abc import Callable, Iterable
from typing import Any, Union

import attrs
import msgspec
from msgspec.structs import force_setattr

from ..model.epoch import Epoch
from ..model.events import Event
from ..model.kinds import Format
from .bounds import exact
from .drift import DriftLog
from .fields import TABLE
from .replies import BadFrame, Reply, bad_frame
from .shapes import wire_class
from .tolerant import TolerantDecoder

__all__ = ["Decoder"]

# The length of a frame, in bytes, from which its brackets are counted before it is decoded. A shorter one cannot be
# nested deeply enough to need more stack than a thread has: to skip a level takes about 50 bytes of stack. Only the
# amounts of private frames take more, about 350 bytes for a level, so a thread that decodes those needs 2 MiB of stack.
_LONG = 4096


class Decoder:
    """Decodes the frames of one connection, all in one format."""

    def __init__(self, format: Format, shown: Callable[[str], str] = str) -> None:
        """``shown`` makes of a text of the exchange what may be shown of it: it may have repeated a key."""
        classes = tuple(wire_class(kind, simple=format.is_simple, tag=name) for name, kind in TABLE.items())
        event: Any = Union[classes]  # noqa: UP007 -- made from a tuple
        self._is_list = format.is_list
        shape = types.GenericAlias(list, event) if format.is_list else event
        self._decode: Any = msgspec.json.Decoder(shape, float_hook=exact).decode
        self._tolerant = TolerantDecoder(format)
        self.drift = DriftLog(shown)
        """Where the exchange's frames differ from the table."""

    def decode(
        self, frames: Iterable[bytes | str], epoch: Epoch, received_at: float
    ) -> tuple[list[Event], list[Reply]]:
        """The events among the frames, stamped and in their order, and everything else that the exchange said.

        Never raises on what the exchange sent: a frame that is neither event nor reply is a
        :class:`~upbit_streams.wire.replies.BadFrame`.
        """
        decode, is_list, events, replies = self._decode, self._is_list, list[Any](), list[Reply]()
        for frame in frames:
            try:
                if len(frame) > _LONG and _opens(frame) > _LONG:
                    raise ValueError
                event = decode(frame)
            except Exception:  # noqa: BLE001 -- whatever it is, a frame must not end the reader
                begin = len(replies)
                found = self._tolerant.decode(frame, replies, self.drift)
                for index, reply in enumerate(replies[begin:], begin):
                    if isinstance(reply, BadFrame):
                        replies[index] = attrs.evolve(reply, place=len(events))
                events.extend(found)
                for event in found:
                    force_setattr(event, "epoch", epoch)
                    force_setattr(event, "received_at", received_at)
                continue
            if is_list:
                if not event:
                    replies.append(attrs.evolve(bad_frame("an empty array", b"[]"), place=len(events)))
                events.extend(event)
                for each in event:
                    force_setattr(each, "epoch", epoch)
                    force_setattr(each, "received_at", received_at)
            else:
                events.append(event)
                force_setattr(event, "epoch", epoch)
                force_setattr(event, "received_at", received_at)
        return events, replies


def _opens(frame: bytes | str) -> int:
    """How many arrays and objects there are in a frame, at most."""
    if isinstance(frame, str):
        return frame.count("[") + frame.count("{")
    return frame.count(b"[") + frame.count(b"{")
