"""Somebody trades, the connection is lost again and again, and what is held is right all the same."""

import anyio
import pytest
from holdings import Holdings

from upbit_streams import Credentials, Endpoint, open_manager, to_fields
from upbit_streams.testing import (
    MarketSimulation,
    MarketSource,
    Refusal,
    SimulatedExchange,
    Trader,
    memory_connector,
)

pytestmark = pytest.mark.anyio

START = 1_790_000_000  # seconds since the Unix epoch; any moment will do


def wall():
    """The time of day, which moves with the virtual clock."""
    return START + anyio.current_time()


@pytest.fixture
def exchange():
    market = MarketSimulation(seed=7, codes=["KRW-BTC"], rate=2, start_ms=START * 1000)
    return SimulatedExchange(MarketSource(market))


@pytest.fixture
def account(exchange):
    return exchange.open_account(balances={"KRW": 100_000_000, "BTC": 1})


async def trade(account):
    """Somebody trades for the account: here, on the exchange's own page, or with another program."""
    trader = Trader(account, seed=1)
    while True:
        trader.advance(wall())
        await anyio.sleep(trader.next_time() - wall())


async def hold(exchange, account, what_happens):
    """Let something happen while somebody trades, and check what is held in the end."""

    async def ask():
        await anyio.sleep(0.2)  # a REST request takes its time, and changes go on coming meanwhile
        return account.open_orders(), account.balances()

    holdings = Holdings(ask)
    key = Credentials(account.access_key, account.secret_key.reveal())
    connector = memory_connector(exchange, wall)
    async with (
        open_manager(credentials=key, connector=connector, wall=wall, draw=lambda: 0.5) as manager,
        manager.open_client("holdings") as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(holdings.keep, client)
        async with anyio.create_task_group() as trading:
            trading.start_soon(trade, account)
            await what_happens()
            trading.cancel_scope.cancel()
        await anyio.sleep(60)
        tasks.cancel_scope.cancel()
    told = {uuid: to_fields(order) for uuid, order in holdings.orders.items()}
    assert told == {uuid: to_fields(order) for uuid, order in account.open_orders().items()}
    assert holdings.assets == account.balances()
    assert exchange.breaches == []
    return holdings


async def test_after_each_of_many_losses_it_is_right_again(exchange, account):
    async def lose_the_connection():
        for _ in range(20):
            await anyio.sleep(20)
            exchange.end_sessions(wall(), endpoint=Endpoint.PRIVATE)

    holdings = await hold(exchange, account, lose_the_connection)
    assert holdings.reconciled == 21


async def test_after_ten_minutes_without_a_connection_too(exchange, account):
    async def maintenance():
        await anyio.sleep(10)
        exchange.refusals[Endpoint.PRIVATE] = Refusal(503, "maintenance")
        exchange.end_sessions(wall(), 1000, Endpoint.PRIVATE)
        await anyio.sleep(600)
        exchange.refusals.clear()

    holdings = await hold(exchange, account, maintenance)
    assert holdings.reconciled == 2
