"""Wants to request frames (protocol section 2)."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ..model.indicators import Indicator
from ..model.kinds import Codes, DataType, Format
from ..model.subscriptions import Want, check_servable, union

__all__ = ["list_subscriptions", "subscribe"]


def subscribe(wants: Iterable[Want], ticket: str, format: Format) -> str:
    """The request for exactly these wants. It replaces every earlier request of its connection (protocol section 2.3).

    Markets that are asked for in the same way share one object. Equal sets of wants give equal requests, in whatever
    order they come. Raises :class:`ConflictError` for wants that one connection
    cannot serve.
    """
    wants = union(wants)
    check_servable(wants)
    others = [want for want in wants if want.indicator is None]
    objects = [*_by_options(others), *_by_indicators(wants)]
    objects.sort(key=lambda part: json.dumps(part, sort_keys=True))
    return _dump([{"ticket": ticket}, *objects, {"format": format.value}])


def list_subscriptions(ticket: str, format: Format) -> str:
    """The question what is subscribed. It carries the format, because the one it names becomes that of all live streams
    (protocol section 2.5)."""
    return _dump([{"ticket": ticket}, {"method": "LIST_SUBSCRIPTIONS"}, {"format": format.value}])


def _by_options(wants: Iterable[Want]) -> list[dict[str, Any]]:
    """One object for each combination of type and options."""
    codes: defaultdict[tuple[DataType[Any], tuple[tuple[str, Any], ...]], list[str]] = defaultdict(list)
    for want in wants:
        suffix = f".{want.count}" if want.count != 30 else ""
        codes[want.type, tuple(_options(want).items())].append(want.code + suffix)
    return [
        {
            "type": kind.name,
            **({} if kind.codes is Codes.NONE or found == [""] else {"codes": sorted(found)}),
            **dict(options),
        }
        for (kind, options), found in codes.items()
    ]


def _options(want: Want) -> Mapping[str, Any]:
    options: dict[str, Any] = {}
    if want.level:
        options["level"] = want.level
    if not want.realtime:
        options["is_only_snapshot"] = True
    if not want.snapshot:
        options["is_only_realtime"] = True
    if want.categories:
        options["categories"] = tuple(sorted(want.categories))
    if want.include_body:
        options["include_body"] = True
    return options


def _by_indicators(wants: Iterable[Want]) -> list[dict[str, Any]]:
    """One object for each combination of type, time frame and set of indicators, with the markets that want just
    those."""
    indicators: defaultdict[tuple[DataType[Any], str, str], set[Indicator]] = defaultdict(set)
    for want in wants:
        if want.indicator is not None:
            indicators[want.type, want.indicator.timeframe, want.code].add(want.indicator)
    codes: defaultdict[tuple[DataType[Any], str, frozenset[Indicator]], list[str]] = defaultdict(list)
    for (kind, timeframe, code), asked in indicators.items():
        codes[kind, timeframe, frozenset(asked)].append(code)
    return [
        {
            "type": kind.name,
            "codes": sorted(found),
            "timeframe": timeframe,
            "indicators": sorted(map(_definition, asked), key=json.dumps),
        }
        for (kind, timeframe, asked), found in codes.items()
    ]


def _definition(asked: Indicator) -> dict[str, Any]:
    definition: dict[str, Any] = {"type": asked.type, "params": dict(asked.params)}
    if asked.trigger:
        definition["trigger"] = asked.trigger
        if asked.event_params:
            definition["event_params"] = dict(asked.event_params)
    return definition


def _dump(parts: list[dict[str, Any]]) -> str:
    return json.dumps(parts, separators=(",", ":"))
