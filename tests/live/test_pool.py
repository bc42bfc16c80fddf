"""What is read from the pool, and how old it may be."""

import re
from collections.abc import Callable
from typing import Any

import anyio
import attrs
import pytest
from tests.support.private import MARKETS, open_private_world
from tests.support.world import CODES, Clock, NumberedSource, open_world, wall

from upbit_streams import (
    Client,
    Config,
    DataType,
    Endpoint,
    Entry,
    NotReadyError,
    NotRegisteredError,
    ScopeError,
    StaleDataError,
    SubscriptionError,
    UsageError,
    indicator,
    indicator_signal,
    open_manager,
    to_fields,
)
from upbit_streams.testing import Refusal, SimulatedExchange, memory_connector


async def test_an_entry_tells_its_epoch_its_age_and_how_often_it_was_updated() -> None:
    async with open_world(interval=1.0) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        await client.wait_ready()
        first = client.pool.entry(DataType.TRADE, "krw-btc")
        assert first == Entry(client.get_trade("KRW-BTC"), first.event.epoch, first.age, 1, is_stale=False)
        await anyio.sleep(2.25)
        third = client.pool.entry(DataType.TRADE, "KRW-BTC")
        assert (third.updates, third.event.trade_price) == (3, 3.0)
        assert third.age == pytest.approx(first.age + 0.25, abs=1e-6)
        world.exchange.refusal = Refusal(503, "maintenance")
        world.exchange.end_sessions(wall())
        await anyio.sleep(1)
        over = client.pool.entry(DataType.TRADE, "KRW-BTC")
        assert over == attrs.evolve(third, age=over.age, is_stale=True)
        world.exchange.refusal = None
        await anyio.sleep(10)
        again = client.pool.entry(DataType.TRADE, "KRW-BTC")
        assert (again.epoch.number, again.is_stale) == (2, False)
        assert again.updates > 3


async def test_an_entry_is_stale_until_the_new_epoch_has_brought_it() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        world.source.muted = frozenset({"KRW-BTC"})
        world.exchange.end_sessions(wall())
        await anyio.sleep(10)
        assert client.pool.entry(DataType.TRADE, "KRW-BTC").is_stale
        assert not client.pool.entry(DataType.TRADE, "KRW-ETH").is_stale
        with pytest.raises(StaleDataError, match=r"\d s old, as nothing has come since the connection was made"):
            client.get_trade("KRW-BTC", within=1)


async def test_a_value_that_is_too_old_is_an_error_that_says_why() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        assert client.get_trade("KRW-BTC", within=0.2) is client.get_trade("KRW-BTC")
        world.source.muted = frozenset({"KRW-BTC"})
        await anyio.sleep(2)
        client.get_trade("KRW-BTC", within=2.5)
        with pytest.raises(StaleDataError, match="nothing has changed since; the connection is active") as old:
            client.get_trade("KRW-BTC", within=1)
        assert (old.value.type_name, old.value.code, old.value.within) == ("trade", "KRW-BTC", 1)
        assert old.value.age == client.pool.entry(DataType.TRADE, "KRW-BTC").age == pytest.approx(2, abs=0.2)
        with pytest.raises(StaleDataError, match="KRW-BTC"):
            client.get_multiple_trades(within=1)
        assert len(client.get_multiple_trades(within=3)) == 3
        world.exchange.refusal = Refusal(503, "maintenance")
        world.exchange.end_sessions(wall())
        await anyio.sleep(10)
        with pytest.raises(StaleDataError, match=r"connection is reconnecting.*503") as lost:
            client.get_trade("KRW-ETH", within=5)
        assert "503" in lost.value.reason
        assert client.get_trade("KRW-ETH").code == "KRW-ETH", "it is still there for who does not mind"


@pytest.mark.parametrize("within", [-1, -0.0001, float("nan"), "1", True, 1j])
async def test_an_age_that_is_none_is_refused(within: Any) -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        for read in (client.get_trade, client.get_multiple_trades):
            with pytest.raises(UsageError, match="number of seconds"):
                read("KRW-BTC", within=within)


async def test_a_clock_that_is_set_makes_nothing_younger_and_nothing_older_for_long() -> None:
    clock = Clock()
    async with open_world(interval=1.0, clock=clock) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        await client.wait_ready()
        for step in (86_400.0, -86_400.0):
            clock.jump(step)
            entry, cut = client.pool.entry(DataType.TRADE, "KRW-BTC"), client.pool.cut("KRW-BTC")
            assert 0 <= entry.age - max(step, 0.0) < 1
            assert cut.age(DataType.TRADE, "KRW-BTC") == entry.age
            await anyio.sleep(5)
            client.get_trade("KRW-BTC", within=1.01)
            cut = client.pool.cut("KRW-BTC")
            assert cut.age(DataType.TRADE, "KRW-BTC") == client.pool.entry(DataType.TRADE, "KRW-BTC").age


async def test_several_are_read_at_once_and_one_error_names_all_that_is_missing() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        with pytest.raises(NotRegisteredError, match="not registered trade;"):
            client.get_multiple_trades()
        world.source.muted = frozenset({"KRW-ETH", "KRW-XRP"})
        await client.register_interest(DataType.TRADE, CODES)
        await anyio.sleep(1)
        assert list(client.get_multiple_trades("krw-btc")) == ["KRW-BTC"]
        for codes in (None, CODES):
            with pytest.raises(NotReadyError) as missing:
                client.get_multiple_trades(codes)
            assert missing.value.missing == (("trade", "KRW-ETH"), ("trade", "KRW-XRP"))
        with pytest.raises(NotRegisteredError, match="trade of KRW-SOL, trade of KRW-ADA; call") as unknown:
            client.get_multiple_trades(["KRW-SOL", "KRW-BTC", "krw-ada", "KRW-SOL"])
        assert unknown.value.missing == (("trade", "KRW-SOL"), ("trade", "KRW-ADA"))
        assert (unknown.value.type_name, unknown.value.code) == ("trade", "KRW-SOL")
        assert client.get_multiple_trades([]) == {}
    for left in (None, (), CODES):
        with pytest.raises(ScopeError):
            client.get_multiple_trades(left)


async def test_what_is_registered_in_another_way_is_said() -> None:
    fast, slow = indicator("rsi", "5m", period=7), indicator("rsi", "5m", period=14)
    high = indicator_signal("rsi", "5m", "overbought", period=14, threshold=70)
    asked_for: list[tuple[Callable[[Client], object], str]] = [
        (lambda client: client.get_orderbook("KRW-BTC"), "orderbook of KRW-BTC with level=0; pass level=10000, "),
        (lambda client: client.get_orderbook("KRW-BTC", 100), "with level=100; pass level=10000, "),
        (lambda client: client.get_orderbook_history("KRW-BTC"), "with level=0; pass level=10000, "),
        (lambda client: client.get_multiple_orderbooks(), "orderbook with level=0; pass level=10000 or level=1000, "),
        (
            lambda client: client.get_multiple_orderbooks(MARKETS),
            "orderbook of KRW-BTC, orderbook of KRW-ETH with level=0; pass level=10000 or level=1000, ",
        ),
        (
            lambda client: client.get_indicator("KRW-BTC", fast),
            "indicator of KRW-BTC with indicator('rsi', '5m', period=7); pass indicator('rsi', '5m', period=14), ",
        ),
        (
            lambda client: client.get_indicator_signal(
                "KRW-BTC", indicator_signal("rsi", "5m", "oversold", period=14, threshold=30)
            ),
            "pass indicator_signal('rsi', '5m', 'overbought', period=14, threshold=70), which is registered, or call ",
        ),
        (lambda client: client.get_orderbook("KRW-SOL"), "orderbook of KRW-SOL; call "),
        (lambda client: client.get_indicator("KRW-ETH", fast), "indicator of KRW-ETH; call "),
    ]
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.ORDERBOOK, "KRW-BTC", level=10_000)
        await client.register_interest(DataType.ORDERBOOK, "KRW-ETH", level=1_000)
        await client.register_interest(DataType.INDICATOR, "KRW-BTC", indicators=slow)
        await client.register_interest(DataType.INDICATOR_SIGNAL, "KRW-BTC", indicators=high)
        for read, says in asked_for:
            with pytest.raises(NotRegisteredError, match=re.escape(says)):
                read(client)


async def test_every_verb_has_a_plural_and_prices_are_those_of_the_tickers() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest([DataType.TICKER, DataType.TRADE, DataType.candle(5)], MARKETS)
        await client.register_interest(DataType.ORDERBOOK, MARKETS, count=5)
        await client.register_interest(DataType.ORDERBOOK, "KRW-BTC", level=10_000)
        await client.wait_ready()
        assert list(client.get_multiple_tickers().items()) == [(code, client.get_ticker(code)) for code in MARKETS]
        assert client.get_multiple_trades(MARKETS) == {code: client.get_trade(code) for code in MARKETS}
        assert client.get_multiple_candles(unit=5) == client.get_multiple_candles(None, 5)
        assert client.get_multiple_candles(None, 5) == {code: client.get_candle(code, 5) for code in MARKETS}
        assert client.get_multiple_orderbooks() == {code: client.get_orderbook(code) for code in MARKETS}
        assert client.get_multiple_orderbooks(level=10_000) == {"KRW-BTC": client.get_orderbook("KRW-BTC", 10_000)}
        assert client.get_multiple_prices() == {code: client.get_ticker(code).trade_price for code in MARKETS}
        fields = client.get_orderbook_data("KRW-BTC")
        assert fields == to_fields(client.get_orderbook("KRW-BTC"))
        assert (fields["code"], len(fields["orderbook_units"])) == ("KRW-BTC", 5)
        with pytest.raises(UsageError, match="constants of DataType"):
            client.pool.latest("ticker", "KRW-BTC")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="needs at least one market"):
            client.pool.latest(DataType.TICKER)


async def test_several_indicators_of_a_market_are_not_taken_for_one() -> None:
    fast, slow = indicator("rsi", "5m", period=7), indicator("rsi", "5m", period=14)
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.INDICATOR, MARKETS, indicators=[fast])
        await anyio.sleep(700)
        assert list(client.pool.multiple(DataType.INDICATOR)) == list(MARKETS)
        with pytest.raises(UsageError, match=r"pool\.latest\(DataType\.INDICATOR, code, indicator=\.\.\.\)"):
            client.pool.multiple(DataType.INDICATOR, MARKETS)
        await client.register_interest(DataType.INDICATOR, "KRW-ETH", indicators=[slow])
        await anyio.sleep(700)
        with pytest.raises(UsageError, match="indicator of KRW-ETH in 2 ways"):
            client.pool.multiple(DataType.INDICATOR)
        assert client.get_indicator("KRW-ETH", slow) != client.get_indicator("KRW-ETH", fast)


async def test_what_cannot_be_read_is_an_error_that_says_what_can() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        pool, both = client.pool, DataType.TICKER | DataType.TRADE
        cut = pool.cut(CODES)
        wrong: list[Callable[[], object]] = [
            lambda: cut["KRW-BTC"],  # type: ignore[index]
            lambda: "KRW-BTC" in cut,
            lambda: pool.cut(None),  # type: ignore[arg-type]
            lambda: pool.cut("KRW-BTC", 5),  # type: ignore[arg-type]
            lambda: pool.cut("KRW-BTC", [[]]),  # type: ignore[list-item]
            lambda: pool.cut(CODES, both | DataType.ORDERBOOK),
            lambda: client.get_multiple_tickers(5),  # type: ignore[arg-type]
            lambda: client.get_indicator("KRW-BTC", "rsi"),  # type: ignore[arg-type]
            lambda: client.get_my_asset(None),  # type: ignore[arg-type]
            lambda: client.get_my_order([]),  # type: ignore[arg-type]
            lambda: pool.latest(both, "KRW-BTC"),  # type: ignore[arg-type]
            lambda: pool.entry(both, "KRW-BTC"),  # type: ignore[arg-type]
            lambda: pool.history(both, "KRW-BTC"),  # type: ignore[arg-type]
            lambda: pool.multiple("ticker"),  # type: ignore[arg-type]
            lambda: pool.multiple(both),  # type: ignore[arg-type]
        ]
        for read in wrong:
            with pytest.raises(UsageError):
                read()
        assert (DataType.TRADE, "krw-btc") in cut
        assert (DataType.TICKER, "KRW-BTC") not in cut
        assert (DataType.TRADE, "XX") not in cut
        assert list(cut) == list(cut.events) == [(DataType.TRADE, code) for code in CODES]
        with pytest.raises(TypeError):
            cut.events[DataType.TRADE, "KRW-BTC"] = cut[DataType.TRADE, "KRW-ETH"]  # type: ignore[index]


@pytest.mark.parametrize("refusing", [DataType.TRADE, DataType.INDICATOR])
async def test_what_one_connection_refuses_is_registered_with_none(refusing: DataType[Any]) -> None:
    """Whichever of the two is asked first."""
    rsi = indicator("rsi", "5m", period=14)
    async with open_private_world() as world, world.manager.open_client("before") as before:
        hubs = [world.hub(endpoint) for endpoint in (Endpoint.PUBLIC, Endpoint.INFO)]
        await before.register_interest(refusing, "KRW-C1", indicators=rsi if refusing is DataType.INDICATOR else ())
        for hub in hubs:
            for want in hub.wants.union:
                hub.refuse(want, lambda: SubscriptionError(refusing.name, "KRW-C1", "INVALID_PARAM", ""))
        async with world.manager.open_client("strategy") as client:
            with pytest.raises(SubscriptionError):
                await client.register_interest([DataType.TRADE, DataType.INDICATOR], "KRW-C1", indicators=rsi)
            assert client.statistics().interests == 0
            assert not any(hub.wants.union for hub in hubs)


async def test_what_is_exactly_as_old_as_it_may_be_is_fresh() -> None:
    # A clock whose numbers have no fraction that is rounded.
    exchange = SimulatedExchange(NumberedSource(8.0))
    connect = memory_connector(exchange, anyio.current_time)
    async with (
        open_manager(Config(url="ws://memory"), connector=connect, wall=anyio.current_time) as manager,
        manager.open_client("strategy") as client,
    ):
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        async with client.stream(DataType.TRADE, "KRW-BTC") as trades:
            async for trade in trades:
                assert client.get_trade("KRW-BTC", within=0) == trade
                assert client.pool.multiple(DataType.TRADE, within=0) == {"KRW-BTC": trade}
                break
        await anyio.sleep(0.25)
        age = client.pool.entry(DataType.TRADE, "KRW-BTC").age
        assert age == pytest.approx(0.25)
        assert client.get_trade("KRW-BTC", within=age) == trade
        with pytest.raises(StaleDataError):
            client.get_trade("KRW-BTC", within=age - 1e-6)
