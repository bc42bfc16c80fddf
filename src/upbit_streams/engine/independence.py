"""What the trouble of one connection does to the others, measured.

Nothing is counted twice for this: when a connection gets into trouble the counters of the others are written down, and
once more when it is over. The differences are what happened meanwhile.
"""

from collections.abc import Callable

import anyio
import attrs

from ..model.metrics import Independence, Influence, Period

__all__ = ["Facts", "Witness"]


@attrs.frozen
class Facts:
    """What a connection has counted since its manager was opened."""

    events: int = 0
    epochs_lost: int = 0
    errors: int = 0
    reads: int = 0
    lag: float = 0.0
    """The sum over the reads, in seconds."""
    at: float = attrs.field(factory=anyio.current_time)

    def since(self, earlier: "Facts") -> "Facts":
        """What happened between two moments; ``at`` is the time that passed."""
        return self._combined(earlier, -1)

    def plus(self, other: "Facts") -> "Facts":
        return self._combined(other, 1)

    def _combined(self, other: "Facts", sign: int) -> "Facts":
        mine, its = attrs.astuple(self), attrs.astuple(other)
        return Facts(*(a + sign * b for a, b in zip(mine, its, strict=True)))


_NOTHING = Facts(at=0.0)


@attrs.define
class _Pair:
    troubles: int = 0
    coincided: int = 0
    during: Facts = _NOTHING
    """The target in those troubles that are over."""
    before: Facts | None = None
    """The target when the trouble began that is not over."""


class Witness:
    """Sees every connection get into trouble and out of it."""

    def __init__(self) -> None:
        self._facts: dict[str, Callable[[], Facts]] = {}
        self._opened: dict[str, Facts] = {}
        self._pairs: dict[tuple[str, str], _Pair] = {}

    def watch(self, name: str, facts: Callable[[], Facts]) -> None:
        """Watch one more connection."""
        for other in self._facts:
            self._pairs[name, other] = _Pair()
            self._pairs[other, name] = _Pair()
        self._facts[name] = facts
        self._opened[name] = facts()

    def trouble_began(self, source: str) -> None:
        """A connection has lost its epoch, or failed to connect. It may have been in trouble before."""
        for target, pair in self._pairs_of(source):
            if pair.before is None:
                pair.before = self._facts[target]()
                pair.troubles += 1

    def trouble_ended(self, source: str) -> None:
        """A connection has an epoch again, or is not wanted any more."""
        for target, pair in self._pairs_of(source):
            if pair.before is not None:
                passed = self._facts[target]().since(pair.before)
                pair.during = pair.during.plus(passed)
                pair.coincided += passed.epochs_lost > 0
                pair.before = None

    def report(self) -> Independence:
        """What was seen so far."""
        return Independence(tuple(self._influence(source, target) for source, target in self._pairs))

    def _pairs_of(self, source: str) -> list[tuple[str, _Pair]]:
        return [(target, pair) for (name, target), pair in self._pairs.items() if name == source]

    def _influence(self, source: str, target: str) -> Influence:
        pair, now = self._pairs[source, target], self._facts[target]()
        passed = _NOTHING if pair.before is None else now.since(pair.before)
        during = pair.during.plus(passed)
        return Influence(
            source=source,
            target=target,
            troubles=pair.troubles,
            coincided=pair.coincided + (passed.epochs_lost > 0),
            during=_period(during),
            otherwise=_period(now.since(self._opened[target]).since(during)),
        )


def _period(facts: Facts) -> Period:
    return Period(
        seconds=facts.at,
        events=facts.events,
        epochs_lost=facts.epochs_lost,
        errors=facts.errors,
        lag=facts.lag / facts.reads if facts.reads else None,
    )
