"""The exchange's side of a request: what was asked for, or the error it deserves (protocol sections 2 and 6)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from ..exceptions import UsageError
from ..model.events import AnnouncementEvent
from ..model.indicators import Indicator, indicator, indicator_signal
from ..model.kinds import Codes, DataType, Endpoint, Format
from ..model.subscriptions import CATEGORIES, COUNTS, MAX_COMBINATIONS

__all__ = ["Request", "RequestError", "Subscription", "listing", "parse_request"]

_TYPES = {endpoint: {kind.name: kind for kind in DataType.all(endpoint)} for endpoint in Endpoint}
_LIST = "LIST_SUBSCRIPTIONS"


@attrs.frozen
class Subscription:
    """One type of one market, as one object of the request asks for it."""

    type: str
    code: str = ""
    """Empty for all markets, or for a type that is not asked for by market."""
    count: int = 30
    """Levels of an order book."""
    level: float = 0
    """Price grouping of an order book; 0 for none."""
    snapshot: bool = True
    realtime: bool = True
    categories: tuple[str, ...] = ()
    """Of announcements; empty for all."""
    include_body: bool = False
    indicator: Indicator | None = None


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


def parse_request(text: str | bytes, endpoint: Endpoint = Endpoint.PUBLIC) -> Request:
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
        asked_for = [one for part in asked for one in _subscriptions(part, endpoint)]
        if endpoint is Endpoint.INFO and len(asked_for) > MAX_COMBINATIONS:
            raise RequestError("TOO_MANY_REQUEST", f"At most {MAX_COMBINATIONS} combinations are allowed.")
        subscriptions = tuple(
            # Only KRW markets can be grouped, or have indicators; for others the exchange keeps silent.
            dict.fromkeys(one for one in asked_for if one.code.startswith("KRW-") or not (one.level or one.indicator))
        )
    return Request(tickets[0]["ticket"], _format(parts), subscriptions)


def listing(subscriptions: Iterable[Subscription], ticket: str, format: Format) -> dict[str, Any]:
    """The answer to ``LIST_SUBSCRIPTIONS`` (protocol section 2.5)."""
    codes: dict[tuple[str, float, Indicator | None], dict[str, None]] = {}
    for one in subscriptions:
        codes.setdefault((one.type, one.level, one.indicator), {})[one.code] = None
    method, result, ticket_key = ("mthd", "rslt", "tckt") if format.is_simple else ("method", "result", "ticket")
    return {
        method: _LIST,
        result: [_listed(*asked, list(markets), format.is_simple) for asked, markets in codes.items()],
        ticket_key: ticket,
    }


def _listed(type_name: str, level: float, asked: Indicator | None, codes: list[str], simple: bool) -> dict[str, Any]:
    """One entry of the answer. Types that are not asked for by market, or for all of them, have no codes there."""
    listed: dict[str, Any] = {"ty" if simple else "type": type_name}
    if "" not in codes:
        listed["cds" if simple else "codes"] = codes
    if type_name == "orderbook":
        listed["lv" if simple else "level"] = level
    if asked is not None:
        # The exchange documents that these are there, and not how they are spelled in SIMPLE: as in events, here.
        one: dict[str, Any] = {"type": asked.type, "params": dict(asked.params)}
        if asked.trigger:
            one.update(trigger=asked.trigger, event_params=dict(asked.event_params))
        listed["tf" if simple else "timeframe"] = asked.timeframe
        listed["ind" if simple else "indicators"] = [one]
    return listed


def _format(parts: Sequence[Mapping[str, Any]]) -> Format:
    name = next((part["format"] for part in parts if "format" in part), "DEFAULT")
    try:
        return Format(name)
    except ValueError:
        raise RequestError("WRONG_FORMAT", f"format {name} is not supported.") from None


def _subscriptions(part: Mapping[str, Any], endpoint: Endpoint) -> list[Subscription]:
    type_name = part.get("type")
    if type_name is None:
        raise RequestError("NO_TYPE", "type field not exists.")
    kind = _TYPES[endpoint].get(type_name) if isinstance(type_name, str) else None
    if kind is None:
        raise RequestError("INVALID_PARAM", f"type {type_name} is not supported.")
    codes = _codes(part, kind)
    level = part.get("level", 0)
    if isinstance(level, bool) or not isinstance(level, int | float) or not (level == 0 or 1e-8 <= level <= 1e12):
        raise RequestError("WRONG_FORMAT", "level is not a price, or 0.")
    # The camelCase spelling is the older one, and many clients still send it.
    only_snapshot = _flag(part, "is_only_snapshot", "isOnlySnapshot")
    only_realtime = _flag(part, "is_only_realtime", "isOnlyRealtime")
    plain = Subscription(kind.name, level=level, snapshot=not only_realtime, realtime=not only_snapshot)
    if kind.event is AnnouncementEvent:
        include_body = _flag(part, "include_body")
        return [attrs.evolve(plain, categories=_categories(part), include_body=include_body)]
    if kind.codes is Codes.NONE or (kind.codes is Codes.OPTIONAL and not codes):
        return [plain]
    found = [_of_market(plain, code) for code in codes]
    if endpoint is not Endpoint.INFO:
        return found
    return [attrs.evolve(one, indicator=asked) for asked in _indicators(part, kind) for one in found]


def _codes(part: Mapping[str, Any], kind: DataType[Any]) -> list[str]:
    codes = part.get("codes")
    if kind.codes is Codes.NONE:
        # Balances belong to no market; for announcements the exchange documents no rule, and takes no notice.
        if codes is not None and kind.event is not AnnouncementEvent:
            raise RequestError("WRONG_FORMAT", f"codes is not supported by {kind.name}.")
        return []
    if codes is None and kind.codes is Codes.REQUIRED:
        raise RequestError("NO_CODES", "codes field not exists.")
    if codes is not None and (not isinstance(codes, list) or not all(isinstance(code, str) for code in codes)):
        raise RequestError("WRONG_FORMAT", "codes is not an array of strings.")
    return codes or []


def _flag(part: Mapping[str, Any], *names: str) -> bool:
    """A boolean field, under the first of its names that is there."""
    value = next((part[name] for name in names if name in part), False)
    if not isinstance(value, bool):
        raise RequestError("WRONG_FORMAT", f"{names[0]} is a boolean.")
    return value


def _categories(part: Mapping[str, Any]) -> tuple[str, ...]:
    categories = part.get("categories", [])
    if not isinstance(categories, list) or not all(isinstance(category, str) for category in categories):
        raise RequestError("WRONG_FORMAT", "categories is not an array of strings.")
    if unknown := set(categories).difference(CATEGORIES):
        raise RequestError("INVALID_PARAM", f"category {min(unknown)} is not supported.")
    return tuple(categories)


def _indicators(part: Mapping[str, Any], kind: DataType[Any]) -> list[Indicator]:
    asked = part.get("indicators")
    if not isinstance(asked, list) or not asked or not all(isinstance(one, dict) for one in asked):
        raise RequestError("WRONG_FORMAT", "indicators is not an array of objects.")
    return [_indicator(one, part.get("timeframe"), kind) for one in asked]


def _indicator(asked: Mapping[str, Any], timeframe: Any, kind: DataType[Any]) -> Indicator:
    name, params = asked.get("type"), asked.get("params", {})
    trigger, event_params = asked.get("trigger", ""), asked.get("event_params", {})
    if not isinstance(name, str) or not isinstance(timeframe, str) or not isinstance(trigger, str):
        raise RequestError("INVALID_PARAM", "type, timeframe and trigger are strings.")
    if not isinstance(params, dict) or not isinstance(event_params, dict):
        raise RequestError("WRONG_FORMAT", "params and event_params are objects.")
    try:
        if kind is DataType.INDICATOR:
            return indicator(name, timeframe, **params)
        return indicator_signal(name, timeframe, trigger, **params, **event_params)
    except (UsageError, TypeError) as why:  # the same parameter in both places is a type error
        raise RequestError("INVALID_PARAM", str(why)) from None


def _of_market(plain: Subscription, code: str) -> Subscription:
    code, count = _code_and_count(plain.type, code)
    return attrs.evolve(plain, code=code, count=count)


def _code_and_count(type_name: str, code: str) -> tuple[str, int]:
    """``KRW-BTC.15`` is an order book of 15 levels; an unsupported count gets 30, without an error."""
    market, dot, count = code.partition(".")
    if type_name != "orderbook" or not dot:
        return code, 30
    return market, int(count) if count in map(str, COUNTS) else 30
