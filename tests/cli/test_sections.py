"""What the sections of the table make of single events."""

from decimal import Decimal
from typing import Any

import pytest

from upbit_streams import AnnouncementEvent, Asset, Epoch, EpochStarted, MyAssetEvent, MyOrderEvent
from upbit_streams.cli.account import Announcements, Balances, Orders
from upbit_streams.cli.columns import fitted, number, plain, share


def epoch(number: int) -> Epoch:
    return Epoch(connection="private", number=number, started_at=0.0, wall_offset=0.0, reason="")


def order(uuid: str, state: str, life: int = 1, **fields: Any) -> MyOrderEvent:
    usual: dict[str, Any] = {
        "price": Decimal(100),
        "volume": Decimal(3),
        "remaining_volume": Decimal(3),
        "timestamp": 1,
    }
    return MyOrderEvent(
        code="KRW-BTC", uuid=uuid, ask_bid="BID", order_type="limit", state=state, trades_count=0, order_timestamp=1,
        stream_type="REALTIME", epoch=epoch(life), **usual | fields,
    )  # fmt: skip


def lines(section: Orders | Balances | Announcements, *headings: str) -> list[tuple[str, ...]]:
    columns = section.columns(section.size())
    return list(zip(*([cell.plain for cell in columns[heading]] for heading in headings), strict=True))


def test_an_order_keeps_its_price_and_volume_when_it_is_filled() -> None:
    """The price and the volume of such an event are those of the fill."""
    orders = Orders()
    fill = order("a", "trade", price=Decimal(99), volume=Decimal(1), remaining_volume=Decimal(2),
                 executed_volume=Decimal(1))  # fmt: skip
    orders.take(fill)
    assert lines(orders, "price", "volume", "remaining", "state") == [("99", "3", "2", "trade")]
    orders.take(order("a", "wait"))
    orders.take(fill)
    assert lines(orders, "price", "volume", "remaining", "state") == [("100", "3", "2", "trade")]


def test_open_orders_come_first_and_few_that_have_ended_stay() -> None:
    """The latest change first."""
    orders = Orders()
    for number_ in range(7):
        orders.take(order(f"o{number_}", "wait"))
    for number_ in range(6):
        orders.take(order(f"o{number_}", "done" if number_ else "cancel"))
    assert [uuid for (uuid,) in lines(orders, "order")] == ["o6", "o5", "o4", "o3", "o2", "o1"]


def test_an_order_from_before_a_gap_is_doubtful() -> None:
    """It may have ended in the gap. One that had ended before is not, nor one that was heard of since."""
    orders = Orders()
    orders.take(order("a", "wait"))
    orders.take(order("b", "done"))
    assert lines(orders, "order", "state") == [("a", "wait"), ("b", "done")]
    orders.take(EpochStarted(epoch(2), missing_from=1.0, missing_to=2.0))
    assert lines(orders, "order", "state") == [("a", "wait?"), ("b", "done")]
    orders.take(order("c", "wait", 2))
    assert lines(orders, "order", "state") == [("c", "wait"), ("a", "wait?"), ("b", "done")]
    orders.take(order("a", "trade", 2))
    assert lines(orders, "order", "state") == [("a", "trade"), ("c", "wait"), ("b", "done")]


def test_an_order_that_has_ended_is_not_opened_by_what_is_told_late() -> None:
    orders = Orders()
    orders.take(order("a", "done", timestamp=20))
    orders.take(order("a", "trade", timestamp=10))
    orders.take(order("a", "wait", timestamp=30))
    assert lines(orders, "order", "state") == [("a", "done")]
    orders.take(order("b", "trade", timestamp=20, remaining_volume=Decimal(1)))
    orders.take(order("b", "wait", timestamp=10))
    assert lines(orders, "order", "state", "remaining")[0] == ("b", "trade", "1")


def test_an_older_balance_does_not_replace_a_newer_one() -> None:
    balances = Balances()
    for stamp, balance in ((20, 2), (10, 1)):
        assets = (Asset(currency="KRW", balance=Decimal(balance), locked=Decimal(0)),)
        balances.take(
            MyAssetEvent(
                asset_uuid="u", assets=assets, asset_timestamp=stamp, timestamp=stamp, stream_type="REALTIME",
                epoch=epoch(1),
            )
        )  # fmt: skip
    assert lines(balances, "currency", "balance") == [("KRW", "2")]


def test_balances_are_those_that_were_told_last() -> None:
    """By currency, whichever event told them."""
    balances = Balances()
    for currency, amount in (("KRW", 1), ("BTC", 2), ("KRW", 3)):
        assets = (Asset(currency=currency, balance=Decimal(amount), locked=Decimal("0.5")),)
        balances.take(
            MyAssetEvent(asset_uuid="u", assets=assets, asset_timestamp=1, timestamp=1, stream_type="REALTIME")
        )
    assert lines(balances, "currency", "balance", "locked") == [("BTC", "2", "0.5"), ("KRW", "3", "0.5")]


def test_an_announcement_cannot_steer_the_terminal() -> None:
    """Only the last few stay, and a long title is cut."""
    announcements = Announcements()
    for title in ("1", "2", "\x1b[2J\x07end", "x" * 60):
        announcements.take(
            AnnouncementEvent(
                event_type="CREATED",
                uuid="u",
                title=title,
                category="notice",
                url="",
                timestamp=1,
                first_listed_at="",
                listed_at="2026-01-02T03:04:05+09:00",
                stream_type="REALTIME",
            )
        )
    times, titles = zip(*lines(announcements, "announced", "title"), strict=True)
    assert set(times) == {"2026-01-02 03:04:05"}
    assert titles == ("x" * 49 + "…", r"\x1b[2J\x07end", "2")


@pytest.mark.parametrize(
    ("room", "wanted", "shares"),
    [
        (10, [3, 4], [3, 4]),
        (5, [9, 9], [3, 2]),
        (6, [9, 1, 9], [3, 1, 2]),
        (0, [5, 0], [1, 1]),
        (3, [0], [1]),
        (3, [], []),
    ],
)
def test_lines_are_shared(room: int, wanted: list[int], shares: list[int]) -> None:
    """In turn, as long as there are any; one each at the least."""
    assert share(room, wanted) == shares


def test_columns_that_do_not_fit_are_named() -> None:
    """Wide characters take two places."""
    columns = {"a": [plain("한글한글")], "b": [plain("12345")]}
    assert fitted(columns, 15)[1] == []
    assert fitted(columns, 14)[1] == ["b"]


def test_numbers_have_no_exponent() -> None:
    """Whatever they come as."""
    assert [number(value) for value in (None, Decimal("1E-8"), 1e8, Decimal(0))] == [
        "", "0.00000001", "100,000,000", "0",
    ]  # fmt: skip
