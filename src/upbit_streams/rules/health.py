"""How well a connection does, judged by what is known of it, and rates out of counters."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import attrs

from ..model.health import ConnectionHealth, ConnectionMetrics, GlobalManagerState, HealthStatus
from ..model.metrics import ConnectionState

__all__ = [
    "CRITICAL_SECONDS",
    "WINDOW_SECONDS",
    "Counts",
    "Standing",
    "judge",
    "manager_state",
    "measure",
    "window_start",
    "worst",
]

CRITICAL_SECONDS = 30.0
"""A connection that serves nothing for so long is critical. It is the longest single wait of the default back-off."""
WINDOW_SECONDS = 60.0
"""Rates are those of the last minute."""

# Every connection is lost now and then, and comes back; twice within a window it is not steady.
_UNSTEADY_LOSSES = 2
# Of a hundred frames one that was not understood is an accident.
_MANY_ERRORS = 0.01

_SEVERITY = [HealthStatus.HEALTHY, HealthStatus.DEGRADED, HealthStatus.CRITICAL]


@attrs.frozen
class Counts:
    """What a connection has counted since its manager was opened; or, as a difference, in some time."""

    at: float
    """The event loop's time."""
    messages: int = 0
    events: int = 0
    errors: int = 0
    """Error replies, and frames that were not understood."""
    bytes_received: int = 0
    bytes_sent: int = 0
    epochs_lost: int = 0
    reads: int = 0
    lag: float = 0.0
    """The sum over the reads, in seconds."""

    def since(self, earlier: "Counts") -> "Counts":
        """What happened between two moments; ``at`` is the time that passed."""
        return self._combined(earlier, -1)

    def plus(self, other: "Counts") -> "Counts":
        return self._combined(other, 1)

    def rate(self, count: int) -> float:
        """One of a difference's counts, or a sum of them, for each second."""
        return count / self.at if self.at > 0 else 0.0

    @property
    def error_rate(self) -> float:
        """The share of frames that were errors."""
        return self.errors / self.messages if self.messages else 0.0

    @property
    def mean_lag(self) -> float | None:
        return self.lag / self.reads if self.reads else None

    def _combined(self, other: "Counts", sign: int) -> "Counts":
        mine, its = attrs.astuple(self, recurse=False), attrs.astuple(other, recurse=False)
        return Counts(*(a + sign * b for a, b in zip(mine, its, strict=True)))


@attrs.frozen(kw_only=True)
class Standing:
    """How a connection stands at one moment."""

    name: str
    state: ConnectionState
    subscriptions: int
    """Topics that are wanted; with none, it owes nobody anything."""
    down_seconds: float
    """For how long it has not been active, though something is wanted."""
    uptime_seconds: float
    """How long the present epoch has lived."""
    reconnects: int
    failed_attempts: int
    reason: str
    """Why it is not connected."""
    unanswered: int = 0
    """Topics among those that are wanted that the exchange has said nothing of, for longer than it takes."""


def judge(standing: Standing, recent: Counts) -> ConnectionHealth:
    """How a connection does, by how it stands and what it has counted within the window."""
    name, state, down = standing.name, standing.state, standing.down_seconds
    if not standing.subscriptions:
        return ConnectionHealth(name, HealthStatus.HEALTHY, 1.0, ())
    if state is ConnectionState.ERROR:
        return ConnectionHealth(name, HealthStatus.CRITICAL, 0.0, (standing.reason,))
    reasons: list[str] = []
    if state is not ConnectionState.ACTIVE:
        reasons.append(f"{state} for {down:.0f} s: {standing.reason}")
        if down >= CRITICAL_SECONDS:
            return ConnectionHealth(name, HealthStatus.CRITICAL, 0.0, tuple(reasons))
    if recent.epochs_lost >= _UNSTEADY_LOSSES:
        reasons.append(f"lost {recent.epochs_lost} times within {recent.at:.0f} s")
    if recent.error_rate > _MANY_ERRORS:
        reasons.append(f"{recent.error_rate:.0%} of the frames were errors or not understood")
    if standing.unanswered:
        reasons.append(f"nothing has come for {standing.unanswered} of {standing.subscriptions} subscriptions")
    status = HealthStatus.DEGRADED if reasons else HealthStatus.HEALTHY
    return ConnectionHealth(name, status, _score(standing, recent), tuple(reasons))


def _score(standing: Standing, recent: Counts) -> float:
    """The product of a factor for each trouble. None of them is 0, which is for what is critical."""
    served = 1.0
    if standing.state is not ConnectionState.ACTIVE:
        served = 0.5 - standing.down_seconds / CRITICAL_SECONDS / 4
    steady = 1 / (1 + recent.epochs_lost / 10)
    understood = 1 - recent.error_rate / 2
    answered = 1 - min(standing.unanswered / standing.subscriptions, 1.0) / 2
    return served * steady * understood * answered


def worst(statuses: Iterable[HealthStatus]) -> HealthStatus:
    """The status of what has these parts."""
    return max(statuses, key=_SEVERITY.index, default=HealthStatus.HEALTHY)


def manager_state(standings: Sequence[Standing], *, is_open: bool) -> GlobalManagerState:
    """What a manager with these connections is doing."""
    wanted = [standing for standing in standings if standing.subscriptions]
    if not is_open:
        return GlobalManagerState.SHUTTING_DOWN
    if any(standing.state is ConnectionState.ERROR for standing in wanted):
        return GlobalManagerState.ERROR
    return GlobalManagerState.ACTIVE if wanted else GlobalManagerState.IDLE


def measure(standing: Standing, total: Counts, recent: Counts) -> ConnectionMetrics:
    """A connection in numbers: how it stands, and what it has counted in all and within the window."""
    return ConnectionMetrics(
        name=standing.name,
        state=standing.state,
        uptime_seconds=standing.uptime_seconds,
        messages=total.messages,
        messages_per_second=recent.rate(recent.messages),
        events=total.events,
        events_per_second=recent.rate(recent.events),
        bytes_received=total.bytes_received,
        bytes_sent=total.bytes_sent,
        errors=total.errors,
        error_rate=recent.error_rate,
        lag=recent.mean_lag,
        reconnects=standing.reconnects,
        epochs_lost=total.epochs_lost,
        failed_attempts=standing.failed_attempts,
        subscriptions=standing.subscriptions,
        health_score=judge(standing, recent).score,
    )


def window_start(times: Sequence[float], now: float) -> int:
    """Of some samples, by their times, the first that is still needed: the one at which the window begins.

    That is the last one that is as old as a window, or the first of all. So a rate is over a window and, at the most,
    the time between two samples more.
    """
    return max(bisect_right(times, now - WINDOW_SECONDS) - 1, 0)
