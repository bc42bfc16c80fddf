"""The exchange's side of a request: what was asked for, or the error it deserves (protocol sections 2 and 6)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..model.kinds import Format
from ..wire.fields import TABLE

__all__ = ["RequestError", "Subscription", "parse_request"]

_COUNTS = (1, 5, 15, 30)


@attrs.frozen
class Subscription:
    """One type of one market, as one object of the request asks for it."""

    type: str
    code: str
    count: int = 30
    """Levels of an order book."""
    level: float = 0
    """Price grouping of an order book; 0 for none."""
    snapshot: bool = True
    realtime: bool = True


class RequestError(Exception):
    """A request that the exchange answers with an error frame."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


def parse_request(text: str | bytes) -> tuple[list[Subscription], Format]:
    """What a request asks for, and the format it wants. Raises :class:`RequestError`."""
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise RequestError("WRONG_FORMAT", "The request is not an array of objects.")
    tickets = [part for part in parts if "ticket" in part]
    if not tickets or not isinstance(tickets[0]["ticket"], str) or not tickets[0]["ticket"]:
        raise RequestError("NO_TICKET", "Ticket field must be contained.")
    asked = [part for part in parts if "ticket" not in part and set(part) != {"format"}]
    if not asked:
        raise RequestError("NO_TYPE", "type field not exists.")
    subscriptions = [subscription for part in asked for subscription in _subscriptions(part)]
    return subscriptions, _format(parts)


def _format(parts: Sequence[Mapping[str, Any]]) -> Format:
    name = next((part["format"] for part in parts if "format" in part), Format.DEFAULT)
    try:
        return Format(name)
    except ValueError:
        raise RequestError("WRONG_FORMAT", f"format {name} is not supported.") from None


def _subscriptions(part: Mapping[str, Any]) -> list[Subscription]:
    type_name, codes = part.get("type"), part.get("codes")
    if type_name is None:
        raise RequestError("NO_TYPE", "type field not exists.")
    if not isinstance(type_name, str) or type_name not in TABLE:
        raise RequestError("INVALID_PARAM", f"type {type_name} is not supported.")
    if codes is None:
        raise RequestError("NO_CODES", "codes field not exists.")
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise RequestError("WRONG_FORMAT", "codes is not an array of strings.")
    level = part.get("level", 0)
    if isinstance(level, bool) or not isinstance(level, int | float):
        raise RequestError("WRONG_FORMAT", "level is not a number.")
    # The camelCase spelling is the older one, and many clients still send it.
    only_snapshot = part.get("is_only_snapshot", part.get("isOnlySnapshot", False))
    only_realtime = part.get("is_only_realtime", part.get("isOnlyRealtime", False))
    if not isinstance(only_snapshot, bool) or not isinstance(only_realtime, bool):
        raise RequestError("WRONG_FORMAT", "is_only_snapshot and is_only_realtime are booleans.")
    return [
        Subscription(
            type_name, *_code_and_count(type_name, code), level, snapshot=not only_realtime, realtime=not only_snapshot
        )
        for code in codes
    ]


def _code_and_count(type_name: str, code: str) -> tuple[str, int]:
    """``KRW-BTC.15`` is an order book of 15 levels; an unsupported count gets 30, without an error."""
    market, dot, count = code.partition(".")
    if type_name != "orderbook" or not dot:
        return code, 30
    return market, int(count) if count in map(str, _COUNTS) else 30
