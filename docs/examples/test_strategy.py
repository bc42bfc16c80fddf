"""What the strategy does, and what it does when the connection is lost: in memory, without a real second of waiting."""

import anyio
import pytest
from strategy import TRADES, strategy

from upbit_streams import open_manager
from upbit_streams.testing import MarketSimulation, MarketSource, SimulatedExchange, memory_connector

pytestmark = pytest.mark.anyio

START = 1_790_000_000  # seconds since the Unix epoch; any moment will do


def wall():
    """The time of day, which moves with the virtual clock."""
    return START + anyio.current_time()


@pytest.fixture
def exchange():
    market = MarketSimulation(seed=7, codes=["KRW-BTC"], rate=50, start_ms=START * 1000)
    return SimulatedExchange(MarketSource(market))


async def test_the_price_is_near_the_market(exchange):
    async with open_manager(connector=memory_connector(exchange, wall), wall=wall):
        price = await strategy()
    book = exchange.source.snapshot("orderbook", "KRW-BTC")
    assert price == pytest.approx(book.asks[0][0], rel=0.01)


async def test_after_a_loss_the_strategy_starts_its_window_again(exchange, capsys):
    async def lose_the_connection():
        await anyio.sleep(5)
        exchange.end_sessions(wall())

    async with open_manager(connector=memory_connector(exchange, wall), wall=wall, draw=lambda: 0.5) as manager:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lose_the_connection)
            await strategy()
        assert manager.status().epoch.number == 2
    windows = [int(line.split()[-2]) for line in capsys.readouterr().out.splitlines()]
    assert len(windows) == TRADES
    assert windows.count(1) == 2  # it began at the start, and again after the loss
