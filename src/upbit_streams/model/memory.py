"""How much memory events take, at most."""

import sys
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

import attrs
import msgspec

from ..exceptions import UsageError
from .epoch import Epoch
from .events import Event
from .kinds import DataType
from .subscriptions import COUNTS

__all__ = ["MemoryBound", "event_bytes"]

# Every other text of the exchange is a date, a code, an id or a word: none has more than 40 letters.
_SHORT_TEXT_BYTES = 128
# Titles of announcements have up to 200 letters, mostly Korean ones of two bytes each.
_LONG_TEXT_BYTES = 1024
_LONG_TEXTS = frozenset({"title", "url", "identifier", "type_name"})
# A single letter outside the basic plane makes all letters of a text take four bytes, also those that came as one.
_WIDEST_LETTER = 4
_ANY_BYTES = 512
"""Of a field whose type is not known: it was never seen to be anything but empty."""
_MOST_ASSETS = 16
"""A trade changes the balances of two currencies."""
# The allocator hands out no less.
_ALIGNMENT = 16
_NUMBER_BYTES = {
    int: sys.getsizeof(2**63),
    float: sys.getsizeof(0.0),
    Decimal: sys.getsizeof(Decimal(0)),  # which has room for 38 digits and more
    bool: 0,
    type(None): 0,
    Epoch: 0,  # all events of an epoch have the same one
}


@attrs.frozen
class MemoryBound:
    """The most that all that is open takes in memory, in bytes, beside the program itself.

    It follows from what is open and how that is configured, not from what is in the buffers, so no event that comes
    changes it. It grows when something is opened or registered, at once. It shrinks when something is closed, but only
    by what is gone by then: what is kept for who comes back goes with the cleanup, some minutes later, and what may be
    there because others wanted it (an order book of 30 levels, an announcement's body) counts as long as anybody wants
    the topic. An event that is in several buffers is counted for each, though it is in memory once.
    """

    streams: int
    """Events that wait in the buffers of streams and callbacks: as many as each one's policy lets wait, each as large
    as the largest of the stream's types."""
    histories: int
    """Events in the histories that clients have asked for."""
    pool: int
    """The latest events of each topic, and the ids by which repeated trades are known; and a little of each topic that
    was wanted until a short while ago."""
    account: int
    """Orders, balances and announcements."""
    reading: int
    """What each connection reads at once: the bytes, the messages in them, and the events made of those before they are
    handed out."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.streams + self.histories + self.pool + self.account + self.reading


def event_bytes(
    kind: DataType[Event], *, count: int = 30, include_body: bool = False, max_message_size: int = 1 << 20
) -> int:
    """The most that one event of a type takes in memory, with all that it refers to, but for its epoch.

    ``count`` is how many levels an order book has. ``include_body`` is whether announcements come with their bodies;
    these, and what is known of an event of an unknown type, are as large as a message may be: ``max_message_size``, in
    bytes on the wire.

    Numbers, and how many fields there are, have bounds of their own. That texts are not longer than those that the
    exchange sends is an assumption: 128 bytes each, which is 79 Latin letters, and 1,024 bytes for titles, URLs and
    your own identifiers of orders. So is that a change of balances is one of at most 16 currencies.

    Raises :class:`UsageError` for what is not one data type, and for numbers of levels or bytes that cannot be.
    """
    if not isinstance(kind, DataType):
        raise UsageError(f"{kind!r} is not a data type; use one of the constants of DataType, like DataType.TRADE")
    if type(count) is not int or count not in COUNTS:
        raise UsageError(f"order books have 1, 5, 15 or 30 levels, not {count!r}")
    if type(max_message_size) is not int or max_message_size < 1:
        raise UsageError(f"a message has a whole number of bytes, at least 1; not {max_message_size!r}")
    return _event_bytes(kind, count, max_message_size if include_body or kind is DataType.UNKNOWN else 0)


@cache
def _event_bytes(kind: DataType[Event], count: int, message: int) -> int:
    return _struct_bytes(kind.event, count, message)


def _struct_bytes(cls: type[msgspec.Struct], count: int, message: int) -> int:
    size = _allocated(cls.__basicsize__)
    for field in msgspec.structs.fields(cls):
        if field.name == "body":
            size += _allocated(_WIDEST_LETTER * message) + _SHORT_TEXT_BYTES if message else 0
        elif field.name in _LONG_TEXTS:
            size += _LONG_TEXT_BYTES
        else:
            size += _type_bytes(field.type, count, message)
    return size


def _type_bytes(type_: Any, count: int, message: int) -> int:
    if get_origin(type_) in (Union, UnionType):
        return max(_type_bytes(one, count, message) for one in get_args(type_))
    if get_origin(type_) is tuple:
        element = get_args(type_)[0]
        most = count if element.__name__ == "OrderbookUnit" else _MOST_ASSETS
        return _allocated(sys.getsizeof((None,) * most)) + most * _type_bytes(element, count, message)
    if type_ is str:
        return _SHORT_TEXT_BYTES
    if type_ is bytes:
        return _allocated(sys.getsizeof(b"") + message)
    if type_ is Any:
        return _ANY_BYTES
    if issubclass(type_, msgspec.Struct):
        return _struct_bytes(type_, count, message)
    return _allocated(_NUMBER_BYTES[type_])


def _allocated(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
