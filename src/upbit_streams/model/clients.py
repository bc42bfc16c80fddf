"""What a client has open and has done: what :meth:`Client.statistics` and :meth:`Manager.clients` tell."""

import attrs

from .metrics import StreamStatistics

__all__ = ["ClientStatistics", "Sums"]


@attrs.frozen(kw_only=True)
class ClientStatistics:
    """What one client has open, and what it has taken since it was opened.

    Of its streams, those of its callbacks among them, *published = delivered + dropped + coalesced + throttled +
    buffered* holds for the sums as for each.
    """

    name: str
    opened_at: float
    """Seconds since the Unix epoch (UTC)."""
    interests: int
    """Topics that are registered now: each data type of each market is one."""
    streams: int
    """Streams that are open now, without those of callbacks."""
    callbacks: int
    """Callbacks that are at work now."""
    reads: int
    """How often it has looked into memory: one for each topic that a ``get_*`` method was asked for."""
    published: int
    """Events in all that were published to its streams, also to those that were closed since."""
    delivered: int
    """Events in all that were taken from them."""
    dropped: int
    """Events in all that were lost to their back-pressure policies."""
    coalesced: int
    """Events in all that were replaced by a newer one, where only the newest counts."""
    throttled: int
    """Events in all that were replaced by a newer one before their time had come."""
    buffered: int
    """Events that wait in them, and those that were never taken from closed ones."""
    idle_seconds: float
    """For at least so long the client has taken nothing: no read, no event, no new interest or stream.

    A task of the manager looks every 10 s whether it has, so the true time is up to 10 s longer. A client that waits
    for an event of a quiet market is idle, too.
    """


@attrs.frozen(kw_only=True)
class Sums:
    """What became of the events of several streams together."""

    published: int = 0
    delivered: int = 0
    dropped: int = 0
    coalesced: int = 0
    throttled: int = 0
    buffered: int = 0

    def plus(self, one: StreamStatistics) -> "Sums":
        return Sums(
            published=self.published + one.published,
            delivered=self.delivered + one.delivered,
            dropped=self.dropped + one.dropped,
            coalesced=self.coalesced + one.coalesced,
            throttled=self.throttled + one.throttled,
            buffered=self.buffered + one.buffered,
        )
