"""The tasks that look after a manager: they watch its health, sample its counters and throw away what is old.

They read counters and decide nothing for the connections.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import NoReturn, Protocol

import anyio
import attrs

from ..model.health import Health, HealthStatus, PerformanceMetrics
from ..rules.health import Counts, judge, manager_state, measure, window_start, worst
from .account import Account
from .connection import Connection

__all__ = ["Keepers"]

_log = logging.getLogger("upbit_streams")

_WATCH_SECONDS = 30.0
_COLLECT_SECONDS = 10.0
_CLEAN_SECONDS = 60.0
# They are kept for whoever asks what became of an order of today.
KEEP_DONE_SECONDS = 86_400.0


class _MayIdle(Protocol):
    def _look_whether_idle(self) -> None: ...


class Keepers:
    """The health monitor, the metrics collector and the cleanup of one manager."""

    def __init__(
        self,
        name: str,
        connections: Sequence[Connection],
        account: Account,
        clients: Iterable[_MayIdle],
        wall: Callable[[], float],
    ) -> None:
        self._name = name
        self._connections = connections
        self._account = account
        self._clients = clients
        """Those that are open."""
        self._wall = wall
        self._status = HealthStatus.HEALTHY
        """As it was last logged."""
        self._samples = [self._sample()]
        """The counts of each connection, one sample after the other: all that the window needs, and no more."""
        self._opened_at = anyio.current_time()
        self._cleaned = 0
        self._is_open = True

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[object]]]:
        """What has to run, by name. Each of them runs until it is cancelled, which has no effect on anything else."""
        return {
            "health monitor": self._watch,
            "metrics collector": self._collect,
            "cleanup": self._clean,
        }

    def close(self) -> None:
        """The manager is being left."""
        self._is_open = False

    def health(self) -> Health:
        """How the manager and its connections fare at this moment."""
        standings = [connection.standing() for connection in self._connections]
        connections = tuple(map(judge, standings, self._recent(self._sample())))
        return Health(
            at=self._wall(),
            state=manager_state(standings, is_open=self._is_open),
            status=worst(connection.status for connection in connections),
            score=min(connection.score for connection in connections),
            connections=connections,
        )

    def metrics(self) -> PerformanceMetrics:
        """What the manager and its connections do at this moment, and within the last minute."""
        totals = self._sample()
        recents = self._recent(totals)
        connections = tuple(
            measure(connection.standing(), total, recent)
            for connection, total, recent in zip(self._connections, totals, recents, strict=True)
        )
        seconds = recents[0].at
        recent = attrs.evolve(reduce(Counts.plus, recents), at=seconds)  # side by side, so time does not add up
        return PerformanceMetrics(
            at=self._wall(),
            uptime_seconds=anyio.current_time() - self._opened_at,
            window_seconds=seconds,
            messages_per_second=recent.rate(recent.messages),
            events_per_second=recent.rate(recent.events),
            bytes_received_per_second=recent.rate(recent.bytes_received),
            error_rate=recent.error_rate,
            health_score=min(connection.health_score for connection in connections),
            subscriptions=sum(connection.subscriptions for connection in connections),
            cleaned=self._cleaned,
            connections=connections,
        )

    async def _watch(self) -> NoReturn:
        """Log it when the health has changed."""
        while True:
            await anyio.sleep(_WATCH_SECONDS)
            health = self.health()
            if health.status is not self._status:
                self._status = health.status
                level = logging.INFO if health.status is HealthStatus.HEALTHY else logging.WARNING
                reasons = [f"; {one.name} {reason}" for one in health.connections for reason in one.reasons]
                _log.log(level, "%s: health is %s%s", self._name, health.status, "".join(reasons))

    async def _collect(self) -> NoReturn:
        """Sample the counters, for what the rates are computed from, and find out who is idle."""
        while True:
            await anyio.sleep(_COLLECT_SECONDS)
            for client in self._clients:
                client._look_whether_idle()
            self._samples.append(self._sample())
            del self._samples[: self._window_start()]

    async def _clean(self) -> NoReturn:
        """Drop what is old.

        That is orders that have been done for a day, and histories and counts of what nobody has wanted for a round,
        and nothing else: the latest of a topic goes in the same step as the last who wants it, an idle connection
        closes itself, and whatever else is kept makes room for the next.
        """
        while True:
            await anyio.sleep(_CLEAN_SECONDS)
            self._cleaned += sum(connection.hub.clean() for connection in self._connections)
            self._cleaned += self._account.forget_done(self._wall() - KEEP_DONE_SECONDS)

    def _sample(self) -> list[Counts]:
        return [connection.counts() for connection in self._connections]

    def _window_start(self) -> int:
        return window_start([sample[0].at for sample in self._samples], anyio.current_time())

    def _recent(self, totals: Sequence[Counts]) -> list[Counts]:
        """What each connection has counted within the window."""
        return [total.since(begun) for total, begun in zip(totals, self._samples[self._window_start()], strict=True)]
