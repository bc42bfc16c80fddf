"""What the trouble of one connection does to the others, measured.

Nothing is counted twice for this: when a connection gets into trouble the counters of the others are written down, and
once more when it is over. The differences are what happened meanwhile.
"""

from collections.abc import Callable

import attrs

from ..model.metrics import Independence, Influence, Period
from ..rules.health import Counts

__all__ = ["Witness"]


_NOTHING = Counts(at=0.0)


@attrs.define
class _Pair:
    troubles: int = 0
    exposed: int = 0
    coincided: int = 0
    during: Counts = _NOTHING
    """The target in those troubles that are over."""
    before: Counts | None = None
    """The target when the trouble began that is not over."""
    was_open: bool = False
    """Whether the target had an epoch then."""


class Witness:
    """Sees every connection get into trouble and out of it."""

    def __init__(self) -> None:
        self._counts: dict[str, Callable[[], Counts]] = {}
        self._is_open: dict[str, Callable[[], bool]] = {}
        self._opened: dict[str, Counts] = {}
        self._pairs: dict[tuple[str, str], _Pair] = {}

    def watch(self, name: str, counts: Callable[[], Counts], is_open: Callable[[], bool]) -> None:
        """Watch one more connection. ``is_open`` tells whether it has an epoch, which it might lose."""
        for other in self._counts:
            self._pairs[name, other] = _Pair()
            self._pairs[other, name] = _Pair()
        self._counts[name] = counts
        self._is_open[name] = is_open
        self._opened[name] = counts()

    def trouble_began(self, source: str) -> None:
        """A connection has lost its epoch, or failed to connect. It may have been in trouble before."""
        for target, pair in self._pairs_of(source):
            if pair.before is None:
                pair.before = self._counts[target]()
                pair.was_open = self._is_open[target]()
                pair.troubles += 1

    def trouble_ended(self, source: str) -> None:
        """A connection has an epoch again, or is not wanted any more."""
        for target, pair in self._pairs_of(source):
            if pair.before is not None:
                passed = self._counts[target]().since(pair.before)
                pair.during = pair.during.plus(passed)
                pair.coincided += passed.epochs_lost > 0
                pair.exposed += pair.was_open or passed.epochs_lost > 0
                pair.before = None

    def report(self) -> Independence:
        """What was seen so far."""
        return Independence(tuple(self._influence(source, target) for source, target in self._pairs))

    def _pairs_of(self, source: str) -> list[tuple[str, _Pair]]:
        return [(target, pair) for (name, target), pair in self._pairs.items() if name == source]

    def _influence(self, source: str, target: str) -> Influence:
        pair, now = self._pairs[source, target], self._counts[target]()
        passed = _NOTHING if pair.before is None else now.since(pair.before)
        during = pair.during.plus(passed)
        return Influence(
            source=source,
            target=target,
            troubles=pair.troubles,
            exposed=pair.exposed + (pair.before is not None and (pair.was_open or passed.epochs_lost > 0)),
            coincided=pair.coincided + (passed.epochs_lost > 0),
            during=_period(during),
            otherwise=_period(now.since(self._opened[target]).since(during)),
        )


def _period(counts: Counts) -> Period:
    return Period(
        seconds=counts.at,
        events=counts.events,
        epochs_lost=counts.epochs_lost,
        errors=counts.errors,
        lag=counts.mean_lag,
    )
