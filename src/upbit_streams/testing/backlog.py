"""What waits for a session that has not taken it yet."""

from collections import deque

from ..model.events import Event

__all__ = ["Backlog"]

# What a session may be behind before it counts as dead.
BACKLOG = 50_000


class Backlog:
    """Events in their order. It has no gap: after the first one that found no room, none follows."""

    def __init__(self) -> None:
        self.overflowed = False
        """The session has fallen so far behind that events were lost."""
        self._waiting: deque[Event] = deque()

    def put(self, event: Event) -> None:
        if len(self._waiting) >= BACKLOG:
            self.overflowed = True
        if not self.overflowed:
            self._waiting.append(event)

    def take(self) -> list[Event]:
        """All that waits."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken
