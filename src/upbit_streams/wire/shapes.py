"""Event classes as one wire format spells them, made from the field table."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Any, Literal

import msgspec

from ..model.epoch import NO_EPOCH
from .fields import Field, Kind

__all__ = ["wire_class"]

# The stamp is ours: under these names on the wire, nothing that the exchange could ever send sets it.
_STAMP_NAMES = {"epoch": "upbit_streams epoch", "received_at": "upbit_streams received_at"}
_STAMP_MEMBERS: list[Any] = [("epoch", Any, NO_EPOCH), ("received_at", float, 0.0)]


@cache  # to make one takes longer than to open a connection, and every connection needs them all
def wire_class(kind: Kind, *, simple: bool, strict: bool, tag: str | None) -> Any:
    """A subclass of the kind's event class with the names of the DEFAULT or the SIMPLE formats.

    A strict one takes no field that the table does not have, and no value that it does not list. ``tag`` is the type's
    name; objects within an event have none.
    """
    members = list(_STAMP_MEMBERS) if tag else []
    members += [_member(field, simple=simple, strict=strict) for field in kind.fields]
    names = {field.name: field.simple if simple else field.name for field in kind.fields}
    return msgspec.defstruct(
        kind.event.__name__,
        members,
        bases=(kind.event,),
        namespace={"_public": kind.event, **_checks(kind)},
        rename={**names, **(_STAMP_NAMES if tag else {})},
        tag_field=("ty" if simple else "type") if tag else None,
        tag=tag,
        forbid_unknown_fields=strict,
        frozen=True,
        gc=False,
        kw_only=True,
    )


def _member(field: Field, *, simple: bool, strict: bool) -> Any:
    wire_type: Any = field.type
    if isinstance(wire_type, Kind):
        wire_type = wire_class(wire_type, simple=simple, strict=strict, tag=None)
    elif field.values and strict:
        wire_type = Literal[field.values]
    if field.array:
        wire_type = tuple[wire_type, ...]
    if field.null or (field.optional and not strict):
        return field.name, wire_type | None, None
    return (field.name, wire_type, None) if field.optional else (field.name, wire_type)


def _checks(kind: Kind) -> dict[str, Callable[[Any], None]]:
    """What a value with amounts goes through once it is made: JSON knows no NaN and no Infinity, but msgspec takes the
    texts for decimals."""
    names = [field.name for field in kind.fields if field.type is Decimal]
    if not names:
        return {}
    amounts = attrgetter(names[0], *names)  # the first one twice: of a single name there would come no tuple

    def check(value: Any) -> None:
        for amount in amounts(value):
            if type(amount) is Decimal and not amount.is_finite():
                raise ValueError("an amount that is no finite number")

    return {"__post_init__": check}
