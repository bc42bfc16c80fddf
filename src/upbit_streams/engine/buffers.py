"""What waits in a stream: the events that were put in and not taken yet, in the order in which they will be taken.

A back-pressure policy makes one for each stream. It decides what becomes of an event for which there is no room; the
channel around it counts that, and wakes and fails the consumer.
"""

import math
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Collection, Hashable, Iterable, Sequence
from enum import Enum, auto
from heapq import heapify, heappop, heappush
from operator import attrgetter

import anyio

from ..model.epoch import Epoch
from ..model.events import Event
from .topics import topic_of

__all__ = ["Buffer", "Fifo", "Latest", "Outcome", "Paced"]


class Outcome(Enum):
    """What became of an event that was put into a buffer, where it does not just wait behind all others."""

    DROPPED_OLDEST = auto()
    """It waits, and the event that would have been taken next is gone."""
    DROPPED = auto()
    """It does not wait."""
    COALESCED = auto()
    """It waits instead of an earlier one, since only the newest counts."""
    THROTTLED = auto()
    """It waits instead of an earlier one, since it is not time yet."""
    FAILED = auto()
    """It does not wait, and none that follows will: the stream is over once all that waits is taken."""


class Buffer(ABC):
    """Events that wait. Everything here is synchronous.

    A buffer never holds more than its ``capacity``, and hands out nothing of an older epoch after a newer one of the
    same connection. ``place`` is how many events had come in before: it grows, and notices have their places among
    those.
    """

    patience: float | None = None
    """How many seconds the connection's reader waits for room when it is full; None if it never does."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    @abstractmethod
    def put(self, event: Event, place: int) -> Outcome | None:
        """Take an event in, or not. None says that it waits behind all others, and that nobody had to go."""

    @abstractmethod
    def take(self) -> Event | None:
        """Hand out the next event; None if there is none, or if it is not time yet."""

    def take_all(self) -> list[Event]:
        """Hand out everything for which it is time."""
        return list(iter(self.take, None))

    @abstractmethod
    def oldest(self) -> Event | None:
        """Of those that wait, the event that has arrived first; None if none waits."""

    @abstractmethod
    def front(self, places: int) -> int:
        """The place of the event that will be taken next; ``places``, the one after the last, if none waits."""

    @abstractmethod
    def places(self, end: int) -> Sequence[int]:
        """The places of all that wait, in their order; ``end`` is the one after the last."""

    def next_time(self) -> float:
        """When an event can be taken of those that wait, in the event loop's time; infinite if only a new one can
        change that."""
        return math.inf

    def topics(self) -> Collection[Hashable]:
        """Of which one event waits each, in a buffer that keeps no more than one of each."""
        return ()

    def part(self) -> None:  # noqa: B027 -- only who reorders has something to do
        """Whatever is put in from now on is handed out after all that waits."""

    @abstractmethod
    def clear(self) -> None: ...

    @abstractmethod
    def __len__(self) -> int: ...


class Fifo(Buffer):
    """Events in the order in which they came. What happens when it is full is for the policy to say, in :meth:`put`."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.events: deque[Event] = deque()

    def take(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def take_all(self) -> list[Event]:
        events = list(self.events)
        self.events.clear()
        return events

    def oldest(self) -> Event | None:
        return _first_arrived(self.events)

    def front(self, places: int) -> int:
        return places - len(self.events)  # they leave at the ends only, so those that wait are the last that came in

    def places(self, end: int) -> Sequence[int]:
        return range(self.front(end), end)

    def clear(self) -> None:
        self.events.clear()

    def __len__(self) -> int:
        return len(self.events)


class Latest(Buffer):
    """The newest event of each topic. A newer one takes the place of the one that waits, so no topic has to wait longer
    because it changes more often; but where a new epoch begins, it goes behind all of the old one."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._waiting: OrderedDict[Hashable, tuple[int, Event]] = OrderedDict()

    def put(self, event: Event, place: int) -> Outcome | None:
        topic, waiting = topic_of(event), self._waiting
        earlier = waiting.get(topic)
        if earlier is not None:
            if earlier[1].epoch is event.epoch:
                waiting[topic] = earlier[0], event
            else:
                del waiting[topic]
                waiting[topic] = place, event
            return Outcome.COALESCED
        outcome = None
        if len(waiting) >= self.capacity:
            waiting.popitem(last=False)
            outcome = Outcome.DROPPED_OLDEST
        waiting[topic] = place, event
        return outcome

    def take(self) -> Event | None:
        return self._waiting.popitem(last=False)[1][1] if self._waiting else None

    def take_all(self) -> list[Event]:
        events = [event for _, event in self._waiting.values()]
        self._waiting.clear()
        return events

    def oldest(self) -> Event | None:
        return _first_arrived(event for _, event in self._waiting.values())

    def front(self, places: int) -> int:
        return next((place for place, _ in self._waiting.values()), places)

    def places(self, end: int) -> Sequence[int]:
        return [place for place, _ in self._waiting.values()]

    def topics(self) -> Collection[Hashable]:
        return self._waiting.keys()

    def clear(self) -> None:
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self._waiting)


class Paced(Buffer):
    """The newest event of each topic, each not before its time: an interval after the last one that was taken."""

    def __init__(self, interval: float, capacity: int) -> None:
        super().__init__(capacity)
        self._interval = interval
        self._waiting: dict[Hashable, tuple[float, int, Event]] = {}
        """By topic, from when on it can be taken, its place, and what."""
        self._queue: list[tuple[float, int, Hashable]] = []
        """A heap of the same, with some that are gone."""
        self._taken: OrderedDict[Hashable, float] = OrderedDict()
        """By topic, when the last one was taken, if that matters still; the latest at the end."""
        self._epochs: dict[str, Epoch] = {}
        self._earliest = -math.inf
        """Nothing that is put in can be taken before."""

    def put(self, event: Event, place: int) -> Outcome | None:
        if self._epochs.get(event.epoch.connection) is not event.epoch:
            self._epochs[event.epoch.connection] = event.epoch
            self.part()
        topic = topic_of(event)
        earlier = self._waiting.get(topic)
        if earlier is not None and earlier[2].epoch is event.epoch:
            self._waiting[topic] = earlier[0], earlier[1], event
            return Outcome.THROTTLED
        outcome = None if earlier is None else Outcome.THROTTLED
        if earlier is None and len(self._waiting) >= self.capacity:
            _, _, first = self._first()
            del self._waiting[first]
            outcome = Outcome.DROPPED_OLDEST
        due = max(self._taken.get(topic, -math.inf) + self._interval, self._earliest)
        self._waiting[topic] = due, place, event
        heappush(self._queue, (due, place, topic))
        return outcome

    def take(self) -> Event | None:
        return self._take(anyio.current_time())

    def take_all(self) -> list[Event]:
        now = anyio.current_time()
        return list(iter(lambda: self._take(now), None))

    def oldest(self) -> Event | None:
        return _first_arrived(event for _, _, event in self._waiting.values())

    def front(self, places: int) -> int:
        return self._first()[1] if self._waiting else places

    def places(self, end: int) -> Sequence[int]:
        return sorted(place for _, place, _ in self._waiting.values())

    def next_time(self) -> float:
        return self._first()[0] if self._waiting else math.inf

    def part(self) -> None:
        self._queue = [(due, place, topic) for topic, (due, place, _) in self._waiting.items()]
        heapify(self._queue)
        self._earliest = max((due for due, _, _ in self._queue), default=-math.inf)

    def topics(self) -> Collection[Hashable]:
        return self._waiting.keys()

    def clear(self) -> None:
        self._waiting.clear()
        self._queue.clear()

    def __len__(self) -> int:
        return len(self._waiting)

    def _first(self) -> tuple[float, int, Hashable]:
        """What will be taken next. There must be something."""
        while True:
            due, place, topic = self._queue[0]
            if topic in self._waiting and self._waiting[topic][1] == place:
                return due, place, topic
            heappop(self._queue)

    def _take(self, now: float) -> Event | None:
        if not self._waiting:
            return None
        due, _, topic = self._first()
        if due > now:
            return None
        heappop(self._queue)
        self._taken[topic] = now
        self._taken.move_to_end(topic)
        while len(self._taken) > self.capacity or next(iter(self._taken.values())) + self._interval <= now:
            self._taken.popitem(last=False)
        return self._waiting.pop(topic)[2]


def _first_arrived(events: Iterable[Event]) -> Event | None:
    return min(events, key=attrgetter("received_at"), default=None)
