"""One object to an event, as well as it goes: only what an event is of may cost it.

Everything else that is missing, null, or no value of its type becomes a value of its type that says so, and is noted as
a difference from the field table.
"""

import json
import math
import zlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from ..model.events import TradeEvent
from .bounds import HIGHEST, LATEST, LOWEST, amount_of, text_of
from .fields import Field, Kind

__all__ = ["Difference", "LostError", "Number", "event_of", "integer_of", "parser"]

Difference = tuple[str, str]
"""What is different, and where."""


class Number(str):
    """A number as it is spelled. What becomes of it depends on the field's type."""

    __slots__ = ()


class LostError(Exception):
    """What an event is of is missing, or cannot be understood."""


_OTHERWISE: Mapping[Any, Any] = {float: math.nan, int: -1, str: ""}
"""What stands for a value that the exchange did not send, or that is none. The others may be None."""
_MISSING = object()

# Numbers stay texts until their type is known. JSON has no NaN and no Infinity, but some of its writers have.
parser = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=lambda _: math.nan, strict=False
).raw_decode
"""Reads one JSON value from a place in a text; returns it, and where it ends."""


def event_of(fields: Mapping[str, Any], kind: Kind, type_name: str, *, simple: bool) -> tuple[Any, set[Difference]]:
    """The event that an object is, and in what it differs from the table, each difference once.

    Raises :class:`LostError` without what the event is of.
    """
    found: set[Difference] = set()
    event = _value(fields, kind, type_name, simple, found, {"ty" if simple else "type"})
    if isinstance(event, TradeEvent) and event.sequential_id == _OTHERWISE[int]:
        event = _told_apart(event)
    return event, found


def integer_of(content: Any, field: Field) -> int | None:
    """What a content is as this field; None if it is no such number."""
    number: int | None = _int(content, field, "", set())
    return number


def _value(
    fields: Mapping[str, Any], kind: Kind, where: str, simple: bool, found: set[Difference], known: set[str]
) -> Any:
    rest, values = fields.keys() - known, dict[str, Any]()
    for field in kind.fields:
        name = field.simple if simple else field.name
        rest.discard(name)
        content = fields.get(name, _MISSING)
        if field.type is float and type(content) is Number and math.isfinite(number := float(content)):
            values[field.name] = number  # most fields are like this one, or like the next: as they should be
        elif field.type is str and content in field.values:
            values[field.name] = content
        else:
            values[field.name] = _content(content, field, f"{where}.{field.name}", simple, found)
    found.update(("unknown field", f"{where}.{text_of(name)}") for name in rest)
    return kind.event(**values)


def _content(content: Any, field: Field, where: str, simple: bool, found: set[Difference]) -> Any:
    if content is _MISSING or content is None:
        is_usual = field.optional if content is _MISSING else field.null
        if not is_usual:
            found.add(("missing field", where) if content is _MISSING else ("unknown value", f"{where}=null"))
        understood = None
    elif isinstance(field.type, Kind):
        understood = _objects(content, field, where, simple, found)
    else:
        understood = _CONVERTERS[field.type](content, field, where, found)
    if understood is not None:
        return understood
    if content is not _MISSING and content is not None:
        found.add(("not understood", where))
    if field.of and (not field.optional or content not in (_MISSING, None)):
        raise LostError(f"{where} is {'missing' if content in (_MISSING, None) else 'not understood'}")
    return None if field.optional else _OTHERWISE[field.type]


def _objects(content: Any, field: Field, where: str, simple: bool, found: set[Difference]) -> Any:
    if not field.array:
        return _value(content, field.type, where, simple, found, set()) if isinstance(content, dict) else None
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return None
    return tuple(_value(part, field.type, where, simple, found, set()) for part in content)


def _amount(content: Any, field: Field, where: str, found: set[Difference]) -> Any:
    if not isinstance(content, str):
        return None
    amount = amount_of(content)
    if amount is not None and not isinstance(content, Number):
        found.add(("other spelling", where))
    return amount


def _float(content: Any, field: Field, where: str, found: set[Difference]) -> Any:
    if isinstance(content, Number):
        number = float(content)  # of any length and exponent
    elif (amount := _amount(content, field, where, found)) is not None:
        number = float(amount)
    else:
        return None
    return number if math.isfinite(number) else None


def _int(content: Any, field: Field, where: str, found: set[Difference]) -> Any:
    amount = _amount(content, field, where, found)
    if amount is None:
        return None
    number = int(amount)
    if content != str(number):
        found.add(("other spelling", where))
    if field.is_time:
        return _time(number, where, found)
    return number if number == amount and LOWEST <= number <= HIGHEST else None


def _time(number: int, where: str, found: set[Difference]) -> int | None:
    """Milliseconds. The exchange has sent microseconds in their place."""
    for unit in ("milliseconds", "microseconds", "nanoseconds"):
        if 0 <= number <= LATEST:
            found.update({("other unit", f"{where} in {unit}")} if unit != "milliseconds" else ())
            return number
        number //= 1000
    return None


def _text(content: Any, field: Field, where: str, found: set[Difference]) -> Any:
    if not isinstance(content, str):
        return None
    text = text_of(content)
    if isinstance(content, Number):
        found.add(("other spelling", where))
    elif field.values and text not in field.values:
        found.add(("unknown value", f"{where}={text}"))
    return text


def _flag(content: Any, field: Field, where: str, found: set[Difference]) -> Any:
    return content if isinstance(content, bool) else None


def _anything(content: Any, field: Field, where: str, found: set[Difference]) -> Any:
    """Any JSON, of bounded numbers."""
    if isinstance(content, Number):
        number = _float(content, field, where, found)
        whole = amount_of(content)
        is_whole = whole is not None and whole == int(whole) and LOWEST <= whole <= HIGHEST
        return int(whole) if whole is not None and is_whole else number
    if isinstance(content, str):
        return text_of(content)
    if isinstance(content, dict):
        return {text_of(name): _anything(part, field, where, found) for name, part in content.items()}
    if isinstance(content, list):
        return [_anything(part, field, where, found) for part in content]
    return content


def _told_apart(trade: TradeEvent) -> TradeEvent:
    """The trade with an id of what is in it, so that a snapshot of a trade that was told is known for it.

    The exchange's own ids are never negative.
    """
    content = f"{trade.trade_timestamp} {trade.trade_price} {trade.trade_volume} {trade.ask_bid}"
    return msgspec.structs.replace(trade, sequential_id=-2 - zlib.crc32(content.encode()))


_Converter = Callable[[Any, Field, str, set[Difference]], Any]
_CONVERTERS: Mapping[Any, _Converter] = {
    Decimal: _amount,
    float: _float,
    int: _int,
    str: _text,
    bool: _flag,
    Any: _anything,
}
