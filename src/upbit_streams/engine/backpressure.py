"""What happens when a consumer is slow: the back-pressure policies.

A policy is a frozen value that can be used for any number of streams. It makes a buffer for each of them.
"""

from typing import Any, Protocol

import attrs

from ..exceptions import InvalidConfigError
from ..model.events import Event
from .buffers import Buffer, Fifo, Latest, Outcome, Paced

__all__ = ["OWN_BUFFERS", "Block", "Coalesce", "DropNewest", "DropOldest", "Fail", "Policy", "Throttle"]


class Policy(Protocol):
    """What happens when a consumer is slow. Any object that follows this can be given as ``backpressure``."""

    @property
    def capacity(self) -> int:
        """How many events may wait in one stream."""
        ...

    def buffer(self) -> Buffer:
        """Make a buffer of this capacity for one stream."""
        ...


def _at_least_one(_: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if type(value) is not int or value < 1:
        raise InvalidConfigError(f"{attribute.name} must be a whole number of at least 1, not {value!r}")


def _seconds(_: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise InvalidConfigError(f"{attribute.name} must be a number of seconds above 0, not {value!r}")


@attrs.frozen
class DropOldest:
    """When ``capacity`` events wait, the oldest goes and the new one comes in. The default for public data.

    A consumer that keeps up never loses anything, provided that the capacity is at least the largest burst: one read of
    the socket can bring hundreds of events before the consumer had a chance to run.
    """

    capacity: int = attrs.field(default=1024, validator=_at_least_one)

    def buffer(self) -> Buffer:
        return _DropsOldest(self.capacity)


@attrs.frozen
class DropNewest:
    """When ``capacity`` events wait, a new one does not come in. For a consumer that wants what came first, without
    gaps, and then goes on with the present."""

    capacity: int = attrs.field(default=1024, validator=_at_least_one)

    def buffer(self) -> Buffer:
        return _DropsNewest(self.capacity)


@attrs.frozen
class Coalesce:
    """Of each topic (a type and a market) only the newest event waits, in the place of the first that did. For what
    tells a state, such as tickers and order books; of trades, orders or balances each counts.

    A consumer that is slow gets each state late, but never an old one after a newer one was there. ``capacity`` has to
    be at least the number of types times the number of markets, which is checked when a stream is made or widened.
    Where all markets are asked for at once nobody knows how many there are, and beyond it the one that would have been
    taken next is dropped.
    """

    capacity: int = attrs.field(default=4096, validator=_at_least_one)

    def buffer(self) -> Buffer:
        return Latest(self.capacity)


@attrs.frozen
class Throttle:
    """Of each topic (a type and a market) one event in ``interval`` seconds at most. For dashboards.

    The first is there at once. Of those that come before the interval is over only the newest waits, and is there as
    soon as it is: so the last one always comes. ``capacity`` as in :class:`Coalesce`.
    """

    interval: float = attrs.field(validator=_seconds)
    capacity: int = attrs.field(default=4096, validator=_at_least_one)

    def buffer(self) -> Buffer:
        return Paced(self.interval, self.capacity)


@attrs.frozen
class Block:
    """When ``capacity`` events wait, the connection waits for the consumer. For recorders that may lose nothing.

    Whatever comes next on this connection, for whomever, is not handed out until there is room, but for ``deadline``
    seconds at most. If the next event of this stream finds no room then, the stream is over as with :class:`Fail`. So a
    slow consumer with this policy slows down everybody who listens to the same connection. The present state of what it
    joins does not have to find room at once: that comes as each is taken, and the deadline is for each. It has to be
    shorter than ``Config.ping_timeout``.
    """

    capacity: int = attrs.field(default=1024, validator=_at_least_one)
    deadline: float = attrs.field(default=1.0, validator=_seconds)

    def buffer(self) -> Buffer:
        return _Fails(self.capacity, self.deadline)


@attrs.frozen
class Fail:
    """When ``capacity`` events wait and one more comes, the stream is over. The default for what is told once.

    The consumer gets what waits, and then :class:`BackpressureError`, which tells how much it missed. So nothing is
    ever lost in silence.
    """

    capacity: int = attrs.field(default=1024, validator=_at_least_one)

    def buffer(self) -> Buffer:
        return _Fails(self.capacity)


class _DropsOldest(Fifo):
    def put(self, event: Event, place: int) -> Outcome | None:
        outcome = None
        if len(self.events) >= self.capacity:
            self.events.popleft()
            outcome = Outcome.DROPPED_OLDEST
        self.events.append(event)
        return outcome


class _DropsNewest(Fifo):
    def put(self, event: Event, place: int) -> Outcome | None:
        if len(self.events) >= self.capacity:
            return Outcome.DROPPED
        self.events.append(event)
        return None


class _Fails(Fifo):
    def __init__(self, capacity: int, patience: float | None = None) -> None:
        super().__init__(capacity)
        self.patience = patience

    def put(self, event: Event, place: int) -> Outcome | None:
        if len(self.events) >= self.capacity:
            return Outcome.FAILED
        self.events.append(event)
        return None


OWN_BUFFERS = frozenset({_DropsOldest, _DropsNewest, _Fails, Latest, Paced})
"""The buffers of the policies here. Of any other one nobody knows what it does."""
