"""Orders of accounts on the simulated market: they agree with its trades, and with the balances, to the last digit."""

import json
from collections.abc import Iterable
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upbit_streams import (
    CandleEvent,
    DataType,
    Endpoint,
    Event,
    Format,
    MyAssetEvent,
    MyOrderEvent,
    OrderbookEvent,
    TickerEvent,
    TradeEvent,
)
from upbit_streams.auth import Credentials, login_token
from upbit_streams.model.epoch import NO_EPOCH
from upbit_streams.testing import (
    Account,
    InsufficientFundsError,
    InvalidOrderError,
    MarketSimulation,
    MarketSource,
    OffGridError,
    OrderError,
    OrderNotFoundError,
    OrderTooSmallError,
    Session,
    SimulatedExchange,
    UnknownMarketError,
    accounts,
)
from upbit_streams.wire.decode import Decoder

START = 1_795_000_000.0
CODES = ("KRW-BTC", "KRW-XRP", "BTC-ETH", "USDT-XRP")
PUBLIC = [kind.name for kind in DataType.all(Endpoint.PUBLIC)]
RICH: dict[str, Any] = {"KRW": 10**11, "BTC": 1_000, "XRP": 10**7, "ETH": 10**5, "USDT": 10**8}
D = Decimal


class World:
    """An exchange with accounts, and everything that is heard of it."""

    def __init__(self, *balances: dict[str, Any], rate: float = 100.0, quiet: bool = False, seed: int = 0) -> None:
        start_ms = int(START * 1000) + (10**12 if quiet else 0)
        self.source = MarketSource(MarketSimulation(seed=seed, codes=CODES, rate=rate, start_ms=start_ms))
        self.exchange = SimulatedExchange(self.source)
        self.now = START
        self.accounts = [self.exchange.open_account(balances=each) for each in balances or (RICH,)]
        self.account = self.accounts[0]
        self.feed = self.source.open()
        self.feed.start(START, frozenset((type_name, code) for type_name in PUBLIC for code in CODES))
        self.public: list[Event] = []
        self.private: list[list[Event]] = [[] for _ in self.accounts]
        self.sessions = [self._login(account) for account in self.accounts]

    def _login(self, account: Account) -> Session:
        key = Credentials(account.access_key, account.secret_key.reveal())
        session = self.exchange.connect(START, Endpoint.PRIVATE, login_token(key, str(uuid4())).reveal())
        session.receive(START, json.dumps([{"ticket": "test"}, {"type": "myOrder"}, {"type": "myAsset"}]))
        return session

    def wait(self, seconds: float = 0.0) -> None:
        """Let time go by, and hear what there is."""
        self.now += seconds
        self.public += self.feed.take(self.now)
        for session, heard in zip(self.sessions, self.private, strict=True):
            session.touch(self.now)
            heard += Decoder(Format.DEFAULT).decode(session.take(self.now), NO_EPOCH, 0.0)[0]

    def book(self, code: str = "KRW-BTC") -> OrderbookEvent:
        assert self.exchange.desk is not None
        return self.exchange.desk.book(self.now, code)

    def states(self, uuid: str, account: int = 0) -> list[str]:
        """What was told of an order, in its order."""
        self.wait()
        return [order.state for order in self.told(account) if order.uuid == uuid]

    def told(self, account: int = 0) -> list[MyOrderEvent]:
        return [event for event in self.private[account] if isinstance(event, MyOrderEvent)]

    def trades(self) -> list[TradeEvent]:
        self.wait()
        return [event for event in self.public if isinstance(event, TradeEvent)]

    def balance(self, currency: str, account: int = 0) -> tuple[Any, Any]:
        asset = self.accounts[account].balances()[currency]
        return asset.balance, asset.locked


def exact(value: float) -> Decimal:
    return Decimal(repr(value))


def as_told(event: Event) -> Event:
    """Without what the receiving side adds."""
    return msgspec.structs.replace(event, epoch=NO_EPOCH, received_at=0.0)


# Resting orders


def test_a_resting_order_is_in_the_public_book_and_gone_after_it_is_cancelled() -> None:
    world = World(quiet=True)
    before = world.book()
    (price, size), held = before.bids[3], world.balance("KRW")
    uuid = world.account.place(world.now, "KRW-BTC", "BID", price=price, volume="0.5")
    world.wait()
    (after,) = [event for event in world.public if isinstance(event, OrderbookEvent)]
    assert after.bids[3] == (price, float(exact(size) + D("0.5")))
    assert after.total_bid_size == float(exact(before.total_bid_size) + D("0.5"))
    assert world.balance("KRW")[1] == exact(price) * D("0.5") * D("1.0005")
    world.account.cancel(world.now, uuid)
    assert world.states(uuid) == ["wait", "cancel"]
    assert world.book().orderbook_units == before.orderbook_units
    assert world.balance("KRW") == held
    assert world.account.open_orders() == {}
    with pytest.raises(OrderNotFoundError):
        world.account.cancel(world.now, uuid)


def test_an_order_between_the_makers_is_a_level_of_its_own_and_one_behind_them_is_not_seen() -> None:
    world = World(quiet=True)
    book = world.book()
    (best_ask, _), (best_bid, _) = book.asks[0], book.bids[0]
    inside = best_ask - 1000
    assert inside > best_bid
    world.account.place(world.now, "KRW-BTC", "BID", price=inside, volume="0.5")
    assert world.book().bids[:2] == [(inside, 0.5), book.bids[0]]
    assert len(world.book().bids) == 30
    last = world.book().orderbook_units
    uuid = world.account.place(world.now, "KRW-BTC", "BID", price=1_000_000, volume="0.5")
    assert world.book().orderbook_units == last
    assert uuid in world.account.open_orders()


@pytest.mark.parametrize("side", ["BID", "ASK"])
def test_a_resting_order_is_filled_by_trades_of_the_market_in_parts_and_then_done(side: str) -> None:
    world = World(rate=500)
    book = world.book()
    price = book.bids[0][0] if side == "BID" else book.asks[0][0]
    uuid = world.account.place(world.now, "KRW-BTC", side, price=price, volume="0.2")
    first = world.account.orders()[uuid]
    assert (first.state, first.remaining_volume, first.trade_uuid) == ("wait", D("0.2"), None)
    while world.account.open_orders():
        world.wait(0.5)
        assert world.now < START + 600
    told = [event for event in world.told() if event.uuid == uuid]
    assert [event.state for event in told] == ["wait", *["trade"] * (len(told) - 2), "done"]
    assert len(told) > 3
    public = [trade for trade in world.trades() if trade.ask_bid != side and trade.trade_price == price]
    fills = [event for event in told if event.state == "trade"]
    assert [(fill.volume, fill.trade_timestamp) for fill in fills] == [
        (exact(trade.trade_volume), trade.trade_timestamp)
        for trade in public
        if trade.trade_timestamp in {fill.trade_timestamp for fill in fills}
    ][: len(fills)]
    done: Any = told[-1]
    assert {fill.is_maker for fill in fills} == {True}
    assert len({fill.trade_uuid for fill in fills}) == len(fills) == done.trades_count
    assert sum(fill.volume or 0 for fill in fills) == done.executed_volume == D("0.2")
    assert sum(fill.trade_fee or 0 for fill in fills) == done.paid_fee == exact(price) * D("0.0001")
    assert (done.price, done.volume, done.avg_price) == (exact(price), D("0.2"), exact(price))
    assert (done.remaining_volume, done.locked, done.remaining_fee, done.trade_fee) == (0, 0, 0, None)
    sign = 1 if side == "BID" else -1
    assert world.balance("BTC") == (1_000 + sign * D("0.2"), 0)
    assert world.balance("KRW") == (10**11 - sign * exact(price) * D("0.2") - exact(price) * D("0.0001"), 0)


def test_the_market_does_not_trade_past_a_resting_order() -> None:
    world = World(rate=1_000)
    price = world.book().bids[0][0]
    uuid = world.account.place(world.now, "KRW-BTC", "BID", price=price, volume=100)
    for _ in range(30):
        world.wait(1.0)
        assert world.book().asks[0][0] > world.book().bids[0][0] >= price
    assert uuid in world.account.open_orders()
    assert min(trade.trade_price for trade in world.trades() if trade.code == "KRW-BTC") >= price


# Orders that trade at once


def test_a_limit_order_takes_up_to_its_price_and_the_rest_of_it_rests() -> None:
    world = World(quiet=True)
    book = world.book()
    limit = book.asks[2][0]
    there = sum(exact(size) for _, size in book.asks[:3])
    uuid = world.account.place(world.now, "KRW-BTC", "BID", price=limit, volume=there + 1)
    trades = world.trades()
    assert [(trade.trade_price, trade.trade_volume, trade.ask_bid) for trade in trades] == [
        (price, size, "BID") for price, size in book.asks[:3]
    ]
    assert world.states(uuid) == ["wait", "trade", "trade", "trade"]
    last: Any = world.account.orders()[uuid]
    assert (last.remaining_volume, last.is_maker, last.trades_count) == (1, False, 3)
    assert last.locked == exact(limit) * D("1.0005")
    assert last.reserved_fee == exact(limit) * (there + 1) * D("0.0005")
    assert world.book().bids[0] == (limit, 1.0)
    spent = sum(exact(price) * exact(size) for price, size in book.asks[:3]) * D("1.0005")
    assert world.balance("KRW") == (10**11 - spent - exact(limit) * D("1.0005"), exact(limit) * D("1.0005"))
    assert world.balance("BTC")[0] == 1_000 + there
    # A ticker and a book follow each trade, and the last of each is the present state.
    tickers = [event for event in world.public if isinstance(event, TickerEvent)]
    assert [ticker.trade_volume for ticker in tickers] == [trade.trade_volume for trade in trades]
    assert {event.timestamp for event in world.public} == {int(START * 1000)}


@pytest.mark.parametrize(
    ("order", "states"),
    [
        ({"price": 0, "volume": "0.000001", "time_in_force": "ioc", "levels": 0}, ["cancel"]),
        ({"time_in_force": "ioc", "levels": 1}, ["trade", "done"]),
        ({"time_in_force": "ioc", "levels": 1, "more": 1}, ["trade", "cancel"]),
        ({"time_in_force": "fok", "levels": 2}, ["trade", "trade", "done"]),
        ({"time_in_force": "fok", "levels": 2, "more": 1}, ["cancel"]),
        ({"time_in_force": "post_only", "levels": 1}, ["cancel"]),
        ({"time_in_force": "post_only", "levels": 0, "volume": 1}, []),
    ],
)
@pytest.mark.parametrize("side", ["BID", "ASK"])
def test_how_long_a_limit_order_lives(side: str, order: dict[str, Any], states: list[str]) -> None:
    world = World(quiet=True)
    book = world.book()
    mine, theirs = (book.bids, book.asks) if side == "BID" else (book.asks, book.bids)
    levels = order["levels"]
    price = theirs[levels - 1][0] if levels else mine[0][0]
    there = sum((exact(size) for _, size in theirs[:levels]), D(0))
    volume = D(order.get("volume", there + order.get("more", 0)))
    uuid = world.account.place(
        world.now, "KRW-BTC", side, price=price, volume=max(volume, D("0.001")), time_in_force=order["time_in_force"]
    )
    assert world.states(uuid) == ["wait", *states]
    assert bool(states) is not (uuid in world.account.open_orders())
    assert len(world.trades()) == states.count("trade")
    if states:
        assert all(asset.locked == 0 for asset in world.account.balances().values())


def test_a_market_buy_spends_what_it_was_given_and_cancels_what_buys_nothing_more() -> None:
    world = World(quiet=True)
    uuid = world.account.place(world.now, "KRW-BTC", "BID", "price", price=100_000_000)
    assert world.states(uuid)[-1] == "cancel"
    last: Any = world.account.orders()[uuid]
    first: Any = world.told()[0]
    assert (first.price, first.volume, first.remaining_volume, first.locked) == (10**8, None, None, 100_050_000)
    assert (last.price, last.volume, last.remaining_volume, last.locked) == (10**8, None, None, 0)
    assert last.executed_funds is not None
    assert 10**8 - 2 < last.executed_funds < 10**8
    assert last.paid_fee == last.executed_funds * D("0.0005")
    assert world.balance("KRW") == (10**11 - last.executed_funds * D("1.0005"), 0)
    assert len(world.trades()) == last.trades_count > 1


def test_a_market_buy_that_comes_out_even_is_done() -> None:
    world = World(quiet=True)
    price = exact(world.book("KRW-XRP").asks[0][0])
    uuid = world.account.place(world.now, "KRW-XRP", "BID", "price", price=price * 10)
    assert world.states(uuid) == ["wait", "trade", "done"]


def test_a_market_sell_sells_at_any_price() -> None:
    world = World(quiet=True)
    book = world.book("BTC-ETH")
    volume = exact(book.bids[0][1]) + exact(book.bids[1][1]) / 2
    volume = volume.quantize(D("1e-8"))
    uuid = world.account.place(world.now, "BTC-ETH", "ASK", "market", volume=volume)
    assert world.states(uuid) == ["wait", "trade", "trade", "done"]
    last: Any = world.account.orders()[uuid]
    assert (last.price, last.reserved_fee, last.remaining_volume) == (None, 0, 0)
    assert last.executed_funds is not None
    assert last.paid_fee == last.executed_funds * D("0.0025")
    assert world.balance("BTC") == (1_000 + last.executed_funds - last.paid_fee, 0)
    assert world.balance("ETH") == (10**5 - volume, 0)


@pytest.mark.parametrize("time_in_force", ["ioc", "fok"])
def test_a_best_order_takes_of_the_best_level_alone(time_in_force: str) -> None:
    world = World(quiet=True)
    book = world.book()
    price, size = book.bids[0]
    volume = exact(size) + 1
    uuid = world.account.place(world.now, "KRW-BTC", "ASK", "best", volume=volume, time_in_force=time_in_force)
    assert world.states(uuid) == (["wait", "trade", "cancel"] if time_in_force == "ioc" else ["wait", "cancel"])
    assert [trade.trade_price for trade in world.trades()] == ([price] if time_in_force == "ioc" else [])
    uuid = world.account.place(world.now, "KRW-BTC", "BID", "best", price=10_000, time_in_force=time_in_force)
    assert world.states(uuid) == ["wait", "trade", "cancel"]


def test_a_market_order_ends_where_the_market_does() -> None:
    world = World({"KRW": 10**18}, quiet=True)
    uuid = world.account.place(world.now, "KRW-BTC", "BID", "price", price=10**15)
    assert world.states(uuid)[-1] == "cancel"
    assert all(asset.locked == 0 for asset in world.account.balances().values())
    assert_books(world.public)


# Self-match prevention


@pytest.mark.parametrize(
    ("smp_type", "maker", "taker", "left"),
    [
        (None, ["wait", "prevented", "cancel"], ["wait"], (0, "0.3")),
        ("cancel_maker", ["wait", "prevented", "cancel"], ["wait"], (0, "0.3")),
        ("cancel_taker", ["wait"], ["wait", "prevented", "cancel"], ("0.5", 0)),
        ("reduce", ["wait", "prevented"], ["wait", "prevented", "cancel"], ("0.2", 0)),
        ("none", ["wait", "trade"], ["wait", "trade", "done"], ("0.2", 0)),
    ],
)
@pytest.mark.parametrize("side", ["BID", "ASK"])
def test_an_order_that_meets_one_of_its_own_account(
    side: str, smp_type: str | None, maker: list[str], taker: list[str], left: tuple[Any, Any]
) -> None:
    world = World(quiet=True)
    price = world.book().asks[0][0] - 1000  # between the makers
    other = "ASK" if side == "BID" else "BID"
    first = world.account.place(world.now, "KRW-BTC", other, price=price, volume="0.5")
    second = world.account.place(world.now, "KRW-BTC", side, price=price, volume="0.3", smp_type=smp_type)
    assert (world.states(first), world.states(second)) == (maker, taker)
    assert len(world.trades()) == taker.count("trade")
    held = {uuid: order.remaining_volume for uuid, order in world.account.open_orders().items()}
    assert held == {uuid: D(size) for uuid, size in zip((first, second), left, strict=True) if size}
    prevented = [order for order in world.told() if order.state == "prevented"]
    volumes = {None: "0.5", "cancel_maker": "0.5", "cancel_taker": "0.3", "reduce": "0.3"}
    assert {order.prevented_volume for order in prevented} <= {D(volumes.get(smp_type, "0"))}
    for order in prevented:
        volume = order.prevented_volume or D(0)
        assert order.prevented_locked == (volume * exact(price) * D("1.0005") if order.ask_bid == "BID" else volume)
    assert_balances(world)
    if smp_type != "none":
        assert sum(world.balance("BTC")) == 1_000
        assert sum(world.balance("KRW")) == 10**11


# Accounts with each other


def test_two_accounts_trade_with_each_other_and_only_fees_are_lost() -> None:
    world = World(RICH, RICH, quiet=True)
    price = world.book().asks[0][0] - 1000
    maker = world.accounts[0].place(world.now, "KRW-BTC", "ASK", price=price, volume="0.5", identifier="mine")
    taker = world.accounts[1].place(world.now, "KRW-BTC", "BID", price=price, volume="0.50000001", time_in_force="ioc")
    assert world.states(maker) == ["wait", "trade", "done"]
    assert world.states(taker, 1) == ["wait", "trade", "cancel"]
    sold, bought = (next(order for order in world.told(number) if order.state == "trade") for number in (0, 1))
    assert (sold.trade_uuid, sold.price, sold.volume) == (bought.trade_uuid, bought.price, bought.volume)
    assert (sold.is_maker, bought.is_maker) == (True, False)
    assert (sold.identifier, bought.identifier) == ("mine", None)
    (trade,) = world.trades()
    assert (trade.trade_price, trade.trade_volume, trade.ask_bid) == (price, 0.5, "BID")
    funds = exact(price) * D("0.5")
    assert world.balance("KRW", 0) == (10**11 + funds - funds * D("0.0005"), 0)
    assert world.balance("KRW", 1) == (10**11 - funds - funds * D("0.0005"), 0)
    assert (world.balance("BTC", 0), world.balance("BTC", 1)) == ((D("999.5"), 0), (D("1000.5"), 0))


def test_of_equal_prices_the_older_order_comes_first_and_before_the_makers() -> None:
    world = World(RICH, RICH, RICH, quiet=True)
    price = world.book().asks[0][0]
    first = world.accounts[0].place(world.now, "KRW-BTC", "ASK", price=price, volume="0.1")
    second = world.accounts[1].place(world.now, "KRW-BTC", "ASK", price=price, volume="0.1")
    world.accounts[2].place(world.now, "KRW-BTC", "BID", price=price, volume="0.15")
    assert world.states(first) == ["wait", "trade", "done"]
    assert world.states(second, 1) == ["wait", "trade"]


# What is refused


@pytest.mark.parametrize(
    ("error", "order"),
    [
        (UnknownMarketError, {"code": "KRW-NOPE"}),
        (UnknownMarketError, {"code": "krw-btc"}),
        (OffGridError, {"price": 100_000_001}),
        (OffGridError, {"price": "1e12"}),
        (OffGridError, {"ask_bid": "ASK", "price": 1_000_000}),
        (OrderTooSmallError, {"volume": "0.00000001"}),
        (OrderTooSmallError, {"order_type": "price", "price": 4_999, "volume": None}),
        (OrderTooSmallError, {"ask_bid": "ASK", "order_type": "market", "price": None, "volume": "0.00000001"}),
        (InsufficientFundsError, {"volume": 10_000}),
        (InsufficientFundsError, {"order_type": "price", "price": 10**11, "volume": None}),
        (InsufficientFundsError, {"ask_bid": "ASK", "volume": "1000.00000001", "price": 200_000_000}),
        (InsufficientFundsError, {"code": "BTC-ETH", "ask_bid": "ASK", "volume": 10**9, "price": 1}),
        (InvalidOrderError, {"ask_bid": "BUY"}),
        (InvalidOrderError, {"order_type": "stop"}),
        (InvalidOrderError, {"order_type": "market"}),
        (InvalidOrderError, {"ask_bid": "ASK", "order_type": "price"}),
        (InvalidOrderError, {"price": None}),
        (InvalidOrderError, {"volume": None}),
        (InvalidOrderError, {"order_type": "price"}),
        (InvalidOrderError, {"order_type": "best", "volume": None}),
        (InvalidOrderError, {"order_type": "price", "volume": None, "time_in_force": "ioc"}),
        (InvalidOrderError, {"time_in_force": "gtc"}),
        (InvalidOrderError, {"smp_type": "all"}),
        (InvalidOrderError, {"price": -1}),
        (InvalidOrderError, {"price": "x"}),
        (InvalidOrderError, {"price": float("nan")}),
        (InvalidOrderError, {"volume": 0}),
        (InvalidOrderError, {"volume": "0.000000001"}),
        (InvalidOrderError, {"volume": True, "price": "1" * 50}),
        (InvalidOrderError, {"identifier": "used"}),
    ],
)
def test_an_order_that_the_exchange_does_not_take_changes_nothing(
    error: type[OrderError], order: dict[str, Any]
) -> None:
    world = World(quiet=True)
    world.account.place(world.now, "KRW-BTC", "BID", price=1_000_000, volume=1, identifier="used")
    world.wait()
    before, book = world.account.balances(), world.book().orderbook_units
    heard = len(world.private[0]), len(world.public)
    asked = {"code": "KRW-BTC", "ask_bid": "BID", "order_type": "limit", "price": 100_000_000, "volume": 1, **order}
    if error is InsufficientFundsError and order.get("code"):
        asked["price"] = world.book("BTC-ETH").asks[0][0]
    with pytest.raises(error) as why:
        world.account.place(world.now, **asked)
    assert len(str(why.value)) > 10
    world.wait()
    assert (world.account.balances(), world.book().orderbook_units) == (before, book)
    assert (len(world.private[0]), len(world.public)) == heard
    assert len(world.account.orders()) == 1


def test_an_order_may_have_been_filled_before_it_is_cancelled() -> None:
    world = World(rate=1_000)
    price = world.book().bids[0][0]
    uuid = world.account.place(world.now, "KRW-BTC", "BID", price=price, volume="0.001")
    with pytest.raises(OrderNotFoundError):
        world.account.cancel(world.now + 60, uuid)
    assert world.account.orders()[uuid].state == "done"


def test_time_never_goes_back() -> None:
    world = World(rate=1_000)
    world.wait(10.0)
    last = max(event.timestamp for event in world.public)
    uuid = world.account.place(START, "KRW-BTC", "ASK", "market", volume="0.1")
    assert world.account.orders()[uuid].timestamp >= last
    world.wait(10.0)
    assert all(earlier.timestamp <= later.timestamp for earlier, later in pairwise(world.trades()))


def test_orders_that_have_ended_are_forgotten_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "KEPT_ORDERS", 5)
    world = World(quiet=True)
    kept = world.account.place(world.now, "KRW-BTC", "BID", price=1_000_000, volume=1)
    uuids = []
    for number in range(8):
        uuids.append(
            world.account.place(
                world.now,
                "KRW-BTC",
                "ASK",
                price=200_000_000,
                volume=1,
                identifier=str(number % 3) if number > 5 else None,
            )
        )
        world.account.cancel(world.now, uuids[-1])
    assert set(world.account.orders()) == {kept, *uuids[-5:]}


def test_clients_are_woken_when_there_is_news_out_of_turn() -> None:
    world = World(quiet=True)
    woken: list[str] = []
    public = world.exchange.connect(START)
    public.wake = lambda: woken.append("public")
    world.sessions[0].wake = lambda: woken.append("private")
    world.account.place(world.now, "KRW-BTC", "BID", price=1_000_000, volume=1)
    assert {"public", "private"} == set(woken)
    # Somebody with open orders wakes up with the market, everybody else needs not.
    assert world.sessions[0].next_time() == START + 60
    busy = World(rate=100)
    assert busy.sessions[0].next_time() == START + 60
    busy.account.place(START, "KRW-BTC", "BID", price=1_000_000, volume=1)
    busy.wait()
    assert busy.sessions[0].next_time() < START + 1


# All of it


def assert_books(events: Iterable[Event]) -> None:
    """Every book has thirty levels a side and is in order."""
    for book in events:
        if isinstance(book, OrderbookEvent):
            assert len(book.asks) == len(book.bids) == 30
            assert all(better < worse for (better, _), (worse, _) in pairwise(book.asks))
            assert all(better > worse for (better, _), (worse, _) in pairwise(book.bids))
            assert book.asks[0][0] > book.bids[0][0]
            assert all(size > 0 for _, size in book.asks + book.bids)


def assert_balances(world: World) -> None:
    """What was sent is what is, and what open orders hold is what is locked."""
    world.wait()
    for account, heard in zip(world.accounts, world.private, strict=True):
        orders = {event.uuid: as_told(event) for event in heard if isinstance(event, MyOrderEvent)}
        assert orders == account.orders()
        held: dict[str, Decimal] = {}
        for uuid, order in account.orders().items():
            quote, _, base = order.code.partition("-")
            currency = quote if order.ask_bid == "BID" else base
            held[currency] = held.get(currency, D(0)) + (order.locked or 0)
            assert (order.state in ("done", "cancel")) is not (uuid in account.open_orders())
        balances = account.balances()
        assert {currency: asset.locked for currency, asset in balances.items() if asset.locked} == {
            currency: locked for currency, locked in held.items() if locked
        }
        for event in heard:
            if isinstance(event, MyAssetEvent):
                assert all(asset.balance >= 0 and asset.locked >= 0 for asset in event.assets)
        told = {asset.currency: asset for event in heard if isinstance(event, MyAssetEvent) for asset in event.assets}
        assert {currency: balances[currency] for currency in told} == told


def assert_conserved(world: World, initial: dict[str, Any]) -> None:
    """What the accounts have, and paid as fees, is what they had, and won from the makers and takers of the market."""
    fills = [order for number in range(len(world.accounts)) for order in world.told(number) if order.state == "trade"]
    sides: dict[str | None, int] = {}
    for fill in fills:
        sides[fill.trade_uuid] = sides.get(fill.trade_uuid, 0) + 1
    expected = {currency: D(amount) * len(world.accounts) for currency, amount in initial.items()}
    for fill in fills:
        assert fill.price is not None
        assert fill.volume is not None
        assert fill.trade_fee is not None
        quote, _, base = fill.code.partition("-")
        expected[quote] -= fill.trade_fee
        assert fill.trade_fee == fill.price * fill.volume * D("0.0005" if quote == "KRW" else "0.0025")
        if sides[fill.trade_uuid] == 1:
            sign = 1 if fill.ask_bid == "BID" else -1
            expected[base] += sign * fill.volume
            expected[quote] -= sign * fill.volume * fill.price
    for currency, amount in expected.items():
        have = sum((sum(world.balance(currency, number)) for number in range(len(world.accounts))), D(0))
        assert have == amount


def assert_public_trades(world: World) -> None:
    """Every fill is one public trade, with its price and volume, its time and its side; none has two."""
    public = [(t.code, t.trade_timestamp, exact(t.trade_price), t.trade_volume, t.ask_bid) for t in world.trades()]
    fills: dict[str | None, tuple[Any, ...]] = {}
    for number in range(len(world.accounts)):
        for fill in world.told(number):
            if fill.state == "trade":
                assert fill.volume is not None
                taker = fill.ask_bid if not fill.is_maker else {"ASK": "BID", "BID": "ASK"}[fill.ask_bid]
                seen = (fill.code, fill.trade_timestamp, fill.price, float(fill.volume), taker)
                assert fills.setdefault(fill.trade_uuid, seen) == seen
    for seen in fills.values():
        public.remove(seen)  # type: ignore[arg-type]


def assert_last_candles(world: World) -> None:
    """The candles of one second count every trade of it, whoever's."""
    candles: dict[tuple[str, str], CandleEvent] = {}
    trades: dict[tuple[str, str], list[TradeEvent]] = {}
    for event in world.public:
        if isinstance(event, TradeEvent):
            trades.setdefault((event.code, f"{event.trade_date}T{event.trade_time}"), []).append(event)
        elif event.type == "candle.1s" and isinstance(event, CandleEvent) and event.timestamp > START * 1000:
            candles[event.code, event.candle_date_time_utc] = event
    for start, candle in candles.items():
        assert sum(exact(trade.trade_volume) for trade in trades[start]) == exact(candle.candle_acc_trade_volume)
        assert candle.trade_price == trades[start][-1].trade_price


actions = st.tuples(
    st.integers(0, 2),  # whose
    st.sampled_from(["limit", "limit", "limit", "cross", "price", "market", "best", "cancel"]),
    st.sampled_from(["BID", "ASK"]),
    st.sampled_from(CODES),
    st.integers(0, 6),  # how far away
    st.integers(1, 10**7),  # how much, in parts of what is usual
    st.sampled_from([None, None, "ioc", "fok", "post_only"]),
    st.sampled_from([None, "none", "reduce", "cancel_maker", "cancel_taker"]),
    st.floats(0.0, 2.0),  # and then
)


def act(world: World, action: tuple[Any, ...]) -> None:
    who, kind, side, code, level, parts, lifetime, smp_type, pause = action
    account = world.accounts[who]
    book = world.book(code)
    mine, theirs = (book.bids, book.asks) if side == "BID" else (book.asks, book.bids)
    volume = max(D("1e-8"), (exact(theirs[0][1]) * parts / 10**6).quantize(D("1e-8")))
    funds = max(D("1e-8"), (volume * exact(theirs[0][0])).quantize(D("1e-8")))
    options: dict[str, Any] = {"smp_type": smp_type}
    try:
        match kind:
            case "cancel":
                account.cancel(world.now, next(iter(account.open_orders()), "none"))
            case "limit" | "cross":
                options.update(price=(mine if kind == "limit" else theirs)[level][0], time_in_force=lifetime)
                account.place(world.now, code, side, volume=volume, **options)
            case "best":
                options["time_in_force"] = "ioc" if lifetime == "ioc" else "fok"
                amount = {"price": funds} if side == "BID" else {"volume": volume}
                account.place(world.now, code, side, "best", **amount, **options)
            case _ if side == "BID":
                account.place(world.now, code, "BID", "price", price=funds, **options)
            case _:
                account.place(world.now, code, "ASK", "market", volume=volume, **options)
    except OrderError:
        pass
    world.wait(pause)


@given(seed=st.integers(0, 1000), script=st.lists(actions, min_size=5, max_size=40))
def test_whatever_accounts_do_everything_agrees(seed: int, script: list[tuple[Any, ...]]) -> None:
    with localcontext() as context:
        context.prec = 100
        world = World(RICH, RICH, RICH, rate=200, seed=seed)
        for action in script:
            act(world, action)
        world.wait(3.0)
        assert_balances(world)
        assert_conserved(world, RICH)
        assert_public_trades(world)
        assert_books(world.public)
        assert_last_candles(world)
        timestamps = [event.timestamp for event in world.public if not isinstance(event, CandleEvent)]
        assert timestamps == sorted(timestamps)
        trades = world.trades()
        assert len({(trade.code, trade.sequential_id) for trade in trades}) == len(trades)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000), script=st.lists(actions, min_size=5, max_size=15))
def test_the_same_orders_at_the_same_times_make_the_same_history(seed: int, script: list[tuple[Any, ...]]) -> None:
    worlds = [World(RICH, RICH, RICH, seed=seed) for _ in range(2)]
    for world in worlds:
        for action in script:
            act(world, action)
    assert worlds[0].public == worlds[1].public
    assert worlds[0].private == worlds[1].private


def test_a_market_without_orders_is_the_same_with_and_without_accounts() -> None:
    world = World(RICH, RICH, rate=500)
    world.account.deposit(world.now, "KRW", 1)
    alone = MarketSimulation(codes=CODES, rate=500, start_ms=int(START * 1000))
    for _ in range(20):
        with pytest.raises(OrderError):
            world.account.place(world.now, "KRW-BTC", "BID", price=1, volume=1)
        world.wait(0.7)
    assert world.public == alone.advance(int(world.now * 1000))
