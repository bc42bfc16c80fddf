"""The exchange's side of a request: what was asked for, or the error it deserves (protocol sections 2 and 6)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from ..model.kinds import DataType, Endpoint, Format
from ..model.subscriptions import COUNTS

__all__ = ["Request", "RequestError", "Subscription", "listing", "parse_request"]

_TYPES = frozenset(kind.name for kind in DataType.all(Endpoint.PUBLIC))
_LIST = "LIST_SUBSCRIPTIONS"


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


@attrs.frozen
class Request:
    """What a client asks for."""

    ticket: str
    format: Format
    subscriptions: tuple[Subscription, ...] | None
    """Each once. None if the request asks what is subscribed, and changes nothing but the format."""


class RequestError(Exception):
    """A request that the exchange answers with an error frame."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


def parse_request(text: str | bytes) -> Request:
    """What a request asks for. Raises :class:`RequestError`, whatever the text is."""
    try:
        parts = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        parts = None
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise RequestError("WRONG_FORMAT", "The request is not an array of objects.")
    tickets = [part for part in parts if "ticket" in part]
    if not tickets or not isinstance(tickets[0]["ticket"], str) or not tickets[0]["ticket"]:
        raise RequestError("NO_TICKET", "Ticket field must be contained.")
    asked = [part for part in parts if "ticket" not in part and set(part) != {"format"}]
    if not asked:
        raise RequestError("NO_TYPE", "type field not exists.")
    subscriptions: tuple[Subscription, ...] | None = None
    if not any(part.get("method") == _LIST for part in asked):
        subscriptions = tuple(dict.fromkeys(one for part in asked for one in _subscriptions(part)))
    return Request(tickets[0]["ticket"], _format(parts), subscriptions)


def listing(subscriptions: Iterable[Subscription], ticket: str, format: Format) -> dict[str, Any]:
    """The answer to ``LIST_SUBSCRIPTIONS`` (protocol section 2.5)."""
    codes: dict[tuple[str, float], dict[str, None]] = {}
    for one in subscriptions:
        codes.setdefault((one.type, one.level), {})[one.code] = None
    method, result, type_key, codes_key, level_key, ticket_key = (
        ("mthd", "rslt", "ty", "cds", "lv", "tckt")
        if format.is_simple
        else ("method", "result", "type", "codes", "level", "ticket")
    )
    return {
        method: _LIST,
        result: [
            {type_key: type_name, codes_key: list(markets), **({level_key: level} if type_name == "orderbook" else {})}
            for (type_name, level), markets in codes.items()
        ],
        ticket_key: ticket,
    }


def _format(parts: Sequence[Mapping[str, Any]]) -> Format:
    name = next((part["format"] for part in parts if "format" in part), "DEFAULT")
    try:
        return Format(name)
    except ValueError:
        raise RequestError("WRONG_FORMAT", f"format {name} is not supported.") from None


def _subscriptions(part: Mapping[str, Any]) -> list[Subscription]:
    type_name, codes = part.get("type"), part.get("codes")
    if type_name is None:
        raise RequestError("NO_TYPE", "type field not exists.")
    if not isinstance(type_name, str) or type_name not in _TYPES:
        raise RequestError("INVALID_PARAM", f"type {type_name} is not supported.")
    if codes is None:
        raise RequestError("NO_CODES", "codes field not exists.")
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise RequestError("WRONG_FORMAT", "codes is not an array of strings.")
    level = part.get("level", 0)
    if isinstance(level, bool) or not isinstance(level, int | float) or not (level == 0 or 1e-8 <= level <= 1e12):
        raise RequestError("WRONG_FORMAT", "level is not a price, or 0.")
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
        # Only KRW markets can be grouped; for others the exchange keeps silent.
        if not level or code.startswith("KRW-")
    ]


def _code_and_count(type_name: str, code: str) -> tuple[str, int]:
    """``KRW-BTC.15`` is an order book of 15 levels; an unsupported count gets 30, without an error."""
    market, dot, count = code.partition(".")
    if type_name != "orderbook" or not dot:
        return code, 30
    return market, int(count) if count in map(str, COUNTS) else 30
