"""A world with a market that moves, an account that trades in it, and a manager that has its key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from tests.support.noted import hub_of, opened
from tests.support.world import wall

from upbit_streams import Backoff, Config, Connector, Credentials, Endpoint, Manager, open_manager
from upbit_streams.engine.connection import Connection
from upbit_streams.engine.hub import Hub
from upbit_streams.testing import Account, MarketSimulation, MarketSource, SimulatedExchange, memory_connector

__all__ = ["BALANCES", "MARKETS", "PrivateWorld", "credentials_of", "open_private_world"]

MARKETS = ("KRW-BTC", "KRW-ETH")
BALANCES: dict[str, int | str] = {"KRW": 10_000_000_000, "BTC": "10.5", "ETH": 100}


def credentials_of(account: Account) -> Credentials:
    return Credentials(account.access_key, account.secret_key.reveal())


@attrs.define
class PrivateWorld:
    """An exchange, an account of it, and a manager that logs in to it."""

    exchange: SimulatedExchange
    account: Account
    manager: Manager
    connections: list[Connection] = attrs.field(factory=list)

    def hub(self, endpoint: Endpoint = Endpoint.PUBLIC) -> Hub:
        """What this connection of the manager brings goes there."""
        return hub_of(self.connections, endpoint)

    def price(self, code: str = "KRW-BTC") -> float:
        """The best price at which one can buy now."""
        assert self.exchange.desk is not None
        return self.exchange.desk.book(wall(), code).orderbook_units[0].ask_price


@asynccontextmanager
async def open_private_world(
    *,
    rate: float = 20.0,
    seed: int = 0,
    credentials: Any = None,
    connector: Connector | None = None,
    draw: Any = None,
    **config: Any,
) -> AsyncIterator[PrivateWorld]:
    """Open it in memory. ``credentials`` are the account's own unless given."""
    simulation = MarketSimulation(seed=seed, codes=MARKETS, rate=rate, start_ms=int(wall() * 1000))
    exchange = SimulatedExchange(MarketSource(simulation))
    account = exchange.open_account(balances=BALANCES)
    settings = Config(**{"url": "ws://localhost/v1", "backoff": Backoff(initial=0.5, maximum=4.0), **config})
    # Nothing takes this long; without it a test that waits in vain would let the market go on for ever.
    with anyio.fail_after(5000):
        opening = open_manager(
            settings,
            credentials=credentials or credentials_of(account),
            connector=connector or memory_connector(exchange, wall),
            wall=wall,
            draw=draw or (lambda: 0.5),
        )
        async with opened(opening) as (manager, connections):
            yield PrivateWorld(exchange, account, manager, connections)
