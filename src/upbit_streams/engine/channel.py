"""One consumer's channel: between the hub, which never waits for it, and whoever receives."""

import math
from collections.abc import Callable, Collection, Generator, Hashable, Mapping
from contextlib import contextmanager
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from ..exceptions import BackpressureError, FrameLostError, UpbitStreamsError, UsageError
from ..foreign import failure_text
from ..model.epoch import Epoch
from ..model.events import Event
from ..model.metrics import StreamStatistics
from ..model.notices import FrameLost, Lagged, Notice, Stale
from .backpressure import Policy
from .buffers import Outcome
from .guarded import Guarded, buffer_of, named
from .notices import Notices
from .topics import topic_of

__all__ = ["Channel"]


class Channel:
    """One consumer's buffer, with its ledger: *published = delivered + dropped + coalesced + throttled + buffered*.

    With ``notices`` of some kinds it tells these between the events, in order. Nothing is ever on its way to a
    receiver: whoever waits is woken, and takes what is there when it runs. So among several receivers the order is that
    of taking, and one that is cancelled leaves everything as it was.
    """

    # It is looked at for every event: slots are found faster, however many there are.
    __slots__ = (
        "_blocked",
        "_blocked_seconds",
        "_buffer",
        "_closed",
        "_coalesced",
        "_delivered",
        "_dropped",
        "_failures",
        "_filled_at",
        "_frames_lost",
        "_high_water",
        "_is_awaited",
        "_is_overdue",
        "_is_patient",
        "_is_plain",
        "_is_showing",
        "_left",
        "_missed",
        "_news",
        "_notices",
        "_places",
        "_published",
        "_put",
        "_refusal",
        "_room",
        "_takes",
        "_tells_losses",
        "_throttled",
        "_unshown",
        "_waiters",
    )

    def __init__(self, policy: Policy, *, notices: Collection[type[Notice]] = ()) -> None:
        self._buffer = buffer_of(policy)
        if isinstance(self._buffer, Guarded):
            self._buffer.broken = self._break
        self._notices = Notices(notices) if notices else None
        self._tells_losses = Lagged in notices
        self._put = self._buffer.put
        self._published = self._delivered = self._dropped = self._coalesced = self._throttled = 0
        self._places = 0
        """How many events have come into the buffer, where there are notices, which have their places among those."""
        self._frames_lost = 0
        self._high_water = 0
        """The most that waited when somebody took something; between two such moments it only grows."""
        self._missed = 0
        """How many events came since the stream failed."""
        self._left = 0
        """How many events waited when it was closed."""
        self._failures: dict[object, list[Callable[[], UpbitStreamsError]]] = {}
        """What is still to be told, as often as it is to be."""
        self._refusal: Callable[[], UpbitStreamsError] | None = None
        """Why nothing comes after what waits."""
        self._takes = True
        """Whether more may be put in."""
        self._is_plain = self._notices is None and self._buffer.patience is None
        """Whether an event can be put in without a look at anything else."""
        self._closed = False
        self._waiters = 0
        self._is_awaited = False
        """Whether anybody waits who was not woken yet."""
        self._news = anyio.Event()
        """Set when there may be something to take for whoever waits, and then replaced."""
        self._room = anyio.Event()
        """Set when there is room again, or no need for any, and then replaced by the next who waits for it."""
        self._is_patient = self._buffer.patience is not None
        self._unshown: dict[Hashable, Event] = {}
        """By topic, the present states for which there was no room when it joined, if it may not miss any. While there
        are some, the buffer is full."""
        self._is_showing = False
        self._is_overdue = False
        """Whether the reader has waited for room in vain."""
        self._filled_at = -math.inf
        """When something was taken and a present state took its room, in the event loop's time."""
        self._blocked: list[float] = []
        """Since when readers wait for room, in the event loop's time: one for each connection."""
        self._blocked_seconds = 0.0

    @property
    def capacity(self) -> int:
        return self._buffer.capacity

    @property
    def has_notices(self) -> bool:
        return self._notices is not None and bool(self._notices.kinds)

    @property
    def waiting_notices(self) -> int:
        """How many notices, losses and lost frames wait between the events, and beside the buffer one event at most."""
        return 0 if self._notices is None else len(self._notices)

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def published(self) -> int:
        return self._published

    @property
    def delivered(self) -> int:
        return self._delivered

    @property
    def patience(self) -> float | None:
        """How long a reader waits for room at most; None if it never does."""
        return self._buffer.patience

    @property
    def topics(self) -> Collection[Hashable]:
        """Of which one event waits each, if its policy keeps no more than one of each."""
        return self._buffer.topics()

    @property
    def unshown(self) -> Mapping[Hashable, Event]:
        """By topic, the present states that have found no room yet."""
        return self._unshown

    @property
    def is_holding(self) -> bool:
        """Whether a reader has to wait for room before it hands out anything else."""
        return (
            len(self._buffer) >= self._buffer.capacity
            and self._is_patient
            and self._takes
            and not self._missed
            and not self._is_overdue
        )

    def put(self, event: Event) -> None:
        """Take one event from the hub. Never waits."""
        if self._is_plain:
            self._published += 1
            try:
                outcome = self._put(event, self._published)
            except Exception as why:  # noqa: BLE001 -- a policy may be the user's own
                self._break(failure_text(why), why)
            else:
                if outcome is not None:
                    self._count(outcome, 0)
        else:
            self._put_carefully(event)
        if self._is_awaited:
            self._wake()

    def begin(self, epoch: Epoch, at: float) -> None:
        """An epoch serves this consumer since ``at``. Does nothing if it has been told so, or wants no notices."""
        if self._notices is not None and self._takes and not self._missed and not self._notices.is_in(epoch):
            self._notices.begin(epoch, at, self._places, self._buffer.places(self._places))
            self._wake()

    def end(self, epoch: Epoch, reason: str, heard_at: float, ended_at: float, moved: float = 0.0) -> list[Event]:
        """An epoch is over, which was last heard of at that time; ``moved`` is as for ``Hub.ended``. Returns the
        present states that have found no room until now, and are it no more."""
        forgotten = [event for event in self._unshown.values() if event.epoch is epoch]
        for event in forgotten:
            del self._unshown[topic_of(event)]
        if self._notices is not None and self._takes and not self._missed and self._notices.is_in(epoch):
            self._buffer.part()
            self._notices.end(epoch, reason, heard_at, ended_at, moved, self._places)
            self._wake()
        return forgotten

    def tell(self, stale: Stale) -> None:
        """Something has fallen silent."""
        if self._notices is not None and self._takes and not self._missed and self._notices.is_in(stale.epoch):
            self._notices.add(stale, self._places)
            self._wake()

    def lose_frame(self, lost: FrameLost) -> None:
        """A frame could not be read that has told something of this stream, or may have. It is told as a notice, or
        raised once, at its place; the stream goes on."""
        if not self._takes or self._missed:
            return
        if self._notices is None:
            # From now on it has a place, so events have one, too.
            self._notices, self._places, self._is_plain = Notices(()), self._published, False
        if self._notices.is_in(lost.epoch):
            self._frames_lost += lost.frames
            self._notices.lose_frame(lost, self._places)
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
            self._takes = self._is_plain = False
            self._refusal = failure
            self._failures.clear()
            self._room.set()
            self._wake()

    @contextmanager
    def showing(self) -> Generator[None, None, None]:
        """What is put in meanwhile is the present state of what it has joined. It makes nobody wait."""
        self._is_showing = True
        try:
            yield
        finally:
            self._is_showing = False

    def look_again(self) -> None:
        """Have readers that wait for room look whether they still have to."""
        self._room.set()

    async def wait_room(self, until: float, is_fed: Callable[[], bool]) -> None:
        """Wait until this one does not hold the reader up any more: since it has room, or is not fed by this reader any
        more, or because it was told to wait until then. Who takes its present states in time is waited for longer.

        Cancelling it has no effect on anything.
        """
        begun = anyio.current_time()
        self._blocked.append(begun)
        try:
            while self.is_holding and is_fed():
                deadline = max(until, self._filled_at + (self.patience or 0.0))
                with anyio.CancelScope(deadline=deadline) as patience:
                    if self._room.is_set():
                        self._room = anyio.Event()
                    await self._room.wait()
                if patience.cancelled_caught and self.is_holding and is_fed():
                    self._is_overdue = True
                    self._room.set()  # for whoever else waits
        finally:
            self._blocked.remove(begun)
            self._blocked_seconds += anyio.current_time() - begun

    async def receive(self) -> Any:
        await checkpoint()
        while (item := self._take()) is None:
            self._raise_why_none()
            self._waiters += 1
            self._is_awaited = True
            try:
                if (next_time := self._buffer.next_time()) == math.inf:
                    await self._news.wait()
                else:
                    with anyio.CancelScope(deadline=next_time):
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
        """Everything that can be taken, at least one item. An error is for whoever comes next."""
        batch = [await self.receive()]
        if self._notices is None:
            events = self._buffer.take_all()
            self._delivered += len(events)
            batch += events
            if self._is_patient:
                self._give_room()
        else:
            while not self._is_raised_next() and (item := self._take()) is not None:
                batch.append(item)
        return batch

    def _put_carefully(self, event: Event) -> None:
        if not self._takes:
            return
        if self._missed:
            # What waits has no gap: after the first event that was missed, none follows.
            self._published += 1
            self._missed += 1
            self._dropped += 1
            return
        if self._notices is not None and not self._notices.is_in(event.epoch):
            return  # nothing of an epoch comes before its notice; what does, was not asked for by this one
        if self._is_patient and self._is_showing and len(self._buffer) >= self._buffer.capacity:
            self._unshown[topic_of(event)] = event
            return
        front = self._buffer.front(self._places) if self._tells_losses else 0
        if not self._takes:
            return  # the buffer has just turned out to be broken
        self._published += 1
        try:
            outcome = self._put(event, self._places)
        except Exception as why:  # noqa: BLE001 -- a policy may be the user's own
            self._break(failure_text(why), why)
            return
        if outcome is None:
            self._places += 1
        else:
            self._count(outcome, front)

    def _take(self) -> Any:
        """What comes next; None if there is nothing."""
        if self._notices is not None and (item := self._take_beside()) is not None:
            return item
        event = self._buffer.take()
        if event is None:
            # If the buffer has just turned out to be broken, nothing stands before the notices any more.
            return None if self._takes else self._take_beside()
        waiting = self._published - self._delivered - self._dropped - self._coalesced - self._throttled
        self._delivered += 1
        if waiting > self._high_water:
            self._high_water = waiting
            if waiting > self._buffer.capacity:
                self._break(f"{waiting} events in a buffer of {self._buffer.capacity}")
        if self._is_patient:
            self._give_room()
        return event

    def _is_raised_next(self) -> bool:
        """Whether what comes next is a lost frame, and is raised."""
        notices = self._notices
        return (
            notices is not None
            and FrameLost not in notices.kinds
            and notices.is_frame_next(self._buffer.front(self._places))
        )

    def _take_beside(self) -> Any:
        """What comes next, if it is not in the buffer."""
        notices, buffer = self._notices, self._buffer
        if notices is None or not notices:
            return None
        place = buffer.front(self._places)
        kept, item = notices.kept, notices.next_before(place)
        if isinstance(item, FrameLost) and FrameLost not in notices.kinds:
            raise FrameLostError(item.epoch.number, item.type, item.code, item.why, item.payload, item.frames)
        if isinstance(item, Lagged) and kept is None and (event := buffer.take()) is not None:
            # The event behind a loss that was told leaves the buffer, so that it cannot be lost as well: a consumer
            # that is slow would be told of nothing but losses.
            notices.keep(event, place)
        elif item is not None and item is kept:
            self._high_water = max(self._high_water, self._count_waiting() + 1)
            self._delivered += 1
        return item

    def _give_room(self) -> None:
        """There is room again: first for what has waited outside, then for what the reader has."""
        self._is_overdue = False
        while self._unshown and len(self._buffer) < self._buffer.capacity:
            self._put_carefully(self._unshown.pop(next(iter(self._unshown))))
            self._filled_at = anyio.current_time()
        self._room.set()

    def _count(self, outcome: Outcome, front: int) -> None:
        """Note what became of an event that did not just come in. ``front`` was the next to be taken."""
        match outcome:
            case Outcome.DROPPED_OLDEST:
                self._dropped += 1
                self._places += 1
                if self._tells_losses and self._notices is not None:
                    self._notices.lose_first(front)
            case Outcome.DROPPED:
                self._dropped += 1
                if self._tells_losses and self._notices is not None:
                    self._notices.lose_last(self._places)
            case Outcome.COALESCED:
                self._coalesced += 1
                self._places += 1
            case Outcome.THROTTLED:
                self._throttled += 1
                self._places += 1
            case Outcome.FAILED:
                self._dropped += 1
                self._missed = 1
                self._is_plain = False
            case _:
                self._break(f"it returned {named(outcome)}, which is no Outcome")

    def _break(self, what: str, why: Exception | None = None) -> None:
        """The policy, which may be the user's own, has done what none may do. That ends this stream, and no other."""
        if self._closed:
            return  # all that there was is counted

        def failure() -> UpbitStreamsError:
            error = UsageError(f"the back-pressure policy of this stream is broken, so the stream has ended: {what}")
            error.__cause__ = why
            return error

        self._dropped = self._published - self._delivered - self._coalesced - self._throttled - self._count_waiting()
        self.refuse(failure)

    def _raise_why_none(self) -> None:
        """Raise why nothing comes, if anything is known that keeps it from coming."""
        if self._closed:
            raise anyio.ClosedResourceError
        if self._count_waiting():
            return  # what waits comes first, when it is time for it
        if self._missed:
            raise BackpressureError(self._missed, self._buffer.capacity)
        if self._refusal is not None:
            raise self._refusal()
        for who, failures in self._failures.items():
            failure = failures.pop()
            if not failures:
                del self._failures[who]
            raise failure()

    def _count_waiting(self) -> int:
        return len(self._buffer) + (self._kept() is not None)

    def _kept(self) -> Event | None:
        """The event that waits beside the buffer."""
        return None if self._notices is None else self._notices.kept

    def _wake(self) -> None:
        """Let everybody look who waits."""
        if self._is_awaited:
            self._is_awaited = False
            self._news.set()
            self._news = anyio.Event()

    def statistics(self) -> StreamStatistics:
        # In this order: a buffer that breaks here is found empty.
        oldest, buffered = self._kept() or self._buffer.oldest(), self._count_waiting()
        lag = 0.0 if oldest is None else anyio.current_time() + oldest.epoch.wall_offset - oldest.received_at
        blocked = sum(anyio.current_time() - begun for begun in self._blocked)
        return StreamStatistics(
            published=self._published,
            delivered=self._delivered,
            dropped=self._dropped,
            coalesced=self._coalesced,
            throttled=self._throttled,
            buffered=self._left if self._closed else buffered,
            capacity=self._buffer.capacity,
            high_water=max(self._high_water, buffered, self._left),
            blocked_seconds=self._blocked_seconds + blocked,
            lag_seconds=max(lag, 0.0),
            frames_lost=self._frames_lost,
        )

    def close(self) -> None:
        """From now on there is nothing to take: whoever waits gets ``anyio.ClosedResourceError``, and so do later
        calls."""
        if self._closed:
            return
        self._left = self._count_waiting()
        self._closed = True
        self._takes = self._is_plain = False
        self._buffer.clear()
        self._unshown.clear()
        if self._notices is not None:
            self._notices.clear()
        self._room.set()
        self._wake()
