"""What is read from the pool, as frozen records."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Generic, cast

import attrs

from ..exceptions import InvalidCodeError, UsageError
from .epoch import Epoch
from .events import Event
from .kinds import DataType, E
from .subscriptions import normalise_code

__all__ = ["Cut", "Entry"]


@attrs.frozen
class Entry(Generic[E]):
    """What the pool has of one topic, as it was when it was read."""

    event: E
    """The latest."""
    epoch: Epoch
    """The life of the connection that brought it."""
    age: float
    """Seconds since it was received: by the event loop's clock, or by the wall's if that has jumped ahead of it, as it
    does while the computer is suspended. A clock that is set back makes nothing younger."""
    updates: int
    """How many events of this topic were taken, for all clients together. It goes on where it was if a topic that
    nobody wanted is wanted again within a minute."""
    is_stale: bool
    """Whether its epoch is over, so that it may have changed since."""


def _frozen(events: Mapping[tuple[DataType[Any], str], Event]) -> Mapping[tuple[DataType[Any], str], Event]:
    return MappingProxyType(dict(events))


def _normal(key: object) -> tuple[DataType[Any], str]:
    """A key of a cut. Raises :class:`UsageError` for what can be none."""
    if not isinstance(key, tuple) or len(key) != 2 or not isinstance(key[0], DataType):
        raise UsageError(f"a cut is read by type and market, like cut[DataType.TICKER, 'KRW-BTC'], not by {key!r}")
    kind, code = key
    return kind, normalise_code(code) if code else code


@attrs.frozen(eq=False)
class Cut:
    """Values of several markets and types, taken at one point of one epoch: after one read, and before the next. While
    somebody's :class:`Block` makes the reader wait, that point may be within a read.

    ``cut[DataType.TICKER, "KRW-BTC"]`` is a :class:`TickerEvent`, also for the type checker.
    """

    epoch: Epoch
    """Of all of them."""
    taken_at: float
    """Seconds since the Unix epoch (UTC)."""
    events: Mapping[tuple[DataType[Any], str], Event] = attrs.field(converter=_frozen)
    """All of them, by type and market; nobody can change them."""

    def __getitem__(self, key: tuple[DataType[E], str]) -> E:
        """The value of one type and market. Raises :class:`UsageError` for what was not asked for."""
        kind, code = _normal(key)
        found = self.events.get((kind, code))
        if found is None:
            has = ", ".join(f"{each.name} of {market}" for each, market in self.events)
            raise UsageError(f"this cut has no {kind.name} of {code}; it has {has}")
        return cast("E", found)

    def __contains__(self, key: object) -> bool:
        try:
            return _normal(key) in self.events
        except InvalidCodeError:
            return False

    def __iter__(self) -> Iterator[tuple[DataType[Any], str]]:
        """The types and markets."""
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def age(self, kind: DataType[Event], code: str) -> float:
        """How old one value was when the cut was taken: seconds since it was received. Raises as ``cut[...]``."""
        return self.taken_at - self[kind, code].received_at
