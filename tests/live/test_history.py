"""The last events of what somebody asked to be kept: how many, for whom, and for how long."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.noted import routes_of
from tests.support.private import BALANCES, credentials_of, open_private_world
from tests.support.world import CODES, Fault, World, faults, open_world, wall

from upbit_streams import (
    CandleEvent,
    Client,
    Credentials,
    DataType,
    DropOldest,
    NotReadyError,
    NotRegisteredError,
    TradeEvent,
    UsageError,
    indicator,
)
from upbit_streams.testing import Refusal

Run = Callable[..., Any]

ALL = DropOldest(100_000)
KINDS = [DataType.TICKER, DataType.TRADE, DataType.ORDERBOOK]


def _kept(world: World, kind: str = "trade", code: str = "KRW-BTC") -> Any:
    """What the hub keeps of a topic."""
    [route] = [route for route in routes_of(world.hub()) if (route.want.type.name, route.want.code) == (kind, code)]
    return route.kept


@given(script=faults(), bound=st.integers(1, 150), limit=st.integers(1, 200))
def test_e5_a_history_is_the_last_of_what_a_stream_saw_that_lost_nothing(
    virtual_run: Run, script: list[Fault], bound: int, limit: int
) -> None:
    async def main() -> None:
        async with open_world() as world, world.manager.open_client("strategy") as client:
            async with client.stream(DataType.TRADE, CODES, backpressure=ALL) as stream:
                await client.register_interest(DataType.TRADE, CODES, history=bound)
                assert client.get_trade_history("KRW-BTC") == []
                await world.suffer(script)
                seen = await stream.receive_batch()
                for code in CODES:
                    trades = [trade for trade in seen if trade.code == code]
                    history = client.get_trade_history(code)
                    assert history == trades[-bound:]
                    assert client.get_trade_history(code, limit) == trades[-min(bound, limit) :]
                    assert history[-1] is client.get_trade(code)
                    assert client.pool.entry(DataType.TRADE, code).updates == len(trades)
                    epochs = [trade.epoch.number for trade in history]
                    assert epochs == sorted(epochs)

    virtual_run(main)


async def test_snapshots_of_a_reconnect_are_no_second_trade_and_candles_stand_there_once() -> None:
    async with open_private_world(rate=2.0) as world, world.manager.open_client("strategy") as client:
        async with client.stream([*KINDS, DataType.candle("1s")], "KRW-BTC", backpressure=ALL) as stream:
            await client.register_interest([*KINDS, DataType.candle("1s")], "KRW-BTC", history=1000)
            for _ in range(5):
                await anyio.sleep(8)
                world.exchange.end_sessions(wall())
            await anyio.sleep(8)
            seen = await stream.receive_batch()
        for kind in KINDS:
            assert client.pool.history(kind, "KRW-BTC") == [event for event in seen if event.type == kind.name]
        ids = [trade.sequential_id for trade in client.get_trade_history("KRW-BTC")]
        assert len(ids) == len(set(ids))
        assert world.manager.status().repeated
        candles = [event for event in seen if isinstance(event, CandleEvent)]
        last = {candle.candle_date_time_utc: candle for candle in candles}
        assert client.get_candle_history("KRW-BTC", "1s") == list(last.values())
        assert len(last) < len(candles), "no candle changed, so this shows nothing"
        assert len(client.get_ticker_history("KRW-BTC", 7)) == 7


async def test_each_client_gets_what_it_asked_for() -> None:
    async with open_private_world() as world:
        async with world.manager.open_client("long") as long, world.manager.open_client("short") as short:
            async with world.manager.open_client("none") as none:
                await none.register_interest(DataType.ORDERBOOK, "KRW-BTC")
                await none.wait_ready()
                await short.register_interest(DataType.ORDERBOOK, "KRW-BTC", count=5, history=3)
                assert short.get_orderbook_history("KRW-BTC")[0].timestamp == none.get_orderbook("KRW-BTC").timestamp
                await long.register_interest(DataType.ORDERBOOK, "KRW-BTC", count=15, history=20)
                await long.register_interest(DataType.ORDERBOOK, "KRW-BTC", level=1000, history=2)
                await anyio.sleep(30)
                assert [len(book.orderbook_units) for book in short.get_orderbook_history("KRW-BTC")] == [5] * 3
                assert [len(book.orderbook_units) for book in long.get_orderbook_history("KRW-BTC")] == [15] * 20
                assert len(short.get_orderbook_history("KRW-BTC", 20)) == 3, "it is given what others keep"
                assert {book.level for book in long.get_orderbook_history("KRW-BTC", level=1000)} == {1000}
                with pytest.raises(UsageError, match=r"without a history.*history=200"):
                    none.get_orderbook_history("KRW-BTC")
                await none.register_interest(DataType.ORDERBOOK, "KRW-BTC", history=7)
                assert len(none.get_orderbook_history("KRW-BTC")) == 7, "it does not begin with those who came before"
                await none.register_interest(DataType.ORDERBOOK, "KRW-BTC", history=4)
                await none.register_interest(DataType.ORDERBOOK, "KRW-BTC")
                assert len(none.get_orderbook_history("KRW-BTC")) == 7
                await none.register_interest(DataType.ORDERBOOK, "KRW-BTC", history=9)
                assert len(none.get_orderbook_history("KRW-BTC")) == 9
            with pytest.raises(NotRegisteredError):
                long.get_orderbook_history("KRW-ETH")


@pytest.mark.parametrize("history", [0, -1, 100_001, 2.0, True, "5", float("nan")])
async def test_a_bound_that_is_none_is_refused_and_registers_nothing(history: Any) -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        with pytest.raises(UsageError, match="from 1 to 100,000"):
            await client.register_interest(DataType.TRADE, CODES, history=history)
        with pytest.raises(NotRegisteredError):
            client.get_trade("KRW-BTC")
        await client.register_interest(DataType.TRADE, CODES, history=100_000)
        with pytest.raises(UsageError, match="from 1 to 100,000"):
            client.get_trade_history("KRW-BTC", history)


@given(stays=st.floats(1, 130), away=st.sampled_from([0.0, 59.9]) | st.floats(0, 59.9), other=st.booleans())
def test_who_comes_back_within_a_minute_finds_its_history(
    virtual_run: Run, stays: float, away: float, other: bool
) -> None:
    """Whether or not another client, who wants no history, keeps the topic alive meanwhile."""

    async def main() -> None:
        async with open_world(interval=1.0) as world, world.manager.open_client("other") as another:
            if other:
                await another.register_interest(DataType.TRADE, "KRW-BTC")
            async with world.manager.open_client("strategy") as client:
                await client.register_interest(DataType.TRADE, "KRW-BTC", history=500)
                await client.wait_ready()
                await anyio.sleep(stays)
                before = client.get_trade_history("KRW-BTC")
                updates = client.pool.entry(DataType.TRADE, "KRW-BTC").updates
            await anyio.sleep(away)
            async with world.manager.open_client("strategy") as client:
                await client.register_interest(DataType.TRADE, "KRW-BTC", history=500)
                assert client.get_trade_history("KRW-BTC")[: len(before)] == before
                await client.wait_ready()
                await anyio.sleep(1.5)
                entry = client.pool.entry(DataType.TRADE, "KRW-BTC")
                assert entry.updates > updates
                assert client.get_trade_history("KRW-BTC")[-1] is entry.event

    virtual_run(main)


async def test_what_nobody_wants_any_more_goes_with_the_cleanup_and_is_counted() -> None:
    async with open_world(interval=1.0) as world, world.manager.open_client("other") as other:
        await other.register_interest(DataType.TRADE, "KRW-ETH", history=10)
        async with world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, ["KRW-BTC", "KRW-ETH"], history=15)
            await client.register_interest(DataType.TRADE, ["KRW-BTC", "KRW-ETH"], history=40)
            await anyio.sleep(59)
        assert world.manager.metrics().cleaned == 0
        assert len(_kept(world, code="KRW-ETH").history) == 40
        await anyio.sleep(62)
        assert world.manager.metrics().cleaned == 2
        assert len(_kept(world, code="KRW-ETH").history) == 10
        async with world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, "KRW-BTC", history=40)
            assert client.get_trade_history("KRW-BTC") == []
            await client.wait_ready()
            assert client.pool.entry(DataType.TRADE, "KRW-BTC").updates == 1
        await anyio.sleep(400)
        assert world.manager.metrics().cleaned == 3
        assert not [kept for kept in world.hub().holders()[1] if kept.history], "something is left"


async def test_what_nobody_wants_any_more_goes_from_every_connection() -> None:
    rsi = indicator("rsi", "5m", period=14)
    async with open_private_world() as world:
        async with world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.INDICATOR, "KRW-BTC", indicators=rsi, history=5)
            await client.wait_ready()
        await anyio.sleep(130)
        assert world.manager.metrics().cleaned == 1


async def test_what_is_kept_is_not_taken_for_the_present_state() -> None:
    async with open_world(interval=1.0) as world:
        for updates in (3, 6):
            async with world.manager.open_client("strategy") as client:
                await client.register_interest(DataType.TRADE, "KRW-BTC", history=10)
                with pytest.raises(NotReadyError):
                    client.get_trade("KRW-BTC")
                assert len(client.get_trade_history("KRW-BTC")) == updates - 3
                await anyio.sleep(3.5)
                assert client.pool.entry(DataType.TRADE, "KRW-BTC").updates == updates
            await anyio.sleep(20)


async def test_e8_who_comes_back_is_shown_the_last_trade_and_has_it_once() -> None:
    async with open_private_world(rate=0.02, seed=5) as world:
        before: list[TradeEvent] = []
        for _ in range(3):
            async with world.manager.open_client("strategy") as client:
                await client.register_interest(DataType.TRADE, "KRW-BTC", history=50)
                await client.wait_ready()
                assert client.get_trade("KRW-BTC").stream_type == "SNAPSHOT"
                history = client.get_trade_history("KRW-BTC")
                ids = [trade.sequential_id for trade in history]
                assert len(ids) == len(set(ids))
                assert history[: len(before)] == before
                before = history
            await anyio.sleep(1)
        assert len(before) == 1, "the market moved, so this shows nothing"


async def test_the_history_of_another_account_is_never_handed_over() -> None:
    async with open_private_world() as world, world.manager.open_client("stays") as stays:
        await stays.register_interest(DataType.MY_ASSET, history=10)
        async with world.manager.open_client("goes") as goes:
            await goes.register_interest(DataType.MY_ORDER, history=10)
            await stays.wait_ready()
            await goes.wait_ready()
            world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            await anyio.sleep(1)
            assert goes.pool.history(DataType.MY_ORDER)
            assert stays.pool.history(DataType.MY_ASSET) == [stays.pool.latest(DataType.MY_ASSET)]
        other = world.exchange.open_account(balances=BALANCES)
        world.manager.set_credentials(credentials_of(other))
        async with world.manager.open_client("comes") as comes:
            await comes.register_interest(DataType.MY_ORDER, history=10)
            assert comes.pool.history(DataType.MY_ORDER) == [], "the connection is that of the other key still"
            world.exchange.end_sessions(wall())
            await anyio.sleep(10)
            await comes.wait_ready()
            assert stays.pool.history(DataType.MY_ASSET) == comes.pool.history(DataType.MY_ORDER) == []
            with pytest.raises(NotReadyError):
                stays.pool.entry(DataType.MY_ASSET)
            other.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            await anyio.sleep(1)
            assert len(stays.pool.history(DataType.MY_ASSET)) == stays.pool.entry(DataType.MY_ASSET).updates == 1


async def test_announcements_are_kept_by_the_categories_each_client_asked_for() -> None:
    async with open_private_world() as world:
        async with world.manager.open_client("all") as all_, world.manager.open_client("some") as some:
            await all_.register_interest(DataType.ANNOUNCEMENT, history=2)
            await some.register_interest(DataType.ANNOUNCEMENT, categories=["trade"], history=2)
            await all_.wait_ready()
            await some.wait_ready()
            for category in ("trade", "notice", "trade"):
                world.exchange.announce(wall(), category=category, title=category)
                await anyio.sleep(1)
            assert [one.category for one in all_.pool.history(DataType.ANNOUNCEMENT)] == ["notice", "trade"]
            assert [one.category for one in some.pool.history(DataType.ANNOUNCEMENT)] == ["trade"]
            world.exchange.announce(wall(), title="another")
            await anyio.sleep(1)
            assert all_.pool.latest(DataType.ANNOUNCEMENT).category == "notice"
            with pytest.raises(NotReadyError):
                some.pool.latest(DataType.ANNOUNCEMENT)


@pytest.mark.parametrize("when", ["while it is open", "while it is down", "while it connects"])
@pytest.mark.parametrize("key", ["another", "refused", "a function", "the same"])
async def test_another_account_is_forgotten_as_soon_as_nothing_more_can_be_told_of_it(when: str, key: str) -> None:
    """And not only once the other key was taken: it may be refused for good."""
    async with open_private_world() as world, world.manager.open_client("stays") as stays:
        other = credentials_of(world.exchange.open_account(balances=BALANCES))
        keys: dict[str, Any] = {
            "another": other,
            "refused": Credentials("nobody", "x" * 40),
            "a function": lambda: other,
            "the same": credentials_of(world.account),
        }
        await stays.register_interest([DataType.MY_ORDER, DataType.MY_ASSET], history=10)
        await stays.wait_ready()
        world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
        await anyio.sleep(1)

        def known(client: Client) -> list[bool]:
            return [
                bool(client.get_open_orders()),
                bool(client.get_my_assets()),
                bool(client.pool.history(DataType.MY_ORDER)),
            ]

        if when != "while it is open":
            world.exchange.refusal = Refusal(503, "maintenance")
            world.exchange.end_sessions(wall())
            await anyio.sleep(0.1 if when == "while it is down" else 5)
        assert known(stays) == [True] * 3
        world.manager.set_credentials(keys[key])
        if when == "while it is open":
            assert known(stays) == [True] * 3, "the connection is that of the other key still"
            world.exchange.refusal = Refusal(503, "maintenance")
            world.exchange.end_sessions(wall())
            await anyio.sleep(0.01)
        async with world.manager.open_client("comes") as comes:
            await comes.register_interest([DataType.MY_ORDER, DataType.MY_ASSET], history=10)
            assert known(comes) == known(stays) == [key == "the same"] * 3
            world.exchange.refusal = None
            await anyio.sleep(30)
            assert known(comes) == [key == "the same"] * 3


async def test_what_a_handshake_with_the_key_before_still_brings_is_forgotten_with_its_connection() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        keys, asked = [credentials_of(world.account)], anyio.Event()

        async def key() -> Credentials:
            asked.set()
            await anyio.sleep(1)  # while this waits, somebody brings another
            return keys[0]

        world.manager.set_credentials(key)
        await client.register_interest(DataType.MY_ASSET)
        await asked.wait()
        other = world.exchange.open_account(balances=BALANCES)
        world.manager.set_credentials(credentials_of(other))
        await client.wait_ready()
        world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
        await anyio.sleep(1)
        assert client.get_my_assets()
        world.exchange.refusal = Refusal(503, "maintenance")
        world.exchange.end_sessions(wall())
        await anyio.sleep(1)
        assert not client.get_my_assets()
