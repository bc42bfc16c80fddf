"""Bounded channels between the hub and a consumer, and what happens when one is full."""

from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import anyio
import attrs
from anyio.lowlevel import checkpoint

from ..exceptions import BackpressureError, InvalidConfigError, UpbitStreamsError
from ..model.epoch import Epoch
from ..model.events import Event
from ..model.metrics import StreamStatistics
from ..model.notices import Notice, Stale
from .notices import Notices

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


class Channel:
    """One consumer's buffer, with its ledger: *published = delivered + dropped + buffered*.

    With ``notices`` of some kinds it tells these between the events, in order. Its buffer then has each event with its
    index, the number of events published before it, so that whoever takes one knows what is to be told first. Nothing
    is ever on its way to a receiver: whoever waits is woken, and takes what is there when it runs. So among several
    receivers the order is that of taking, and one that is cancelled leaves everything as it was.
    """

    def __init__(self, policy: Policy, *, notices: Collection[type[Notice]] = ()) -> None:
        self._capacity = policy.capacity
        self._fails = isinstance(policy, Fail)
        self._events: deque[Any] = deque()
        self._notices = Notices(notices) if notices else None
        self._published = self._delivered = self._dropped = 0
        self._missed = 0
        self._failures: dict[object, list[Callable[[], UpbitStreamsError]]] = {}
        """What is still to be told, as often as it is to be."""
        self._refusal: Callable[[], UpbitStreamsError] | None = None
        """Why nothing comes after what waits."""
        self._takes = True
        """Whether more may be put in."""
        self._closed = False
        self._waiters = 0
        self._is_awaited = False
        """Whether anybody waits who was not woken yet."""
        self._news = anyio.Event()
        """Set when there may be something to take for whoever waits, and then replaced."""

    @property
    def has_notices(self) -> bool:
        return self._notices is not None

    def put(self, event: Event) -> None:
        """Take one event from the hub. Never waits."""
        if not self._takes:
            return
        if not self._missed:
            if self._notices is not None and not self._notices.is_in(event.epoch):
                return  # nothing of an epoch comes before its notice; what does, was not asked for by this one
            if self._fails and len(self._events) >= self._capacity:
                self._missed = 1
        else:
            self._missed += 1
        self._published += 1
        if self._missed:
            # What waits has no gap: after the first event that was missed, none follows.
            self._dropped += 1
            return
        if len(self._events) >= self._capacity:
            self._events.popleft()
            self._dropped += 1
        self._events.append(event if self._notices is None else (self._published - 1, event))
        if self._is_awaited:
            self._wake()

    def begin(self, epoch: Epoch, at: float) -> None:
        """An epoch serves this consumer since ``at``. Does nothing if it has been told so, or wants no notices."""
        if self._notices is not None and self._takes and not self._missed and not self._notices.is_in(epoch):
            self._notices.begin(epoch, at, self._published, self._front())
            self._wake()

    def end(self, epoch: Epoch, reason: str, heard_at: float, ended_at: float) -> None:
        """An epoch is over, which was last heard of at that time."""
        if self._notices is not None and self._takes and not self._missed and self._notices.is_in(epoch):
            self._notices.end(epoch, reason, heard_at, ended_at, self._published, self._front())
            self._wake()

    def tell(self, stale: Stale) -> None:
        """Something has fallen silent."""
        if self._notices is not None and self._takes and not self._missed and self._notices.is_in(stale.epoch):
            self._notices.add(stale, self._published, self._front())
            self._wake()

    def fail(self, who: object, failure: Callable[[], UpbitStreamsError]) -> None:
        """Whoever waits for an event gets this error, once; or, if nobody waits, whoever is the first to."""
        if self._takes:
            self._failures[who] = [failure] * max(1, self._waiters)
            self._wake()

    def recover(self, who: object) -> None:
        """Undo ``fail``: there may be events again."""
        self._failures.pop(who, None)

    def refuse(self, failure: Callable[[], UpbitStreamsError]) -> None:
        """Nothing is put in any more. Whoever has taken what waits gets this error, each time."""
        if self._takes:
            self._takes = False
            self._refusal = failure
            self._failures.clear()
            self._wake()

    async def receive(self) -> Any:
        await checkpoint()
        while (item := self._take()) is None:
            self._raise_why_none()
            self._waiters += 1
            self._is_awaited = True
            try:
                await self._news.wait()
            finally:
                self._waiters -= 1
        return item

    def receive_nowait(self) -> Any:
        item = self._take()
        if item is None:
            self._raise_why_none()
            raise anyio.WouldBlock
        return item

    async def receive_batch(self) -> list[Any]:
        """Everything that waits, at least one item. An error is for whoever comes next."""
        batch = [await self.receive()]
        if self._notices is None:
            self._delivered += len(self._events)
            batch += self._events
            self._events.clear()
        else:
            while (item := self._take()) is not None:
                batch.append(item)
        return batch

    def _take(self) -> Any:
        """What comes next; None if there is nothing."""
        if self._notices is not None and (notice := self._notices.next_before(self._front())) is not None:
            return notice
        if not self._events:
            return None
        self._delivered += 1
        if self._notices is None:
            return self._events.popleft()
        index, event = self._events.popleft()
        self._notices.take(index)
        return event

    def _raise_why_none(self) -> None:
        """Raise why nothing comes, if anything is known that keeps it from coming."""
        if self._closed:
            raise anyio.ClosedResourceError
        if self._missed:
            raise BackpressureError(self._missed, self._capacity)
        if self._refusal is not None:
            raise self._refusal()
        for who, failures in self._failures.items():
            failure = failures.pop()
            if not failures:
                del self._failures[who]
            raise failure()

    def _front(self) -> int:
        """The index of the next event that can be taken, whether it is there yet or not."""
        return self._events[0][0] if self._events else self._published - self._missed

    def _wake(self) -> None:
        """Let everybody look who waits."""
        if self._is_awaited:
            self._is_awaited = False
            self._news.set()
            self._news = anyio.Event()

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(
            published=self._published,
            delivered=self._delivered,
            dropped=self._dropped,
            buffered=self._published - self._delivered - self._dropped,
            capacity=self._capacity,
        )

    def close(self) -> None:
        """From now on there is nothing to take: whoever waits gets ``anyio.ClosedResourceError``, and so do later
        calls."""
        self._closed = True
        self._takes = False
        self._events.clear()
        if self._notices is not None:
            self._notices.clear()
        self._wake()
