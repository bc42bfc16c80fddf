"""What is known of a user's own account: which orders are open, and that it stays within its bounds."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import DataType, MyOrderEvent
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
