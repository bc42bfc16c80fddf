"""One life of one connection, as a value."""

import attrs

__all__ = ["NO_EPOCH", "Epoch"]


@attrs.frozen
class Epoch:
    """One life of one connection: from a successful handshake to its loss.

    It is made by the connection's supervisor and handed on explicitly; every event carries the epoch on whose socket it
    arrived. Within one connection the numbers grow by exactly one at each successful connect.
    """

    connection: str
    """The connection's name: ``public``, ``private`` or ``info``."""
    number: int
    """1 for the first successful connect, then 2, 3, ..."""
    started_at: float
    """When the handshake was done: seconds since the Unix epoch (UTC)."""
    wall_offset: float
    """What to add to ``anyio.current_time()`` to get seconds since the Unix epoch. Measured once an epoch, so that
    receive times never go back within it. If the two clocks move apart by more than 1.5 s, the epoch ends."""
    reason: str
    """Why this epoch was needed: ``first connect``, or how the one before it ended."""


NO_EPOCH = Epoch(connection="none", number=0, started_at=0.0, wall_offset=0.0, reason="not from a connection")
"""What an event carries that no connection delivered, for instance one that a test made by hand."""
