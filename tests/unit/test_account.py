"""What is known of a user's own account: which orders are open, and that it stays within its bounds."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import AnnouncementEvent, Asset, DataType, MyAssetEvent, MyOrderEvent
from upbit_streams.engine import account as module
from upbit_streams.engine.account import Account
from upbit_streams.testing.strategies import events


@given(
    order=events(DataType.MY_ORDER), states=st.lists(st.sampled_from(["wait", "watch", "trade", "prevented", "new"]))
)
def test_an_order_is_open_until_it_is_done_or_cancelled(order: MyOrderEvent, states: list[str]) -> None:
    account = Account()
    for state in [*states, "prevented"]:
        account.take(msgspec.structs.replace(order, state=state))
        assert account.order(order.uuid) is account.open_orders[order.uuid]
    for end in ("done", "cancel"):
        account.take(msgspec.structs.replace(order, state=end))
        assert order.uuid not in account.open_orders
        assert account.order(order.uuid) is account.done_orders[order.uuid]


@given(order=events(DataType.MY_ORDER))
def test_a_month_of_trading_fits(order: MyOrderEvent) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_ORDERS", 5)
        patch.setattr(module, "MOST_DONE", 3)
        account = Account()
        for number in range(20):
            for state in ("wait", "done") if number % 2 else ("wait",):
                account.take(msgspec.structs.replace(order, uuid=str(number), state=state))
        assert list(account.open_orders) == ["12", "14", "16", "18"]
        assert list(account.done_orders) == ["15", "17", "19"]


@given(order=events(DataType.MY_ORDER))
def test_what_was_done_before_a_moment_is_forgotten_and_not_what_was_done_in_it(order: MyOrderEvent) -> None:
    account = Account()
    for number in range(5):
        account.take(msgspec.structs.replace(order, uuid=str(number), state="done", received_at=float(number)))
    assert account.forget_done(2.0) == 2
    assert list(account.done_orders) == ["2", "3", "4"]
    assert account.forget_done(2.0) == 0
    assert account.forget_done(99.0) == 3
    assert account.order("4") is None


def _order(order: MyOrderEvent, uuid: str, state: str, stamp: int, arrival: int) -> MyOrderEvent:
    return msgspec.structs.replace(order, uuid=uuid, state=state, timestamp=stamp, received_at=float(arrival))


told = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["wait", "trade", "done", "cancel"]), st.integers(0, 5))


@given(order=events(DataType.MY_ORDER), told=st.lists(told, max_size=12))
def test_e5_an_order_is_what_was_stamped_last_whatever_the_order_of_arrival(
    order: MyOrderEvent, told: list[tuple[str, str, int]]
) -> None:
    account, changes = Account(), [_order(order, *change, at) for at, change in enumerate(told)]
    for change in changes:
        account.take(change)
    for uuid in ("a", "b"):
        mine = [change for change in changes if change.uuid == uuid]
        newest = max(
            mine, key=lambda one: (one.state in ("done", "cancel"), one.timestamp, one.received_at), default=None
        )
        assert account.order(uuid) is newest
        assert (uuid in account.open_orders) is (newest is not None and newest.state in ("wait", "trade"))


@given(
    asset=events(DataType.MY_ASSET),
    told=st.lists(st.tuples(st.lists(st.sampled_from(["KRW", "BTC"]), min_size=1), st.integers(0, 5)), max_size=12),
)
def test_e5_a_balance_is_what_was_stamped_last_whatever_the_order_of_arrival(
    asset: MyAssetEvent, told: list[tuple[list[str], int]]
) -> None:
    account, newest = Account(), dict[str, tuple[int, int]]()
    for at, (currencies, stamp) in enumerate(told):
        assets = tuple(Asset(currency=currency, balance=Decimal(at), locked=Decimal(0)) for currency in currencies)
        account.take(msgspec.structs.replace(asset, assets=assets, asset_timestamp=stamp))
        for currency in currencies:
            newest[currency] = max(newest.get(currency, (stamp, at)), (stamp, at))
    found = {currency: (one.asset_timestamp, int(one.balance)) for currency, one in account.balances.items()}
    assert found == newest


@given(news=events(DataType.ANNOUNCEMENT), stamps=st.lists(st.integers(0, 5), min_size=1, max_size=9))
def test_e5_an_announcement_is_what_was_stamped_last(news: AnnouncementEvent, stamps: list[int]) -> None:
    account, changes = Account(), [msgspec.structs.replace(news, timestamp=stamp) for stamp in stamps]
    for change in changes:
        account.take(change)
    assert account.announcements[news.uuid].timestamp == max(stamps)


@given(order=events(DataType.MY_ORDER), asset=events(DataType.MY_ASSET))
def test_e5_another_account_is_not_held_up_by_the_stamps_of_this_one(order: MyOrderEvent, asset: MyAssetEvent) -> None:
    account = Account()
    assets = (Asset(currency="KRW", balance=Decimal(1), locked=Decimal(0)),)
    account.take(_order(order, "a", "done", 9, 0))
    account.take(msgspec.structs.replace(asset, assets=assets, asset_timestamp=9))
    account.clear()
    account.take(_order(order, "a", "wait", 1, 1))
    account.take(msgspec.structs.replace(asset, assets=assets, asset_timestamp=1))
    assert list(account.open_orders) == ["a"]
    assert account.balances["KRW"].asset_timestamp == 1


@given(order=events(DataType.MY_ORDER))
def test_an_order_that_is_done_is_not_opened_by_what_was_told_late(order: MyOrderEvent) -> None:
    account = Account()
    account.take(_order(order, "a", "done", 20, 0))
    account.take(_order(order, "a", "trade", 10, 1))
    assert not account.open_orders
    assert account.done_orders["a"].timestamp == 20


@given(order=events(DataType.MY_ORDER), state=st.sampled_from(["done", "cancel"]))
def test_an_order_is_done_whatever_is_stamped_later(order: MyOrderEvent, state: str) -> None:
    """Nothing follows on its end, so what is stamped after that only came with a wrong stamp."""
    account = Account()
    account.take(_order(order, "a", "trade", 20, 0))
    account.take(_order(order, "a", state, 10, 1))
    assert not account.open_orders
    assert account.done_orders["a"].state == state


@given(asset=events(DataType.MY_ASSET))
def test_a_stamp_that_is_left_out_holds_nothing_up(asset: MyAssetEvent) -> None:
    """The event came all the same, so when it came is what is known of it."""
    account = Account()
    for at, stamp in enumerate((1_700_000_000_000, -1, -1)):
        assets = (Asset(currency="KRW", balance=Decimal(at), locked=Decimal(0)),)
        account.take(
            msgspec.structs.replace(asset, assets=assets, asset_timestamp=stamp, received_at=1_700_000_000.0 + at)
        )
        assert account.balances["KRW"].balance == at
