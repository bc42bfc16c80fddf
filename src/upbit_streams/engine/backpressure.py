"""Bounded channels between the hub and a consumer, and what happens when one is full."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import attrs
from anyio.lowlevel import checkpoint

from ..exceptions import BackpressureError, InvalidConfigError, UpbitStreamsError
from ..model.epoch import Epoch
from ..model.events import Event
from ..model.metrics import StreamStatistics
from ..model.notices import EpochStarted

__all__ = ["Channel", "DropOldest", "Fail", "Policy"]


def _at_least_one(_: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    if type(value) is not int or value < 1:
        raise InvalidConfigError(f"{attribute.name} must be a whole number of at least 1, not {value!r}")


@attrs.frozen
class DropOldest:
    """When ``capacity`` events wait, the oldest goes and the new one comes in. The default for public data.

    A consumer that keeps up never loses anything, provided that the capacity is at least the largest burst: one read of
    the socket can bring hundreds of events before the consumer had a chance to run.
    """

    capacity: int = attrs.field(default=1024, validator=_at_least_one)


@attrs.frozen
class Fail:
    """When ``capacity`` events wait and one more comes, the stream is over. The default for what is told once.

    The consumer gets what waits, and then :class:`BackpressureError`, which tells how much it missed. So nothing is
    ever lost in silence.
    """

    capacity: int = attrs.field(default=1024, validator=_at_least_one)


Policy = DropOldest | Fail

# Given to a receiver that waits for an event when there is something else to tell it.
_WAKE = object()


class Channel:
    """One consumer's buffer, with its ledger: *published = delivered + dropped + buffered*.

    With ``notices`` it has an :class:`EpochStarted` where one epoch ends and the next begins. Notices do not stand in
    the buffer, so no policy can drop one; each knows how many events come before it.
    """

    def __init__(self, policy: Policy, *, notices: bool = False) -> None:
        self._capacity = policy.capacity
        self._fails = isinstance(policy, Fail)
        # One more than the policy allows, for a wake-up call that nobody was there to hear.
        self._send, self._receive = anyio.create_memory_object_stream[Any](policy.capacity + 1)
        self._closed = False
        self._published = self._delivered = self._dropped = 0
        self._missed = 0
        self.has_notices = notices
        self._notices: deque[tuple[int, EpochStarted]] = deque()
        self._epochs: dict[str, Epoch] = {}
        """By connection, the last epoch that the consumer was told of."""
        self._missing_from: dict[str, float] = {}
        """By connection, when the last epoch that the consumer was told of had ended."""
        self._failures: dict[object, list[Callable[[], UpbitStreamsError]]] = {}
        """What is still to be told, as often as it is to be."""
        self._is_calling = False
        """Whether a wake-up call is on its way. There is never more than one."""

    def put(self, event: Event) -> None:
        """Take one event from the hub. Never waits."""
        if self._closed or (self.has_notices and self._epochs.get(event.epoch.connection) is not event.epoch):
            return  # nothing of an epoch comes before its notice, and what comes before was not asked for by this one
        if self._published - self._delivered - self._dropped >= self._capacity:
            if not self._fails:
                self._drop_oldest()
            elif self._receive.statistics().current_buffer_used - self._is_calling >= self._capacity:
                self._missed += 1
                self._published += 1
                self._dropped += 1
                return
        if self._missed:
            # What waits has no gap: after the first event that was missed, none follows.
            self._missed += 1
            self._dropped += 1
        else:
            self._send.send_nowait(event)
        self._published += 1

    def _drop_oldest(self) -> None:
        try:
            if self._receive.receive_nowait() is _WAKE:
                self._is_calling = False
                self._receive.receive_nowait()
        except anyio.WouldBlock:
            return  # the only one that waits is already in the hands of a receiver that has not run yet
        self._dropped += 1

    def begin(self, epoch: Epoch, at: float) -> None:
        """An epoch serves this consumer since ``at``. Does nothing if it has been told so, or wants no notices."""
        if not self.has_notices or self._closed or self._epochs.get(epoch.connection) is epoch:
            return
        self._epochs[epoch.connection] = epoch
        missing_from = self._missing_from.get(epoch.connection)
        self._notices.append((self._published, EpochStarted(epoch, missing_from, at)))
        self._join_notices()
        self._call()

    def end(self, epoch: Epoch, heard_at: float) -> None:
        """An epoch is over, which was last heard of at that time."""
        if self._epochs.get(epoch.connection) is epoch:
            self._missing_from[epoch.connection] = heard_at

    def fail(self, who: object, failure: Callable[[], UpbitStreamsError]) -> None:
        """Whoever waits for an event gets this error, once; or, if nobody waits, whoever is the first to."""
        told = max(1, self._receive.statistics().tasks_waiting_receive)
        self._failures[who] = [failure] * told
        self._call()

    def recover(self, who: object) -> None:
        """Undo ``fail``: there may be events again."""
        self._failures.pop(who, None)

    async def receive(self) -> Any:
        while True:
            if self._notices or self._missed or self._failures:
                await checkpoint()
                if (notice := self._take_notice()) is not None:
                    return notice
            event = await self._receive.receive()
            if event is not _WAKE:
                self._delivered += 1
                if self._failures:
                    self._call()  # whoever began to wait while this event was on its way to us
                return event
            self._is_calling = False
            if self._failures:
                self._call()  # a notice is for one receiver, but this is for all who wait

    def receive_nowait(self) -> Any:
        return self._next(self._take_notice)

    def _next(self, take_notice: Callable[[], EpochStarted | None]) -> Any:
        while True:
            if (notice := take_notice()) is not None:
                return notice
            event = self._receive.receive_nowait()
            if event is not _WAKE:
                self._delivered += 1
                return event
            self._is_calling = False

    async def receive_batch(self) -> list[Any]:
        """Everything that waits, at least one item."""
        batch = [await self.receive()]
        is_plain = not self._notices and not self._missed and not self._failures and not self._is_calling
        before = len(batch)
        # An error is for whoever comes next.
        take = self._receive.receive_nowait if is_plain else partial(self._next, self._due_notice)
        try:
            while True:
                batch.append(take())
        except (anyio.WouldBlock, anyio.EndOfStream):
            pass
        if is_plain:
            self._delivered += len(batch) - before
        return batch

    def _take_notice(self) -> EpochStarted | None:
        """The notice that stands before the next event. Raises why there are no events, if that comes next."""
        if (notice := self._due_notice()) is not None:
            return notice
        if self._published == self._delivered + self._dropped:
            if self._missed:
                raise BackpressureError(self._missed, self._capacity)
            for who, failures in self._failures.items():
                failure = failures.pop()
                if not failures:
                    del self._failures[who]
                raise failure()
        return None

    def _due_notice(self) -> EpochStarted | None:
        return self._notices.popleft()[1] if self._notices and self._notices[0][0] <= self._front() else None

    def _front(self) -> int:
        """How many events come before the next one that is taken out."""
        return self._delivered + self._dropped - self._missed

    def _join_notices(self) -> None:
        """Make one of those that have no event between them, so that there are never many more than events."""
        front = self._front()
        joined: dict[tuple[int, str], EpochStarted] = {}
        for position, notice in self._notices:
            place = (max(position, front), notice.epoch.connection)
            earlier = joined.pop(place, None)
            joined[place] = notice if earlier is None else attrs.evolve(notice, missing_from=earlier.missing_from)
        self._notices = deque(((position, notice) for (position, _), notice in joined.items()))

    def _call(self) -> None:
        """Let a receiver that waits for an event look up."""
        if not self._is_calling and not self._closed and self._receive.statistics().tasks_waiting_receive:
            self._is_calling = True
            self._send.send_nowait(_WAKE)

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
        self._notices.clear()
        self._failures.clear()
        self._missed = 0
        self._send.close()
        self._receive.close()
