"""Simulated exchanges that go wrong in the ways in which clients are known to storm, and count the connects.

Usage: ``python storm_exchange.py CLIENT ...``

It prints a URL for each client and scenario, as JSON. SIGTERM ends it, and it prints for each when somebody tried to
connect there, in seconds since the Unix epoch.

Nobody is refused for coming too often, as the exchange does it after five connects a second: then the number would be
the exchange's doing and not the client's.
"""

# Runs beside the clients, in the environment that has this project, and prints its result.

import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import anyio

from upbit_streams import Endpoint, Event, TradeEvent
from upbit_streams.testing import (
    Refuse,
    RefuseLogin,
    Session,
    SilentAccept,
    SimulatedExchange,
    open_exchange,
)

CODE = "KRW-BTC"
MESSAGES = 5
POLITE, AT_ACCEPT = "polite close", "close at accept"
# These last longer than anybody watches.
FAULTS = {
    "429": Refuse(status=429, body="Too many connection requests.", lasts=3600),
    "silent accept": SilentAccept(lasts=3600),
    "401": RefuseLogin(lasts=3600),
}
SCENARIOS = (POLITE, AT_ACCEPT, *FAULTS)


class FiveTrades:
    """A market in which a session hears five trades at once and nothing after them. No trade has the number of another
    one, so that nobody can take it for a repetition."""

    codes = (CODE,)

    def __init__(self) -> None:
        self.told = 0
        self.newest: Feed | None = None

    def open(self) -> "Feed":
        """What one session hears."""
        self.newest = Feed(self)
        return self.newest


class Feed:
    """What one session hears."""

    overflowed = False

    def __init__(self, market: FiveTrades) -> None:
        self._market = market
        self._is_due = False
        self.after_all: Callable[[float], None] = lambda now: None
        """Called when the last trade was told."""

    def start(self, now: float, keys: frozenset[tuple[str, str]]) -> None:
        """Somebody has asked for something."""
        self._is_due = ("trade", CODE) in keys

    def snapshot(self, now: float, type_name: str, code: str) -> Event | None:
        """There is none: the first message is a trade."""
        return None

    def take(self, now: float) -> Sequence[Event]:
        """All five, once."""
        if not self._is_due:
            return ()
        self._is_due = False
        self._market.told += MESSAGES
        self.after_all(now)
        return [trade(now, self._market.told - MESSAGES + number) for number in range(MESSAGES)]

    def next_time(self) -> float:
        """At once, when somebody has asked."""
        return 0.0 if self._is_due else float("inf")


def trade(now: float, number: int) -> TradeEvent:
    """A trade that happens now."""
    moment = time.gmtime(now)
    return TradeEvent(
        code=CODE,
        timestamp=int(now * 1000),
        stream_type="REALTIME",
        trade_price=100_000_000.0,
        trade_volume=0.001,
        ask_bid="BID",
        prev_closing_price=100_000_000.0,
        change="EVEN",
        change_price=0.0,
        trade_date=time.strftime("%Y-%m-%d", moment),
        trade_time=time.strftime("%H:%M:%S", moment),
        trade_timestamp=int(now * 1000),
        sequential_id=int(now) * 10_000_000 + number,
        best_ask_price=100_001_000.0,
        best_ask_size=1.0,
        best_bid_price=100_000_000.0,
        best_bid_size=1.0,
    )


class StormyExchange(SimulatedExchange):
    """An exchange where every session goes wrong in the same way."""

    def __init__(self, scenario: str) -> None:
        super().__init__(FiveTrades())
        self._scenario = scenario
        self.tries: list[float] = []

    def connect(self, now: float, endpoint: Endpoint = Endpoint.PUBLIC, token: str | None = None) -> Session:
        """Let in who comes, or not, as the scenario has it."""
        self.tries.append(now)
        market = self.source
        assert isinstance(market, FiveTrades)
        # Each session is let in by an exchange of its own, whose limits know of no other connect.
        alone = SimulatedExchange(market)
        if self._scenario in FAULTS:
            alone.conditions.add(FAULTS[self._scenario].condition())
        session = alone.connect(now, endpoint, token)
        if self._scenario == AT_ACCEPT:
            session.end(now, 1000)
        elif self._scenario == POLITE and market.newest is not None:
            market.newest.after_all = lambda at: session.end(at, 1000)
        return session


async def serve(clients: list[str]) -> None:
    """Serve until the signal."""
    exchanges = {client: {scenario: StormyExchange(scenario) for scenario in SCENARIOS} for client in clients}
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with AsyncExitStack() as stack:
            urls = {
                client: {name: await stack.enter_async_context(open_exchange(one)) for name, one in scenarios.items()}
                for client, scenarios in exchanges.items()
            }
            print(json.dumps(urls), flush=True)
            await anext(signals)
    connects = {
        client: {name: exchange.tries for name, exchange in scenarios.items()}
        for client, scenarios in exchanges.items()
    }
    print(json.dumps(connects), flush=True)


if __name__ == "__main__":
    anyio.run(serve, sys.argv[1:])
