"""The trader of the simulated exchange: something always happens, the same with the same seed, in bounded memory."""

from typing import Any

import pytest
from tests.support.world import NumberedSource

from upbit_streams import MyOrderEvent, UsageError
from upbit_streams.testing import Account, MarketSimulation, MarketSource, SimulatedExchange, Trader, accounts

START = 1_795_000_000.0
CODES = ("KRW-BTC", "BTC-ETH", "USDT-XRP")


def new_account(**balances: Any) -> Account:
    exchange = SimulatedExchange(MarketSource(MarketSimulation(codes=CODES, rate=20, start_ms=int(START * 1000))))
    return exchange.open_account(balances=balances)


def rich() -> Account:
    return new_account(KRW=10**9, BTC=100, ETH=100, XRP=10**5, USDT=10**5)


def traded(seed: int, step: float = 0.0, **options: Any) -> dict[str, MyOrderEvent]:
    account = rich()
    trader = Trader(account, seed, **options)
    now = START
    while now <= START + 60:
        trader.advance(now)
        assert trader.next_time() > now
        now = now + step if step else trader.next_time()
    return account.orders()


def test_it_trades_the_same_with_the_same_seed() -> None:
    orders = traded(1)
    assert len(orders) > 40
    assert {order.state for order in orders.values()} >= {"wait", "done", "cancel"}
    assert {order.code for order in orders.values()} == set(CODES)
    assert traded(1) == orders
    assert traded(2) != orders
    assert {order.code for order in traded(1, codes=["BTC-ETH"]).values()} == {"BTC-ETH"}


def test_it_keeps_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "KEPT_ORDERS", 20)
    account = rich()
    trader = Trader(account)
    for second in range(120):
        trader.advance(START + second)
        assert len(account.open_orders()) <= 10
        assert len(account.orders()) <= 30
    trader.advance(START + 3600)
    assert trader.next_time() > START + 3600


def test_the_poor_do_nothing() -> None:
    account = new_account(KRW=10)
    Trader(account).advance(START)
    assert account.orders() == {}


def test_it_needs_a_market() -> None:
    with pytest.raises(UsageError):
        Trader(SimulatedExchange(NumberedSource()).open_account())
