"""What a consumer of its own orders and balances holds, however often it was disconnected."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import anyio
import attrs
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.private import BALANCES, MARKETS, PrivateWorld, open_private_world
from tests.support.world import wall

from upbit_streams import Asset, Client, DataType, Endpoint, Epoch, EpochStarted, MyAssetEvent, MyOrderEvent
from upbit_streams.testing import OrderError, Refusal

Run = Callable[..., Any]


@attrs.frozen
class Step:
    """After so many seconds somebody does something."""

    after: float
    what: str
    code: str = "KRW-BTC"
    ask_bid: str = "BID"
    level: int = 0
    """How many levels of the book the price is away; negative prices trade at once."""
    volume: Decimal = Decimal("0.1")


steps = st.lists(
    st.builds(
        Step,
        after=st.sampled_from([0.0, 0.0, 0.01, 0.3, 2.0, 6.0]),
        what=st.sampled_from(
            ["limit", "limit", "limit", "market", "cancel", "drop", "close", "refuse", "allow", "stall"]
        ),
        code=st.sampled_from(MARKETS),
        ask_bid=st.sampled_from(["ASK", "BID"]),
        level=st.integers(-3, 10),
        volume=st.decimals(Decimal("0.001"), Decimal("0.3"), places=8),
    ),
    max_size=30,
)


@attrs.define
class Holdings:
    """What a consumer believes that it has."""

    orders: dict[str, MyOrderEvent] = attrs.field(factory=dict)
    assets: dict[str, Asset] = attrs.field(factory=dict)
    gaps: list[EpochStarted] = attrs.field(factory=list)

    async def keep(self, client: Client, world: PrivateWorld) -> None:
        """Believe what is told, and ask the exchange for the present state whenever something may be missing."""
        async with client.stream([DataType.MY_ORDER, DataType.MY_ASSET]) as changes:
            async for change in changes:
                match change:
                    case EpochStarted():
                        self.gaps.append(change)
                        self.orders = world.account.orders()
                        self.assets = world.account.balances()
                    case MyOrderEvent():
                        self.orders[change.uuid] = change
                    case MyAssetEvent():
                        self.assets |= {asset.currency: asset for asset in change.assets}


def _unstamped(orders: dict[str, MyOrderEvent]) -> dict[str, MyOrderEvent]:
    blank = {"epoch": Epoch("", 0, 0.0, 0.0, ""), "received_at": 0.0}
    return {uuid: msgspec.structs.replace(order, **blank) for uuid, order in orders.items()}


def _do(world: PrivateWorld, step: Step) -> None:
    exchange, account = world.exchange, world.account
    match step.what:
        case "drop" | "close":
            exchange.end_sessions(wall(), 1000 if step.what == "close" else None, Endpoint.PRIVATE)
        case "refuse":
            exchange.refusals[Endpoint.PRIVATE] = Refusal(503, "maintenance")
        case "allow":
            exchange.refusals.clear()
            exchange.stalled.clear()
        case "stall":
            exchange.stalled.add(Endpoint.PRIVATE)
        case "cancel":
            if account.open_orders():
                account.cancel(wall(), min(account.open_orders()))
        case "market" if step.ask_bid == "BID":
            account.place(wall(), step.code, "BID", "price", price=100_000)
        case "market":
            account.place(wall(), step.code, "ASK", "market", volume=step.volume)
        case _:
            assert exchange.desk is not None
            book = exchange.desk.book(wall(), step.code)
            mine, other = (book.asks, book.bids) if step.ask_bid == "ASK" else (book.bids, book.asks)
            price, _ = mine[step.level] if step.level >= 0 else other[-step.level - 1]
            account.place(wall(), step.code, step.ask_bid, price=price, volume=step.volume)


async def _live_through(world: PrivateWorld, script: Sequence[Step]) -> None:
    for step in script:
        await anyio.sleep(step.after)
        with suppress(OrderError):  # too poor, or too small
            _do(world, step)
    world.exchange.refusals.clear()
    world.exchange.stalled.clear()
    await anyio.sleep(60)


@settings(max_examples=15)
@given(script=steps, seed=st.integers(0, 5))
def test_what_a_consumer_holds_after_reconciling_equals_the_exchanges_books(
    virtual_run: Run, script: list[Step], seed: int
) -> None:
    async def main() -> None:
        holdings = Holdings()
        async with open_private_world(seed=seed, rate=4.0) as world, world.manager.open_client("strategy") as client:
            async with anyio.create_task_group() as group:
                group.start_soon(partial(holdings.keep, client, world))
                await _live_through(world, script)
                group.cancel_scope.cancel()
            account = world.account
            # The market moved on since the last event was read, maybe; what it did then was read, too.
            assert _unstamped(holdings.orders) == _unstamped(account.orders())
            assert holdings.assets == account.balances()
            assert not world.exchange.breaches
            gaps = [gap for gap in holdings.gaps if gap.missing_from is not None]
            assert [gap.epoch.number for gap in holdings.gaps] == sorted({gap.epoch.number for gap in holdings.gaps})
            assert len(gaps) == len(holdings.gaps) - 1
            assert all(gap.missing_from is not None and gap.missing_from <= gap.missing_to for gap in gaps)

            # Every won and every coin is accounted for.
            total = {currency: Decimal(str(amount)) for currency, amount in BALANCES.items()}
            for order in holdings.orders.values():
                quote, _, base = order.code.partition("-")
                sign = 1 if order.ask_bid == "BID" else -1
                total[base] += sign * (order.executed_volume or 0)
                total[quote] -= sign * (order.executed_funds or 0) + (order.paid_fee or 0)
            assert total == {currency: asset.balance + asset.locked for currency, asset in holdings.assets.items()}

    virtual_run(main)
