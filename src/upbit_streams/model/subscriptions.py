"""What somebody wants from the exchange, and the algebra of it.

A :class:`Want` is about one *topic*: what the exchange can be asked for separately. Two wants of one topic are served
by one subscription that has enough for both. So a set of wants has a normal form with one want a topic, and uniting is
order-free, idempotent and associative: it takes, topic by topic, the least that serves both.
"""

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import attrs
import msgspec

from ..exceptions import ConflictError, InvalidCodeError, UsageError
from .events import AnnouncementEvent, Event, OrderbookEvent
from .indicators import Indicator
from .kinds import Codes, DataType, E, Endpoint

__all__ = [
    "CATEGORIES",
    "COUNTS",
    "MAX_COMBINATIONS",
    "Want",
    "Wants",
    "check_categories",
    "check_servable",
    "check_type",
    "difference",
    "kinds_of",
    "list_of",
    "normalise_code",
    "server_of",
    "serves",
    "union",
    "wants_of",
]

COUNTS = (1, 5, 15, 30)
"""How many levels of an order book the exchange sends (protocol section 2.1)."""
MAX_COMBINATIONS = 100
"""How many combinations of market and indicator one request may ask for (protocol section 2.6)."""
CATEGORIES = ("notice", "trade", "wallet", "maintenance", "digital_asset", "nft", "service", "event")

_HIGHEST_LEVEL = 1e12

# Quote currency, dash, base currency. The exchange has no ticker symbol longer than these bounds.
_CODE = re.compile(r"[A-Z0-9]{2,10}-[A-Z0-9]{1,20}")


def _whole(level: float) -> float:
    """10000.0 as 10000: equal levels are to give equal requests."""
    return int(level) if isinstance(level, float) and level.is_integer() else level


@attrs.frozen
class Want:
    """One data type of one market, with what is wanted of it."""

    type: DataType[Event]
    code: str = ""
    """Empty for all markets, or for a type that is not asked for by market."""
    count: int = 30
    """Levels of an order book: 1, 5, 15 or 30."""
    level: float = attrs.field(default=0, converter=_whole)
    """Price grouping of an order book, in KRW; 0 for none. Another grouping is another topic."""
    snapshot: bool = True
    """The present state at the start."""
    realtime: bool = True
    """Every change from then on."""
    categories: frozenset[str] = frozenset()
    """Of announcements; empty for all."""
    include_body: bool = False
    """Of announcements."""
    indicator: Indicator | None = None
    """Of the indicator types; another one is another topic."""

    def __attrs_post_init__(self) -> None:
        if (self.type.codes is Codes.REQUIRED or self.code) and normalise_code(self.code) != self.code:
            raise InvalidCodeError(self.code)
        if not self.snapshot and not self.realtime:
            raise UsageError("neither a snapshot nor changes are wanted; want at least one of them")
        if not self.realtime and not self.type.has_snapshot:
            raise UsageError(f"there are no snapshots of {self.type.name}, so realtime=False would give nothing at all")
        if (self.count != max(COUNTS) or self.level != 0) and self.type.event is not OrderbookEvent:
            raise UsageError(f"a count and a level are for order books, not for {self.type.name}")
        if type(self.count) is not int or self.count not in COUNTS:
            raise UsageError(f"order books have 1, 5, 15 or 30 levels, not {self.count!r}")
        if type(self.level) not in (int, float) or not 0 <= self.level <= _HIGHEST_LEVEL:
            raise UsageError(f"a level is a price in KRW, or 0 for no grouping; not {self.level!r}")
        if self.level and not self.code.startswith("KRW-"):
            raise UsageError(f"only KRW markets can be grouped, not {self.code} by {self.level}")
        if (self.categories or self.include_body) and self.type.event is not AnnouncementEvent:
            raise UsageError(f"categories and bodies are for announcements, not for {self.type.name}")
        check_categories(self.categories)
        self._check_indicator()

    @property
    def topic(self) -> Hashable:
        """Wants of equal topics are served by one subscription."""
        return self.type.name, self.code, self.level, self.indicator

    @property
    def wants_all(self) -> bool:
        """Whether it wants every event of its topic, as it comes."""
        if self.type.event is AnnouncementEvent and (self.categories or not self.include_body):
            return False
        return self.count == max(COUNTS) and self.snapshot and self.realtime

    def view(self, event: Event) -> Event | None:
        """The event as this want asked for it, of a subscription that may bring more; None if it did not ask for it."""
        if not (self.snapshot if event.stream_type == "SNAPSHOT" else self.realtime):
            return None
        if self.categories and isinstance(event, AnnouncementEvent) and event.category not in self.categories:
            return None
        return self.trimmed(event)

    def trimmed(self, event: Event) -> Event:
        """The event with no more of it than was asked for."""
        if isinstance(event, OrderbookEvent) and self.count < len(event.orderbook_units):
            return msgspec.structs.replace(event, orderbook_units=event.orderbook_units[: self.count])
        if isinstance(event, AnnouncementEvent) and event.body is not None and not self.include_body:
            return msgspec.structs.replace(event, body=None)
        return event

    def covers(self, other: "Want") -> bool:
        """Whether a subscription to this one has all that another want of the same topic asks for."""
        return (
            self.count >= other.count
            and self.snapshot >= other.snapshot
            and self.realtime >= other.realtime
            and self.include_body >= other.include_body
            and (not self.categories or (bool(other.categories) and self.categories >= other.categories))
        )

    def joined(self, other: "Want") -> "Want":
        """The least that serves this want and another one of the same topic."""
        every = not self.categories or not other.categories
        return attrs.evolve(
            self,
            count=max(self.count, other.count),
            snapshot=self.snapshot or other.snapshot,
            realtime=self.realtime or other.realtime,
            categories=frozenset() if every else self.categories | other.categories,
            include_body=self.include_body or other.include_body,
        )

    def _check_indicator(self) -> None:
        if (self.indicator is not None) is not (self.type.endpoint is Endpoint.INFO):
            raise UsageError(f"an indicator is for the indicator types and needed there; the type is {self.type.name}")
        if self.indicator is None:
            return
        if not isinstance(self.indicator, Indicator):
            raise UsageError(
                f"{self.indicator!r} is not what indicator(...) or indicator_signal(...) makes; make one with these"
            )
        if bool(self.indicator.trigger) is not (self.type is DataType.INDICATOR_SIGNAL):
            raise UsageError(
                f"{self.type.name} takes what indicator() makes, indicator_signal what indicator_signal() makes"
            )
        if not self.code.startswith("KRW-"):
            raise UsageError(f"indicators are computed for KRW markets only, not for {self.code}")


Wants = frozenset[Want]
"""A set of wants. :func:`union` makes its normal form, in which each topic stands once."""


def union(*several: Iterable[Want]) -> Wants:
    """What serves all of the wants: one want a topic, each with the least that is enough."""
    joined: dict[Hashable, Want] = {}
    for wants in several:
        for want in wants:
            have = joined.get(want.topic)
            joined[want.topic] = want if have is None else have.joined(want)
    # Asking for all markets of a type leaves nothing to ask for one by one.
    everywhere = {want.type: want for want in joined.values() if want.type.codes is Codes.OPTIONAL and not want.code}
    for want in list(joined.values()):
        if want.code and want.type in everywhere:
            del joined[want.topic]
            whole = everywhere[want.type]
            joined[whole.topic] = everywhere[want.type] = whole.joined(attrs.evolve(want, code=""))
    return frozenset(joined.values())


def serves(subscribed: Iterable[Want], want: Want) -> bool:
    """Whether what is subscribed has all that is wanted."""
    return not difference([want], subscribed)


def difference(wants: Iterable[Want], subscribed: Iterable[Want]) -> Wants:
    """Those of the wants that what is subscribed does not serve."""
    have = {want.topic: want for want in union(subscribed)}

    def is_served(want: Want) -> bool:
        server = server_of(have, want)
        return server is not None and server.covers(want)

    return frozenset(want for want in union(wants) if not is_served(want))


def server_of(subscribed: Mapping[Hashable, Want], want: Want) -> Want | None:
    """Which of the subscriptions, given by topic, brings the events of a want; maybe not all that it asks for."""
    found = subscribed.get(want.topic)
    if found is None and want.type.codes is Codes.OPTIONAL:
        return subscribed.get(attrs.evolve(want, code="").topic)  # one market of all
    return found


def check_servable(wants: Iterable[Want]) -> None:
    """Raise :class:`ConflictError` if one connection cannot serve all of these."""
    wants = union(wants)
    endpoints = sorted({want.type.endpoint.value for want in wants})
    if len(endpoints) > 1:
        raise ConflictError(f"one connection cannot serve the endpoints {' and '.join(endpoints)}; open one for each")
    combinations = sum(1 for want in wants if want.indicator is not None)
    if combinations > MAX_COMBINATIONS:
        raise ConflictError(
            f"{combinations} combinations of market and indicator are wanted; "
            f"the exchange serves at most {MAX_COMBINATIONS} on one connection and refuses all of them beyond that"
        )


def normalise_code(code: str) -> str:
    """``krw-btc`` as the exchange spells it: ``KRW-BTC``.

    The exchange answers an unknown or lower-case code with silence (protocol section 2.1), so a code that cannot be one
    is refused here: raises :class:`InvalidCodeError`, which names it.
    """
    normal = code.strip().upper() if isinstance(code, str) and code.isascii() else ""
    if not _CODE.fullmatch(normal):
        raise InvalidCodeError(code)
    return normal


def check_categories(categories: Iterable[object]) -> None:
    """Raise :class:`UsageError` for the first that is none."""
    if unknown := sorted(repr(each) for each in categories if each not in CATEGORIES):
        raise UsageError(f"there is no category {unknown[0]}; the categories are {', '.join(CATEGORIES)}")


def check_type(kind: object) -> None:
    """Raise :class:`UsageError` for what is no data type."""
    if not isinstance(kind, DataType):
        raise UsageError(f"{kind!r} is not a data type; use one of the constants of DataType, like DataType.TRADE")


def list_of(what: str, given: Any) -> list[Any]:
    """One or several as a list. What each of them is, is looked at elsewhere. Raises :class:`UsageError` for what is
    neither."""
    if isinstance(given, str | DataType | Indicator):
        return [given]
    if not isinstance(given, Iterable):
        raise UsageError(f"{what} are one or an iterable of them, not {given!r}")
    return list(given)


def kinds_of(types: DataType[E] | Iterable[DataType[E]]) -> list[DataType[E]]:
    """One data type or several as a list. Raises :class:`UsageError` for what is none."""
    kinds = list_of("types", types)
    for kind in kinds:
        check_type(kind)
    return kinds


def wants_of(
    types: DataType[E] | Iterable[DataType[E]], codes: str | Iterable[str] = (), **options: Any
) -> frozenset[Want]:
    """Every type for every code, with the options of :class:`Want`. One type or one code may stand alone.

    Raises :class:`UsageError` where codes are missing or make no sense, :class:`InvalidCodeError` for a malformed code.
    """
    kinds = kinds_of(types)
    markets = [normalise_code(code) for code in list_of("codes", codes)]
    if not kinds:
        raise UsageError("nothing was asked for: give at least one data type")
    wants: set[Want] = set()
    for kind in kinds:
        if kind.codes is Codes.NONE and markets and len(kinds) == 1:
            raise UsageError(f"{kind.name} is not asked for by market; leave out the codes")
        if kind.codes is Codes.REQUIRED and not markets:
            raise UsageError(f"nothing was asked for: {kind.name} needs at least one market code")
        by_market = markets if kind.codes is not Codes.NONE else []
        wants.update(Want(kind, code, **options) for code in by_market or [""])
    return frozenset(wants)
