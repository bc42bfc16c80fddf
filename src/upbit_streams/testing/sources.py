"""Where the simulated exchange gets its market from: a simulation, or a recording."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

import attrs
import msgspec

from ..exceptions import InvalidConfigError, UsageError
from ..model.epoch import NO_EPOCH
from ..model.events import Event, UnknownEvent
from ..model.kinds import Format
from ..wire.decode import Decoder
from .backlog import Backlog
from .market import MarketSimulation

__all__ = ["Feed", "MarketSource", "Recorded", "RecordingError", "Replay", "Source", "read_recording"]

# How much of a recording a session is handed at once.
_PORTION = 256


class RecordingError(UsageError):
    """A file that is not a recording, or a broken one. The message has the line."""


class Feed(Protocol):
    """What one session hears. Times are seconds since the Unix epoch."""

    @property
    def overflowed(self) -> bool:
        """The session has fallen so far behind that events were lost."""
        ...

    def start(self, now: float, keys: frozenset[tuple[str, str]]) -> None:
        """From now on, hear these (type, market) pairs and no others."""
        ...

    def snapshot(self, now: float, type_name: str, code: str) -> Event | None:
        """The present state of a market; None if there is no such market, or nothing to show."""
        ...

    def take(self, now: float) -> Sequence[Event]:
        """What has happened since the last time, a portion of it if it is much."""
        ...

    def next_time(self) -> float:
        """When there may be something to take."""
        ...


class Source(Protocol):
    """One market, heard by many sessions."""

    @property
    def codes(self) -> Sequence[str]:
        """Its market codes."""
        ...

    def open(self) -> Feed: ...


class MarketSource:
    """The simulated market: one for all sessions, moving whether or not anybody listens."""

    def __init__(self, simulation: MarketSimulation) -> None:
        self.codes = simulation.codes
        self.simulation = simulation
        self._now_ms = 0
        # A feed goes when its session lets go of it; there is nothing to close that could be forgotten.
        self._feeds: WeakSet[_MarketFeed] = WeakSet()

    def open(self) -> Feed:
        feed = _MarketFeed(self)
        self._feeds.add(feed)
        return feed

    def advance(self, now: float) -> int:
        """Let the market move up to now, and hand what happened to every feed that wants it.

        Returns what time it is in the market, in milliseconds: it never goes back.
        """
        self._now_ms = max(self._now_ms, int(now * 1000))
        self.publish(self.simulation.advance(self._now_ms))
        return self._now_ms

    def publish(self, events: Iterable[Event]) -> None:
        """Hand what happened in the market to every feed that wants it."""
        for event in events:
            key = (event.type, event.code)
            for feed in self._feeds:
                if key in feed.keys:
                    feed.put(event)

    def snapshot(self, type_name: str, code: str) -> Event | None:
        return self.simulation.snapshot(type_name, code)

    def next_time(self) -> float:
        return self.simulation.next_ms() / 1000


class _MarketFeed:
    def __init__(self, source: MarketSource) -> None:
        self.keys: frozenset[tuple[str, str]] = frozenset()
        self._source = source
        self._backlog = Backlog()

    @property
    def overflowed(self) -> bool:
        return self._backlog.overflowed

    def put(self, event: Event) -> None:
        self._backlog.put(event)

    def start(self, now: float, keys: frozenset[tuple[str, str]]) -> None:
        self._source.advance(now)
        self._backlog.take()
        self.keys = keys

    def snapshot(self, now: float, type_name: str, code: str) -> Event | None:
        return self._source.snapshot(type_name, code)

    def take(self, now: float) -> Sequence[Event]:
        self._source.advance(now)
        return self._backlog.take()

    def next_time(self) -> float:
        return self._source.next_time()


@attrs.frozen
class Recorded:
    """One event of a recording."""

    received_at: float
    """Seconds since the Unix epoch."""
    event: Event


class Replay:
    """A recording as a market. Every session hears it from its beginning, once it has asked for something."""

    def __init__(self, recording: Sequence[Recorded], speed: float = 1.0) -> None:
        """``speed`` is how much faster than recorded; infinity is as fast as the session takes it.

        Raises :class:`InvalidConfigError` for a speed that is not above 0.
        """
        if not speed > 0:
            raise InvalidConfigError(f"speed is {speed}; it must be above 0, or infinite for as fast as possible")
        self.codes: Sequence[str] = sorted({recorded.event.code for recorded in recording})
        self.recording = recording
        self.speed = speed

    def open(self) -> Feed:
        return _ReplayFeed(self)


class _ReplayFeed:
    def __init__(self, replay: Replay) -> None:
        self.overflowed = False
        self._replay = replay
        self._keys: frozenset[tuple[str, str]] = frozenset()
        self._position = 0
        self._started: float | None = None

    def start(self, now: float, keys: frozenset[tuple[str, str]]) -> None:
        self._keys = keys
        if self._started is None:
            self._started = now

    def snapshot(self, now: float, type_name: str, code: str) -> Event | None:
        return None  # the recording has its own, where it has any

    def take(self, now: float) -> Sequence[Event]:
        if self._started is None:
            return ()
        taken: list[Event] = []
        recording = self._replay.recording
        while self._position < len(recording) and len(taken) < _PORTION and self.next_time() <= now:
            event = recording[self._position].event
            self._position += 1
            if (event.type, event.code) in self._keys:
                taken.append(event)
        return taken

    def next_time(self) -> float:
        recording = self._replay.recording
        if self._started is None or self._position == len(recording):
            return float("inf")
        since_start = recording[self._position].received_at - recording[0].received_at
        return self._started + since_start / self._replay.speed


def read_recording(path: str | Path) -> list[Recorded]:
    """Read a recording: one JSON object a line, with ``recv`` (seconds since the Unix epoch) and ``frame`` (the text of
    the payload, in DEFAULT or SIMPLE format).

    Raises :class:`RecordingError` for a file that cannot be read or is no recording.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            recording = list(_recorded(file, path))
    except (OSError, UnicodeDecodeError) as why:
        told = why.strerror if isinstance(why, OSError) else "it is not text"
        raise RecordingError(f"cannot read the recording {path}: {told}") from None
    if not recording:
        raise RecordingError(f"{path} is not a recording: it is empty")
    return recording


def _recorded(lines: Any, path: str | Path) -> Iterator[Recorded]:
    full, simple = Decoder(Format.DEFAULT), Decoder(Format.SIMPLE)
    previous = float("-inf")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = msgspec.json.decode(line, type=_Line)
        except (msgspec.MsgspecError, RecursionError) as why:
            raise RecordingError(
                f"{path} is not a recording: line {number} is not an object with 'recv' and 'frame' ({why})"
            ) from None
        decoder = simple if '"ty"' in entry.frame else full
        events, _ = decoder.decode([entry.frame], NO_EPOCH, 0.0)
        if not events or isinstance(events[0], UnknownEvent):
            raise RecordingError(f"{path} is not a recording: the frame in line {number} is not an event of Upbit")
        if entry.recv < previous:
            raise RecordingError(f"{path} is broken: line {number} was received before the line above it")
        previous = entry.recv
        yield Recorded(entry.recv, events[0])


class _Line(msgspec.Struct):
    recv: float
    frame: str
