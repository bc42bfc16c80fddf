"""Facts about the feed that stand in a stream, between the events and in order."""

import attrs

from .epoch import Epoch

__all__ = ["EpochEnded", "EpochStarted", "FrameLost", "Lagged", "Notice", "Stale"]


@attrs.frozen
class EpochStarted:
    """A new life of a connection: from here on the stream's events are of this epoch.

    The exchange tells no order, balance, announcement or indicator twice. What happened while nobody was connected is
    not in the stream; who needs it asks the exchange's REST interface after this notice, and misses nothing then:
    every change from ``missing_to`` on is in the stream.
    """

    epoch: Epoch
    """The new one. Its ``reason`` tells how the one before it ended."""
    missing_from: float | None
    """Events from then on may be missing: when the last epoch was last heard of, in seconds since the Unix epoch (UTC).
    It is never later than ``missing_to``: if the wall clock was set back meanwhile, it is by the clock as it is now.
    None in a stream's first notice of a connection, before which there was nothing to miss."""
    missing_to: float
    """Until then: when the exchange was known to serve this stream again, in seconds since the Unix epoch (UTC)."""
    down: float | None = None
    """For how many seconds there was no connection: by the event loop's clock or the wall's, by the one that says more.
    It is 0 or more; None in a stream's first notice of a connection."""


@attrs.frozen
class EpochEnded:
    """The connection is lost; from here on there are no events of it until the next :class:`EpochStarted`."""

    epoch: Epoch
    """The one that is over."""
    reason: str
    """How it ended."""
    ended_at: float
    """When that was found out, by the wall clock as it stood then: seconds since the Unix epoch (UTC)."""


@attrs.frozen
class Lagged:
    """Here so many events are missing, because they were not taken in time."""

    dropped: int


@attrs.frozen
class Stale:
    """One market has fallen silent against its own habit, or the whole connection has, though the exchange still
    answers pings. The connection is replaced; an :class:`EpochEnded` follows."""

    epoch: Epoch
    type: str
    """The data type's name; empty if the whole connection has fallen silent, while each of its markets may well be."""
    code: str
    """The market."""
    silent_for: float
    """Seconds since the last event, or since it was asked for."""
    usual: float
    """The longest silence that was usual for it, in seconds."""


@attrs.frozen
class FrameLost:
    """A frame with an order, a balance, an announcement or an indicator could not be read here.

    It may also be a frame of an unknown type, which may have been one of these. The exchange sends such an event only
    once: ask its REST interface for the present state. The frame's own bytes are here, so that nothing is lost that a
    person or another program might still read.
    """

    epoch: Epoch
    type: str
    """The exchange's name of the data type, as far as it could be read. If it is empty or unknown, the frame may have
    been of any type that the exchange sends only once."""
    code: str
    """The market, if it could be read; otherwise empty."""
    why: str
    """What is wrong with the frame."""
    payload: bytes = attrs.field(repr=False)
    """The frame as it came, without your keys if it repeats them; at most its first 16 KiB."""
    frames: int = 1
    """How many frames this tells of. It is more than one only if many came and the stream was not read; then they are
    told at the place of the last one, and all other attributes are of that one."""


Notice = EpochStarted | EpochEnded | Lagged | Stale | FrameLost
"""Whatever is no event."""
