"""Life after life of one connection: connect, live, back off, again. It never gives up, but for a key that is
refused, and where a limit was set."""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import anyio

from ..exceptions import (
    AuthenticationError,
    ConnectFailedError,
    ExchangeError,
    FeedError,
    HandshakeRefusedError,
    ReconnectFailedError,
    UsageError,
)
from ..foreign import failure_text, shown
from ..model.config import Config, check_login
from ..model.epoch import Epoch
from ..model.kinds import Endpoint
from ..model.metrics import ConnectionState, ConnectionStatus
from ..model.secret import Secret
from ..model.subscriptions import Want
from ..rules.backoff import delay, next_failures
from ..rules.health import Counts, Standing
from ..rules.lifecycle import Step, follow
from ..rules.login import refused_handshake
from ..rules.refusals import block_seconds
from ..transport.interface import Connector, Transport
from ..wire.decode import Decoder
from .clocks import Clocks
from .connects import Connects
from .epoch_scope import Counters, EpochScope
from .hub import Hub
from .independence import Witness
from .login import Login
from .reconciler import Truth
from .user_code import called, check_transport
from .watchdog import Watchdog

__all__ = ["Connection"]

_log = logging.getLogger("upbit_streams")


class Connection:
    """One endpoint, kept alive as long as somebody wants something from it."""

    def __init__(
        self,
        endpoint: Endpoint,
        config: Config,
        hub: Hub,
        connector: Connector,
        connects: Connects,
        login: Login | None,
        witness: Witness,
        wall: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        """``login`` is for an endpoint that asks for one, None for the others."""
        self.name = endpoint.value
        self.hub = hub
        self.clocks = Clocks(wall)
        self.ping_timeout = config.ping_timeout
        self._url = config.url_of(endpoint)
        self._config = config
        self._connector = connector
        self._connects = connects
        self._login = login
        self._witness = witness
        self._wall = wall
        self._draw = draw
        self._decoder = Decoder(config.format, self._shown)
        self._watchdog = Watchdog(hub, self.clocks)
        self.counters = Counters()
        self._truth = Truth()
        self._state = ConnectionState.DISCONNECTED
        self._epoch: Epoch | None = None
        self._reason = "first connect"
        self._served_until = anyio.current_time()
        """When it was last active, or nobody had asked it for anything."""
        self._failed_attempts = 0
        self._failures = 0
        """How many attempts and epochs in a row came to nothing."""
        self._refusals = 0
        """How many logins in a row were refused."""
        self._has_given_up = False
        self._access_key: Secret | None = None
        """Of the last handshake."""
        self._token: Secret | None = None
        """Of the last handshake. The exchange may repeat it, or the keys that it was made with."""
        self._is_key_replaced = False
        """Whether that was with a key that has been replaced since."""
        self._changed = anyio.Event()
        witness.watch(self.name, self.counts, lambda: self.open_epoch is not None)

    def check_login(self) -> None:
        """Raise :class:`UsageError` if this connection needs a key that there is not, or that would be overheard."""
        if self._login is not None:
            check_login(self._url)
            self._login.check()

    async def run(self) -> NoReturn:
        """Supervise. Cancelling it closes the connection, politely if there is time."""
        try:
            await self._supervise()
        finally:
            self._take(Step.LEFT, "its manager has been left")

    async def _supervise(self) -> NoReturn:
        while True:
            await self._wait_wanted()
            if self._state is ConnectionState.DISCONNECTED:
                self._take(Step.WANTED)
            key = self._login.replaced if self._login else None
            refused: ExchangeError | FeedError | None = None
            try:
                transport = await self._connect()
            except (FeedError, ExchangeError) as why:
                refused = why
                self._failures += 1
                self._failed_attempts += 1
                self._in_trouble(str(why))
            else:
                refused = await self._live(transport)
            if self._failures >= (self._config.backoff.attempts or math.inf):
                await self._give_up()
            if key is not None and isinstance(refused, AuthenticationError):
                await self._take_refusal(refused, key)
            elif self.hub.wants.union:
                await anyio.sleep(self._pause())

    async def _take_refusal(self, refused: AuthenticationError, key: anyio.Event) -> None:
        """Wait before the next login; for another key, if this one was refused often enough."""
        self._refusals += 1
        if self._refusals < self._config.login_attempts:
            with anyio.move_on_after(self._pause()):
                await key.wait()
        elif not key.is_set():
            refused = refused.again(self._refusals)
            self._take(Step.REFUSED, self._shown(str(refused)))
            _log.error("%s: %s", self.name, self._reason)
            self.hub.fail(partial(refused.again, self._refusals))
            await key.wait()  # whoever replaces it calls recover()
            self._take(Step.RENEWED)
        if key.is_set():
            self._failures = self._refusals = 0

    async def _give_up(self) -> NoReturn:
        """Tell everybody who waits for this connection that it will not come back."""
        error = partial(ReconnectFailedError, self._url, self._failures, self._reason)
        self._take(Step.REFUSED, str(error()))
        _log.error("%s: %s", self.name, self._reason)
        self._has_given_up = True
        self.hub.fail(error)
        while True:
            await anyio.sleep_forever()

    def recover(self) -> None:
        """There is another key: whoever waits from now on waits for that. What has given up stays so.

        As long as an epoch is open, what is told is still of the other account.
        """
        if not self._has_given_up:
            self.hub.recover()
        self._is_key_replaced = True
        if not self._state.is_open:
            self._forget_account()

    def _forget_account(self) -> None:
        """If it may be another one's from now on, nobody is to read what was told of this one: the other key may be
        refused for good."""
        if self._login is not None and self._is_key_replaced and not self._login.is_of(self._access_key):
            self.hub.forget_account()

    def _pause(self) -> float:
        pause = delay(self._failures, self._config.backoff, self._draw())
        pause = max(pause, self._connects.wait())
        _log.info("%s: %s; next attempt in %.1f s", self.name, self._reason, pause)
        return pause

    async def _connect(self) -> Transport:
        """Shake hands. Raises :class:`AuthenticationError` if the login is refused."""
        token = None
        if self._login is not None:
            self._is_key_replaced = False
            token = self._token = await self._login.token(self._url, self._config.connect_timeout)
            if self._access_key != self._login.access_key:
                self._access_key = self._login.access_key
                self.hub.forget_account()
        await self._connects.take_turn()
        refused: HandshakeRefusedError
        try:
            transport: Transport = await called(self._connector, self._url, self._config, token)
            check_transport(transport)
            self._connects.passed()
            return transport
        except HandshakeRefusedError as why:
            refused = why
            self._heed(why)
        except (FeedError, ExchangeError, UsageError):
            raise
        except Exception as why:  # the connector may be the user's own
            text = failure_text(why, token)
            raise ConnectFailedError(self._url, f"the connector raised {text}") from why
        finally:
            # The exchange saw it at some moment between its start and its end, so it counts at both.
            self._connects.record()
        if self._login is not None:
            body = self._hidden(refused.body)
            raise refused_handshake(refused, self._hidden) or HandshakeRefusedError(refused.url, refused.status, body)
        raise refused

    def _heed(self, refused: HandshakeRefusedError) -> None:
        """If the exchange wants nobody to connect for a while, nobody does, of all that share the limit."""
        wall = self._wall()
        blocked = self._connects.block(partial(block_seconds, refused.status, refused.body, wall))
        if blocked is not None:
            _log.info("%s: refused with status %d; no connects for %.1f s", self.name, refused.status, blocked)

    async def _live(self, transport: Transport) -> AuthenticationError | None:
        """One epoch. Returns the refusal, if it ended with one of the login."""
        started = anyio.current_time()
        refused: AuthenticationError | None = None
        try:
            scope = EpochScope(
                transport=transport,
                url=self._url,
                epoch=self._begin_epoch(started),
                clocks=self.clocks,
                hub=self.hub,
                config=self._config,
                decoder=self._decoder,
                counters=self.counters,
                truth=self._truth,
                shown=self._shown,
                hidden=self._hidden,
                take=self._take,
                watchdog=self._watchdog,
            )
            try:
                ended = await scope.live()
            except AuthenticationError as why:
                refused, ended = why, str(why)
            if ended is None:
                self._take(Step.UNWANTED, "nobody wants anything from it any more")
            else:
                self.counters.epochs_lost += 1
                self._in_trouble(ended)
            self._forget_account()
        finally:
            with anyio.move_on_after(self._config.close_timeout, shield=True):
                await self._close(transport)
        lived = anyio.current_time() - started
        failures = next_failures(self._failures, self._config.backoff, lived, scope.was_good)
        # An end that nobody minds is no failure. It still ends a row of them, if the epoch was a success.
        self._failures = min(failures, self._failures) if ended is None else failures
        if scope.was_good:
            self._refusals = 0
        return refused

    async def _close(self, transport: Transport) -> None:
        try:
            await called(transport.aclose)
        except Exception as why:  # noqa: BLE001 -- the transport may be the user's own
            _log.warning("%s: aclose() of its transport raised %s", self.name, failure_text(why, self._token))

    @property
    def open_epoch(self) -> Epoch | None:
        """The life that it is in; None if it is in none."""
        return self._epoch if self._state.is_open else None

    def status(self) -> ConnectionStatus:
        return ConnectionStatus(
            name=self.name,
            url=self._url,
            state=self._state,
            epoch=self._epoch,
            reason=self._reason,
            failed_attempts=self._failed_attempts,
            messages=self.counters.messages,
            events=self.hub.published,
            late=self.hub.late,
            unwanted=self.hub.unwanted,
            repeated=self.hub.repeated,
            stale=self._watchdog.alarms,
            bad_frames=self.counters.bad_frames,
            last_bad_frame=self.counters.last_bad_frame,
            drift=self._decoder.drift.records(),
            errors=self.counters.errors,
            differences=self._truth.differences,
            unanswered=self.hub.unanswered,
        )

    def why_spoiled(self, want: Want) -> str:
        """Why the last frame of a want could not be read; empty if all of them could."""
        return self._truth.spoiled.why(want.type.name, want.code)

    def counts(self) -> Counts:
        """What it has counted so far."""
        counters = self.counters
        return Counts(
            at=anyio.current_time(),
            messages=counters.messages,
            events=self.hub.published,
            errors=counters.errors + counters.bad_frames,
            bytes_received=counters.bytes_received,
            bytes_sent=counters.bytes_sent,
            epochs_lost=counters.epochs_lost,
            reads=counters.reads,
            lag=counters.lag,
        )

    def standing(self) -> Standing:
        """How it stands now."""
        now, epoch = anyio.current_time(), self._epoch
        is_up = self._state in (ConnectionState.ACTIVE, ConnectionState.DISCONNECTED)
        return Standing(
            name=self.name,
            state=self._state,
            subscriptions=len(self.hub.wants.union),
            down_seconds=0.0 if is_up else now - self._served_until,
            uptime_seconds=now + epoch.wall_offset - epoch.started_at if epoch and self._state.is_open else 0.0,
            reconnects=epoch.number - 1 if epoch else 0,
            failed_attempts=self._failed_attempts,
            reason=self._reason,
            unanswered=len(self.hub.unanswered),
        )

    async def wait_changed(self) -> None:
        """Wait for the next change of state. Cancelling it has no effect on anything."""
        await self._changed.wait()

    def _take(self, step: Step, reason: str | None = None) -> None:
        """Walk the table of states."""
        if self._state in (ConnectionState.ACTIVE, ConnectionState.DISCONNECTED):
            self._served_until = anyio.current_time()
        self._state = follow(self._state, step)
        if reason is not None:
            self._reason = reason
        self._changed.set()
        self._changed = anyio.Event()

    def _in_trouble(self, reason: str) -> None:
        self._take(Step.BROKEN, self._shown(reason))
        self._witness.trouble_began(self.name)

    def _shown(self, text: str, most: int = 1000) -> str:
        """What the exchange or the user's own code said, as it may be shown."""
        return shown(text, self._token, most)

    def _hidden(self, text: str) -> str:
        """A text of the exchange as it was sent, without the secrets."""
        return text if self._token is None else self._token.hidden_in(text)

    def _begin_epoch(self, now: float) -> Epoch:
        offset = self.clocks.begin()
        self._witness.trouble_ended(self.name)
        self._epoch = Epoch(
            connection=self.name,
            number=self._epoch.number + 1 if self._epoch else 1,
            started_at=now + offset,
            wall_offset=offset,
            reason=self._reason,
        )
        self._take(Step.ACCEPTED)
        _log.info("%s: connected, epoch %d (%s)", self.name, self._epoch.number, self._reason)
        return self._epoch

    async def _wait_wanted(self) -> None:
        while not self.hub.wants.union:
            if self._state is not ConnectionState.DISCONNECTED:
                self._take(Step.UNWANTED)
            self._witness.trouble_ended(self.name)
            await self.hub.wants.changed.wait()
