"""A small world for tests: an exchange whose every session is recognisable, and a script of what goes wrong with it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from hypothesis import strategies as st
from tests.support.noted import hub_of, opened

from upbit_streams import Backoff, Config, Endpoint, Event, Manager, TradeEvent, open_manager
from upbit_streams.engine.connection import Connection
from upbit_streams.engine.hub import Hub
from upbit_streams.testing import Refusal, SimulatedExchange, memory_connector

__all__ = ["CODES", "Clock", "Fault", "NumberedSource", "World", "faults", "numbered_trade", "open_world", "wall"]

CODES = ("KRW-BTC", "KRW-ETH", "KRW-XRP")
_START = 1_795_000_000.0
_SESSION = 1_000_000


def wall() -> float:
    """The world's time of day, which moves with the virtual clock."""
    return _START + anyio.current_time()


def numbered_trade(code: str, session: int, number: int, now: float = _START) -> TradeEvent:
    """A trade whose id tells which session sent it, and as its how manieth."""
    return TradeEvent(
        code=code,
        timestamp=int(now * 1000),
        stream_type="REALTIME",
        trade_price=float(number),
        trade_volume=1.0,
        ask_bid="BID",
        prev_closing_price=1.0,
        change="EVEN",
        change_price=0.0,
        trade_date="2026-11-18",
        trade_time="00:00:00",
        trade_timestamp=int(now * 1000),
        sequential_id=session * _SESSION + number,
    )


@attrs.define
class Clock:
    """A wall clock of a computer that may be suspended, set or slewed. It remembers it."""

    rate: float = 0.0
    """What it gains on the event loop's clock in each second."""
    _jumps: list[tuple[float, float]] = attrs.field(factory=list)

    def __call__(self) -> float:
        return self.at(anyio.current_time())

    def jump(self, seconds: float) -> None:
        """It is set ahead by so much; or the computer was suspended for so long."""
        self._jumps.append((anyio.current_time(), seconds))

    def at(self, when: float) -> float:
        """What it has shown, or will show, at a moment of the event loop's time."""
        return _START + when * (1.0 + self.rate) + sum(seconds for at, seconds in self._jumps if at <= when)


@attrs.define
class NumberedSource:
    """A market in which every session hears its own trades: of session 2 the ids 2000001, 2000002, ...

    So an event itself tells on whose socket it was sent, and whether one is missing or out of order.
    """

    interval: float = 0.1
    codes: Sequence[str] = CODES
    sessions: int = 0
    muted: frozenset[str] = frozenset()
    """Markets in which nothing happens."""

    def open(self) -> "_NumberedFeed":
        self.sessions += 1
        return _NumberedFeed(self, self.sessions)


class _NumberedFeed:
    overflowed = False

    def __init__(self, source: NumberedSource, session: int) -> None:
        self._source = source
        self._session = session
        self._keys: list[str] = []
        self._number = 0
        self._next = float("inf")

    def start(self, now: float, keys: frozenset[tuple[str, str]]) -> None:
        self._keys = sorted(code for type_name, code in keys if type_name == "trade" and code in self._source.codes)
        self._next = min(self._next, now + self._source.interval)

    def snapshot(self, now: float, type_name: str, code: str) -> Event | None:
        return None

    def take(self, now: float) -> list[Event]:
        taken: list[Event] = []
        while self._next <= now:
            for code in self._keys:
                if code in self._source.muted:
                    continue
                self._number += 1
                taken.append(numbered_trade(code, self._session, self._number, self._next))
            self._next += self._source.interval
        return taken

    def next_time(self) -> float:
        return self._next


@attrs.frozen
class Fault:
    """After so many seconds, something goes wrong."""

    after: float
    kind: str
    """``drop`` (no close frame), ``close`` (code 1000), ``refuse`` (handshakes, until ``allow``)."""


def faults(max_size: int = 12) -> st.SearchStrategy[list[Fault]]:
    """Scripts of what goes wrong, with pauses from nothing to longer than the longest back-off of
    :func:`open_world`."""
    pauses = st.one_of(st.sampled_from([0.0, 0.05, 1.0]), st.floats(0.0, 12.0))
    kinds = st.sampled_from(["drop", "close", "refuse", "allow"])
    return st.lists(st.builds(Fault, pauses, kinds), max_size=max_size)


@attrs.define
class World:
    """An exchange, a manager connected to it, and the hands to make things go wrong."""

    exchange: SimulatedExchange
    source: NumberedSource
    manager: Manager
    connections: list[Connection] = attrs.field(factory=list)

    def hub(self, endpoint: Endpoint = Endpoint.PUBLIC) -> Hub:
        """What this connection of the manager brings goes there."""
        return hub_of(self.connections, endpoint)

    async def suffer(self, script: Sequence[Fault]) -> None:
        """Let the faults of a script happen; afterwards all is well again, for long enough to recover."""
        for fault in script:
            await anyio.sleep(fault.after)
            match fault.kind:
                case "drop":
                    self.exchange.end_sessions(wall())
                case "close":
                    self.exchange.end_sessions(wall(), 1000)
                case "refuse":
                    self.exchange.refusal = Refusal(503, "maintenance")
                case _:
                    self.exchange.refusal = None
        self.exchange.refusal = None
        await anyio.sleep(10.0)


@asynccontextmanager
async def open_world(
    *, interval: float = 0.1, draw: Any = None, clock: Callable[[], float] = wall, **config: Any
) -> AsyncIterator[World]:
    """Open an exchange of numbered trades in memory, and a manager connected to it, whose ``clock`` may be another."""
    source = NumberedSource(interval)
    exchange = SimulatedExchange(source)
    settings = Config(**{"url": "ws://memory", "backoff": Backoff(initial=0.5, maximum=4.0), **config})
    opening = open_manager(settings, connector=memory_connector(exchange, wall), wall=clock, draw=draw or (lambda: 0.5))
    async with opened(opening) as (manager, connections):
        yield World(exchange, source, manager, connections)
