"""What the three ways of use do, and what they do when something goes wrong: in memory, without a real second."""

import advanced
import anyio
import callback
import pull
import pytest

from upbit_streams import Credentials, DataType, Endpoint, open_manager
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
    market = MarketSimulation(seed=7, codes=["KRW-BTC", "KRW-ETH"], rate=20, start_ms=START * 1000)
    return SimulatedExchange(MarketSource(market))


def opened(exchange, credentials=None):
    """A manager of this exchange."""
    connector = memory_connector(exchange, wall)
    return open_manager(credentials=credentials, connector=connector, wall=wall, draw=lambda: 0.5)


async def test_pull_sees_the_present_prices_and_the_history(exchange, capsys):
    async with (
        opened(exchange) as manager,
        manager.open_client("pull") as client,
        client.stream(DataType.TICKER, "KRW-BTC") as tickers,
    ):
        await pull.look(client)
        sent = [f"{ticker.trade_price:,.0f}" for ticker in await tickers.receive_batch()]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    seen, counts = [line[0] for line in lines[::2]], [int(line[-2]) for line in lines[1::2]]
    assert len(seen) == len(counts) == pull.ROUNDS
    places = [sent.index(price) for price in seen]
    assert places == sorted(places)
    assert places[0] < places[-1]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] <= 20


async def test_callbacks_are_called_with_every_kind_of_event(exchange, capsys):
    async with opened(exchange) as manager, manager.open_client("callback") as client:
        await callback.listen(client)
        await anyio.sleep(callback.SECONDS)
    said = capsys.readouterr().out
    for code in callback.CODES:
        assert f"{code} spread" in said
        assert f"{code} candle.5m from" in said
    assert "failed" not in said


async def test_a_callback_that_fails_is_told_and_goes_on(exchange, capsys, monkeypatch):
    async def out_of_order(text):
        await anyio.sleep(0.05)
        raise OSError("nobody answers")

    monkeypatch.setattr(callback, "tell", out_of_order)
    async with opened(exchange) as manager, manager.open_client("callback") as client:
        await callback.listen(client)
        await anyio.sleep(callback.SECONDS)
    said = capsys.readouterr().out
    assert said.count("a callback failed: OSError('nobody answers')") > 10
    assert "KRW-BTC" in said, "the tickers do not depend on it"


async def test_components_go_on_through_a_loss_and_say_what_they_miss(exchange, capsys):
    account = exchange.open_account(balances={"KRW": 100_000_000, "BTC": 1})

    async def trade():
        trader = Trader(account, seed=1)
        while True:
            trader.advance(wall())
            await anyio.sleep(trader.next_time() - wall())

    async def be_away_for_a_while():
        await anyio.sleep(20)
        exchange.refusals[Endpoint.PUBLIC] = Refusal(503, "maintenance")
        exchange.end_sessions(wall(), 1000, Endpoint.PUBLIC)
        await anyio.sleep(10)
        exchange.refusals.clear()

    key = Credentials(account.access_key, account.secret_key.reveal())
    async with opened(exchange, key), anyio.create_task_group() as tasks:
        tasks.start_soon(trade)
        tasks.start_soon(be_away_for_a_while)
        await advanced.run_all()
        tasks.cancel_scope.cancel()
    lines = capsys.readouterr().out.splitlines()
    shown = [line for line in lines if "Epoch" in line]
    assert shown == ["show: EpochStarted 1", "show: EpochEnded 1", "show: EpochStarted 2"]
    waits = [line for line in lines if line.startswith("decide: waits")]
    assert 5 <= len(waits) <= 40
    assert lines.index(waits[0]) > lines.index("show: EpochStarted 1")
    assert any(line.startswith("report: degraded") for line in lines)
    assert "report: show has taken" in "\n".join(lines)
    assert exchange.breaches == []


async def test_your_own_orders_are_kept(exchange):
    account = exchange.open_account(balances={"KRW": 100_000_000})
    key, orders = Credentials(account.access_key, account.secret_key.reveal()), {}
    async with opened(exchange, key), anyio.create_task_group() as tasks:
        tasks.start_soon(advanced.keep_orders, orders)
        await anyio.sleep(5)
        price = exchange.source.snapshot("ticker", "KRW-BTC").trade_price
        uuid = account.place(wall(), "KRW-BTC", "BID", price=price - 5_000_000, volume="0.1")
        await anyio.sleep(1)
        assert orders[uuid].state == "wait"
        account.cancel(wall(), uuid)
        await anyio.sleep(1)
        assert orders[uuid].state == "cancel"
        tasks.cancel_scope.cancel()
