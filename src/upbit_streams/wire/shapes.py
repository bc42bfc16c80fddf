"""Event classes as one wire format spells them, made from the field table."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import force_setattr

from ..model.epoch import NO_EPOCH
from .bounds import HIGHEST, LATEST, LOWEST, exact
from .fields import Field, Kind

__all__ = ["wire_class"]

# The stamp is ours: under these names on the wire, nothing that the exchange could ever send sets it.
_STAMP_NAMES = {"epoch": "upbit_streams epoch", "received_at": "upbit_streams received_at"}
_STAMP_MEMBERS: list[Any] = [("epoch", Any, NO_EPOCH), ("received_at", float, 0.0)]


_WHOLE = Annotated[int, msgspec.Meta(ge=LOWEST, le=HIGHEST)]
_MILLISECONDS = Annotated[int, msgspec.Meta(ge=0, le=LATEST)]


@cache  # to make one takes longer than to open a connection, and every connection needs them all
def wire_class(kind: Kind, *, simple: bool, tag: str | None) -> Any:
    """A subclass of the kind's event class with the names of the DEFAULT or the SIMPLE formats.

    It takes no field that the table does not have, no value that it does not list, and no number out of bounds. ``tag``
    is the type's name; objects within an event have none. Its decoder has to make the numbers of JSON with
    :data:`~upbit_streams.wire.bounds.exact`.
    """
    members = list(_STAMP_MEMBERS) if tag else []
    members += [_member(field, simple=simple) for field in kind.fields]
    names = {field.name: field.simple if simple else field.name for field in kind.fields}
    return msgspec.defstruct(
        kind.event.__name__,
        members,
        bases=(kind.event,),
        namespace={"_public": kind.event, **_amounts(kind)},
        rename={**names, **(_STAMP_NAMES if tag else {})},
        tag_field=("ty" if simple else "type") if tag else None,
        tag=tag,
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
        kw_only=True,
    )


def _member(field: Field, *, simple: bool) -> Any:
    wire_type: Any = field.type
    if isinstance(wire_type, Kind):
        wire_type = wire_class(wire_type, simple=simple, tag=None)
    elif field.values:
        wire_type = Literal[field.values]
    elif wire_type is int:
        wire_type = _MILLISECONDS if field.is_time else _WHOLE
    elif wire_type is Any:
        wire_type = dict[str, _WHOLE | str | None] | str
    elif wire_type is Decimal:
        wire_type = Any  # msgspec's own decimals may be texts as well, of odd spelling
    if field.array:
        wire_type = tuple[wire_type, ...]
    if field.null and wire_type is not Any:
        return field.name, wire_type | None, None
    return (field.name, wire_type, None) if field.optional else (field.name, wire_type)


def _amounts(kind: Kind) -> dict[str, Callable[[Any], None]]:
    """What a value with amounts goes through once it is made: they are decimals then, or None where that may be."""
    found = [field for field in kind.fields if field.type is Decimal]
    if not found:
        return {}
    found *= 2 if len(found) == 1 else 1  # an attrgetter of a single name gives no tuple
    names = [field.name for field in found]
    required = frozenset(field.name for field in found if not field.null)
    amounts = attrgetter(*names)

    def check(value: Any) -> None:
        for amount in amounts(value):
            if type(amount) is not Decimal and (amount is not None or required):
                take_all(value)
                break

    def take_all(value: Any) -> None:
        for name in names:
            amount = getattr(value, name)
            if type(amount) is int:
                force_setattr(value, name, exact(amount))
            elif type(amount) is not Decimal and (amount is not None or name in required):
                raise ValueError("an amount that is no number")

    return {"__post_init__": check}
