"""What the library counts and tells about itself, as frozen records."""

from enum import StrEnum

import attrs

from .epoch import Epoch

__all__ = ["ConnectionState", "ConnectionStatus", "Drift", "StreamStatistics"]


class ConnectionState(StrEnum):
    """Where a connection stands."""

    DISCONNECTED = "disconnected"
    """Nobody wants anything from it."""
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    """The last attempt failed or the last epoch ended; the next attempt is near."""


@attrs.frozen
class Drift:
    """One difference between what the exchange sends and what this library knows of it."""

    what: str
    """``unknown field``, ``unknown value``, ``unknown type`` or ``other format``."""
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
    bad_frames: int
    """Frames that were neither an event nor a known reply."""
    last_bad_frame: str
    """The first part of the last of these, with what was wrong with it."""
    drift: tuple[Drift, ...]
    """Where the exchange has moved on from what this library knows. Such events are delivered all the same."""
    errors: int
    """Error replies of the exchange."""


@attrs.frozen
class StreamStatistics:
    """What became of the events of one stream: *published = delivered + dropped + buffered*, always."""

    published: int
    delivered: int
    dropped: int
    """Pushed out by the back-pressure policy before anybody took them."""
    buffered: int
    capacity: int
