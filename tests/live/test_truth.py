"""What the exchange believes, what it never answers, and what it refuses."""

import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.support.private import open_private_world
from tests.support.world import CODES, open_world, wall

from upbit_streams import (
    Config,
    ConnectionState,
    DataType,
    Endpoint,
    Format,
    Manager,
    Secret,
    SubscriptionError,
    TradeEvent,
    indicator,
    open_manager,
)
from upbit_streams.engine import watchdog
from upbit_streams.model.subscriptions import Want
from upbit_streams.rules.differences import compare
from upbit_streams.testing import (
    ErrorFrame,
    Fault,
    Forget,
    MarketSimulation,
    MarketSource,
    RefuseWant,
    SimulatedExchange,
    memory_connector,
    play,
)
from upbit_streams.transport.interface import Transport
from upbit_streams.wire.replies import Subscribed

Run = Callable[..., Any]
MARKETS = ("KRW-BTC", "KRW-ETH", "KRW-XRP")
_LONG = 100_000.0


@attrs.define
class Spy:
    """A transport that notes what is sent through it, and may change what comes back."""

    inner: Transport
    sent: list[Any]
    change: Callable[[bytes | str], bytes | str | None]

    async def receive(self) -> Sequence[bytes | str]:
        while True:
            frames = [self.change(frame) for frame in await self.inner.receive()]
            if found := [frame for frame in frames if frame is not None]:
                return found

    async def send(self, message: str) -> None:
        self.sent.append(json.loads(message))
        await self.inner.send(message)

    async def ping(self) -> None:
        await self.inner.ping()

    async def aclose(self) -> None:
        await self.inner.aclose()


@attrs.define
class Market:
    exchange: SimulatedExchange
    manager: Manager
    sent: list[Any]

    @property
    def questions(self) -> int:
        return sum(any("method" in part for part in request) for request in self.sent)

    @property
    def requests(self) -> int:
        return len(self.sent) - self.questions

    async def strike(self, *script: Fault) -> None:
        await play(script, self.exchange, wall)


@asynccontextmanager
async def open_market(
    change: Callable[[bytes | str], bytes | str | None] = lambda frame: frame, rate: float = 5.0, **settings: Any
) -> AsyncIterator[Market]:
    simulation = MarketSimulation(codes=MARKETS, rate=rate, start_ms=int(wall() * 1000))
    exchange, sent = SimulatedExchange(MarketSource(simulation)), list[Any]()
    connect = memory_connector(exchange, wall)

    async def spying(url: str, config: Config, token: Secret | None) -> Transport:
        return Spy(await connect(url, config, token), sent, change)

    async with open_manager(
        Config(url="ws://memory", **settings), connector=spying, wall=wall, draw=lambda: 0.5
    ) as manager:
        yield Market(exchange, manager, sent)


# What the exchange believes


@pytest.mark.anyio
@pytest.mark.parametrize("format", list(Format))
async def test_every_epoch_begins_with_a_question_and_every_ten_minutes_there_is_another(format: Format) -> None:
    async with open_market(rate=0.1, format=format) as market, market.manager.open_client("one") as client:
        await client.register_interest([DataType.TRADE, DataType.TICKER], MARKETS)
        await client.register_interest(DataType.ORDERBOOK, MARKETS, count=5, level=1000)
        await anyio.sleep(1)
        assert (market.requests, market.questions) == (1, 1)
        assert market.sent[-1][-1] == {"format": format.value}
        await anyio.sleep(599.5)
        assert market.questions == 2
        market.exchange.end_sessions(wall())
        await anyio.sleep(5)
        assert (market.requests, market.questions) == (2, 3)
        assert market.manager.status().differences == 0


@pytest.mark.anyio
async def test_a_change_that_asks_for_something_new_is_followed_by_a_question_and_others_are_not() -> None:
    async with open_market() as market, market.manager.open_client("one") as client:
        await client.register_interest(DataType.TRADE, MARKETS)
        await anyio.sleep(1)
        async with client.stream(DataType.TICKER, MARKETS):
            await anyio.sleep(1)
            assert (market.requests, market.questions) == (2, 2)
        await anyio.sleep(1)
        assert (market.requests, market.questions) == (3, 2)


@pytest.mark.anyio
async def test_a_market_that_the_exchange_does_not_have_and_does_not_list_is_no_difference() -> None:
    def without_unknown(frame: bytes | str) -> bytes | str:
        fields = json.loads(frame)
        for entry in fields.get("result", ()):
            entry["codes"] = [code for code in entry["codes"] if code in MARKETS]
        return json.dumps(fields) if "result" in fields else frame

    async with open_market(without_unknown) as market, market.manager.open_client("one") as client:
        await client.register_interest(DataType.TRADE, [*MARKETS, "KRW-NONE"])
        await anyio.sleep(650)
        assert (market.requests, market.questions) == (1, 2)
        assert market.manager.status().differences == 0
        assert market.manager.status().unanswered == (("trade", "KRW-NONE"),)


@pytest.mark.anyio
async def test_what_the_exchange_has_forgotten_is_counted_told_and_asked_for_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 1e6)  # it would find what is silent, and be the first to
    async with open_market() as market, market.manager.open_client("one") as client:
        await client.register_interest([DataType.TRADE, DataType.TICKER], MARKETS)
        await client.wait_ready()
        for times in (1, 2):
            await market.strike(Forget(type="trade", code="KRW-ETH"))
            assert market.manager.status().differences == times - 1
            await anyio.sleep(610)
            assert market.manager.status().differences == times
            assert market.requests == 1 + times
            assert wall() - client.get_trade("KRW-ETH").received_at < 10
        assert market.manager.status().epoch.number == 1  # type: ignore[union-attr]
    assert caplog.text.count("does not serve") == 1, "once an epoch is enough"
    assert "missing: trade of KRW-ETH; too much: nothing" in caplog.text


@pytest.mark.anyio
async def test_a_difference_that_asking_again_does_not_mend_is_not_fought_over() -> None:
    def without_ether(frame: bytes | str) -> bytes | str:
        fields = json.loads(frame)
        for entry in fields.get("result", ()):
            entry["codes"] = [code for code in entry["codes"] if code != "KRW-ETH"] + ["KRW-DOGE"]
        return json.dumps(fields) if "result" in fields else frame

    async with open_market(without_ether) as market, market.manager.open_client("one") as client:
        await client.register_interest(DataType.TRADE, MARKETS)
        await anyio.sleep(590)
        assert (market.requests, market.questions) == (2, 2)
        await anyio.sleep(600)
        assert (market.requests, market.questions) == (3, 4)
        assert market.manager.status().differences == 4


@pytest.mark.anyio
async def test_private_subscriptions_are_compared_too() -> None:
    async with open_private_world() as world, world.manager.open_client("one") as client:
        await client.register_interest(DataType.MY_ORDER, ["KRW-BTC", "KRW-ETH"])
        await client.register_interest([DataType.MY_ASSET, DataType.ANNOUNCEMENT])
        await client.wait_ready()
        await play([Forget(type="myOrder", code="KRW-ETH")], world.exchange, wall)
        await anyio.sleep(610)
        assert world.manager.status(Endpoint.PRIVATE).differences == 1
        placed = world.account.place(wall(), "KRW-ETH", "BID", "price", price=100_000)
        await anyio.sleep(1)
        assert client.get_my_order(placed).uuid == placed


@attrs.define
class Post:
    """Loses or holds back what the exchange answers to questions, of a market whose data comes all the time."""

    seconds: float = 0.0
    """How late the answers are."""
    _held: list[tuple[float, bytes | str]] = attrs.field(factory=list)

    def __call__(self, frame: bytes | str) -> bytes | str | None:
        now = anyio.current_time()
        if self.seconds and "result" in json.loads(frame):
            self._held.append((now + self.seconds, frame))
            return None
        if self._held and self._held[0][0] <= now:
            return self._held.pop(0)[1]  # in place of one event
        return frame


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [5.1, 7.0, 9.0])
async def test_a_late_answer_is_compared_with_no_later_request(seconds: float) -> None:
    post = Post()
    async with open_market(post, rate=20.0) as market, market.manager.open_client("one") as client:
        await client.register_interest(DataType.TRADE, MARKETS[:2])
        await anyio.sleep(10)
        post.seconds = seconds
        async with client.stream(DataType.TRADE, MARKETS[2]):
            await anyio.sleep(5.0)
        await anyio.sleep(20)
        assert market.manager.status().differences == 0


@pytest.mark.anyio
async def test_an_answer_that_never_comes_keeps_no_later_want_waiting() -> None:
    """The data shows well enough that the exchange serves us, so it is not asked again and again in this epoch."""
    post = Post()
    async with open_market(post) as market, market.manager.open_client("one") as client:
        await client.register_interest(DataType.TRADE, MARKETS)
        await anyio.sleep(10)
        post.seconds = 1e9
        await client.register_interest(DataType.TICKER, MARKETS[0])
        await anyio.sleep(6)
        for number, code in enumerate(MARKETS[1:], 2):
            await client.register_interest(DataType.TICKER, code)
            await anyio.sleep(1)
            assert client.get_ticker(code).code == code
            assert (market.requests, market.questions) == (1 + number, 2)
        # Once it answers again, every new want is asked about again.
        post.seconds = 0.0
        await anyio.sleep(600)
        assert market.questions == 3
        await client.register_interest(DataType.ORDERBOOK, MARKETS)
        await anyio.sleep(1)
        assert market.questions == 4


@pytest.mark.anyio
async def test_a_request_that_was_served_is_not_blamed_for_an_error_long_after_it() -> None:
    post = Post(seconds=1e9)
    async with open_market(post) as market, market.manager.open_client("one") as client:
        await client.register_interest(DataType.TRADE, MARKETS[0])
        for _ in range(3):
            await anyio.sleep(60)
            await market.strike(ErrorFrame(name="INVALID_PARAM"))
        await anyio.sleep(60)
        await client.wait_ready()
        assert market.manager.status().errors == 3


BOOK = Want(DataType.ORDERBOOK, "KRW-BTC", count=5, level=1000)
ORDERS = Want(DataType.MY_ORDER)
TRADE = Want(DataType.TRADE, "KRW-BTC")
RSI = Want(DataType.INDICATOR, "KRW-BTC", indicator=indicator("rsi", "5m", period=14))
BTC = frozenset({"KRW-BTC"})


@pytest.mark.parametrize(
    ("wants", "listed"),
    [
        ([TRADE], [Subscribed("trade", frozenset({"KRW-BTC"}))]),
        ([TRADE], [Subscribed("trade")]),
        ([BOOK], [Subscribed("orderbook", frozenset({"KRW-BTC"}), 1000.0)]),
        ([BOOK], [Subscribed("orderbook", frozenset({"KRW-BTC.5"}), 1000.0)]),
        ([BOOK], [Subscribed("orderbook", frozenset({"KRW-BTC"}))]),
        ([ORDERS], [Subscribed("myOrder")]),
        ([ORDERS], [Subscribed("myOrder", frozenset({"KRW-BTC", "KRW-ETH"}))]),
        ([], [Subscribed("")]),
        ([RSI], [Subscribed("indicator", BTC)]),
        ([RSI], [Subscribed("indicator", BTC, timeframe="5m")]),
        ([RSI], [Subscribed("indicator", BTC, indicators=frozenset({"rsi"}))]),
        ([RSI], [Subscribed("indicator", BTC, timeframe="5m", indicators=frozenset({"macd", "rsi"}))]),
    ],
)
def test_what_the_list_does_not_tell_is_no_difference(wants: list[Want], listed: list[Subscribed]) -> None:
    found = compare(frozenset(wants), listed)
    assert not found.missing
    assert not found.extra


@pytest.mark.parametrize(
    ("wants", "listed", "missing", "extra"),
    [
        ([TRADE], [], [TRADE], []),
        ([], [Subscribed("trade")], [], [("trade", "")]),
        ([TRADE], [Subscribed("trade", frozenset({"KRW-ETH"}))], [TRADE], [("trade", "KRW-ETH")]),
        ([BOOK], [Subscribed("orderbook", frozenset({"KRW-BTC"}), 0.0)], [BOOK], [("orderbook", "KRW-BTC")]),
        ([BOOK], [Subscribed("orderbook", frozenset({"KRW-BTC.30"}))], [BOOK], [("orderbook", "KRW-BTC")]),
        ([BOOK], [Subscribed("orderbook", BTC, 1000.0), Subscribed("trade", BTC)], [], [("trade", "KRW-BTC")]),
        ([RSI], [Subscribed("indicator", BTC, timeframe="15m")], [RSI], [("indicator", "KRW-BTC")]),
        ([RSI], [Subscribed("indicator", BTC, indicators=frozenset({"macd"}))], [RSI], [("indicator", "KRW-BTC")]),
    ],
)
def test_what_the_list_tells_otherwise_is_a_difference(
    wants: list[Want], listed: list[Subscribed], missing: list[Want], extra: list[tuple[str, str]]
) -> None:
    found = compare(frozenset(wants), listed)
    assert (found.missing, found.extra) == (frozenset(missing), frozenset(extra))


# What is never answered


@pytest.mark.anyio
async def test_what_brings_nothing_is_told_until_it_does(caplog: pytest.LogCaptureFixture) -> None:
    async with open_market() as market, market.manager.open_client("one") as client:
        unanswered = (("candle.1m", "KRW-NONE"), ("trade", "KRW-NONE"))
        await client.register_interest([DataType.TRADE, DataType.candle(1)], [*MARKETS, "KRW-NONE"])
        await anyio.sleep(9.9)
        assert market.manager.status().unanswered == ()
        await anyio.sleep(0.3)
        assert market.manager.status().unanswered == unanswered
        assert market.manager.status().differences == 0
        for _ in range(3):
            market.exchange.end_sessions(wall())
            await anyio.sleep(1)
            assert market.manager.status().unanswered == ()
            await anyio.sleep(30)
            assert market.manager.status().unanswered == unanswered
        async with client.stream(DataType.TICKER, "KRW-NADA"):
            await anyio.sleep(30)
            assert market.manager.status().unanswered == (unanswered[0], ("ticker", "KRW-NADA"), unanswered[1])
        assert market.manager.status().unanswered == unanswered
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    warnings = [warning for warning in warnings if "health is" not in warning]
    assert len(warnings) == 2
    assert "candle.1m of KRW-NONE, trade of KRW-NONE; most likely a typing error" in warnings[0]


@pytest.mark.anyio
async def test_what_answers_late_is_unanswered_no_longer() -> None:
    async with open_world(interval=15.0) as world, world.manager.open_client("one") as client:
        await client.register_interest(DataType.TRADE, CODES[0])
        await anyio.sleep(12)
        assert world.manager.status().unanswered == (("trade", CODES[0]),)
        await anyio.sleep(4)
        assert world.manager.status().unanswered == ()


@pytest.mark.anyio
async def test_a_market_in_which_nothing_has_happened_since_the_last_epoch_is_not_unanswered() -> None:
    """The snapshot repeats the last trade, so it is delivered to nobody."""
    async with open_market(rate=0.0001) as market, market.manager.open_client("one") as client:
        await client.register_interest(DataType.TRADE, MARKETS)
        await client.wait_ready()
        market.exchange.end_sessions(wall())
        await anyio.sleep(30)
        status = market.manager.status()
        assert status.repeated == len(MARKETS)
        assert status.unanswered == ()


@pytest.mark.anyio
async def test_what_has_no_snapshot_is_never_unanswered() -> None:
    async with open_private_world() as world, world.manager.open_client("one") as client:
        await client.register_interest([DataType.MY_ORDER, DataType.MY_ASSET])
        async with client.stream(DataType.TRADE, "KRW-NONE", snapshot=False):
            await anyio.sleep(30)
            assert world.manager.status(Endpoint.PRIVATE).unanswered == ()
            assert world.manager.status().unanswered == ()


# What is refused


@pytest.mark.anyio
async def test_the_want_that_is_refused_is_found_among_a_thousand_and_the_others_are_served() -> None:
    codes = [f"KRW-C{number}" for number in range(1000)]
    async with (
        open_world(interval=0.5) as world,
        world.manager.open_client("good") as good,
        world.manager.open_client("bad") as bad,
        anyio.create_task_group() as group,
    ):
        await good.register_interest(DataType.TRADE, CODES)
        await good.wait_ready()
        group.start_soon(play, [RefuseWant(type="ticker", code="KRW-C777", lasts=_LONG)], world.exchange, wall)
        await bad.register_interest(DataType.TICKER, codes)
        began, ages = anyio.current_time(), list[float]()

        async def watch() -> None:
            while True:
                ages.append(wall() - good.get_trade(CODES[0]).received_at)
                await anyio.sleep(0.5)

        group.start_soon(watch)
        with pytest.raises(SubscriptionError) as refused:
            await bad.wait_ready(timeout=1000)
        assert anyio.current_time() - began < 60
        error = refused.value
        assert (error.type_name, error.code, error.name) == ("ticker", "KRW-C777", "INVALID_PARAM")
        assert error.message == "It is not supported."
        assert max(ages) < 3, "the others had to wait for long"
        epochs = world.manager.status().epoch.number  # type: ignore[union-attr]
        assert epochs < 10
        # Those who want it are told wherever they ask, and it is not asked for again.
        with pytest.raises(SubscriptionError):
            bad.get_ticker("KRW-C777")
        with pytest.raises(SubscriptionError):
            await good.register_interest([DataType.TRADE, DataType.TICKER], "KRW-C777")
        with pytest.raises(SubscriptionError):
            async with good.stream(DataType.TICKER, ["KRW-C777", "KRW-C7"]):
                pass
        await anyio.sleep(1300)
        assert world.manager.status().epoch.number == epochs  # type: ignore[union-attr]
        assert world.manager.status().differences == 0
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_stream_of_a_want_that_is_refused_fails_as_a_whole_and_for_good() -> None:
    async with (
        open_market() as market,
        market.manager.open_client("good") as good,
        anyio.create_task_group() as group,
    ):
        async with market.manager.open_client("bad") as bad:
            errors: list[Exception] = []
            await bad.subscribe_ticker(["KRW-ETH", "KRW-BTC"], lambda _: None, on_error=errors.append)
            async with (
                good.stream(DataType.TRADE, MARKETS) as trades,
                bad.stream([DataType.TRADE, DataType.TICKER], MARKETS) as both,
            ):
                waiting: list[str] = []

                async def wait() -> None:
                    try:
                        async for _ in both:
                            pass
                    except SubscriptionError as error:
                        waiting.append(error.code)

                for _ in range(3):
                    group.start_soon(wait)
                await trades.receive()
                group.start_soon(market.strike, RefuseWant(type="ticker", code="KRW-ETH", lasts=_LONG))
                market.exchange.end_sessions(wall())
                await anyio.sleep(60)
                assert waiting == ["KRW-ETH"] * 3
                for _ in range(2):
                    with pytest.raises(SubscriptionError):
                        await both.receive()
                    with pytest.raises(SubscriptionError):
                        both.receive_nowait()
                    with pytest.raises(SubscriptionError):
                        await both.receive_batch()
                ledger = both.statistics()
                assert ledger.published == ledger.delivered + ledger.dropped + ledger.buffered
                assert [type(error) for error in errors] == [SubscriptionError]
                newest = [trade async for trade in _some(trades)][-1]
                assert wall() - newest.received_at < 10
        # All who wanted it have left, so it may be tried again, and is refused again.
        async with market.manager.open_client("another") as another:
            await another.register_interest(DataType.TRADE, "KRW-BTC")
            await another.register_interest(DataType.TICKER, "KRW-ETH")
            with pytest.raises(SubscriptionError):
                await another.wait_ready(timeout=60)
        group.cancel_scope.cancel()


def _some(trades: Any) -> AsyncIterator[TradeEvent]:
    class Some:
        def __aiter__(self) -> "Some":
            return self

        async def __anext__(self) -> TradeEvent:
            try:
                found: TradeEvent = trades.receive_nowait()
                return found
            except anyio.WouldBlock:
                raise StopAsyncIteration from None

    return Some()


@pytest.mark.anyio
async def test_what_was_refused_once_is_served_when_the_exchange_takes_it_later() -> None:
    async with open_market() as market:
        with anyio.move_on_after(40):
            async with anyio.create_task_group() as group, market.manager.open_client("one") as client:
                group.start_soon(market.strike, RefuseWant(type="ticker", code="KRW-ETH", lasts=_LONG))
                await checkpoint()
                await client.register_interest(DataType.TICKER, "KRW-ETH")
                with pytest.raises(SubscriptionError):
                    await client.wait_ready(timeout=30)
                assert market.manager.status().state is not ConnectionState.ERROR
                await anyio.sleep_forever()
        async with market.manager.open_client("two") as client:
            await client.register_interest(DataType.TICKER, "KRW-ETH")
            await client.wait_ready()


@pytest.mark.anyio
async def test_private_wants_are_refused_to_those_who_want_them_alone() -> None:
    async with (
        open_private_world() as world,
        world.manager.open_client("good") as good,
        world.manager.open_client("bad") as bad,
        anyio.create_task_group() as group,
    ):
        group.start_soon(play, [RefuseWant(type="myOrder", code="KRW-BTC", lasts=_LONG)], world.exchange, wall)
        await good.register_interest(DataType.MY_ASSET)
        await bad.register_interest(DataType.MY_ORDER, ["KRW-BTC", "KRW-ETH"])
        with pytest.raises(SubscriptionError):
            await bad.wait_ready(timeout=60)
        await good.wait_ready()
        with pytest.raises(SubscriptionError):
            bad.get_open_orders()
        assert good.get_my_assets() == {}
        group.cancel_scope.cancel()


@settings(max_examples=6)
@given(
    names=st.lists(st.sampled_from(["WRONG_FORMAT", "INTERNAL_ERROR", "TOO_MANY_REQUEST"]), min_size=1, max_size=4),
    pause=st.sampled_from([0.0, 0.3, 3.0, 20.0]),
)
def test_error_frames_that_have_nothing_to_do_with_a_want_refuse_nothing(
    virtual_run: Run, names: list[str], pause: float
) -> None:
    async def main() -> None:
        async with open_market() as market, market.manager.open_client("one") as client:
            await client.register_interest([DataType.TRADE, DataType.TICKER], MARKETS)
            await market.strike(*(ErrorFrame(after=pause, name=name) for name in names))
            await anyio.sleep(60)
            await client.wait_ready()
            assert market.manager.status().errors <= len(names)

    virtual_run(main)


@pytest.mark.anyio
async def test_what_was_served_outlives_that_the_exchange_refuses_it_for_a_while() -> None:
    async with (
        open_market() as market,
        market.manager.open_client("one") as client,
        anyio.create_task_group() as group,
        client.stream(DataType.TRADE, MARKETS) as trades,
    ):
        await anyio.sleep(60)
        group.start_soon(market.strike, RefuseWant(type="trade", lasts=60))
        await anyio.sleep(1)
        market.exchange.end_sessions(wall())
        await anyio.sleep(60)
        mended = wall()
        await anyio.sleep(60)
        newest = {trade.code: trade.received_at async for trade in _some(trades)}
        assert min(newest[code] for code in MARKETS) > mended
        group.cancel_scope.cancel()


KINDS = (DataType.TICKER, DataType.TRADE, DataType.ORDERBOOK)


@settings(max_examples=8)
@given(
    served=st.sets(st.tuples(st.sampled_from(KINDS), st.sampled_from(MARKETS))),
    new=st.sets(st.tuples(st.sampled_from(KINDS), st.sampled_from(MARKETS)), min_size=2),
    begins=st.floats(0, 30),
    lasts=st.floats(0, 200),
    pause=st.floats(0, 60),
)
def test_when_the_exchange_has_refused_everything_for_a_while_everything_is_served_again(
    virtual_run: Run,
    served: set[tuple[DataType[Any], str]],
    new: set[tuple[DataType[Any], str]],
    begins: float,
    lasts: float,
    pause: float,
) -> None:
    """What was served before, and what is wanted first while it does."""
    # A single want that was never accepted has no other to compare it with, and is refused after a few seconds.
    assume(len(served) != 1 or begins > 1)

    async def main() -> None:
        async with (
            open_market(rate=1.0) as market,
            market.manager.open_client("one") as client,
            anyio.create_task_group() as group,
        ):
            for kind, code in served:
                await client.register_interest(kind, code)
            await anyio.sleep(begins)
            for kind in KINDS:
                group.start_soon(market.strike, RefuseWant(type=kind.name, lasts=lasts))
            market.exchange.end_sessions(wall())
            await anyio.sleep(min(pause, lasts))
            for kind in KINDS:
                if codes := [code for other, code in new if other is kind]:
                    await client.register_interest(kind, codes)
            await anyio.sleep(lasts + 60)
            await client.wait_ready()
            assert market.manager.status().state is ConnectionState.ACTIVE
            assert market.manager.status().unanswered == ()
            group.cancel_scope.cancel()

    virtual_run(main)


@settings(max_examples=5)
@given(bad=st.sets(st.tuples(st.sampled_from([kind.name for kind in KINDS]), st.sampled_from(MARKETS)), max_size=3))
def test_exactly_the_wants_that_the_exchange_refuses_are_refused(virtual_run: Run, bad: set[tuple[str, str]]) -> None:
    async def main() -> None:
        async with (
            open_market(rate=1.0) as market,
            market.manager.open_client("one") as client,
            anyio.create_task_group() as group,
        ):
            for type_name, code in bad:
                group.start_soon(market.strike, RefuseWant(type=type_name, code=code, lasts=_LONG))
            await checkpoint()
            await client.register_interest(KINDS, MARKETS)
            await anyio.sleep(150)
            refused = set()
            for code in MARKETS:
                for get in (client.get_ticker, client.get_trade, client.get_orderbook):
                    try:
                        get(code)
                    except SubscriptionError as error:
                        refused.add((error.type_name, error.code))
            assert refused == bad
            assert market.manager.status().state is ConnectionState.ACTIVE
            group.cancel_scope.cancel()

    virtual_run(main)
