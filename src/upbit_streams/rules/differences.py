"""What the exchange says that it serves, compared with what it was asked for (protocol section 2.5).

What its list does not tell is no difference: the options, the number of levels of a book where no ``.15`` stands behind
a code, and the codes where there are none.
"""

from collections import defaultdict
from collections.abc import Sequence

import attrs

from ..model.subscriptions import Want, Wants
from ..wire.replies import Subscribed

__all__ = ["Difference", "compare"]


@attrs.frozen
class Difference:
    """What the list lacks, and what it has too much."""

    missing: Wants
    extra: frozenset[tuple[str, str]]
    """Types and codes; the code is empty where none is told."""


def compare(asked: Wants, listed: Sequence[Subscribed]) -> Difference:
    """Where the two differ, in whatever order the exchange tells it."""
    by_market: defaultdict[tuple[str, str], list[Want]] = defaultdict(list)
    by_type: defaultdict[str, list[Want]] = defaultdict(list)
    for want in asked:
        by_market[want.type.name, want.code].append(want)
        by_type[want.type.name].append(want)
    served: set[Want] = set()
    extra: set[tuple[str, str]] = set()
    for entry in listed:
        for code in entry.codes or ("",):
            market, _, count = code.partition(".")
            candidates = by_type[entry.type]
            if market:
                # Whoever asks for all markets may be told each of them.
                candidates = by_market[entry.type, market] + by_market[entry.type, ""]
            found = [want for want in candidates if _is_told(want, entry, count)]
            served.update(found)
            if not found and entry.type:
                extra.add((entry.type, market))
    return Difference(asked - served, frozenset(extra))


def _is_told(want: Want, entry: Subscribed, count: str) -> bool:
    asked = want.indicator
    return (
        (entry.level is None or entry.level == want.level)
        and (not count or count == str(want.count))
        and (asked is None or not entry.timeframe or entry.timeframe == asked.timeframe)
        and (asked is None or not entry.indicators or asked.type in entry.indicators)
    )
