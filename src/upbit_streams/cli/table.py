"""The table that updates in place: markets, and what else was asked for in sections below."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import anyio
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from upbit_streams import DataType, Endpoint, EpochStarted, Event, FrameLostError, Manager

from .account import Announcements, Balances, Orders
from .columns import fitted, share
from .feeds import Feeds, Item
from .markets import Markets
from .output import TerminalConsole, wait_writable
from .tally import QUIET_SECONDS, Tally

__all__ = ["LiveTable"]

_REFRESH_SECONDS = 0.1
_RATE_SECONDS = 2.0
# The lines of the screen that are not a section's own: what is told below. And a section's heading, rule and distance.
_OTHER_LINES = 7
_HEADING_LINES = 3


class _Section(Protocol):
    """A part of the table."""

    name: str
    """What its lines are."""

    def take(self, item: Item) -> None:
        """An event of its own types, or a notice of their connection."""
        ...

    def size(self) -> int:
        """How many lines it has."""
        ...

    def columns(self, most: int) -> dict[str, list[Text]]:
        """The first lines, as columns by heading, the most important column first."""
        ...


_SECTIONS: dict[DataType[Any], Callable[[], _Section]] = {
    DataType.MY_ORDER: Orders,
    DataType.MY_ASSET: Balances,
    DataType.ANNOUNCEMENT: Announcements,
}


class LiveTable:
    """All that is watched, drawn anew several times a second."""

    def __init__(self, tally: Tally, manager: Manager, feeds: Feeds) -> None:
        self.console = TerminalConsole(highlight=False)
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        # In a file or a pipe nothing can be updated in place.
        self.screen: AbstractContextManager[object] = self._live if self.console.is_terminal else nullcontext()
        self._tally = tally
        self._manager = manager
        self._feeds = feeds
        self._sections: list[_Section] = []
        self._section_of: dict[str, _Section] = {}
        if tally.public:
            self._add(Markets(tally.public, tally.codes), *tally.public)
        for kind, make_section in _SECTIONS.items():
            if kind in tally.private:
                self._add(make_section(), kind)
        self._rates = {endpoint: _Rate() for endpoint in feeds.streams}
        self._connected_at: float | None = None

    async def wait(self) -> None:
        if self.console.is_terminal:
            await wait_writable(self.console.file.fileno())
            self._live.update(self._picture(), refresh=True)
        await anyio.sleep(_REFRESH_SECONDS)

    async def show(self, most: int) -> int:
        items = self._feeds.take(most)
        events: list[Event] = []
        for item in items:
            if isinstance(item, EpochStarted | FrameLostError):
                self._tally.gaps.take(item)
                for kind in self._tally.private:
                    self._section_of[kind.name].take(item)
            else:
                self._section_of[item.type].take(item)
                events.append(item)
        self._tally.add(events)
        if not items:
            await self.wait()
        return len(events)

    def finish(self) -> None:
        for section in self._sections:
            self.console.print(fitted(section.columns(section.size()), self.console.width)[0])
            self.console.line()
        if self._tally.gaps.last:
            self.console.print(Text(self._tally.gaps.last, "yellow"))
            self.console.line()

    def _add(self, section: _Section, *kinds: DataType[Event]) -> None:
        self._sections.append(section)
        self._section_of |= {kind.name: section for kind in kinds}

    def _picture(self) -> RenderableType:
        parts, left_out = self._tables()
        notes = [f"no room for {', '.join(left_out)}"] if left_out else []
        if self._is_quiet() and (missing := self._tally.missing()):
            notes.append(f"no data yet: {missing}; a market that the exchange does not list never gets any")
        gap = [Text(self._tally.gaps.last, "yellow")] if self._tally.gaps.last else []
        states = [self._status_line(endpoint) for endpoint in Endpoint if endpoint in self._rates]
        return Group(*parts, *states, *gap, *(Text(note, "dim") for note in notes))

    def _tables(self) -> tuple[list[RenderableType], list[str]]:
        """What there is room for, and the names of all else."""
        room, sections, left_out = self.console.height - _OTHER_LINES, list(self._sections), list[str]()
        while len(sections) > 1 and len(sections) * (_HEADING_LINES + 1) > room:
            left_out.append(sections.pop().name)
        parts: list[RenderableType] = []
        sizes = [section.size() for section in sections]
        lines = share(room - len(sections) * _HEADING_LINES, sizes)
        for section, size, most in zip(sections, sizes, lines, strict=True):
            table, columns_left_out = fitted(section.columns(most), self.console.width)
            parts += [table, ""]
            left_out += columns_left_out
            if size > most:
                left_out.append(f"{size - most} more {section.name}")
        return parts, left_out

    def _is_quiet(self) -> bool:
        """Whether what has not come by now is a long time coming."""
        if self._connected_at is None and self._manager.status().epoch:
            self._connected_at = anyio.current_time()
        return self._connected_at is not None and anyio.current_time() > self._connected_at + QUIET_SECONDS

    def _status_line(self, endpoint: Endpoint) -> Text:
        status, total = self._manager.status(endpoint), sum(self._tally.by_type(endpoint).values())
        if status.epoch is None:
            why = f", {status.reason}" if status.failed_attempts else ""
            return Text.assemble(("connecting", "yellow"), f" to {status.url}{why}")
        rate = self._rates[endpoint].of(total, anyio.current_time())
        lost = self._feeds.streams[endpoint].statistics().dropped
        facts = f" · epoch {status.epoch.number} · {total} events · {rate:.0f} a second · {lost} lost"
        if status.state.is_open:
            return Text.assemble(("connected", "green"), f" to {status.url}{facts}")
        return Text.assemble((f"{status.state.value}: {status.reason}", "yellow"), facts)


class _Rate:
    """Events a second, over the last seconds."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int]] = []

    def of(self, count: int, now: float) -> float:
        self._marks.append((now, count))
        while self._marks[0][0] < now - _RATE_SECONDS:
            self._marks.pop(0)
        then, before = self._marks[0]
        return (count - before) / (now - then) if now > then else 0.0
