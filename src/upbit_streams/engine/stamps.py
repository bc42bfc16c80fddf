"""Which of two things the exchange stamped later."""

from ..model.events import Event

__all__ = ["stamp_of"]


def stamp_of(event: Event, milliseconds: int) -> float:
    """A stamp of an event in seconds, to be compared with others of its kind: the larger one is newer.

    A stamp that the exchange left out is -1, which is older than everything: what came last would never be taken. So
    the time at which the event was received stands for it.
    """
    return milliseconds / 1000 if milliseconds >= 0 else event.received_at
