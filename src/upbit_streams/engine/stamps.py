"""Which of two things the exchange stamped later."""

from ..model.events import Event

__all__ = ["stamp_of"]

# In milliseconds that is in the year 5138.
_FAR = 10**14


def stamp_of(event: Event, milliseconds: int) -> float:
    """A stamp of an event, to be compared with others of its kind: the larger one is newer, in seconds.

    The exchange has sent microseconds where milliseconds belong. Such a stamp would hold the state up for ever, so the
    time at which the event was received stands for it.
    """
    return milliseconds / 1000 if abs(milliseconds) < _FAR else event.received_at
