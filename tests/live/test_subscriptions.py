"""What goes on the wire: the union of all wants, once, and again whenever it must."""

from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.spy import asked, spied_manager
from tests.support.world import CODES, wall

from upbit_streams import DataType, Format
from upbit_streams.engine.reconciler import Reconciler


async def test_the_wants_of_a_hundred_clients_starting_together_are_one_request() -> None:
    async with spied_manager() as (manager, _, sent), anyio.create_task_group() as group:

        async def start(number: int) -> None:
            async with manager.open_client(f"client {number}") as client:
                await client.register_interest([DataType.TICKER, DataType.TRADE], f"KRW-C{number}")
                await anyio.sleep(10)

        for number in range(100):
            group.start_soon(start, number)
        await anyio.sleep(5)
        codes = sorted(f"KRW-C{number}" for number in range(100))
        assert [asked(request) for request in sent] == [{"ticker": codes, "trade": codes}]


async def test_a_change_of_wants_sends_the_full_new_request() -> None:
    async with spied_manager() as (manager, _, sent), manager.open_client("one") as one:
        await one.register_interest(DataType.TRADE, "KRW-BTC")
        await anyio.sleep(1)
        async with manager.open_client("two") as two:
            await two.register_interest([DataType.TRADE, DataType.candle(5)], ["krw-eth", "KRW-BTC"])
            await anyio.sleep(1)
        await anyio.sleep(1)
    assert [asked(request) for request in sent] == [
        {"trade": ["KRW-BTC"]},
        {"candle.5m": ["KRW-BTC", "KRW-ETH"], "trade": ["KRW-BTC", "KRW-ETH"]},
        {"trade": ["KRW-BTC"]},
    ]


async def test_a_reconnect_sends_the_request_again_under_a_new_ticket() -> None:
    async with spied_manager() as (manager, exchange, sent), manager.open_client("one") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await anyio.sleep(1)
        exchange.end_sessions(wall())
        await anyio.sleep(5)
    assert [asked(request) for request in sent] == [{"trade": sorted(CODES)}] * 2
    assert sent[0][0]["ticket"] != sent[1][0]["ticket"]


async def test_the_format_of_the_configuration_is_asked_for_and_decoded() -> None:
    for format in Format:
        async with spied_manager(format=format) as (manager, _, sent), manager.open_client("one") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()
            assert sent[0][-1] == {"format": format.value}
            assert client.get_trade("KRW-BTC").trade_price > 0


async def test_a_connection_nobody_wants_is_closed_after_a_while_and_opened_again_by_the_next_want() -> None:
    async with spied_manager(idle_timeout=30.0) as (manager, exchange, _), manager.open_client("one") as client:
        await anyio.sleep(5)
        assert not exchange.sessions, "it connected although nobody wanted anything"
        async with client.stream(DataType.TRADE, CODES) as trades:
            await trades.receive()
        await anyio.sleep(29)
        assert exchange.sessions
        await anyio.sleep(2)
        assert not exchange.sessions
        async with client.stream(DataType.TRADE, CODES) as trades:
            assert (await trades.receive()).epoch.number == 2


@given(changes=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(CODES), st.floats(0, 2)), max_size=25))
def test_e6_once_the_wants_rest_the_last_request_equals_their_union(virtual_run: Any, changes: list[Any]) -> None:
    """Five consumers enter and leave streams of random markets at random moments."""

    async def main() -> None:
        async with spied_manager() as (manager, _, sent), manager.open_client("one") as client:
            await client.register_interest(DataType.ORDERBOOK, "KRW-BTC")
            open_streams: dict[int, tuple[str, AsyncExitStack]] = {}
            async with AsyncExitStack() as all_streams:
                for consumer, code, pause in changes:
                    if consumer in open_streams:
                        await open_streams.pop(consumer)[1].aclose()
                    else:
                        stack = await all_streams.enter_async_context(AsyncExitStack())
                        await stack.enter_async_context(client.stream(DataType.TRADE, code))
                        open_streams[consumer] = code, stack
                    await anyio.sleep(pause)
                await anyio.sleep(70)  # the limit of messages a minute may hold the last one back
                trades = sorted({code for code, _ in open_streams.values()})
                assert asked(sent[-1]) == {"orderbook": ["KRW-BTC"], **({"trade": trades} if trades else {})}

    virtual_run(main)


async def test_who_comes_in_the_moment_in_which_a_connection_would_be_closed_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, left = Reconciler.run, list[object]()

    async def noted(reconciler: Reconciler) -> None:
        await run(reconciler)
        left.append(reconciler.hub.wants.union)

    monkeypatch.setattr(Reconciler, "run", noted)
    gather, idle = 0.25, 30.0
    world = spied_manager(idle_timeout=idle, gather=gather)
    async with world as (manager, _, _), manager.open_client("one") as client:
        for _ in range(20):  # who is first in that moment is for the scheduler to say
            async with client.stream(DataType.TRADE, CODES) as trades:
                await trades.receive()
                await anyio.sleep(1.0)
            await anyio.sleep(gather)
            await anyio.sleep(idle)
        assert not any(left), "it was closed although it was wanted"
