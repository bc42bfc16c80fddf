"""Spans of time, and what is left of them when others are left out."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

__all__ = ["Span", "length", "merged", "without"]

Span = tuple[float, float]
"""From a time to a later one. A plain tuple, which the garbage collector does not count, as a month has many."""


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same times in spans that do not overlap, in order."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        elif start < end:
            found.append((start, end))
    return found


def without(span: Span, left_out: Sequence[Span]) -> list[Span]:
    """What is left of a span. ``left_out`` is merged."""
    start, end = span
    found: list[Span] = []
    for other_start, other_end in left_out[max(bisect_left(left_out, (start, start)) - 1, 0) :]:
        if other_start >= end:
            break
        if other_end <= start:
            continue
        if other_start > start:
            found.append((start, other_start))
        start = other_end
    if start < end:
        found.append((start, end))
    return found


def length(spans: Iterable[Span]) -> float:
    return sum(end - start for start, end in spans)
