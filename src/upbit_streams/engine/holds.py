"""For whom a connection's reader waits."""

from functools import partial

import anyio

from .channel import Channel

__all__ = ["Holds"]


class Holds:
    """The channels that may hold the reader of one connection up, and for how long they have."""

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self._since: float | None = None
        """When the reader began to wait, in the event loop's time; None if it does not."""
        self._seconds = 0.0
        """For how long it has waited before."""

    def add(self, channel: Channel) -> None:
        """If this one ever holds a reader up, it may hold this one from now on."""
        if channel.patience is not None and channel not in self.channels:
            self.channels.append(channel)

    def discard(self, channel: Channel) -> None:
        """It does so no more."""
        if channel in self.channels:
            self.channels.remove(channel)
            channel.look_again()

    async def wait(self) -> None:
        """Wait until none holds the reader up, or each was waited for long enough.

        Cancelling it has no effect on anything.
        """
        begun = self._since = anyio.current_time()
        try:
            for channel in [*self.channels]:
                if channel.is_holding and channel.patience is not None:
                    await channel.wait_room(begun + channel.patience, partial(self.channels.__contains__, channel))
        finally:
            self._since = None
            self._seconds += anyio.current_time() - begun

    def seconds(self) -> float:
        """For how long the reader has waited so far, all waits together."""
        return self._seconds + (0.0 if self._since is None else anyio.current_time() - self._since)
