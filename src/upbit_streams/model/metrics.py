"""What the library counts and tells about itself, as frozen records."""

from decimal import Decimal
from enum import StrEnum

import attrs

from .epoch import Epoch

__all__ = [
    "Balance",
    "ConnectionState",
    "ConnectionStatus",
    "Drift",
    "Independence",
    "Influence",
    "Period",
    "StreamStatistics",
]


class ConnectionState(StrEnum):
    """Where a connection stands."""

    DISCONNECTED = "disconnected"
    """Nobody wants anything from it."""
    CONNECTING = "connecting"
    """Something is wanted, and the first attempt is under way."""
    CONNECTED = "connected"
    """An epoch has begun; nothing has been asked for yet."""
    SUBSCRIBING = "subscribing"
    """The epoch's first request has gone out, and nothing has come yet."""
    ACTIVE = "active"
    """The exchange serves the epoch: data came, or it has confirmed the request, as a quiet market has nothing to say.
    It stays so when other requests follow."""
    RECONNECTING = "reconnecting"
    """The last attempt failed or the last epoch ended; the next attempt is near."""
    ERROR = "error"
    """The exchange refuses the key, and another key brings the connection back; or as many attempts have failed as were
    allowed, and nothing does."""

    @property
    def is_open(self) -> bool:
        """Whether an epoch is alive."""
        return self in (ConnectionState.CONNECTED, ConnectionState.SUBSCRIBING, ConnectionState.ACTIVE)


@attrs.frozen
class Drift:
    """One difference between what the exchange sends and what this library knows of it."""

    what: str
    """``unknown field``, ``unknown value``, ``unknown type``, ``missing field``, ``not understood``,
    ``other spelling``, ``other unit`` or ``other format``."""
    where: str
    """The type, and the field: ``trade.news``, ``ticker.market_state=HALTED``."""
    count: int
    sample: str
    """The first part of the first frame that had it."""


@attrs.frozen
class ConnectionStatus:
    """One connection as it stands, and what it has counted since its manager was opened."""

    name: str
    url: str
    state: ConnectionState
    epoch: Epoch | None
    """The last epoch, over or not; None before the first."""
    reason: str
    """Why it is not connected, or why the last epoch had to begin."""
    failed_attempts: int
    """Attempts to connect that failed."""
    messages: int
    """Frames received, of all kinds."""
    events: int
    """Events among them that were published."""
    late: int
    """Events dropped because their epoch was over when they could have been published."""
    unwanted: int
    """Events that nobody wanted any more when they came."""
    repeated: int
    """Trades that a snapshot repeated and that were not delivered again."""
    stale: int
    """Epochs that were replaced since something had fallen silent against its habit."""
    bad_frames: int
    """Frames that were neither an event nor a known reply."""
    last_bad_frame: str
    """The first part of the last of these, with what was wrong with it."""
    drift: tuple[Drift, ...]
    """Where the exchange has moved on from what this library knows. Such events are delivered all the same."""
    errors: int
    """Error replies of the exchange."""
    differences: int
    """How often the exchange's list of what it serves differed from what it was asked for."""
    unanswered: tuple[tuple[str, str], ...]
    """Types and codes of which nothing has come in this epoch that was understood, some seconds after they were asked
    for. Where no frame of them was bad, that is most likely a typing error, or a market that this region's exchange
    does not list."""


@attrs.frozen
class Period:
    """What one connection did in a time, put together from several moments maybe."""

    seconds: float
    events: int
    """Published."""
    epochs_lost: int
    errors: int
    """Error frames, and frames that were not understood."""
    lag: float | None
    """Seconds from the exchange's own time stamp to the end of the read that brought the event, the mean over reads;
    None without any. The two clocks may differ, so only the difference between two of these means something."""

    @property
    def event_rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds if self.seconds else 0.0


@attrs.frozen
class Influence:
    """What the trouble of one connection did to another one, measured.

    A connection is in trouble from the loss of an epoch, or a failed attempt to connect, to its next epoch.
    """

    source: str
    """The connection that was in trouble."""
    target: str
    """The one that is looked at."""
    troubles: int
    """How often the source got into trouble."""
    exposed: int
    """How many of these times the target had an epoch that it might have lost: when the trouble began, or meanwhile."""
    coincided: int
    """How many of these times the target lost an epoch before the source's trouble was over."""
    during: Period
    """The target while the source was in trouble."""
    otherwise: Period
    """The target the rest of the time."""

    @property
    def impact(self) -> float | None:
        """How much later the target's events came while the source was in trouble, in seconds; negative if sooner. None
        where one of both was not measured."""
        if self.during.lag is None or self.otherwise.lag is None:
            return None
        return self.during.lag - self.otherwise.lag

    @property
    def interference(self) -> float | None:
        """The share in which the target lost an epoch, too, of the source's troubles in which it had one to lose: 0 to
        1. None if there were no such."""
        return self.coincided / self.exposed if self.exposed else None


@attrs.frozen
class Independence:
    """Whether the connections leave each other alone: what was measured, for each pair of them."""

    influences: tuple[Influence, ...]

    @property
    def isolation(self) -> float | None:
        """Over all troubles and each of the other connections that had an epoch to lose, the share in which that one
        lost none meanwhile: 1 is perfect. None if there were no such troubles.

        A connection that is not in use, or is down itself, stands no test, so it is not counted as unharmed.
        """
        exposed = sum(influence.exposed for influence in self.influences)
        return 1 - sum(influence.coincided for influence in self.influences) / exposed if exposed else None


@attrs.frozen
class Balance:
    """What you have of one currency, as it was last told."""

    currency: str
    balance: Decimal
    """Free to use; what orders hold is in ``locked``."""
    locked: Decimal
    asset_timestamp: int
    """When it changed, in milliseconds since the Unix epoch."""
    epoch: Epoch
    """The life of the connection that told it. If that is over, it may have changed since."""
    received_at: float
    """Seconds since the Unix epoch (UTC)."""


@attrs.frozen
class StreamStatistics:
    """What became of the events of one stream: *published = delivered + dropped + coalesced + throttled + buffered*,
    always."""

    published: int
    """All that there were for this stream."""
    delivered: int
    dropped: int
    """Lost to the back-pressure policy: pushed out before anybody took them, or never let in."""
    coalesced: int
    """Replaced by a newer one of their topic before anybody took them, where only the newest counts."""
    throttled: int
    """Replaced by a newer one of their topic before their time had come."""
    buffered: int
    """Waiting; once the stream is closed, those that nobody took. One more than the capacity can, in a stream that has
    just been told of a loss: the event behind that is kept for it."""
    capacity: int
    high_water: int
    """The most that ever waited at once."""
    blocked_seconds: float
    """For how long connections waited for this stream, all waits together."""
    lag_seconds: float
    """How long ago the oldest event arrived of those that wait; 0 if none does."""
    frames_lost: int = 0
    """How many frames could not be read that may have told something of this stream, where that is told once. Nobody
    knows what events there were in them, so they are not among the ``published``."""
