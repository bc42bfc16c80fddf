"""What a run's measurements come to."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

import attrs

from .life import Connection, Life
from .spans import Span, length, merged, without

__all__ = ["Figures", "by_kind", "figures", "figures_of_both", "percentile"]


@attrs.frozen
class Figures:
    """How available something was, and how fast it came back, in some span of time."""

    available: float
    """The share of the time in which it was of use, with the exchange's own outages left out."""
    available_at_all: float
    """The same with nothing left out."""
    recoveries: Sequence[float]
    """How long each outage lasted, in seconds, as far as the exchange could have served; those in which it could not at
    all are not among them. In ascending order."""

    @property
    def median(self) -> float:
        return median(self.recoveries) if self.recoveries else 0.0


def figures(outages: Iterable[Span], excused: Iterable[Span], within: Span) -> Figures:
    left_out = merged(excused)
    # What is cut off at an end of the time that is looked at is counted there, and in the next.
    cut = [(max(start, within[0]), min(end, within[1])) for start, end in outages]
    inside = [span for span in cut if span[0] < span[1]]
    recoveries = sorted(length(without(span, left_out)) for span in inside)
    return Figures(
        available=1 - sum(recoveries) / length(without(within, left_out)),
        available_at_all=1 - length(inside) / (within[1] - within[0]),
        recoveries=[each for each in recoveries if each > 0],
    )


def figures_of_both(connections: Sequence[Connection], within: Span) -> Figures:
    """Of having both connections at the same time."""
    outages = merged(span for each in connections for span in each.outages)
    return figures(outages, (span for each in connections for span in each.excused), within)


def by_kind(lives: Sequence[Life]) -> dict[str, list[float]]:
    """How long it took to recover after incidents of each kind, 0 where an incident took nothing away.

    An outage is put down to the last incident on its connection before it began.
    """
    found: defaultdict[str, list[float]] = defaultdict(list)
    for life in lives:
        for connection in life.connections:
            incidents = [(at, kind) for at, kind, where in life.incidents if where in ("", connection.name)]
            times = [at for at, _ in incidents]
            lost = [0.0] * len(incidents)
            left_out = merged(connection.excused)
            for outage in connection.outages:
                # To the end of the step of the clock in which it was lost.
                culprit = bisect_right(times, outage[0] + 1e-6) - 1
                if culprit >= 0:
                    lost[culprit] += length(without(outage, left_out))
            for (_, kind), seconds in zip(incidents, lost, strict=True):
                found[kind].append(seconds)
    return dict(found)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below or at which that share of them is; 0 of none."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
