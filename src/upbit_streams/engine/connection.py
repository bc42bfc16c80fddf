"""Life after life of one connection: connect, live, back off, again. It never gives up."""

import logging
from collections.abc import Callable
from typing import NoReturn

import anyio

from ..exceptions import ExchangeError, FeedError
from ..model.config import Config
from ..model.epoch import Epoch
from ..model.metrics import ConnectionState, ConnectionStatus
from ..rules.backoff import delay, next_failures
from ..rules.rate_limit import RateLimit
from ..transport.interface import Connector
from ..wire.decode import Decoder
from .epoch_scope import Counters, live
from .hub import Hub

__all__ = ["Connection"]

_log = logging.getLogger("upbit_streams")


class Connection:
    """One endpoint, kept alive as long as somebody wants something from it."""

    def __init__(
        self,
        name: str,
        config: Config,
        hub: Hub,
        connector: Connector,
        connects: RateLimit,
        wall: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._name = name
        self._config = config
        self._hub = hub
        self._connector = connector
        self._connects = connects
        self._wall = wall
        self._draw = draw
        self._decoder = Decoder(config.format)
        self._counters = Counters()
        self._state = ConnectionState.DISCONNECTED
        self._epoch: Epoch | None = None
        self._reason = "first connect"
        self._failed_attempts = 0
        self._changed = anyio.Event()

    async def run(self) -> NoReturn:
        """Supervise. Cancelling it closes the connection, politely if there is time."""
        try:
            await self._supervise()
        finally:
            self._enter(ConnectionState.DISCONNECTED, "its manager has been left")

    async def _supervise(self) -> NoReturn:
        failures = 0
        while True:
            await self._wait_wanted()
            self._enter(ConnectionState.CONNECTING if self._epoch is None else ConnectionState.RECONNECTING)
            await self._pass_connect_limit()
            try:
                try:
                    transport = await self._connector(self._config.url, self._config)
                finally:
                    # The exchange saw it at some moment between its start and its end, so it counts at both.
                    self._connects.record(anyio.current_time())
            except (FeedError, ExchangeError) as why:
                self._failed_attempts += 1
                self._enter(ConnectionState.RECONNECTING, str(why))
                failures += 1
            else:
                started, published = anyio.current_time(), self._hub.published
                try:
                    epoch = self._begin_epoch(started)
                    ended = await live(transport, epoch, self._hub, self._config, self._decoder, self._counters)
                    self._enter(ConnectionState.RECONNECTING, ended)
                finally:
                    with anyio.move_on_after(self._config.close_timeout, shield=True):
                        await transport.aclose()
                lived = anyio.current_time() - started
                brought_data = self._hub.published > published
                failures = next_failures(failures, self._config.backoff, lived, brought_data)
            if self._hub.wants.union:
                pause = delay(failures, self._config.backoff, self._draw())
                _log.info("%s: %s; next attempt in %.1f s", self._name, self._reason, pause)
                await anyio.sleep(pause)

    def status(self) -> ConnectionStatus:
        return ConnectionStatus(
            name=self._name,
            url=self._config.url,
            state=self._state,
            epoch=self._epoch,
            reason=self._reason,
            failed_attempts=self._failed_attempts,
            messages=self._counters.messages,
            events=self._hub.published,
            late=self._hub.late,
            unwanted=self._hub.unwanted,
            repeated=self._hub.repeated,
            bad_frames=self._counters.bad_frames,
            last_bad_frame=self._counters.last_bad_frame,
            drift=self._decoder.drift.records(),
            errors=self._counters.errors,
        )

    async def wait_changed(self) -> None:
        """Wait for the next change of state. Cancelling it has no effect on anything."""
        await self._changed.wait()

    def _enter(self, state: ConnectionState, reason: str | None = None) -> None:
        self._state = state
        if reason is not None:
            self._reason = reason
        self._changed.set()
        self._changed = anyio.Event()

    def _begin_epoch(self, now: float) -> Epoch:
        wall = self._wall()
        self._epoch = Epoch(
            connection=self._name,
            number=self._epoch.number + 1 if self._epoch else 1,
            started_at=wall,
            wall_offset=wall - now,
            reason=self._reason,
        )
        self._enter(ConnectionState.CONNECTED)
        _log.info("%s: connected, epoch %d (%s)", self._name, self._epoch.number, self._reason)
        return self._epoch

    async def _wait_wanted(self) -> None:
        while not self._hub.wants.union:
            self._enter(ConnectionState.DISCONNECTED)
            await self._hub.wants.changed.wait()

    async def _pass_connect_limit(self) -> None:
        # Nothing awaits between the look and the record, so two connections can never take the same place.
        while (pause := self._connects.wait(anyio.current_time())) > 0:  # noqa: ASYNC110 -- waits for the clock alone
            await anyio.sleep(pause)
        self._connects.record(anyio.current_time())
