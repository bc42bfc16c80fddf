"""How long somebody has done nothing, without a look at the clock each time that something is done."""

import anyio

__all__ = ["Idleness"]


class Idleness:
    """Looks at a counter now and then: while it stands still, its owner is idle."""

    def __init__(self) -> None:
        self._count = 0
        self._since = anyio.current_time()
        self._until: float | None = None

    def look(self, count: int) -> None:
        """Look at the counter."""
        if count != self._count:
            self._count, self._since = count, anyio.current_time()

    def stop(self) -> None:
        """Its owner has ended: time goes no further, and is not asked for any more."""
        self._until = anyio.current_time()

    def seconds(self, count: int) -> float:
        """For at least so long the counter, which stands here now, has not moved."""
        if count != self._count:
            return 0.0
        return (anyio.current_time() if self._until is None else self._until) - self._since
