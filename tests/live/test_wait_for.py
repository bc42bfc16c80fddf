"""Waiting until what is known satisfies a condition."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.noted import channels_of, routes_of
from tests.support.private import open_private_world
from tests.support.world import CODES, Fault, World, faults, open_world, wall

from upbit_streams import (
    AuthenticationError,
    Client,
    Credentials,
    DataType,
    NotReadyError,
    NotRegisteredError,
    ScopeError,
    SubscriptionError,
    TradeEvent,
    UsageError,
)
from upbit_streams.testing import Refusal, RefuseWant, play

Run = Callable[..., Any]


def _watchers(world: World) -> list[object]:
    """Whoever is fed with anything."""
    return [*channels_of(world.hub()), *(channel for route in routes_of(world.hub()) for channel in route.channels())]


async def test_what_is_true_already_is_returned_at_once() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        await client.wait_ready()
        started = anyio.current_time()
        assert await client.wait_for(lambda: client.get_trade("KRW-BTC")) == client.get_trade("KRW-BTC")
        assert await client.wait_for(lambda: 7) == 7
        assert anyio.current_time() == started
        assert not _watchers(world)


@given(script=faults(4), code=st.sampled_from(CODES), price=st.integers(1, 60))
def test_it_returns_with_the_read_that_makes_it_true(
    virtual_run: Run, script: list[Fault], code: str, price: int
) -> None:
    """Whatever happens to the connection, it sees each state that a stream would have brought, when it comes."""

    async def main() -> None:
        async with open_world() as world, world.manager.open_client("strategy") as client:
            calls: list[TradeEvent] = []

            def look() -> TradeEvent | None:
                trade = client.get_trade(code)
                calls.append(trade)
                return trade if trade.trade_price >= price else None

            async with anyio.create_task_group() as group:
                group.start_soon(world.suffer, [*script, Fault(10.0, "allow")])
                await client.register_interest(DataType.TRADE, CODES)
                found = await client.wait_for(look)
                assert wall() == pytest.approx(found.received_at, abs=1e-5)
                group.cancel_scope.cancel()
            assert all(trade.trade_price < price for trade in calls[:-1])
            assert found is calls[-1]
            # Every 0.1 s a read brings one trade of each market, so none was passed over.
            ids = [trade.sequential_id for trade in calls]
            steps = [later - earlier for earlier, later in pairwise(ids)]
            assert all(step in (0, 3) or step > 900_000 for step in steps)

    virtual_run(main)


async def test_what_is_not_fresh_counts_as_not_yet() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        world.exchange.refusal = Refusal(503, "maintenance")
        world.exchange.end_sessions(wall())
        await anyio.sleep(10)
        world.exchange.refusal = None
        cut = await client.wait_for(lambda: client.pool.cut(CODES))
        assert cut.epoch.number == 2
        trade = await client.wait_for(lambda: client.get_trade("KRW-BTC", within=0.5))
        assert trade.epoch == cut.epoch


async def test_what_is_registered_while_it_waits_counts_too() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        found: list[TradeEvent] = []

        async def wait() -> None:
            found.append(await client.wait_for(look))

        def look() -> TradeEvent | None:
            try:
                return client.get_trade("KRW-BTC")
            except NotRegisteredError:
                return None

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(5)
            assert not found
            await client.register_interest(DataType.TRADE, "KRW-BTC")
            await anyio.sleep(60)
            group.cancel_scope.cancel()
        assert [trade.sequential_id for trade in found] == [1_000_001]


async def test_another_exception_of_the_function_leaves_as_it_was_raised() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        with anyio.fail_after(60), pytest.raises(ZeroDivisionError):
            await client.wait_for(lambda: 1 / (client.get_trade("KRW-BTC").trade_price - 3) > 1)
        with pytest.raises(NotRegisteredError):
            await client.wait_for(lambda: client.get_ticker("KRW-BTC"))
        assert client.get_trade("KRW-BTC").trade_price == 3
        assert not _watchers(world)


async def test_an_asynchronous_function_is_refused() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:

        async def look() -> bool:
            return True

        with pytest.raises(UsageError, match="plain function"):
            await client.wait_for(look)  # type: ignore[unused-coroutine]


async def test_cancelling_it_leaves_nothing_behind() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        with anyio.move_on_after(5) as scope:
            await client.wait_for(lambda: False)
        assert scope.cancelled_caught
        assert not _watchers(world)
        assert client.pool.entry(DataType.TRADE, "KRW-BTC").updates == pytest.approx(50, abs=2)


async def test_who_waits_is_told_that_the_scope_was_left() -> None:
    async with open_world() as world:
        async with anyio.create_task_group() as group:

            async def wait(client: Client) -> None:
                with anyio.fail_after(60), pytest.raises(ScopeError, match="client 'strategy' has been left"):
                    await client.wait_for(lambda: False)

            async with world.manager.open_client("strategy") as client:
                await client.register_interest(DataType.TRADE, CODES)
                group.start_soon(wait, client)
                await anyio.sleep(1)
        with pytest.raises(ScopeError):
            await client.wait_for(lambda: True)


async def test_a_key_that_is_refused_reaches_who_waits() -> None:
    nobody = Credentials("nobody", "x" * 40)
    async with open_private_world(credentials=nobody) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.MY_ORDER)
        with pytest.raises(AuthenticationError):
            await client.wait_for(lambda: client.get_my_order("x"))
        with pytest.raises(NotReadyError):
            client.get_my_order("x")


async def test_it_looks_again_when_an_epoch_ends() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        world.source.muted = frozenset(CODES)
        await anyio.sleep(5)

        async def lose() -> None:
            await anyio.sleep(20)
            world.exchange.refusal = Refusal(503, "maintenance")
            world.exchange.end_sessions(wall())

        async with anyio.create_task_group() as group:
            group.start_soon(lose)
            began = anyio.current_time()
            with anyio.fail_after(60):
                assert await client.wait_for(lambda: client.pool.entry(DataType.TRADE, "KRW-BTC").is_stale)
            assert anyio.current_time() == pytest.approx(began + 20, abs=0.1)


async def test_a_refused_interest_ends_it_whether_it_waits_already_or_begins_to() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        await client.wait_ready()

        async def wait() -> None:
            with anyio.fail_after(600), pytest.raises(SubscriptionError, match="ticker of KRW-BAD"):
                await client.wait_for(lambda: client.get_trade("KRW-BTC").trade_price < 0)

        async with anyio.create_task_group() as group:
            group.start_soon(play, [RefuseWant(type="ticker", code="KRW-BAD", lasts=600)], world.exchange, wall)
            group.start_soon(wait)
            await client.register_interest(DataType.TICKER, "KRW-BAD")
        await wait()
        with pytest.raises(SubscriptionError):
            await client.wait_for(lambda: True)
        assert not _watchers(world)
        assert client.get_trade("KRW-BTC").trade_price > 0
