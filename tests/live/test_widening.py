"""Streams that get more and fewer markets while they run."""

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.noted import hub_of, noted, routes_of
from tests.support.private import MARKETS, PrivateWorld, open_private_world
from tests.support.spy import asked, spied_manager
from tests.support.world import CODES, NumberedSource, World, open_world, wall

from upbit_streams import (
    Client,
    Coalesce,
    ConflictError,
    ConnectionState,
    DataType,
    DropOldest,
    Endpoint,
    EpochEnded,
    EpochStarted,
    Event,
    EventStream,
    InvalidCodeError,
    InvalidConfigError,
    MyOrderEvent,
    Notice,
    OrderbookEvent,
    Policy,
    ScopeError,
    SubscriptionError,
    Throttle,
    TradeEvent,
    UsageError,
    indicator,
)
from upbit_streams.engine.connection import Connection
from upbit_streams.testing import MarketSimulation, MarketSource, Refusal, RefuseWant, play

Run = Callable[..., Any]
T = TypeVar("T", bound=Event | Notice)

_SLOTS = 3
# Which stream, what happens to it, with which markets, and how long until the next step.
_STEPS = st.lists(
    st.tuples(
        st.integers(0, _SLOTS - 1),
        st.sampled_from(["widen", "widen", "narrow", "narrow", "reopen", "drop", "close"]),
        st.sets(st.sampled_from(CODES), max_size=3),
        st.sampled_from([0.0, 0.05, 0.15, 0.5, 3.0]),
    ),
    max_size=25,
)


def _drained(stream: EventStream[T]) -> list[T]:
    """All that waits, without waiting."""
    taken: list[T] = []
    with suppress(anyio.WouldBlock):
        while True:
            taken.append(stream.receive_nowait())
    return taken


@attrs.define
class _Slot:
    """A stream, the markets it should have, and the events it should have been told of."""

    client: Client
    stack: AsyncExitStack = attrs.field(factory=AsyncExitStack)
    codes: set[str] = attrs.field(factory=set)
    expected: list[int] = attrs.field(factory=list)
    taken: list[TradeEvent] = attrs.field(factory=list)
    stream: EventStream[TradeEvent] = attrs.field(init=False)

    async def open(self, codes: set[str], capacity: int) -> None:
        stream = self.client.stream(DataType.TRADE, codes, backpressure=DropOldest(capacity))
        self.stream = await self.stack.enter_async_context(stream)
        self.codes, self.expected, self.taken = set(codes), [], []

    async def close(self) -> None:
        await self.stack.aclose()
        ledger = self.stream.statistics()
        assert ledger.published == ledger.delivered + ledger.dropped + ledger.buffered
        assert ledger.delivered == len(self.taken)

    def take(self) -> None:
        self.taken += _drained(self.stream)


@given(steps=_STEPS)
def test_a_stream_has_every_event_of_its_markets_while_it_has_them_and_no_other(virtual_run: Run, steps: Any) -> None:
    """Against a stream of all markets: beside that, what one has is exactly what it should have, in its order."""

    async def main() -> None:
        async with open_world() as world, world.manager.open_client("strategy") as client:
            async with client.stream(DataType.TRADE, CODES, backpressure=DropOldest(10_000)) as everything:
                await everything.receive()
                latest: dict[str, TradeEvent] = {}
                slots: list[_Slot] = []

                def advance() -> None:
                    for trade in _drained(everything):
                        latest[trade.code] = trade
                        for slot in slots:
                            if trade.code in slot.codes:
                                slot.expected.append(trade.sequential_id)
                    for slot in slots:
                        slot.take()

                def show(slot: _Slot, codes: set[str]) -> None:
                    """What is the present state of new markets, and was not told before."""
                    status = world.manager.status()
                    newest = status.epoch if status.state.is_open else None
                    fresh = [latest[code] for code in codes if code in latest and latest[code].epoch is newest]
                    had = set(slot.expected)
                    slot.expected += [trade.sequential_id for trade in fresh if trade.sequential_id not in had]

                await anyio.sleep(1)
                advance()
                for _ in range(_SLOTS):
                    slot = _Slot(client)
                    await slot.open(set(CODES[:1]), 10_000)
                    show(slot, slot.codes)
                    slots.append(slot)
                for number, what, codes, pause in steps:
                    advance()
                    slot = slots[number]
                    match what:
                        case "widen":
                            slot.stream.widen(codes)
                            show(slot, codes - slot.codes)
                            slot.codes |= codes
                        case "narrow":
                            slot.stream.narrow(codes & slot.codes)
                            slot.codes -= codes
                        case "reopen" if codes:
                            await slot.close()
                            await slot.open(codes, 10_000)
                            show(slot, codes)
                        case "drop" | "close":
                            world.exchange.end_sessions(wall(), 1000 if what == "close" else None)
                        case _:
                            pass
                    slot.take()
                    await anyio.sleep(pause)
                await anyio.sleep(1)
                advance()
                for slot in slots:
                    ids = [trade.sequential_id for trade in slot.taken]
                    # Snapshots of several markets, shown at once, have no order among them.
                    assert sorted(ids) == sorted(slot.expected)
                    for code in CODES:
                        of_code = [trade.sequential_id for trade in slot.taken if trade.code == code]
                        assert of_code == sorted(of_code)
                    changes = [trade.sequential_id for trade in slot.taken if trade.stream_type == "REALTIME"]
                    assert changes == sorted(changes)
                    epochs = [trade.epoch.number for trade in slot.taken]
                    assert epochs == sorted(epochs)
                    await slot.close()
            assert world.hub().wants.union == frozenset()

    virtual_run(main)


@given(steps=_STEPS, capacity=st.integers(1, 5))
def test_e6_the_last_request_is_the_union_of_what_all_streams_have(virtual_run: Run, steps: Any, capacity: int) -> None:
    async def main() -> None:
        with noted(Connection) as connections:
            await live(connections)

    async def live(connections: list[Connection]) -> None:
        async with spied_manager(NumberedSource(0.5)) as (manager, exchange, sent), manager.open_client("s") as client:
            hub = hub_of(connections)
            await client.register_interest(DataType.ORDERBOOK, "KRW-BTC")
            start = hub.wants.union
            slots = [_Slot(client) for _ in range(_SLOTS)]
            for slot in slots:
                await slot.open(set(CODES[:1]), capacity)
            for number, what, codes, pause in steps:
                slot = slots[number]
                match what:
                    case "widen":
                        slot.stream.widen(codes)
                        slot.codes |= codes
                    case "narrow":
                        slot.stream.narrow(codes & slot.codes)
                        slot.codes -= codes
                    case "reopen" if codes:
                        await slot.close()
                        await slot.open(codes, capacity)
                    case "drop" | "close":
                        exchange.end_sessions(wall(), 1000 if what == "close" else None)
                    case _:
                        pass
                trades = sorted(set[str]().union(*(slot.codes for slot in slots)))
                wanted = {want.code for want in hub.wants.union if want.type is DataType.TRADE}
                assert sorted(wanted) == trades
                await anyio.sleep(pause)
                if what == "narrow":
                    slot.take()
            await anyio.sleep(70)  # the limit of messages a minute may hold the last one back
            trades = sorted(set[str]().union(*(slot.codes for slot in slots)))
            assert asked(sent[-1]) == {"orderbook": ["KRW-BTC"], **({"trade": trades} if trades else {})}
            for slot in slots:
                slot.take()
                for code in CODES:  # E3 and E8, with gaps where nobody asked
                    ids = [trade.sequential_id for trade in slot.taken if trade.code == code]
                    assert ids == sorted(set(ids))
                epochs = [trade.epoch.number for trade in slot.taken]
                assert epochs == sorted(epochs)
                await slot.close()
            assert hub.wants.union == start
            assert {route.want.type for route in routes_of(hub)} == {DataType.ORDERBOOK}

    virtual_run(main)


def _markets() -> MarketSource:
    return MarketSource(MarketSimulation(codes=[*CODES, "KRW-SOL"], rate=20, start_ms=int(wall() * 1000)))


async def test_a_new_market_begins_with_its_present_state() -> None:
    async with spied_manager(_markets()) as (manager, _, _), manager.open_client("strategy") as client:
        async with client.stream(DataType.TICKER | DataType.ORDERBOOK, "KRW-BTC", count=5) as stream:
            await anyio.sleep(3)
            await stream.receive_batch()
            stream.widen(["krw-eth", "KRW-BTC"])
            await anyio.sleep(3)
            new = [event for event in await stream.receive_batch() if event.code == "KRW-ETH"]
            firsts = {event.type: event.stream_type for event in reversed(new)}
            assert firsts == {"ticker": "SNAPSHOT", "orderbook": "SNAPSHOT"}
            books = [event for event in new if isinstance(event, OrderbookEvent)]
            assert len(books) > 3
            assert {len(book.orderbook_units) for book in books} == {5}, "the options are those of the stream"


async def test_a_market_that_others_have_already_begins_with_its_latest() -> None:
    async with spied_manager(_markets()) as (manager, _, sent), manager.open_client("strategy") as client:
        await client.register_interest(DataType.TICKER, CODES)
        await client.wait_ready()
        async with client.stream(DataType.TICKER, "KRW-BTC") as stream:
            await anyio.sleep(3)
            await stream.receive_batch()
            stream.widen("KRW-ETH")
            ticker = stream.receive_nowait()
            assert (ticker.code, ticker.stream_type) == ("KRW-ETH", "SNAPSHOT")
            assert ticker.trade_timestamp == client.get_ticker("KRW-ETH").trade_timestamp
            assert len(sent) == 1, "nothing had to be asked for"


@pytest.mark.parametrize("others", [True, False], ids=["others have it", "nobody has it"])
async def test_e8_a_market_that_comes_back_repeats_no_trade(others: bool) -> None:
    """The snapshot with which it comes back is its last trade, which the stream has had if there was none since."""
    async with spied_manager(_markets()) as (manager, _, _), manager.open_client("strategy") as client:
        if others:
            await client.register_interest(DataType.TRADE, [*CODES, "KRW-SOL"])
        seen: list[TradeEvent] = []
        async with client.stream(DataType.TRADE, CODES) as stream:
            for _ in range(30):
                await anyio.sleep(0.7)
                stream.narrow(CODES[1:])
                await anyio.sleep(0.3)
                stream.widen(CODES[1:])
            await anyio.sleep(1)
            seen += await stream.receive_batch()
            ids = [(trade.code, trade.sequential_id) for trade in seen]
            assert len(ids) == len(set(ids)) > 60
        async with client.stream(DataType.TRADE, CODES) as another:
            await anyio.sleep(1)
            begins = {(trade.code, trade.sequential_id) for trade in await another.receive_batch()}
            assert begins & set(ids), "another stream does begin with them"


async def test_what_waits_of_a_market_is_delivered_after_it_is_gone() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES) as stream:
            await anyio.sleep(2)
            waits = stream.statistics().buffered
            stream.narrow(CODES)
            await anyio.sleep(2)
            batch = await stream.receive_batch()
            assert len(batch) == waits > 30
            assert {trade.code for trade in batch} == set(CODES)
            with anyio.move_on_after(5) as patience:
                await stream.receive()
            assert patience.cancelled_caught, "it has no market, and waits"
            stream.widen("KRW-XRP")
            assert (await stream.receive()).code == "KRW-XRP"


async def test_a_stream_without_markets_lets_its_connection_go_and_comes_back_with_notices() -> None:
    async with open_world(idle_timeout=5.0) as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, "KRW-BTC", notices=True) as stream:
            await anyio.sleep(2)
            stream.narrow("KRW-BTC")
            await anyio.sleep(20)
            assert not world.exchange.sessions
            stream.widen("KRW-ETH")
            await anyio.sleep(2)
            notices = [one for one in await stream.receive_batch() if not isinstance(one, TradeEvent)]
            first, ended, second = notices
            assert isinstance(first, EpochStarted)
            assert isinstance(ended, EpochEnded)
            assert isinstance(second, EpochStarted)
            assert first.epoch is ended.epoch
            assert (first.epoch.number, second.epoch.number) == (1, 2)
            assert second.down is not None
            assert second.down > 10


def _refused(
    world: World | PrivateWorld,
    stream: EventStream[Any],
    change: str,
    codes: Any,
    error: type[Exception],
    says: str | None = None,
) -> None:
    """It raises, and nothing has changed: not what is wanted, nor what anybody is fed with."""
    before = _fed(world)
    with pytest.raises(error, match=says):
        getattr(stream, change)(codes)
    assert _fed(world) == before


def _fed(world: World | PrivateWorld) -> list[Any]:
    return [
        (hub.wants.union, {channel: frozenset(consumer.wants) for channel, consumer in hub.holders()[2].items()})
        for hub in [connection.hub for connection in world.connections]
    ]


async def test_what_cannot_be_changes_nothing_and_says_why() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, "KRW-BTC") as trades:
            _refused(world, trades, "widen", ["KRW-ETH", "bitcoin"], InvalidCodeError, "bitcoin")
            _refused(world, trades, "narrow", ["KRW-BTC", "bitcoin"], InvalidCodeError, "bitcoin")
            says = r"by KRW-BCT, .* its markets are KRW-BTC$"
            _refused(world, trades, "narrow", ["KRW-BTC", "KRW-BCT"], UsageError, says)
            trades.widen([])
            trades.narrow([])
            trades.narrow("krw-btc")
            _refused(world, trades, "narrow", "KRW-BTC", UsageError, "its markets are none$")
        async with client.stream(DataType.ORDERBOOK, "KRW-BTC", level=10_000) as grouped:
            _refused(world, grouped, "widen", ["KRW-ETH", "BTC-ETH"], UsageError, "KRW markets")
        async with client.stream(DataType.MY_ASSET) as assets, client.stream(DataType.MY_ORDER) as orders:
            for stream in (assets, orders):
                for verb in ("widen", "narrow"):
                    for market in ("KRW-BTC", ()):
                        _refused(world, stream, verb, market, UsageError, "cannot be widened or narrowed")
        periods = [indicator("rsi", "5m", period=period) for period in range(2, 12)]
        codes = [f"KRW-X{number}" for number in range(9)]
        async with client.stream(DataType.INDICATOR, codes, indicators=iter(periods)) as values:
            _refused(world, values, "widen", ["KRW-Y1", "KRW-Y2"], ConflictError, "110 combinations")
            values.widen("KRW-Y1")
            values.narrow(codes[:1])
            values.widen("KRW-Y2")
        several = DataType.TRADE | DataType.INDICATOR
        async with client.stream(several, codes, indicators=periods, notices=False) as two_connections:
            _refused(world, two_connections, "widen", ["KRW-Y1", "KRW-Y2"], ConflictError, "110 combinations")
        mixed = DataType.TRADE | DataType.MY_ASSET
        async with client.stream(mixed, "KRW-BTC", notices=False) as both:
            both.widen("KRW-ETH")
            both.narrow("KRW-BTC")
            wanted = [want.code for connection in world.connections for want in connection.hub.wants.union]
            assert sorted(wanted) == ["", "KRW-ETH"]


async def test_what_the_exchange_refuses_is_refused_to_who_widens_by_it() -> None:
    async with open_private_world() as world, anyio.create_task_group() as group:
        async with world.manager.open_client("first") as first, world.manager.open_client("second") as second:
            fault = RefuseWant(type="myOrder", code="KRW-ETH", lasts=1e6)
            group.start_soon(play, [fault], world.exchange, wall)
            await anyio.sleep(0.1)
            await first.register_interest(DataType.MY_ORDER, ["KRW-ETH"])
            with pytest.raises(SubscriptionError):
                await first.wait_ready(60)
            async with second.stream(DataType.MY_ORDER, "KRW-BTC") as orders:
                _refused(world, orders, "widen", ["KRW-XRP", "KRW-ETH"], SubscriptionError)
                orders.widen("KRW-XRP")
        group.cancel_scope.cancel()


async def test_only_a_stream_that_runs_can_be_changed() -> None:
    async with open_world() as world:
        async with AsyncExitStack() as stack:
            async with world.manager.open_client("strategy") as client:
                one, other = (client.stream(DataType.TRADE, CODES[:2]) for _ in range(2))
                with pytest.raises(ScopeError, match="has not been entered"):
                    one.widen("KRW-XRP")
                async with one:
                    pass
                for change in (one.widen, one.narrow):
                    with pytest.raises(ScopeError, match="has been left"):
                        change("KRW-BTC")
                await stack.enter_async_context(other)
            # Its client is gone, though its own block is not.
            for change in (other.widen, other.narrow):
                with pytest.raises(ScopeError, match="has been left"):
                    change("KRW-BTC")
            hub = world.hub()
            assert hub.wants.union == frozenset(), "it went with its client"
        assert hub.wants.union == frozenset()


async def test_a_callback_can_have_more_and_fewer_markets_from_the_start() -> None:
    seen: list[TradeEvent] = []
    async with open_world() as world, world.manager.open_client("strategy") as client:
        subscription = await client.subscribe_trade("KRW-BTC", seen.append)
        subscription.widen("KRW-ETH")  # its stream is open by now, whatever the scheduler does
        await anyio.sleep(2)
        subscription.narrow("KRW-BTC")
        place = len(seen)
        await anyio.sleep(2)
        assert {trade.code for trade in seen[:place]} == {"KRW-BTC", "KRW-ETH"}
        assert {trade.code for trade in seen[place + 1 :]} == {"KRW-ETH"}
        subscription.cancel()
        await anyio.sleep(0.1)
        with pytest.raises(ScopeError):
            subscription.widen("KRW-BTC")


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["widen", "widen", "narrow", "order", "order", "drop"]), st.sampled_from(MARKETS)),
        max_size=15,
    )
)
def test_a_private_stream_tells_each_epoch_once_and_every_order_of_its_markets(virtual_run: Run, steps: Any) -> None:
    async def main() -> None:
        async with open_private_world(rate=1.0) as world, world.manager.open_client("strategy") as client:
            have, expected = {MARKETS[0]}, list[str]()
            # Where it is narrowed to nothing, somebody else keeps the connection.
            await client.register_interest(DataType.MY_ASSET)
            async with client.stream(DataType.MY_ORDER, MARKETS[0]) as stream:
                await anyio.sleep(3)
                taken = _drained(stream)  # at each step: lives of which nobody took anything are told as one
                for what, code in steps:
                    match what:
                        case "widen":
                            stream.widen(code)
                            have.add(code)
                        case "narrow" if code in have:
                            stream.narrow(code)
                            have.remove(code)
                        case "order":
                            price = world.price(code) // 2_000_000 * 1_000_000
                            uuid = world.account.place(wall(), code, "BID", price=price, volume="0.1")
                            expected += [uuid] * (code in have)
                        case "drop":
                            world.exchange.end_sessions(wall())
                        case _:
                            pass
                    await anyio.sleep(3)
                    taken += _drained(stream)
                starts = [one.epoch.number for one in taken if isinstance(one, EpochStarted)]
                assert starts == list(range(1, 2 + sum(what == "drop" for what, _ in steps)))
                told = [one for one in taken if isinstance(one, MyOrderEvent)]
                assert [order.uuid for order in told] == expected
                epochs = [one.epoch.number for one in taken]
                assert epochs == sorted(epochs)
            assert {want.type for want in world.hub(Endpoint.PRIVATE).wants.union} == {DataType.MY_ASSET}

    virtual_run(main)


async def test_a_private_stream_begins_an_epoch_when_that_serves_all_it_has_by_then() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.MY_ORDER, "KRW-BTC")
        await client.wait_ready()
        async with client.stream(DataType.MY_ORDER, "KRW-ETH") as orders:
            orders.widen("KRW-BTC")  # which is served, but the other is not yet
            assert _drained(orders) == []
            orders.narrow("KRW-ETH")
            [started] = _drained(orders)
            assert isinstance(started, EpochStarted)
            orders.widen("KRW-ETH")
            await anyio.sleep(5)
            assert _drained(orders) == [], "it is the same epoch"


async def test_e8_a_market_that_comes_and_goes_while_nobody_is_connected_repeats_no_trade() -> None:
    """Also if it has gone again before anything could be told of it."""
    async with open_private_world(rate=0.0005, seed=5) as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, MARKETS) as trades:
            await anyio.sleep(3)
            told = [trade.sequential_id for trade in await trades.receive_batch()]
            assert len(told) == len(MARKETS)
            world.exchange.refusal = Refusal(503, "maintenance")
            world.exchange.end_sessions(wall())
            for _ in range(3):
                trades.narrow("KRW-BTC")
                await anyio.sleep(1)
                trades.widen("KRW-BTC")
                await anyio.sleep(1)
            world.exchange.refusal = None
            await anyio.sleep(30)
            assert world.manager.status().state is ConnectionState.ACTIVE
            with pytest.raises(anyio.WouldBlock):
                trades.receive_nowait()


async def test_e8_who_wants_the_present_state_alone_is_shown_it_once() -> None:
    """When a market comes back it is shown again if there was a trade since, whoever was told of that."""
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        async with (
            client.stream(DataType.TRADE, MARKETS) as changes,
            client.stream(DataType.TRADE, MARKETS, realtime=False) as present,
        ):
            await anyio.sleep(3)
            shown = {trade.code: trade.sequential_id for trade in await present.receive_batch()}
            assert set(shown) == set(MARKETS)
            newest = {trade.code: trade.sequential_id for trade in await changes.receive_batch()}
            again = []
            for _ in range(3):
                present.narrow(MARKETS)
                present.widen(MARKETS)
                again.append({trade.code: trade.sequential_id for trade in _drained(present)})
            assert again == [{code: trade for code, trade in newest.items() if trade != shown[code]}, {}, {}]
            assert again[0]


@pytest.mark.parametrize("how", ["opened", "widened", "narrowed", "narrowed later"])
@pytest.mark.parametrize("realtime", [True, False])
async def test_who_begins_while_nobody_is_connected_is_shown_the_present_state_then(how: str, realtime: bool) -> None:
    """Though those who were there before have had it."""
    async with open_private_world(rate=0.0005, seed=5) as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, MARKETS) as before:
            await anyio.sleep(3)
            await before.receive_batch()
            world.exchange.refusal = Refusal(503, "maintenance")
            world.exchange.end_sessions(wall())
            await anyio.sleep(1)
            codes = MARKETS[0] if how == "widened" else MARKETS
            async with client.stream(DataType.TRADE, codes, realtime=realtime) as late:
                if how.startswith("narrowed"):
                    late.narrow(MARKETS)
                if how != "narrowed later":
                    late.widen(MARKETS)
                assert _drained(late) == []
                world.exchange.refusal = None
                await anyio.sleep(30)
                late.widen(MARKETS)
                shown = _drained(late)
                assert {trade.code for trade in shown} == set(MARKETS)
                assert {(trade.epoch.number, trade.stream_type) for trade in shown} == {(2, "SNAPSHOT")}
                assert _drained(before) == []
                world.exchange.end_sessions(wall())
                await anyio.sleep(30)
                assert _drained(late) == _drained(before) == []


async def test_each_who_wants_the_present_state_alone_is_shown_it_although_nobody_trades() -> None:
    async with open_private_world(rate=0.0005, seed=5) as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, MARKETS, realtime=False) as first:
            await anyio.sleep(3)
            async with client.stream(DataType.TRADE, MARKETS, realtime=False) as second:
                await anyio.sleep(3)
                assert {trade.code for trade in _drained(second)} == set(MARKETS)
            assert {trade.code for trade in _drained(first)} == set(MARKETS)


async def test_who_wants_the_present_state_alone_is_shown_it_in_each_epoch_whoever_else_is_told_more() -> None:
    async with open_private_world(rate=1.0) as world, world.manager.open_client("strategy") as client:
        async with (
            client.stream(DataType.TRADE, MARKETS, backpressure=DropOldest(10_000)) as changes,
            client.stream(DataType.TRADE, MARKETS, realtime=False) as states,
        ):
            newest, last, repeated = dict[str, int](), dict[str, int](), 0
            for number in range(1, 8):
                await anyio.sleep(15)
                shown = {trade.code: trade.sequential_id for trade in _drained(states)}
                assert shown.keys() >= {code for code in newest if newest[code] != last[code]}, number
                assert all(trade > last.get(code, 0) for code, trade in shown.items())
                repeated += sum(newest.get(code) == trade for code, trade in shown.items())
                last |= shown
                newest |= {trade.code: trade.sequential_id for trade in _drained(changes)}
                world.exchange.end_sessions(wall())
            assert repeated > 3, "others had been told of them before"


@pytest.mark.parametrize("policy", [Coalesce(2), Throttle(60.0, 2)])
async def test_a_market_that_is_quiet_keeps_its_place_whatever_else_comes_and_goes(policy: Policy) -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, ["KRW-BTC", "KRW-ETH"], backpressure=policy) as stream:
            await anyio.sleep(1)
            world.source.muted = frozenset({"KRW-BTC"})
            stream.narrow("KRW-ETH")
            says = "has 3 of them, with 1 that it was narrowed by"
            _refused(world, stream, "widen", "KRW-XRP", InvalidConfigError, says)
            assert {trade.code for trade in _drained(stream)} == {"KRW-BTC", "KRW-ETH"}
            stream.widen("KRW-XRP")
            await anyio.sleep(1)
            assert stream.statistics().dropped == 0


@pytest.mark.parametrize("kind", [DataType.TRADE, DataType.MY_ORDER], ids=lambda kind: kind.name)
async def test_a_stream_of_two_connections_is_widened_on_both_or_on_none(kind: DataType[Any]) -> None:
    """Whichever of them refuses the market."""
    taken, refused = MARKETS
    async with (
        open_private_world() as world,
        world.manager.open_client("strategy") as client,
        anyio.create_task_group() as group,
    ):
        fault = RefuseWant(type=kind.name, code=refused, lasts=1e6)
        group.start_soon(play, [fault], world.exchange, wall)
        async with (
            client.stream([DataType.TRADE, DataType.MY_ORDER], taken, notices=False) as stream,
            client.stream(kind, refused) as other,
        ):
            with pytest.raises(SubscriptionError):
                await other.receive()
            for _ in range(2):
                _refused(world, stream, "widen", [refused], SubscriptionError)
            await anyio.sleep(10)
            assert {event.code for event in _drained(stream)} == {taken}
            with pytest.raises(UsageError, match="which it does not have"):
                stream.narrow(refused)
        group.cancel_scope.cancel()
