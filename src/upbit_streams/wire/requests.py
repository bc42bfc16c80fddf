"""Wants to request frames (protocol section 2)."""

import json
from collections import defaultdict
from collections.abc import Iterable

from ..model.kinds import Format
from ..model.subscriptions import Want

__all__ = ["subscribe"]


def subscribe(wants: Iterable[Want], ticket: str, format: Format) -> str:
    """The request for exactly these wants. It replaces every earlier request of its connection (protocol section 2.3).

    Equal wants give equal requests: types and codes are sorted, and each type stands once.
    """
    codes: defaultdict[str, set[str]] = defaultdict(set)
    for want in wants:
        codes[want.type.name].add(want.code)
    types = [{"type": name, "codes": sorted(codes[name])} for name in sorted(codes)]
    return json.dumps([{"ticket": ticket}, *types, {"format": format.value}], separators=(",", ":"))
