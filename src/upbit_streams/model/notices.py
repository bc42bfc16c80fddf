"""Facts about the feed that stand in a stream, between the events and in order."""

import attrs

from .epoch import Epoch

__all__ = ["EpochStarted"]


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
    None in a stream's first notice of a connection, before which there was nothing to miss."""
    missing_to: float
    """Until then: when the exchange was known to serve this stream again, in seconds since the Unix epoch (UTC)."""
