"""How long somebody has done nothing, without a look at the clock each time that something is done."""

import anyio

__all__ = ["Idleness"]


class Idleness:
    """Looks at a counter now and then: while it stands still, its owner is idle."""

    def __init__(self) -> None:
        self._count = 0
        self._since = anyio.current_time()

    def look(self, count: int) -> None:
        """Look at the counter."""
        if count != self._count:
            self._count, self._since = count, anyio.current_time()

    def seconds(self, count: int) -> float:
        """For at least so long the counter, which stands here now, has not moved."""
        return anyio.current_time() - self._since if count == self._count else 0.0
