"""Orders, balances, announcements and indicators, on both backends in virtual time."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import anyio
import msgspec
import pytest
from tests.support.private import credentials_of, open_private_world
from tests.support.world import open_world, wall

from upbit_streams import (
    AnnouncementEvent,
    AuthenticationError,
    BackpressureError,
    ConflictError,
    ConnectionState,
    Credentials,
    DataType,
    Endpoint,
    EpochStarted,
    Fail,
    IndicatorEvent,
    InvalidConfigError,
    MissingCredentialsError,
    MyAssetEvent,
    MyOrderEvent,
    NotReadyError,
    NotRegisteredError,
    TradeEvent,
    UsageError,
    indicator,
    indicator_signal,
)
from upbit_streams.testing import Close, Delay, Fault, Refusal, SlowClose, Stall, play

Nobody = Credentials("nobody", "knows")


async def test_orders_and_balances_are_told_and_agree_with_the_exchange() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream([DataType.MY_ORDER, DataType.MY_ASSET]) as changes:
            started = await changes.receive()
            assert isinstance(started, EpochStarted)
            assert (started.epoch.connection, started.epoch.number, started.missing_from) == ("private", 1, None)
            uuid = world.account.place(wall(), "KRW-BTC", "BID", price=world.price() + 3_000_000, volume="0.5")
            orders, assets = list[MyOrderEvent](), dict[str, Any]()
            while not orders or orders[-1].state != "done":
                match await changes.receive():
                    case MyOrderEvent() as order:
                        orders.append(order)
                        assert order.epoch is started.epoch
                    case MyAssetEvent() as asset:
                        assets |= {each.currency: each for each in asset.assets}
                    case _:
                        pytest.fail("there was no reconnect")
        assert [order.state for order in orders][:2] == ["wait", "trade"]
        assert {order.uuid for order in orders} == {uuid}
        stamp = {"epoch": orders[-1].epoch, "received_at": orders[-1].received_at}
        assert orders[-1] == msgspec.structs.replace(world.account.orders()[uuid], **stamp)
        assert assets == {currency: world.account.balances()[currency] for currency in assets}
        assert assets["BTC"].balance == Decimal("11.0")


async def test_the_pull_verbs_have_the_latest() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        verbs = (client.get_open_orders, client.get_my_assets, client.get_announcements)
        for ask in (lambda: client.get_my_order("x"), *verbs):
            with pytest.raises(NotRegisteredError, match="register_interest"):
                ask()
        await client.register_interest([DataType.MY_ORDER, DataType.MY_ASSET, DataType.ANNOUNCEMENT])
        await client.wait_ready()
        assert client.get_open_orders() == []
        assert client.get_my_assets() == {}
        with pytest.raises(NotReadyError, match="myOrder of x"):
            client.get_my_order("x")
        with pytest.raises(NotReadyError, match="myAsset of KRW"):
            client.get_my_asset("KRW")
        low = world.price() - 5_000_000
        uuids = [world.account.place(wall(), "KRW-BTC", "BID", price=low, volume=volume) for volume in ("0.1", "0.2")]
        world.exchange.announce(wall(), title="hello", body="long")
        await anyio.sleep(0.1)
        assert [order.uuid for order in client.get_open_orders()] == uuids
        assert client.get_open_orders("krw-eth") == []
        assert client.get_my_order(uuids[1]).remaining_volume == Decimal("0.2")
        krw = client.get_my_asset("krw")
        assert (krw.balance, krw.locked) == (
            world.account.balances()["KRW"].balance,
            world.account.balances()["KRW"].locked,
        )
        assert krw.epoch.number == 1
        [announcement] = client.get_announcements()
        assert (announcement.title, announcement.body) == ("hello", None)
        world.account.cancel(wall(), uuids[0])
        await anyio.sleep(0.1)
        assert [order.uuid for order in client.get_open_orders("KRW-BTC")] == uuids[1:]
        assert client.get_my_order(uuids[0]).state == "cancel"


async def test_who_wants_the_orders_of_some_markets_gets_no_others() -> None:
    async with open_private_world() as world, world.manager.open_client("all") as everything:
        async with world.manager.open_client("some") as some:
            await some.register_interest(DataType.MY_ORDER, "KRW-ETH")
            await everything.register_interest(DataType.MY_ORDER)
            async with (
                some.stream(DataType.MY_ORDER, ["KRW-ETH"]) as mine,
                everything.stream(DataType.MY_ORDER) as all_,
            ):
                await some.wait_ready()
                await everything.wait_ready()
                bitcoin = world.account.place(wall(), "KRW-BTC", "BID", "price", price=100_000)
                ether = world.account.place(wall(), "KRW-ETH", "BID", "price", price=100_000)
                await anyio.sleep(1)
                seen = [each for each in await mine.receive_batch() if isinstance(each, MyOrderEvent)]
                assert {order.uuid for order in seen} == {ether}
                seen = [each for each in await all_.receive_batch() if isinstance(each, MyOrderEvent)]
                assert {order.uuid for order in seen} == {bitcoin, ether}
            assert some.get_my_order(ether).state in ("done", "cancel")
            with pytest.raises(NotRegisteredError):
                some.get_my_order(bitcoin)
            assert everything.get_my_order(bitcoin).uuid == bitcoin


async def test_after_a_reconnect_the_consumer_is_told_from_when_to_when_events_may_be_missing() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.MY_ORDER) as orders:
            await orders.receive()
            await anyio.sleep(37.5)
            world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            await orders.receive()
            heard = wall()
            await anyio.sleep(3)
            world.exchange.end_sessions(wall(), endpoint=Endpoint.PRIVATE)
            missed = world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.2")
            told = await orders.receive()
            assert isinstance(told, EpochStarted)
            assert (told.epoch.number, told.epoch.reason) == (2, "the socket ended without a close frame")
            # All that was sent before the last ping was answered has come; what came later may have been on its way.
            assert told.missing_from == pytest.approx(heard + 2.5, abs=0.1)
            assert told.missing_to == pytest.approx(wall(), abs=0.1)
            assert heard + 3 < told.missing_to
            seen = world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.3")
            order = await orders.receive()
            assert isinstance(order, MyOrderEvent)
            assert (order.uuid, order.epoch) == (seen, told.epoch)
            assert missed in world.account.open_orders()


@pytest.mark.parametrize(
    ("script", "told_at"),
    [
        ((SlowClose(lasts=60, seconds=5), Close(after=18)), 19.0),  # before the ping of 20 s
        ((Delay(after=15, lasts=20, seconds=8), Close(after=3)), 19.0),  # which comes before what is on its way
        ((Stall(after=15, lasts=20), SlowClose(lasts=60, seconds=5), Close(after=6)), 18.0),
    ],
)
async def test_what_happens_while_the_exchange_takes_its_time_to_say_goodbye_may_be_missing(
    script: tuple[Fault, ...], told_at: float
) -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.MY_ORDER) as orders, anyio.create_task_group() as group:
            await orders.receive()
            opened = wall()
            group.start_soon(play, script, world.exchange, wall)
            await anyio.sleep(16)
            seen = [world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")]
            await anyio.sleep(told_at - 16)
            missed = world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.2")
            while not isinstance(told := await orders.receive(), EpochStarted):
                assert isinstance(told, MyOrderEvent)
                assert told.uuid in seen
            assert missed in world.account.open_orders()
            assert told.missing_from is not None
            assert told.missing_from <= opened + told_at < told.missing_to
            group.cancel_scope.cancel()


async def test_pongs_of_an_exchange_that_answers_nothing_else_do_not_show_that_nothing_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.MY_ORDER) as orders:
            await orders.receive()
            await anyio.sleep(50)
            [session] = world.exchange.sessions_of(Endpoint.PRIVATE)
            monkeypatch.setattr(session, "is_silent", True)
            await anyio.sleep(50)
            missed = world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            told_at = wall()
            told = await orders.receive()
            assert isinstance(told, EpochStarted)
            assert "did not confirm the request within 5 s" in told.epoch.reason
            assert told.missing_from is not None
            assert told.missing_from <= told_at < told.missing_to
            assert missed in world.account.open_orders()


async def test_a_stream_without_notices_has_none_and_a_public_one_can_have_them() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with (
            client.stream(DataType.MY_ORDER, notices=False) as orders,
            client.stream(DataType.TRADE, "KRW-BTC", notices=True) as trades,
        ):
            began, first = await trades.receive(), await trades.receive()
            assert isinstance(began, EpochStarted)
            assert isinstance(first, TradeEvent)
            assert began.epoch is first.epoch
            await anyio.sleep(1)
            world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            assert isinstance(await orders.receive(), MyOrderEvent)
        with pytest.raises(UsageError, match="notices=True or notices=False"):
            client.stream([DataType.MY_ORDER, DataType.TRADE], "KRW-BTC")
        async with client.stream([DataType.MY_ORDER, DataType.TRADE], "KRW-BTC", notices=True) as both:
            epochs = set[str]()
            while epochs != {"public", "private"}:
                if isinstance(told := await both.receive(), EpochStarted):
                    epochs.add(told.epoch.connection)


async def test_what_needs_a_key_says_so_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UPBIT_ACCESS_KEY", raising=False)
    monkeypatch.delenv("UPBIT_SECRET_KEY", raising=False)
    async with open_world(url="ws://localhost") as world, world.manager.open_client("strategy") as client:
        with pytest.raises(MissingCredentialsError, match="UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY are not set"):
            await client.register_interest([DataType.TRADE, DataType.MY_ORDER], "KRW-BTC")
        with pytest.raises(NotRegisteredError):
            client.get_trade("KRW-BTC")
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        await client.wait_ready()


async def test_keys_from_the_environment_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_private_world() as world:
        monkeypatch.setenv("UPBIT_ACCESS_KEY", world.account.access_key)
        monkeypatch.setenv("UPBIT_SECRET_KEY", world.account.secret_key.reveal())
    async with open_private_world(credentials=Credentials.from_environment) as world:
        async with world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.MY_ASSET)
            await client.wait_ready()


@pytest.mark.parametrize("as_frames", [False, True])
async def test_a_refused_key_is_told_to_those_alone_whom_it_concerns_and_another_key_brings_all_back(
    *, as_frames: bool
) -> None:
    async with (
        open_private_world(credentials=Nobody, rate=0.5) as world,
        world.manager.open_client("strategy") as client,
    ):
        world.exchange.login_errors_as_frames = as_frames
        name = "INVALID_AUTH" if as_frames else "invalid_access_key"
        await client.register_interest(DataType.MY_ORDER)
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        async with client.stream(DataType.MY_ORDER) as orders, client.stream(DataType.TRADE, "KRW-BTC") as trades:
            outcome = list[str]()

            async def fail(wait: Callable[[], Awaitable[Any]]) -> None:
                with pytest.raises(AuthenticationError) as refused:
                    await wait()
                outcome.append(refused.value.name)
                assert refused.value.attempts == 3

            async with anyio.create_task_group() as group:
                group.start_soon(fail, client.wait_ready)
                group.start_soon(fail, orders.receive)
            assert outcome == [name] * 2
            # Who comes later is told at once; who was told and goes on waits for another key.
            await fail(client.wait_ready)
            for _ in range(2):
                async with client.stream(DataType.MY_ORDER) as late:
                    await fail(late.receive_batch)
            with anyio.move_on_after(10):
                await orders.receive()
            status = world.manager.status(Endpoint.PRIVATE)
            assert status.state is ConnectionState.ERROR
            assert "refused the login 3 times" in status.reason
            attempts = len(world.exchange.connects)
            await anyio.sleep(1800)
            assert len(world.exchange.connects) == attempts, "a refused key is tried again and again"
            epoch = world.manager.status().epoch
            assert epoch is not None
            assert epoch.number == 1
            await trades.receive_batch()

            world.manager.set_credentials(credentials_of(world.account))
            started = await orders.receive()
            assert isinstance(started, EpochStarted)
            await client.wait_ready()
            uuid = world.account.place(wall(), "KRW-BTC", "BID", "price", price=100_000)
            order = await orders.receive()
            assert isinstance(order, MyOrderEvent)
            assert order.uuid == uuid
        assert not world.exchange.breaches


async def test_a_key_that_is_revoked_is_noticed_at_the_next_connect() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.MY_ORDER) as orders:
            await orders.receive()
            world.account.revoke()
            world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            await anyio.sleep(1)
            world.exchange.end_sessions(wall())
            await anyio.sleep(60)
            assert isinstance(await orders.receive(), MyOrderEvent), "what had come before is delivered first"
            with pytest.raises(AuthenticationError, match="make a new one") as refused:
                await orders.receive()
            assert refused.value.name == "expired_access_key"
            await anyio.sleep(100)
            world.manager.set_credentials(Credentials(*_texts(world.account.new_key())))
            told = await orders.receive()
            assert isinstance(told, EpochStarted)
            assert told.missing_from is not None
            assert told.missing_to - told.missing_from > 160


def _texts(key: Any) -> tuple[str, str]:
    return key[0], key[1].reveal()


async def test_an_attempt_that_is_refused_once_is_forgotten_when_the_next_succeeds() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.MY_ORDER)
        for _ in range(5):
            world.exchange.login_errors_as_frames = False
            await client.wait_ready()
            for key in world.account.keys.values():
                key.revoked = True
            world.exchange.end_sessions(wall())
            while world.manager.status(Endpoint.PRIVATE).state is not ConnectionState.RECONNECTING:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            await anyio.sleep(0.3)
            for key in world.account.keys.values():
                key.revoked = False
            await anyio.sleep(10)
        await client.wait_ready()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_function_may_bring_the_key_before_every_handshake(kind: str) -> None:
    calls = list[float]()

    def bring() -> Credentials:
        calls.append(anyio.current_time())
        return credentials_of(world.account)

    async def bring_slowly() -> Credentials:
        await anyio.sleep(1)
        return bring()

    async with open_private_world(credentials=bring if kind == "sync" else bring_slowly) as world:
        async with world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.MY_ORDER)
            for epochs in (1, 2, 3):
                await anyio.sleep(20)
                await client.wait_ready()
                assert len(calls) == epochs
                world.exchange.end_sessions(wall())
        assert not world.exchange.breaches


async def _hang() -> Credentials:
    await anyio.sleep_forever()
    return Nobody


def _raise() -> Credentials:
    raise KeyError("the vault is closed")


@pytest.mark.parametrize(
    ("bring", "told"),
    [
        (_raise, "your function for the key raised KeyError"),
        (_hang, "your function for the key raised TimeoutError"),
        (lambda: "a key", "gave a str instead of Credentials"),
    ],
)
async def test_a_function_that_brings_no_key_is_asked_again(bring: Any, told: str) -> None:
    """A vault that is closed for a while must not cost a key."""
    closed = True

    async def ask() -> Any:
        if not closed:
            return credentials_of(world.account)
        result = bring()
        return await result if isinstance(result, Awaitable) else result

    async with open_private_world(credentials=ask) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.MY_ORDER)
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        with pytest.raises(NotReadyError, match=told):
            await client.wait_ready(timeout=100)
        assert len(world.exchange.connects) == 1, "the public one"
        closed = False
        await anyio.sleep(30)
        await client.wait_ready()
        status = world.manager.status()
        assert status.epoch is not None
        assert status.epoch.number == 1


async def test_a_slow_reader_of_orders_fails_and_is_told_how_much_it_missed() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.MY_ORDER, backpressure=Fail(3)) as orders:
            await orders.receive()
            for _ in range(5):
                world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            await anyio.sleep(1)
            assert len(await orders.receive_batch()) == 3
            with pytest.raises(BackpressureError, match="2 events came while 3 were waiting"):
                await orders.receive()


async def test_announcements_are_told_by_category_and_with_their_text_to_who_wants_it() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        seen: dict[str, list[Any]] = {"wallet": [], "all": []}
        await client.subscribe_announcement(seen["wallet"].append, categories=["wallet"])
        await client.subscribe_announcement(seen["all"].append, include_body=True)
        await anyio.sleep(1)
        world.exchange.announce(wall(), title="a", category="wallet", body="text a")
        uuid = world.exchange.announce(wall(), title="b", category="event", body="text b")
        world.exchange.announce(wall(), title="b2", category="event", body="text b2", uuid=uuid)
        await anyio.sleep(1)
        told = {who: [(each.title, each.body) for each in events[1:]] for who, events in seen.items()}
        assert all(isinstance(events[0], EpochStarted) for events in seen.values())
        assert told == {"wallet": [("a", None)], "all": [("a", "text a"), ("b", "text b"), ("b2", "text b2")]}
        assert all(isinstance(each, AnnouncementEvent) for each in seen["all"][1:])


async def test_indicators_come_at_the_close_of_a_candle_and_can_be_pulled() -> None:
    rsi, average = indicator("rsi", "5m", period=14), indicator("moving_average", "5m", type="SMA", period=5)
    async with open_private_world(rate=2.0) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.INDICATOR, "KRW-BTC", indicators=[rsi, average])
        await client.wait_ready()
        with pytest.raises(NotReadyError, match="indicator of KRW-BTC"):
            client.get_indicator("KRW-BTC", rsi)
        with pytest.raises(NotRegisteredError):
            client.get_indicator("KRW-ETH", rsi)
        async with client.stream(DataType.INDICATOR, "KRW-BTC", indicators=rsi) as values:
            assert isinstance(await values.receive(), EpochStarted)
            value = await values.receive()
            assert isinstance(value, IndicatorEvent)
            assert (value.indicator, value.timeframe, value.params.period) == ("rsi", "5m", 14)
            await anyio.sleep(1)
            assert client.get_indicator("KRW-BTC", rsi) == value
            assert client.get_indicator("KRW-BTC", average).value.value is not None
        assert world.manager.status(Endpoint.INFO).epoch is not None
        assert world.manager.status(Endpoint.PRIVATE).epoch is None
        assert world.manager.status(Endpoint.PUBLIC).epoch is None


async def test_more_indicators_than_one_request_may_have_are_refused_before_anything_is_sent() -> None:
    periods = (3, 5, 7, 10, 15, 20, 25, 30, 50, 60, 90, 99, 100, 120, 200)
    many = [
        indicator("moving_average", "5m", type=kind, period=period) for kind in ("SMA", "EMA") for period in periods
    ]
    many += [indicator("volume", "5m", period=period) for period in range(5, 51, 5)]
    many += [indicator("rsi", "5m", period=period) for period in range(2, 15)]
    codes = ["KRW-BTC", "KRW-ETH"]
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.INDICATOR, codes, indicators=many[:50])
        await client.wait_ready()
        with pytest.raises(ConflictError, match=r"102 combinations .* at most 100"):
            await client.register_interest(DataType.INDICATOR, codes, indicators=many[50])
        with pytest.raises(NotRegisteredError):
            client.get_indicator("KRW-BTC", many[50])
        with pytest.raises(ConflictError):
            async with client.stream(DataType.INDICATOR, codes, indicators=many[50]):
                pass
        await anyio.sleep(5)
        await client.wait_ready()
        assert world.manager.status(Endpoint.INFO).errors == 0


@pytest.mark.parametrize(
    "ask",
    [
        {"types": DataType.INDICATOR, "codes": "KRW-BTC"},
        {"types": DataType.TRADE, "codes": "KRW-BTC", "indicators": indicator("rsi", "5m", period=14)},
        {"types": DataType.INDICATOR_SIGNAL, "codes": "KRW-BTC", "indicators": indicator("rsi", "5m", period=14)},
        {"types": DataType.INDICATOR, "codes": "BTC-ETH", "indicators": indicator("rsi", "5m", period=14)},
        {
            "types": [DataType.INDICATOR, DataType.INDICATOR_SIGNAL],
            "codes": "KRW-BTC",
            "indicators": indicator_signal("rsi", "5m", "overbought", period=14, threshold=70),
        },
        {"types": DataType.TICKER, "codes": "KRW-BTC", "categories": ["wallet"]},
        {"types": DataType.ANNOUNCEMENT, "categories": ["nonsense"]},
        {"types": DataType.ANNOUNCEMENT, "codes": "KRW-BTC"},
        {"types": DataType.MY_ASSET, "codes": "KRW-BTC"},
        {"types": DataType.MY_ORDER, "codes": "nonsense"},
    ],
)
async def test_what_makes_no_sense_is_refused(ask: dict[str, Any]) -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        with pytest.raises(UsageError):
            await client.register_interest(**ask)
        with pytest.raises(UsageError):
            client.stream(**ask)
        assert not world.exchange.connects


async def test_a_stream_that_wants_more_than_was_asked_so_far_begins_when_all_of_it_is_served() -> None:
    """Or it would be told to ask for the present state before all changes from then on are in the stream."""
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.MY_ORDER)
        await client.wait_ready()
        world.exchange.stalled.add(Endpoint.PRIVATE)
        async with client.stream([DataType.MY_ORDER, DataType.MY_ASSET]) as both:
            await anyio.sleep(2)
            world.exchange.stalled.clear()
            for _ in range(3):
                world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            await anyio.sleep(2)
            world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            await anyio.sleep(2)
            began, *changes = await both.receive_batch()
            assert isinstance(began, EpochStarted)
            orders = [each for each in changes if isinstance(each, MyOrderEvent)]
            assets = [each for each in changes if isinstance(each, MyAssetEvent)]
            assert len(orders) == len(assets) >= 1
            assert all(each.received_at >= began.missing_to for each in [*orders, *assets])


async def test_a_conflict_registers_nothing_at_all() -> None:
    many = [indicator("rsi", "5m", period=period) for period in range(2, 15)]
    many += [indicator("volume", "5m", period=period) for period in range(5, 51, 5)]
    codes = [f"KRW-X{number}" for number in range(5)]
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        with pytest.raises(ConflictError):
            await client.register_interest([DataType.TRADE, DataType.INDICATOR], codes, indicators=many)
        with pytest.raises(NotRegisteredError):
            client.get_trade("KRW-X0")
        await anyio.sleep(5)
        assert not world.exchange.connects


async def test_what_nobody_was_told_for_a_while_is_not_remembered() -> None:
    async with open_private_world() as world, world.manager.open_client("keeps") as keeps:
        await keeps.register_interest(DataType.ANNOUNCEMENT)
        await keeps.register_interest(DataType.MY_ORDER, "KRW-ETH")
        async with world.manager.open_client("first") as first:
            await first.register_interest([DataType.MY_ORDER, DataType.MY_ASSET])
            await first.wait_ready()
            low = world.price() - 5_000_000
            bitcoin = world.account.place(wall(), "KRW-BTC", "BID", price=low, volume="0.1")
            ether = world.account.place(wall(), "KRW-ETH", "BID", price=world.price("KRW-ETH") - 100_000, volume="0.1")
            await anyio.sleep(0.1)
            assert [order.uuid for order in first.get_open_orders()] == [bitcoin, ether]
            assert set(first.get_my_assets()) == {"KRW"}
        await anyio.sleep(1)
        world.account.cancel(wall(), bitcoin)
        await anyio.sleep(1)
        async with world.manager.open_client("second") as second:
            await second.register_interest([DataType.MY_ORDER, DataType.MY_ASSET])
            await second.wait_ready()
            assert [order.uuid for order in second.get_open_orders()] == [ether]
            assert second.get_my_assets() == {}


async def test_a_request_that_is_not_confirmed_ends_the_epoch() -> None:
    """Or somebody would be told that nothing is missing from now on."""
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.MY_ORDER) as orders:
            await orders.receive()
            world.exchange.stalled.add(Endpoint.PRIVATE)
            world.exchange.end_sessions(wall(), endpoint=Endpoint.PRIVATE)
            await anyio.sleep(30)
            assert orders.statistics().published == 0
            world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            world.exchange.stalled.clear()
            await anyio.sleep(30)
            told = await orders.receive()
            assert isinstance(told, EpochStarted)
            assert told.epoch.number > 3
            assert "did not confirm the request within 5 s" in told.epoch.reason
            assert told.missing_from is not None
            assert told.missing_to - told.missing_from > 20


async def test_l3_all_connections_share_one_limit_of_connects() -> None:
    rsi = indicator("rsi", "5m", period=14)
    async with open_private_world(draw=lambda: 0.0) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-BTC")
        await client.register_interest(DataType.MY_ORDER)
        await client.register_interest(DataType.INDICATOR, "KRW-BTC", indicators=rsi)
        for _ in range(200):
            await anyio.sleep(0.1)
            world.exchange.end_sessions(wall())
        times = list(world.exchange.connects)
        assert len(times) > 30, "it does not even try"
        assert max(sum(start <= time < start + 1.0 for time in times) for start in times) <= 5
        assert not world.exchange.breaches
        await anyio.sleep(10)
        await client.wait_ready()


@pytest.mark.parametrize("credentials", [("access", "secret"), "secret", 7])
async def test_what_is_no_source_of_keys_is_refused_at_once(credentials: Any) -> None:
    with pytest.raises(InvalidConfigError, match=r"Credentials\(access_key, secret_key\)") as raised:
        async with open_private_world(credentials=credentials):
            pass
    assert "secret'" not in str(raised.value)
    async with open_private_world() as world:
        with pytest.raises(InvalidConfigError):
            world.manager.set_credentials(credentials)


async def test_another_key_is_tried_at_once_and_starts_its_own_count() -> None:
    async with open_private_world(credentials=Nobody, login_attempts=2, draw=lambda: 1.0) as world:
        async with world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.MY_ORDER)
            while len(world.exchange.connects) < 1:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            await anyio.sleep(0.1)
            world.manager.set_credentials(Credentials("somebody", "else"))
            await anyio.sleep(0.1)
            assert len(world.exchange.connects) == 2, "it waits although there is another key"
            world.manager.set_credentials(credentials_of(world.account))
            await anyio.sleep(0.1)
            await client.wait_ready(timeout=1)
            assert world.manager.status(Endpoint.PRIVATE).state is ConnectionState.ACTIVE


async def test_while_nobody_is_connected_nothing_is_served() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.MY_ORDER)
        await client.wait_ready()
        world.exchange.refusals[Endpoint.PRIVATE] = Refusal(503, "maintenance")
        world.exchange.end_sessions(wall(), endpoint=Endpoint.PRIVATE)
        await anyio.sleep(1)
        with pytest.raises(NotReadyError):
            await client.wait_ready(timeout=5)
        async with client.stream(DataType.MY_ORDER) as orders:
            with anyio.move_on_after(5) as nothing:
                await orders.receive()
            assert nothing.cancelled_caught
            world.exchange.refusals.clear()
            assert isinstance(await orders.receive(), EpochStarted)
            await client.wait_ready(timeout=1)


async def test_a_request_that_is_answered_serves_what_it_asked_for_and_no_more() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.ANNOUNCEMENT)
        await client.wait_ready()
        world.exchange.stalled.add(Endpoint.PRIVATE)
        await client.register_interest(DataType.MY_ORDER, "KRW-ETH")
        await anyio.sleep(1)  # its request is on its way
        async with client.stream(DataType.MY_ORDER) as orders:
            await anyio.sleep(1)
            world.exchange.stalled.clear()
            assert isinstance(await orders.receive(), EpochStarted)
            [session] = world.exchange.sessions
            assert {one.code for one in session.subscriptions if one.type == "myOrder"} == {""}


async def test_another_account_is_not_mixed_with_the_first() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest([DataType.MY_ORDER, DataType.MY_ASSET])
        await client.wait_ready()
        world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
        await anyio.sleep(1)
        assert client.get_open_orders()
        assert client.get_my_assets()
        other = world.exchange.open_account(balances={"KRW": 10**9})
        world.manager.set_credentials(credentials_of(other))
        world.exchange.end_sessions(wall())
        await anyio.sleep(10)
        await client.wait_ready()
        assert client.get_open_orders() == []
        assert client.get_my_assets() == {}


async def test_a_stream_over_two_connections_goes_on_when_one_is_refused() -> None:
    async with open_private_world(credentials=Nobody) as world, world.manager.open_client("strategy") as client:
        async with client.stream([DataType.MY_ORDER, DataType.TRADE], "KRW-BTC", notices=False) as both:
            refusals, trades = 0, 0
            with anyio.move_on_after(60):
                while True:
                    try:
                        trades += isinstance(await both.receive(), TradeEvent)
                    except AuthenticationError:
                        refusals += 1
            assert refusals == 1
            assert trades > 50


async def test_orders_of_a_market_that_is_not_registered_are_an_error() -> None:
    async with open_private_world() as world, world.manager.open_client("one") as one:
        async with world.manager.open_client("all") as all_:
            await one.register_interest(DataType.MY_ORDER, "KRW-BTC")
            await all_.register_interest(DataType.MY_ORDER)
            await all_.wait_ready()
            uuid = world.account.place(wall(), "KRW-ETH", "BID", price=1_000_000, volume="0.1")
            await anyio.sleep(1)
            assert [order.uuid for order in all_.get_open_orders("krw-eth")] == [uuid]
            for read in (lambda: one.get_open_orders("krw-eth"), lambda: one.get_my_order(uuid)):
                with pytest.raises(NotRegisteredError, match="myOrder of KRW-ETH"):
                    read()
            assert one.get_open_orders() == one.get_open_orders("KRW-BTC") == []


async def test_what_is_told_when_something_happens_is_not_waited_for_with_wait_ready() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest([DataType.MY_ORDER, DataType.MY_ASSET])
        await client.wait_ready()
        for read in (
            lambda: client.pool.latest(DataType.MY_ORDER),
            lambda: client.get_my_order("x"),
            lambda: client.get_my_asset("BTC"),
        ):
            with pytest.raises(NotReadyError, match=r"told when something happens, and .*wait_for\(") as told:
                read()
            assert "wait_ready" not in str(told.value)
