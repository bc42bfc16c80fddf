"""What a user holds in hand: the manager, its clients and their streams."""

import logging
from typing import Any

import anyio
import msgspec
import pytest
from tests.support.private import open_private_world
from tests.support.world import CODES, open_world

import upbit_streams
from upbit_streams import (
    DataType,
    DropOldest,
    DuplicateNameError,
    Endpoint,
    Epoch,
    EpochStarted,
    FeedCrashedError,
    InvalidCodeError,
    InvalidConfigError,
    NotReadyError,
    NotRegisteredError,
    OrderbookEvent,
    ScopeError,
    TradeEvent,
    UsageError,
    current_manager,
    open_manager,
)
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.hub import Hub
from upbit_streams.model.subscriptions import union, wants_of
from upbit_streams.testing import (
    MarketSimulation,
    MarketSource,
    Refusal,
    Session,
    SimulatedExchange,
    memory_connector,
)

START = 1_795_000_000


def _wall() -> float:
    return START + anyio.current_time()


async def test_every_public_type_can_be_pulled_once_ready() -> None:
    exchange = SimulatedExchange(MarketSource(MarketSimulation(start_ms=START * 1000)))
    async with open_manager(connector=memory_connector(exchange, _wall), wall=_wall) as manager:
        async with manager.open_client("strategy") as client:
            await client.register_interest(DataType.all(Endpoint.PUBLIC), ["KRW-BTC", "krw-eth"])
            await client.wait_ready()
            assert client.get_ticker("KRW-ETH").code == "KRW-ETH"
            assert client.get_trade("krw-btc").trade_price > 0
            book = client.get_orderbook("KRW-BTC")
            assert book.asks[0][0] > book.bids[0][0]
            for unit in ("1s", 1, 3, 5, 10, 15, 30, 60, 240):
                assert client.get_candle("KRW-BTC", unit).type == DataType.candle(unit).name
            before = client.get_trade("KRW-BTC")
            await anyio.sleep(60)
            assert client.get_trade("KRW-BTC").sequential_id != before.sequential_id


async def test_pulling_what_was_not_registered_says_how_to_register_it() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        with pytest.raises(NotRegisteredError, match="register_interest") as ticker:
            client.get_ticker("KRW-BTC")
        assert (ticker.value.type_name, ticker.value.code) == ("ticker", "KRW-BTC")
        with pytest.raises(NotRegisteredError):
            client.get_trade("KRW-ETH")
        async with world.manager.open_client("other") as other:
            with pytest.raises(NotRegisteredError):
                other.get_trade("KRW-BTC")


async def test_data_that_has_not_come_is_an_error_that_says_how_the_connection_stands() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        world.exchange.refusal = Refusal(503, "maintenance")
        await client.register_interest(DataType.TRADE, ["KRW-BTC", "KRW-ETH"])
        with pytest.raises(NotReadyError, match="wait_ready"):
            client.get_trade("KRW-BTC")
        started = anyio.current_time()
        with pytest.raises(NotReadyError, match=r"503.*maintenance") as missing:
            await client.wait_ready(timeout=7)
        assert anyio.current_time() - started == pytest.approx(7)
        assert missing.value.missing == (("trade", "KRW-BTC"), ("trade", "KRW-ETH"))
        # Nobody is told to do what has just been done.
        assert "wait_ready() has waited 7 s" in str(missing.value)
        assert "await" not in str(missing.value)


async def test_a_market_the_exchange_does_not_list_is_named_when_waiting_for_it_fails() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, ["KRW-BTC", "KRW-NOSUCH"])
        with pytest.raises(NotReadyError, match="trade of KRW-NOSUCH") as missing:
            await client.wait_ready()
        assert missing.value.missing == (("trade", "KRW-NOSUCH"),)


async def test_bad_input_is_refused_where_it_is_given() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        for code in ("", "BTC", "KRW_BTC", "KRW-BTC.5", "KRW-BTC-X", "KRW-\N{WON SIGN}"):
            with pytest.raises(InvalidCodeError, match="market code"):
                await client.register_interest(DataType.TICKER, ["KRW-BTC", code])
        with pytest.raises(UsageError, match="at least one"):
            client.stream(DataType.TICKER, [])
        with pytest.raises(UsageError, match="DataType"):
            client.stream("ticker", "KRW-BTC")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="units are 1s, 1m"):
            client.get_candle("KRW-BTC", 7)
        with pytest.raises(InvalidConfigError, match="capacity"):
            DropOldest(0)
        with pytest.raises(NotRegisteredError):
            client.get_ticker("KRW-BTC")
        assert not world.exchange.connects, "nothing of this may reach the exchange"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"types": DataType.TICKER, "codes": None}, "codes are one or an iterable of them, not None"),
        ({"types": DataType.TICKER, "codes": 5}, "codes are one or an iterable of them, not 5"),
        ({"types": None, "codes": "KRW-BTC"}, "types are one or an iterable of them, not None"),
        ({"types": [[]], "codes": "KRW-BTC"}, r"\[\] is not a data type"),
        ({"types": "KRW-BTC", "codes": DataType.TICKER}, "'KRW-BTC' is not a data type"),
        ({"types": DataType.INDICATOR, "codes": "KRW-BTC", "indicators": "rsi"}, "'rsi' is not what indicator"),
        ({"types": DataType.INDICATOR, "codes": "KRW-BTC", "indicators": ["rsi"]}, "'rsi' is not what indicator"),
        ({"types": DataType.INDICATOR, "codes": "KRW-BTC", "indicators": 5}, "indicators are one or an iterable"),
        ({"types": DataType.ANNOUNCEMENT, "categories": [5, "x"]}, "there is no category 'x'; the categories are"),
        ({"types": DataType.ANNOUNCEMENT, "categories": [[]]}, r"there is no category \[\]; the categories are"),
        ({"types": DataType.ANNOUNCEMENT, "categories": 5}, "categories are one or an iterable of them, not 5"),
    ],
)
async def test_arguments_of_another_kind_are_refused_with_what_they_should_be(asked: dict[str, Any], says: str) -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        with pytest.raises(UsageError, match=says):
            await client.register_interest(**asked)
        with pytest.raises(UsageError, match=says):
            client.stream(**asked)
        assert client.statistics().interests == 0


async def test_the_codes_of_a_stream_and_of_a_callback_are_looked_at_like_all_others() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        with pytest.raises(UsageError, match="codes are one or an iterable of them, not None"):
            client.stream(DataType.TRADE, None)  # type: ignore[call-overload]
        with pytest.raises(UsageError, match="codes are one or an iterable of them, not 5"):
            await client.subscribe_trade(5, print)  # type: ignore[arg-type]
        async with client.stream(DataType.TRADE, "KRW-BTC") as trades:
            for change in (trades.widen, trades.narrow):
                with pytest.raises(UsageError, match="codes are one or an iterable of them, not 5"):
                    change(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", ["5", float("nan"), True, 1j])
async def test_a_timeout_that_is_none_is_refused(seconds: Any) -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        with pytest.raises(UsageError, match="a timeout is a number of seconds"):
            await client.wait_ready(seconds)
        with pytest.raises(UsageError, match="takes a plain function that looks at memory, not "):
            await client.wait_for(seconds)
        with pytest.raises(NotReadyError):
            await client.wait_ready(-1)


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://x"},
        {"url": "ws://"},
        {"url": "ws://h:99999"},
        {"url": "ws://me:secret@h/"},
        {"max_message_size": 1.5},
        {"ping_interval": 0},
        {"format": "SIMPLE"},
        {"connect_timeout": float("nan")},
    ],
)
def test_a_setting_outside_its_range_is_refused_when_it_is_made(settings: dict[str, object]) -> None:
    with pytest.raises((InvalidConfigError, TypeError), match=next(iter(settings))):
        upbit_streams.Config(**settings)  # type: ignore[arg-type]


async def test_streams_and_clients_refuse_to_work_outside_their_scope() -> None:
    async with open_world() as world:
        async with world.manager.open_client("strategy") as client:
            stream = client.stream(DataType.TRADE, CODES)
            with pytest.raises(ScopeError, match="async with"):
                await stream.receive()
            with pytest.raises(ScopeError, match="async with"):
                async for _ in stream:
                    pass
            async with stream:
                await stream.receive()
            with pytest.raises(ScopeError, match="has been left"):
                await stream.receive()
            with pytest.raises(ScopeError, match="has been left"):
                stream.receive_nowait()
            assert stream.statistics().delivered == 1
        with pytest.raises(ScopeError, match="'strategy'"):
            await client.register_interest(DataType.TRADE, CODES)
        with pytest.raises(ScopeError, match="'strategy'"):
            client.get_trade("KRW-BTC")


async def test_nothing_opens_in_a_scope_that_was_left() -> None:
    async with open_world() as world:
        async with world.manager.open_client("strategy") as client:
            stream = client.stream(DataType.TRADE, CODES)
            async with stream:
                pass
            with pytest.raises(ScopeError, match="entered already"):
                async with stream:
                    pass
            later = client.stream(DataType.TRADE, CODES)
        with pytest.raises(ScopeError, match="'strategy'"):
            async with later:
                pass
    with pytest.raises(ScopeError, match="manager 'main'"):
        async with world.manager.open_client("strategy"):
            pass


async def test_a_market_given_back_and_taken_again_at_once_is_asked_for_again() -> None:
    """Its present state comes with a request only, and a quiet market sends nothing else."""
    exchange = SimulatedExchange(MarketSource(MarketSimulation(start_ms=START * 1000, rate=0.001)))
    async with open_manager(connector=memory_connector(exchange, _wall), wall=_wall) as manager:
        async with manager.open_client("steady") as steady:
            await steady.register_interest(DataType.TICKER, "KRW-ETH")
            for name in ("first", "second"):
                async with manager.open_client(name) as client:
                    await client.register_interest(DataType.TICKER, "KRW-BTC")
                    await client.wait_ready()


async def test_a_consumer_that_joins_later_is_shown_the_present_state_first() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        await anyio.sleep(5.05)
        latest = client.get_trade("KRW-BTC")
        async with client.stream(DataType.TRADE, "KRW-BTC") as late:
            first = late.receive_nowait()
            assert (first.sequential_id, first.stream_type) == (latest.sequential_id, "SNAPSHOT")
            second = await late.receive()
            assert (second.sequential_id, second.stream_type) == (latest.sequential_id + 1, "REALTIME")
        async with client.stream(DataType.TRADE, "KRW-BTC", snapshot=False) as changes:
            assert (await changes.receive()).stream_type == "REALTIME"
        async with client.stream(DataType.TRADE, "KRW-BTC", realtime=False) as states:
            await states.receive()
            with anyio.move_on_after(5) as waiting:
                await states.receive()
            assert waiting.cancelled_caught


async def test_clients_that_want_different_books_of_one_market_each_get_what_they_asked_for() -> None:
    exchange = SimulatedExchange(MarketSource(MarketSimulation(start_ms=START * 1000)))
    book = DataType.ORDERBOOK
    async with open_manager(connector=memory_connector(exchange, _wall), wall=_wall) as manager:
        async with manager.open_client("small") as small, manager.open_client("grouped") as grouped:
            await small.register_interest(book, "KRW-BTC", count=5)
            await grouped.register_interest(book, "KRW-BTC", level=10_000)
            async with grouped.stream([book, DataType.TRADE], "KRW-BTC", count=15) as fifteen:
                await small.wait_ready()
                await grouped.wait_ready()
                await anyio.sleep(20)
                assert len(small.get_orderbook("KRW-BTC").orderbook_units) == 5
                assert small.get_orderbook("KRW-BTC").level == 0
                wide = grouped.get_orderbook("KRW-BTC", level=10_000)
                assert wide.level == 10_000
                assert all(price % 10_000 == 0 for price, _ in (*wide.asks, *wide.bids))
                books = [event for event in await fifteen.receive_batch() if isinstance(event, OrderbookEvent)]
                assert {(len(each.orderbook_units), each.level) for each in books} == {(15, 0)}
                with pytest.raises(NotRegisteredError):
                    grouped.get_orderbook("KRW-BTC")
        with pytest.raises(UsageError, match="for order books"):
            async with manager.open_client("wrong") as wrong:
                await wrong.register_interest(DataType.TRADE, "KRW-BTC", count=5)


async def test_who_joins_later_and_wants_more_waits_for_it() -> None:
    exchange = SimulatedExchange(MarketSource(MarketSimulation(start_ms=START * 1000)))
    async with open_manager(connector=memory_connector(exchange, _wall), wall=_wall) as manager:
        async with manager.open_client("small") as small, manager.open_client("large") as large:
            await small.register_interest(DataType.ORDERBOOK, "KRW-BTC", count=5)
            await small.wait_ready()
            await anyio.sleep(3)
            await large.register_interest(DataType.ORDERBOOK, "KRW-BTC")
            async with large.stream(DataType.ORDERBOOK, "KRW-BTC") as books:
                await large.wait_ready()
                assert len(large.get_orderbook("KRW-BTC").orderbook_units) == 30
                assert len(small.get_orderbook("KRW-BTC").orderbook_units) == 5
                await anyio.sleep(5)
                assert {len(book.orderbook_units) for book in await books.receive_batch()} == {30}
                assert (await books.receive()).stream_type == "REALTIME"


async def test_an_old_state_is_never_shown_as_the_present_one() -> None:
    exchange = SimulatedExchange(MarketSource(MarketSimulation(codes=["KRW-BTC"], rate=5, start_ms=START * 1000)))
    async with open_manager(connector=memory_connector(exchange, _wall), wall=_wall) as manager:
        async with manager.open_client("first") as first, manager.open_client("second") as second:
            async with first.stream(DataType.TICKER, "KRW-BTC", realtime=False) as once:
                await once.receive()
                await anyio.sleep(600)
                await second.register_interest(DataType.TICKER, "KRW-BTC")
                async with second.stream(DataType.TICKER, "KRW-BTC", realtime=False) as again:
                    await second.wait_ready()
                    assert second.get_ticker("KRW-BTC").received_at == pytest.approx(_wall(), abs=1)
                    assert (await again.receive()).received_at == pytest.approx(_wall(), abs=1)
                    await anyio.sleep(60)
                    assert again.statistics().published == 1, "it was shown more than one present state"
                assert once.statistics().published == 1


async def test_who_wants_no_more_than_is_subscribed_costs_no_request() -> None:
    exchange, requests = SimulatedExchange(MarketSource(MarketSimulation(start_ms=START * 1000))), list[str]()

    class Listening(Session):
        def receive(self, now: float, message: str | bytes) -> None:
            if "LIST_SUBSCRIPTIONS" not in str(message):
                requests.append(str(message))
            super().receive(now, message)

    connect = memory_connector(exchange, _wall)

    async def listening(
        url: str, config: upbit_streams.Config, token: upbit_streams.Secret | None
    ) -> upbit_streams.Transport:
        transport = await connect(url, config, token)
        for session in exchange.sessions:
            session.__class__ = Listening
        return transport

    async with open_manager(connector=listening, wall=_wall) as manager, manager.open_client("strategy") as client:
        await client.register_interest(DataType.ORDERBOOK, "KRW-BTC")
        await client.wait_ready()
        for options in ({"count": 5}, {"snapshot": False}, {"realtime": False}, {}):
            async with client.stream(DataType.ORDERBOOK, "KRW-BTC", **options) as books:
                await books.receive()
            await anyio.sleep(1)
        assert len(requests) == 1


async def test_keys_are_not_sent_where_others_could_read_them() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        with pytest.raises(InvalidConfigError, match="ws://memory/private is not encrypted"):
            await client.register_interest(DataType.MY_ORDER)
        with pytest.raises(InvalidConfigError, match="everybody between here and memory"):
            client.stream(DataType.MY_ASSET)


async def test_names_are_unique_while_they_are_open() -> None:
    async with open_world() as world:
        async with world.manager.open_client("strategy"):
            with pytest.raises(DuplicateNameError, match="'strategy'"):
                async with world.manager.open_client("strategy"):
                    pass
        async with world.manager.open_client("strategy"):
            pass
        with pytest.raises(DuplicateNameError, match="'main'"):
            async with open_manager():
                pass


async def test_the_current_manager_is_the_one_that_is_open_here() -> None:
    with pytest.raises(ScopeError, match="open_manager"):
        current_manager()
    async with open_world() as world:
        assert current_manager() is world.manager
        async with open_manager(name="second") as second:
            with pytest.raises(ScopeError, match="'main', 'second'"):
                current_manager()
            assert current_manager("second") is second
        assert current_manager() is world.manager
    with pytest.raises(ScopeError):
        current_manager()


async def test_a_batch_is_everything_that_waits_and_single_items_come_in_the_same_order() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, "KRW-BTC") as one, client.stream(DataType.TRADE, "KRW-BTC") as many:
            await anyio.sleep(5)
            batch = await anext(many.batches())
            singles = [one.receive_nowait() for _ in range(one.statistics().buffered)]
            with pytest.raises(anyio.WouldBlock):
                one.receive_nowait()
            assert len(batch) > 10
            assert singles == batch


async def test_a_slow_consumer_loses_the_oldest_and_is_told_how_many() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, "KRW-BTC", backpressure=DropOldest(10)) as slow:
            await anyio.sleep(10)
            ledger = slow.statistics()
            assert ledger.buffered == ledger.capacity == 10
            assert ledger.dropped == ledger.published - 10 > 50
            batch = await slow.receive_batch()
            assert [trade.sequential_id % 1_000_000 for trade in batch] == list(
                range(ledger.published - 9, ledger.published + 1)
            )


async def test_cancelling_a_receive_loses_nothing() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, "KRW-BTC") as trades:
            numbers: list[int] = []
            for pause in [0.03, 0.1, 0.17, 0.2, 0.05] * 20:
                with anyio.move_on_after(pause):
                    async for trade in trades:
                        numbers.append(trade.sequential_id % 1_000_000)
            assert numbers == list(range(1, len(numbers) + 1))
            assert len(numbers) > 80


async def test_an_error_of_the_body_leaves_as_it_was_raised() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as raised:
        async with open_world() as world, world.manager.open_client("strategy") as client:
            async with client.stream(DataType.TRADE, CODES) as trades:
                await trades.receive()
                raise error
    assert raised.value is error


async def test_a_group_of_the_body_leaves_whole() -> None:
    group = ExceptionGroup("mine", [ValueError(), KeyError()])
    with pytest.raises(ExceptionGroup) as raised:
        async with open_world():
            raise group
    assert raised.value is group


async def test_a_crash_inside_the_library_is_one_named_error_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = ZeroDivisionError("a bug")

    def crash(*_: object) -> None:
        raise bug

    with pytest.raises(FeedCrashedError, match="a bug") as raised:
        async with open_world() as world, world.manager.open_client("strategy") as client:
            monkeypatch.setattr(Hub, "publish", crash)
            await client.register_interest(DataType.TRADE, CODES)
            await anyio.sleep_forever()
    assert raised.value.__cause__ is bug


async def test_a_body_that_is_cancelled_can_still_receive_in_its_finally() -> None:
    received = None
    with anyio.move_on_after(3):
        async with open_world() as world, world.manager.open_client("strategy") as client:
            async with client.stream(DataType.TRADE, "KRW-BTC") as trades:
                try:
                    await anyio.sleep_forever()
                finally:
                    with anyio.move_on_after(5, shield=True):
                        while (received := await trades.receive()).timestamp < (START + 4) * 1000:
                            pass
    assert received is not None
    assert received.timestamp >= (START + 4) * 1000, "the feed ended before the body did"


async def test_e8_a_snapshot_that_repeats_a_trade_is_counted_and_not_delivered_again() -> None:
    exchange = SimulatedExchange(MarketSource(MarketSimulation(start_ms=START * 1000, rate=1.0)))
    async with open_manager(connector=memory_connector(exchange, _wall), wall=_wall, draw=lambda: 0.0) as manager:
        async with manager.open_client("strategy") as client, client.stream(DataType.TRADE, "KRW-BTC") as trades:
            ids: list[int] = []
            for _ in range(20):
                with anyio.move_on_after(20):
                    async for trade in trades:
                        ids.append(trade.sequential_id)
                exchange.end_sessions(_wall(), 1000)
            assert manager.status().repeated > 0
            assert len(ids) == len(set(ids))
            assert manager.status().epoch is not None


async def test_an_error_frame_ends_the_epoch_and_the_reason_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        for session in world.exchange.sessions:
            session.receive(_wall(), "not json")
        await anyio.sleep(5)
        status = world.manager.status()
        assert status.errors == 1
        assert status.epoch is not None
        assert status.epoch.number == 2
        assert "WRONG_FORMAT" in status.epoch.reason
    assert "WRONG_FORMAT" in caplog.text


async def test_who_joins_those_that_want_no_snapshot_is_shown_it_although_they_know_it() -> None:
    """It repeats a trade that the others have had, and is the answer that the newcomer waits for."""
    exchange = SimulatedExchange(MarketSource(MarketSimulation(rate=2.0, start_ms=START * 1000)))
    async with open_manager(connector=memory_connector(exchange, _wall), wall=_wall) as manager:
        async with manager.open_client("strategy") as client:
            async with client.stream(DataType.TRADE, "KRW-BTC", snapshot=False) as changes:
                last = await changes.receive()
                async with client.stream(DataType.TRADE, "KRW-BTC") as trades:
                    first, second = await trades.receive(), await trades.receive()
                    assert first.stream_type == "SNAPSHOT"
                    later = [last, *await changes.receive_batch()]
                    # From the one that it was shown on, it misses none.
                    ids = [trade.sequential_id for trade in later]
                    assert second.sequential_id == ids[ids.index(first.sequential_id) + 1]
                    assert all(trade.stream_type == "REALTIME" for trade in later)


async def test_the_answer_to_an_earlier_request_is_not_taken_for_that_to_the_last_one() -> None:
    """Two requests are on their way; the first snapshot to come has five levels only."""
    hub = Hub()
    small, large = wants_of(DataType.ORDERBOOK, "KRW-BTC", count=5), wants_of(DataType.ORDERBOOK, "KRW-BTC", count=15)
    hub.register(small)
    hub.asked(small)
    hub.register(large)
    hub.asked(union(small | large))
    epoch = Epoch(connection="public", number=1, started_at=0.0, wall_offset=0.0, reason="test")
    channel = Channel(DropOldest(10))
    hub.attach(large, channel)
    market = MarketSimulation(start_ms=START * 1000)
    book = market.snapshot("orderbook", "KRW-BTC")
    assert isinstance(book, OrderbookEvent)
    for count in (5, 15):
        hub.publish([msgspec.structs.replace(book, orderbook_units=book.orderbook_units[:count])], epoch)
    assert [len(each.orderbook_units) for each in [channel.receive_nowait()]] == [15]
    assert channel.statistics().published == 1
    channel.close()


async def test_who_joins_later_is_told_of_the_epoch_although_nothing_is_shown() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES, notices=True) as first:
            await anyio.sleep(3)
            async with client.stream(DataType.TRADE, CODES, snapshot=False, notices=True) as later:
                with anyio.fail_after(5):
                    assert isinstance(await later.receive(), EpochStarted)
                    assert isinstance(await later.receive(), TradeEvent)
            assert isinstance(await first.receive(), EpochStarted)


async def test_who_waits_for_more_than_is_served_is_told_of_the_epoch_with_it() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.ORDERBOOK, "KRW-BTC", count=1, notices=True) as few:
            await anyio.sleep(3)
            assert isinstance(await few.receive(), EpochStarted)
            async with client.stream(DataType.ORDERBOOK, "KRW-BTC", notices=True) as many:
                with anyio.fail_after(5):
                    assert isinstance(await many.receive(), EpochStarted)
                    book = await many.receive()
                assert isinstance(book, OrderbookEvent)
                assert len(book.orderbook_units) == 30
