"""The event loop's clock and the clock on the wall: how they stand to each other, and when they move apart."""

from collections.abc import Callable

import anyio
import attrs
from anyio.lowlevel import checkpoint

from ..exceptions import ConnectionLostError
from ..model.epoch import Epoch

__all__ = ["JUMP_SECONDS", "Clocks"]

JUMP_SECONDS = 1.5
"""The clocks have jumped if they move apart by more than this between two looks. They are compared at every read, and
at least every 5 s.

All that happens to the clock of a healthy machine is less: a clock that is slewed moves by 2.5 ms in 5 s (500 ppm),
small corrections are steps of some tenths of a second, and a leap second is one. A suspend takes longer."""


@attrs.define(eq=False)
class Clocks:
    """Both clocks, as one connection sees them.

    The event loop's clock measures durations, and the wall clock tells when something was. While a computer is
    suspended the first one stands still and the other goes on; somebody may set the second one; and it is slewed. So
    nothing that is computed with both is right across a jump, and a jump ends the epoch.
    """

    wall: Callable[[], float]
    """Seconds since the Unix epoch."""
    _offset: float = attrs.field(default=0.0, init=False)
    """Seconds by which the wall clock was ahead of the event loop's clock when the last epoch began."""
    slewed: float = attrs.field(default=0.0, init=False)
    """Seconds that the wall clock has gained since then by slewing, as of the last comparison; no jump is in it."""

    def begin(self) -> float:
        """An epoch begins. Returns its ``wall_offset``."""
        self._offset, self.slewed = self._gap(), 0.0
        return self._offset

    def have_jumped(self) -> bool:
        """Compare the clocks, and tell whether they have moved apart since they were compared last.

        Something that blocks the event loop may make it seem so; ``check`` is sure.
        """
        moved = self._gap() - self._offset - self.slewed
        if abs(moved) > JUMP_SECONDS:
            return True
        self.slewed += moved
        return False

    async def check(self) -> None:
        """Raise :class:`ConnectionLostError` if the clocks have jumped within the epoch."""
        for _ in range(2):
            if not self.have_jumped():
                return
            await checkpoint()  # some event loops read their clock once in each turn only, and a turn may be long
        if why := self.why_jumped():
            raise ConnectionLostError(why)

    def why_jumped(self) -> str | None:
        """The reason to tell if the clocks have jumped since they were compared last; None if they have not."""
        moved = self._gap() - self._offset - self.slewed
        if abs(moved) <= JUMP_SECONDS:
            return None
        return f"the computer was suspended, or its clock was set: the clocks moved apart by {moved:+.1f} s"

    def now(self, epoch: Epoch) -> float:
        """Now, to be compared with when something of an epoch was received: seconds since the Unix epoch, by that one
        of the two clocks by which more time has passed since then."""
        loop = anyio.current_time()
        slewed = self.slewed if epoch.wall_offset == self._offset else 0.0
        moved = self.wall() - loop - epoch.wall_offset - slewed
        return loop + epoch.wall_offset + (moved if moved > JUMP_SECONDS else 0.0)

    def moved(self, epoch: Epoch) -> float:
        """Seconds that the wall clock has gained on the event loop's clock since an epoch; negative if it lost some."""
        return self._gap() - epoch.wall_offset

    def _gap(self) -> float:
        return self.wall() - anyio.current_time()
