"""How a manager and its connections fare: what :meth:`Manager.health` and :meth:`Manager.metrics` tell."""

from enum import StrEnum

import attrs

from .metrics import ConnectionState

__all__ = [
    "ConnectionHealth",
    "ConnectionMetrics",
    "GlobalManagerState",
    "Health",
    "HealthStatus",
    "PerformanceMetrics",
]


class HealthStatus(StrEnum):
    """How well what is wanted is served."""

    HEALTHY = "healthy"
    """All that is wanted is served, or nothing is wanted."""
    DEGRADED = "degraded"
    """Something is amiss, and it may pass by itself."""
    CRITICAL = "critical"
    """What is wanted has not come for so long, or cannot come, that somebody has to know."""


class GlobalManagerState(StrEnum):
    """What a manager as a whole is doing."""

    IDLE = "idle"
    """Nobody wants anything."""
    ACTIVE = "active"
    """Something is wanted."""
    SHUTTING_DOWN = "shutting_down"
    """Its block is being left, or has been."""
    ERROR = "error"
    """A connection from which something is wanted has given up, or its key is refused."""


@attrs.frozen
class ConnectionHealth:
    """How one connection fares."""

    name: str
    """``public``, ``private`` or ``info``."""
    status: HealthStatus
    score: float
    """The same as a number from 0 to 1: 1 if there is no trouble at all, 0 if the status is critical. More of any
    trouble never makes it larger."""
    reasons: tuple[str, ...]
    """Why the status is no better, for people; empty if it is healthy."""


@attrs.frozen
class Health:
    """How a manager fares."""

    at: float
    """When this was so, in seconds since the Unix epoch (UTC)."""
    state: GlobalManagerState
    status: HealthStatus
    """The worst of its connections'. A connection from which nobody wants anything is healthy."""
    score: float
    """The lowest of its connections', 0 to 1."""
    connections: tuple[ConnectionHealth, ...]
    """One for each endpoint."""


@attrs.frozen(kw_only=True)
class ConnectionMetrics:
    """What one connection does, and has done since its manager was opened.

    Rates and shares are those of the last minute; :attr:`PerformanceMetrics.window_seconds` has the exact length.
    """

    name: str
    """``public``, ``private`` or ``info``."""
    state: ConnectionState
    """As it stands now."""
    uptime_seconds: float
    """Seconds since the present epoch began; 0 if there is none."""
    messages: int
    """Frames received in all, of all kinds."""
    messages_per_second: float
    """Frames a second, over the window."""
    events: int
    """Events published in all."""
    events_per_second: float
    """Events a second, over the window."""
    bytes_received: int
    """Bytes in the frames received in all, after decompression and without what a WebSocket adds."""
    bytes_sent: int
    """Bytes in the requests sent in all, before compression and without what a WebSocket adds."""
    errors: int
    """Frames in all that were an error reply, or that were not understood."""
    error_rate: float
    """The share of such frames, 0 to 1, over the window; 0 without any frame."""
    lag: float | None
    """Seconds from the exchange's time stamp to the end of the read that brought an event, the mean over the reads in
    the window; None without any. The two clocks may differ, so only a change of it means something."""
    reconnects: int
    """Epochs in all, but the first."""
    epochs_lost: int
    """Epochs in all that ended though something was wanted."""
    failed_attempts: int
    """Attempts to connect in all that failed."""
    subscriptions: int
    """Topics that are wanted from it now: each data type of each market is one."""
    health_score: float
    """The :attr:`ConnectionHealth.score`, 0 to 1."""


@attrs.frozen(kw_only=True)
class PerformanceMetrics:
    """What a manager does: the sums over its connections, and each of them."""

    at: float
    """When this was so, in seconds since the Unix epoch (UTC)."""
    uptime_seconds: float
    """Seconds since the manager was opened."""
    window_seconds: float
    """How many seconds the rates are of: about the last 60, less in the first minute."""
    messages_per_second: float
    """Frames a second, over the window."""
    events_per_second: float
    """Events a second, over the window."""
    bytes_received_per_second: float
    """Bytes a second in the frames received, over the window."""
    error_rate: float
    """The share of frames, 0 to 1, that were an error reply or not understood, over the window."""
    health_score: float
    """The :attr:`Health.score`, 0 to 1."""
    subscriptions: int
    """Topics that are wanted now."""
    cleaned: int
    """How much in all the cleanup has dropped: orders a day after they were done, and what was kept of topics that
    nobody has wanted for a minute."""
    connections: tuple[ConnectionMetrics, ...]
    """One for each endpoint."""
