"""A buffer of the user's own, with a look at everything that it does."""

import math
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, TypeVar

import anyio

from ..exceptions import UsageError
from ..foreign import failure_text, shown
from ..model.events import Event
from .backpressure import OWN_BUFFERS, Policy
from .buffers import Buffer, Outcome

__all__ = ["Guarded", "buffer_of", "named"]

T = TypeVar("T")


class Guarded(Buffer):
    """A buffer that somebody else wrote. What it raises, and what no buffer may do, is told to ``broken``.

    If ``put`` fails, what waits can be taken still. If anything else does, nobody knows what waits: the buffer is given
    up, and from then on this one is empty. It is for the user's own buffers only, so those of this library pay nothing.
    """

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer.capacity)
        self.patience = buffer.patience
        self.broken: Callable[[str, Exception | None], None] = lambda _what, _why: None
        """Is told what the buffer did, and what it raised if it did."""
        self._buffer: Buffer | None = buffer
        """None once it was given up."""
        self._waiting = 0
        """How many wait, from what was said of each."""
        self._asked_at = -math.inf
        """When there was nothing to take the last time, in the event loop's time."""

    def put(self, event: Event, place: int) -> Outcome | None:
        if self._buffer is None:
            return Outcome.DROPPED
        try:
            outcome = self._buffer.put(event, place)
        except Exception:
            self._count_anew()
            raise
        if outcome is None:
            self._waiting += 1
        elif type(outcome) is not Outcome:
            self._count_anew()  # the stream says what is wrong with it
        return outcome

    def take(self) -> Event | None:
        asked_at = anyio.current_time()
        event = self._ask("take", None, lambda buffer: buffer.take(), lambda event: self._may_leave(event, 1))
        if event is None:
            self._asked_at = asked_at
        else:
            self._waiting -= 1
        return event

    def take_all(self) -> list[Event]:
        def are_events(events: list[Any]) -> bool:
            return all(event is not None and self._may_leave(event, len(events)) for event in events)

        none: list[Event] = []
        events = self._ask("take_all", none, lambda buffer: list(buffer.take_all()), are_events)
        self._waiting -= len(events)
        return events

    def oldest(self) -> Event | None:
        return self._ask("oldest", None, lambda buffer: buffer.oldest(), lambda event: self._may_leave(event, 1))

    def front(self, places: int) -> int:
        return self._ask("front", places, lambda buffer: buffer.front(places), _is_place)

    def places(self, end: int) -> Sequence[int]:
        return self._ask("places", (), lambda buffer: tuple(buffer.places(end)), lambda all_: all(map(_is_place, all_)))

    def next_time(self) -> float:
        # What has been due when there was nothing to take would be asked for again and again.
        return self._ask(
            "next_time",
            -math.inf,
            lambda buffer: buffer.next_time(),
            lambda when: type(when) in (int, float) and when > self._asked_at,
        )

    def topics(self) -> Collection[Hashable]:
        return self._ask("topics", (), lambda buffer: frozenset(buffer.topics()), lambda _: True)

    def part(self) -> None:
        self._ask("part", None, lambda buffer: buffer.part(), lambda _: True)

    def clear(self) -> None:
        self._ask("clear", None, lambda buffer: buffer.clear(), lambda _: True)
        self._buffer = None

    def __len__(self) -> int:
        return self._ask("__len__", 0, len, lambda length: length == self._waiting)

    def _ask(self, name: str, otherwise: T, ask: Callable[[Buffer], T], is_right: Callable[[T], bool]) -> T:
        """What the buffer says, or ``otherwise`` if it is given up for what it did."""
        if self._buffer is None:
            return otherwise
        try:
            answer = ask(self._buffer)
            if is_right(answer):
                return answer
        except Exception as why:  # noqa: BLE001 -- this is the user's own
            self._buffer = None
            self.broken(f"{name}() raised {failure_text(why)}", why)
        else:
            self._buffer = None
            self.broken(f"{name}() gave {named(answer)}, while {self._waiting} events should wait", None)
        return otherwise

    def _may_leave(self, event: object, many: int) -> bool:
        return event is None or (isinstance(event, Event) and many <= self._waiting)

    def _count_anew(self) -> None:
        """Find out whether what made it fail waits."""
        try:
            self._waiting = len(self._buffer or ())
        except Exception as why:  # noqa: BLE001 -- this is the user's own
            self._buffer = None
            self.broken(f"__len__() raised {failure_text(why)}", why)


def buffer_of(policy: Policy) -> Buffer:
    """A new buffer as the policy makes it. Raises :class:`UsageError` if it makes none."""
    name = type(policy).__name__
    try:
        buffer: object = policy.buffer()
        if type(buffer) in OWN_BUFFERS:
            assert isinstance(buffer, Buffer)  # noqa: S101 -- for the type checker
            return buffer
        guarded = Guarded(buffer) if isinstance(buffer, Buffer) else None
    except Exception as why:
        raise UsageError(f"buffer() of the back-pressure policy {name} raised {failure_text(why)}") from why
    if guarded is None:
        raise UsageError(
            f"buffer() of the back-pressure policy {name} gives {named(buffer)}, which is no Buffer; "
            "give a new one for each call"
        )
    if type(guarded.capacity) is not int or guarded.capacity < 1:
        raise UsageError(f"the buffer of {name} has the capacity {named(guarded.capacity)}; it is a number above 0")
    if guarded.patience is not None and not (
        type(guarded.patience) in (int, float) and 0 < guarded.patience < math.inf
    ):
        raise UsageError(f"the buffer of {name} has the patience {named(guarded.patience)}; it is seconds, or None")
    return guarded


def _is_place(value: object) -> bool:
    return type(value) is int


def named(value: object) -> str:
    """What may be shown of what code that is not ours gave."""
    try:
        return shown(repr(value))
    except Exception:  # noqa: BLE001 -- this is the user's own, too
        return f"a {type(value).__name__}"
