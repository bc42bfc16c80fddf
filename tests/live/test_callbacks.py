"""Callbacks: one task and one stream each, in the scope of their client."""

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import get_running_tasks
from tests.support.private import credentials_of, open_private_world
from tests.support.world import CODES, open_world, wall

from upbit_streams import (
    AuthenticationError,
    BackpressureError,
    Client,
    ConflictError,
    Credentials,
    DataType,
    DropOldest,
    EpochStarted,
    Event,
    Fail,
    MyOrderEvent,
    OrderbookEvent,
    TradeEvent,
    UsageError,
    indicator,
    indicator_signal,
)


class _UserError(Exception):
    pass


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_callback_gets_every_event_in_turn(kind: str) -> None:
    seen: list[TradeEvent] = []

    async def take_slowly(trade: TradeEvent) -> None:
        await anyio.sleep(0.01)
        seen.append(trade)

    async with open_world() as world, world.manager.open_client("strategy") as client:
        callback = seen.append if kind == "sync" else take_slowly
        subscription = await client.subscribe_trade("KRW-BTC", callback)
        await anyio.sleep(3)
        ids = [trade.sequential_id for trade in seen]
        assert len(ids) > 20
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert subscription.statistics().delivered - len(ids) in (0, 1)
        assert (subscription.errors, subscription.last_error) == (0, None)


async def test_what_a_callback_raises_ends_its_client_and_no_other() -> None:
    error, others = _UserError("mine"), list[TradeEvent]()

    def fail(trade: TradeEvent) -> None:
        raise error

    async with open_world() as world, world.manager.open_client("other") as other:
        await other.subscribe_trade(CODES, others.append)
        ended = False
        with pytest.raises(_UserError) as raised:
            async with world.manager.open_client("strategy") as client:
                try:
                    await client.subscribe_trade("KRW-ETH", lambda trade: None)
                    await client.subscribe_trade("KRW-BTC", fail)
                    await anyio.sleep_forever()
                finally:
                    ended = True
        assert raised.value is error
        assert ended
        before = len(others)
        await anyio.sleep(2)
        assert len(others) > before
        async with world.manager.open_client("strategy"):
            pass  # its name is free again


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_on_error_takes_what_a_callback_raises_and_it_goes_on(kind: str) -> None:
    errors, seen = list[Exception](), list[TradeEvent]()

    async def take_error(error: Exception) -> None:
        await anyio.lowlevel.checkpoint()
        errors.append(error)

    def fail_every_second(trade: TradeEvent) -> None:
        seen.append(trade)
        if len(seen) % 2:
            raise _UserError(len(seen))

    async with open_world() as world, world.manager.open_client("strategy") as client:
        on_error = errors.append if kind == "sync" else take_error
        subscription = await client.subscribe_trade("KRW-BTC", fail_every_second, on_error=on_error)
        await anyio.sleep(3)
        assert len(seen) > 20
        assert subscription.errors == len(errors) == (len(seen) + 1) // 2
        assert subscription.last_error is errors[-1]


async def test_what_on_error_raises_ends_the_client() -> None:
    def fail(_: object) -> None:
        raise _UserError

    async with open_world() as world:
        with pytest.raises(_UserError):
            async with world.manager.open_client("strategy") as client:
                await client.subscribe_trade("KRW-BTC", fail, on_error=fail)
                await anyio.sleep_forever()


async def test_a_callback_is_ended_by_its_handle_or_with_its_client() -> None:
    first, second = list[TradeEvent](), list[TradeEvent]()
    cancelled = 0

    async def hang(trade: TradeEvent) -> None:
        nonlocal cancelled
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled += 1
            raise

    async with open_world() as world:
        async with world.manager.open_client("strategy") as client:
            subscription = await client.subscribe_trade("KRW-BTC", first.append)
            await client.subscribe_trade("KRW-BTC", second.append)
            hanging = [await client.subscribe_trade("KRW-ETH", hang) for _ in range(2)]
            await anyio.sleep(2)
            subscription.cancel()
            subscription.cancel()
            hanging[0].cancel()
            await anyio.sleep(0.1)
            assert cancelled == 1
            ended = len(first)
            await anyio.sleep(2)
            assert len(first) == ended
            assert len(second) > ended
        assert cancelled == 2
        ended = len(second)
        await anyio.sleep(2)
        assert len(second) == ended


async def test_a_body_and_a_callback_that_both_fail_are_told_as_one_error() -> None:
    def fail(trade: TradeEvent) -> None:
        raise _UserError("first")

    async with open_world() as world:
        with pytest.raises(_UserError, match="first") as raised:
            async with world.manager.open_client("strategy") as client:
                await client.subscribe_trade("KRW-BTC", fail)
                try:
                    await anyio.sleep_forever()
                finally:
                    raise KeyError("second")
        assert "KeyError('second')" in raised.value.__notes__[0]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_every_type_has_its_callback(kind: str) -> None:
    seen: dict[str, list[Any]] = {}

    def note(name: str) -> Any:
        events = seen.setdefault(name, [])

        async def take(event: Any) -> None:
            await anyio.lowlevel.checkpoint()
            events.append(event)

        return events.append if kind == "sync" else take

    rsi = indicator("rsi", "5m", period=14)
    async with open_private_world(rate=5.0) as world, world.manager.open_client("strategy") as client:
        await client.subscribe_ticker("KRW-BTC", note("ticker"))
        await client.subscribe_trade("KRW-BTC", note("trade"))
        await client.subscribe_orderbook("KRW-BTC", note("orderbook"), count=5)
        await client.subscribe_candle("KRW-BTC", note("candle.5m"), unit=5)
        await client.subscribe_candle("KRW-BTC", note("candle.1m"))
        await client.subscribe_candle("KRW-BTC", note("candle.1s"), unit="1s")
        await client.subscribe_my_order((), note("myOrder"))
        await client.subscribe_my_asset(note("myAsset"))
        await client.subscribe_announcement(note("announcement"))
        await client.subscribe_indicator("KRW-BTC", rsi, note("indicator"))
        overbought = indicator_signal("rsi", "5m", "overbought", period=14, threshold=70)
        await client.subscribe_indicator_signal("KRW-BTC", overbought, note("indicator_signal"))
        await anyio.sleep(1)
        world.account.place(wall(), "KRW-BTC", "BID", "price", price=100_000)
        world.exchange.announce(wall(), title="hello")
        await anyio.sleep(310)
        for name in ("ticker", "trade", "orderbook", "candle.5m", "candle.1m", "candle.1s"):
            assert {event.type for event in seen[name]} == {name}
        for name in ("myOrder", "myAsset", "announcement", "indicator"):
            assert isinstance(seen[name][0], EpochStarted)
            assert {event.type for event in seen[name][1:]} == {name}
        assert isinstance(seen["indicator_signal"][0], EpochStarted)
        assert all(isinstance(book, OrderbookEvent) and len(book.orderbook_units) == 5 for book in seen["orderbook"])
        with pytest.raises(UsageError):
            await client.subscribe_candle("KRW-BTC", note("nothing"), unit=7)


async def test_a_callback_comes_back_with_another_key() -> None:
    seen, errors = list[Any](), list[Exception]()
    nobody = Credentials("nobody", "knows")
    async with open_private_world(credentials=nobody) as world, world.manager.open_client("strategy") as client:
        await client.subscribe_my_order((), seen.append, on_error=errors.append)
        await anyio.sleep(60)
        assert seen == []
        assert [type(error) for error in errors] == [AuthenticationError]
        world.manager.set_credentials(credentials_of(world.account))
        await anyio.sleep(5)
        world.account.place(wall(), "KRW-BTC", "BID", "price", price=100_000)
        await anyio.sleep(1)
        assert isinstance(seen[0], EpochStarted)
        assert isinstance(seen[1], MyOrderEvent)
        assert len(errors) == 1


async def test_a_refused_key_ends_a_client_whose_callback_nobody_watches_over() -> None:
    async with open_private_world(credentials=Credentials("nobody", "knows")) as world:
        with pytest.raises(AuthenticationError):
            async with world.manager.open_client("strategy") as client:
                await client.subscribe_my_order((), print)
                await anyio.sleep_forever()


async def test_a_callback_that_is_too_slow_for_orders_ends_and_says_so() -> None:
    errors = list[Exception]()

    async def hang(_: object) -> None:
        await anyio.sleep(3000)

    async with open_private_world(rate=0.5) as world, world.manager.open_client("strategy") as client:
        subscription = await client.subscribe_my_order((), hang, on_error=errors.append)
        await anyio.sleep(1)
        for _ in range(600):
            uuid = world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
            world.account.cancel(wall(), uuid)
        await anyio.sleep(1)
        assert subscription.statistics().dropped == 1200 - 1024


async def test_more_than_one_connection_serves_is_refused_by_the_call() -> None:
    many = [indicator("rsi", "5m", period=period) for period in range(2, 15)]
    many += [indicator("volume", "5m", period=period) for period in range(5, 51, 5)]
    codes = [f"KRW-X{number}" for number in range(5)]
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        with pytest.raises(ConflictError):
            await client.subscribe_indicator(codes, many, print)
        await anyio.sleep(1)


async def test_a_cancelled_callback_is_not_called_once_more() -> None:
    seen = list[TradeEvent]()

    def take(trade: TradeEvent) -> None:
        seen.append(trade)
        subscription.cancel()

    async with open_world() as world, world.manager.open_client("strategy") as client:
        subscription = await client.subscribe_trade(CODES, take)
        await anyio.sleep(5)
        assert len(seen) == 1


async def test_an_error_of_the_callback_is_not_taken_for_one_of_its_stream() -> None:
    errors = list[Exception]()

    def fail(trade: TradeEvent) -> None:
        raise BackpressureError(1, 1)

    async with open_world() as world, world.manager.open_client("strategy") as client:
        subscription = await client.subscribe_trade(CODES, fail, on_error=errors.append)
        await anyio.sleep(2)
        assert subscription.errors == len(errors) > 10


async def test_a_callback_that_is_cancelled_while_an_event_is_on_its_way_does_not_get_it() -> None:
    seen = list[TradeEvent]()
    async with open_world(interval=10.0) as world, world.manager.open_client("strategy") as client:
        subscription = await client.subscribe_trade("KRW-BTC", seen.append)
        await anyio.sleep(15)
        [trade] = seen
        hub = world.hub()
        hub.publish([trade], trade.epoch)  # it is in the callback's hands from here on
        subscription.cancel()
        await anyio.sleep(1)
        assert seen == [trade]


def _verbs(client: Client) -> dict[str, Callable[..., Any]]:
    """Each ``subscribe_*`` with what it needs, but for its function."""
    rsi = indicator("rsi", "5m", period=14)
    overbought = indicator_signal("rsi", "5m", "overbought", period=14, threshold=70)
    return {
        "ticker": partial(client.subscribe_ticker, "KRW-BTC"),
        "trade": partial(client.subscribe_trade, "KRW-BTC"),
        "orderbook": partial(client.subscribe_orderbook, "KRW-BTC"),
        "candle": partial(client.subscribe_candle, "KRW-BTC"),
        "my_order": partial(client.subscribe_my_order, ()),
        "my_asset": client.subscribe_my_asset,
        "announcement": client.subscribe_announcement,
        "indicator": partial(client.subscribe_indicator, "KRW-BTC", rsi),
        "indicator_signal": partial(client.subscribe_indicator_signal, "KRW-BTC", overbought),
    }


async def test_every_verb_takes_a_policy_and_has_a_task_and_a_stream_of_its_own() -> None:
    async with open_private_world(rate=5.0) as world, world.manager.open_client("strategy") as client:
        verbs = _verbs(client)
        assert {f"subscribe_{name}" for name in verbs} == {
            name for name in dir(client) if name.startswith("subscribe_")
        }
        for number, (name, subscribe) in enumerate(verbs.items(), start=1):
            ours = await subscribe(lambda _: None, backpressure=DropOldest(number))
            assert ours.statistics().capacity == number
            default = await subscribe(lambda _: None)
            assert default.statistics().capacity == 1024
            told = client.statistics()
            assert (told.callbacks, told.streams) == (2 * number, 0), name
            tasks = [task for task in get_running_tasks() if str(task.name).startswith("strategy callback")]
            assert len(tasks) == 2 * number
        await anyio.sleep(1)


async def test_a_callback_that_is_too_slow_does_what_its_policy_says() -> None:
    seen, errors = list[TradeEvent](), list[Exception]()

    async def take_slowly(trade: TradeEvent) -> None:
        seen.append(trade)
        await anyio.sleep(5)

    async with open_world() as world, world.manager.open_client("strategy") as client:
        drops = await client.subscribe_trade("KRW-BTC", take_slowly, backpressure=DropOldest(2))
        fails = await client.subscribe_trade("KRW-BTC", take_slowly, backpressure=Fail(2), on_error=errors.append)
        await anyio.sleep(30)
        assert drops.statistics().dropped > 200
        assert (drops.errors, fails.errors) == (0, 1)
        assert isinstance(errors[0], BackpressureError)
        assert fails.last_error is errors[0]
        assert client.statistics().callbacks == 1, "the other one has ended"


async def test_every_verb_gives_what_its_function_raises_to_on_error() -> None:
    def fail(event: Any) -> None:
        raise _UserError(event.type if isinstance(event, Event) else type(event).__name__)

    async with open_private_world(rate=5.0) as world, world.manager.open_client("strategy") as client:
        errors: dict[str, list[Exception]] = {name: [] for name in _verbs(client)}
        subscriptions = {
            name: await subscribe(fail, on_error=errors[name].append) for name, subscribe in _verbs(client).items()
        }
        await anyio.sleep(5)
        for name, subscription in subscriptions.items():
            assert subscription.errors == len(errors[name]) >= 1, name
            assert subscription.last_error is errors[name][-1]
            assert isinstance(subscription.last_error, _UserError)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)  # on trio only scopes make cancellations
async def test_a_callback_that_is_cancelled_by_what_it_awaits_has_raised_an_error() -> None:
    """It is no cancellation of anything here."""
    errors, called = list[Exception](), list[TradeEvent]()

    async def callback(trade: TradeEvent) -> None:
        called.append(trade)
        raise anyio.get_cancelled_exc_class()

    async with open_world() as world, world.manager.open_client("strategy") as client:
        subscription = await client.subscribe_trade("KRW-BTC", callback, on_error=errors.append)
        await anyio.sleep(5)
        assert subscription.is_active
        assert len(called) == len(errors) == subscription.errors > 3
        assert all("cancelled by what it has awaited" in str(error) for error in errors)
    with pytest.raises(UsageError, match="callback was cancelled by what it has awaited"):
        async with open_world() as world, world.manager.open_client("strategy") as client:
            await client.subscribe_trade("KRW-BTC", callback)
            await anyio.sleep(5)


class _Broken(DropOldest):
    def buffer(self) -> Any:
        buffer = super().buffer()
        buffer.put = None  # type: ignore[method-assign, assignment]
        return buffer


async def test_on_error_is_told_of_a_broken_policy_and_its_client_goes_on() -> None:
    errors = list[Exception]()
    async with open_world() as world, world.manager.open_client("strategy") as client:
        subscription = await client.subscribe_trade(
            "KRW-BTC", lambda trade: None, backpressure=_Broken(), on_error=errors.append
        )
        await anyio.sleep(5)
        [error] = errors
        assert isinstance(error, UsageError)
        assert subscription.last_error is error
        assert not subscription.is_active
        assert client.statistics().callbacks == 0


async def test_the_call_raises_what_keeps_a_stream_from_being_opened() -> None:
    """Also if that is found out later than when it is asked for."""
    outcomes = list[Any]()
    async with open_private_world() as world, world.manager.open_client("strategy") as client:

        async def subscribe(count: int) -> None:
            try:
                values = [indicator("rsi", "5m", period=period) for period in range(2, 12)]
                codes = [f"KRW-X{count}{number}" for number in range(count)]
                outcomes.append(await client.subscribe_indicator(codes, values, lambda value: None))
            except ConflictError as refused:
                outcomes.append(refused)

        async with anyio.create_task_group() as group:
            group.start_soon(subscribe, 6)
            group.start_soon(subscribe, 5)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "Subscription"]
        await anyio.sleep(1)
        assert client.statistics().callbacks == 1


async def test_what_cannot_be_called_is_refused_by_the_call() -> None:
    async def generator(trade: TradeEvent) -> Any:
        yield trade

    async with open_world() as world, world.manager.open_client("strategy") as client:
        for callback, on_error, says in (
            (None, None, "a callback is a function"),
            (generator, None, "has a yield in it"),
            (print, "log", "on_error is a function"),
        ):
            with pytest.raises(UsageError, match=says):
                await client.subscribe_trade("KRW-BTC", callback, on_error=on_error)  # type: ignore[arg-type]
        assert client.statistics().callbacks == 0
        policies: list[Any] = [0, "", type("NoPolicy", (), {"buffer": lambda self: None})()]
        for policy in policies:
            with pytest.raises(UsageError, match=r"back-pressure policy|which is no Buffer"):
                client.stream(DataType.TRADE, "KRW-BTC", backpressure=policy)
        with pytest.raises(UsageError, match="notices are True, False or None"):
            client.stream(DataType.TRADE, "KRW-BTC", notices="yes")  # type: ignore[call-overload]
