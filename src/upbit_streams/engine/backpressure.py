"""Bounded channels between the hub and a consumer, and what happens when one is full."""

from typing import Any

import anyio
import attrs

from ..exceptions import InvalidConfigError
from ..model.events import Event
from ..model.metrics import StreamStatistics

__all__ = ["Channel", "DropOldest"]


def _at_least_one(_: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if not isinstance(value, int) or value < 1:
        raise InvalidConfigError(f"{attribute.name} must be a whole number of at least 1, not {value!r}")


@attrs.frozen
class DropOldest:
    """When ``capacity`` events wait, the oldest goes and the new one comes in.

    A consumer that keeps up never loses anything, provided that the capacity is at least the largest burst: one read of
    the socket can bring hundreds of events before the consumer had a chance to run.
    """

    capacity: int = attrs.field(default=1024, validator=_at_least_one)


class Channel:
    """One consumer's buffer, with its ledger: *published = delivered + dropped + buffered*."""

    def __init__(self, policy: DropOldest) -> None:
        self._capacity = policy.capacity
        self._send, self._receive = anyio.create_memory_object_stream[Any](policy.capacity)
        self._closed = False
        self._published = self._delivered = self._dropped = 0

    def put(self, event: Event) -> None:
        """Take one event from the hub. Never waits."""
        if self._closed:
            return
        if self._published - self._delivered - self._dropped >= self._capacity:
            self._drop_oldest()
        self._published += 1
        self._send.send_nowait(event)

    def _drop_oldest(self) -> None:
        try:
            self._receive.receive_nowait()
        except anyio.WouldBlock:
            return  # the only one that waits is already in the hands of a receiver that has not run yet
        self._dropped += 1

    async def receive(self) -> Any:
        event = await self._receive.receive()
        self._delivered += 1
        return event

    def receive_nowait(self) -> Any:
        event = self._receive.receive_nowait()
        self._delivered += 1
        return event

    async def receive_batch(self) -> list[Any]:
        """Everything that waits, at least one event."""
        batch = [await self._receive.receive()]
        take = self._receive.receive_nowait
        try:
            while True:
                batch.append(take())
        except (anyio.WouldBlock, anyio.EndOfStream):
            pass
        self._delivered += len(batch)
        return batch

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(
            published=self._published,
            delivered=self._delivered,
            dropped=self._dropped,
            # An event that was handed to a waiting receiver which has not run yet counts as buffered, too.
            buffered=self._published - self._delivered - self._dropped,
            capacity=self._capacity,
        )

    def close(self) -> None:
        """Whoever waits in ``receive`` gets ``anyio.EndOfStream``, later calls ``anyio.ClosedResourceError``."""
        self._closed = True
        self._send.close()
        self._receive.close()
