"""The policy that lets a connection wait for its consumer: what waits, what does not, and for how long."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import pytest
from tests.support.noted import channels_of
from tests.support.private import MARKETS, open_private_world
from tests.support.world import CODES, NumberedSource, open_world, wall

from upbit_streams import (
    Backoff,
    BackpressureError,
    Block,
    Client,
    Config,
    ConnectionState,
    DataType,
    DropOldest,
    Endpoint,
    EpochEnded,
    EventStream,
    Fail,
    InvalidConfigError,
    Manager,
    SubscriptionError,
    TradeEvent,
    UsageError,
    open_manager,
)
from upbit_streams.engine.reconciler import Reconciler
from upbit_streams.testing import SimulatedExchange, Wires, open_wires


async def _take(stream: EventStream[TradeEvent], pause: float, into: list[TradeEvent]) -> None:
    async with stream as trades:
        async for trade in trades:
            into.append(trade)
            await anyio.sleep(pause)


def _ids(trades: list[TradeEvent]) -> list[int]:
    return [trade.sequential_id for trade in trades]


@pytest.mark.parametrize("pause", [0.5, 0.05])
async def test_block_is_lossless_as_long_as_its_consumer_is_in_time(pause: float) -> None:
    """For every single event; how slow it is on the whole does not matter."""
    async with open_world() as world, world.manager.open_client("recorder") as client:
        recorded, others = list[TradeEvent](), list[TradeEvent]()
        slow = client.stream(DataType.TRADE, CODES, backpressure=Block(5, 0.9))
        async with anyio.create_task_group() as group:
            group.start_soon(_take, slow, pause, recorded)
            group.start_soon(_take, client.stream(DataType.TRADE, CODES, backpressure=Fail(100)), 0.0, others)
            await anyio.sleep(50)
            ledger = slow.statistics()
            group.cancel_scope.cancel()
        assert _ids(recorded) == list(range(1_000_001, 1_000_001 + len(recorded))), "nothing is missing"
        assert len(recorded) > 48 / pause, "it is waited for no longer than it takes"
        assert _ids(others)[: len(recorded)] == _ids(recorded), "whoever listens beside it gets the same, as slowly"
        assert ledger.dropped == 0
        assert ledger.buffered == ledger.high_water == 5
        assert 45 < ledger.blocked_seconds < 50
        assert ledger.lag_seconds > 4 * pause
        assert world.source.sessions == 1
        assert world.manager.status().stale == 0


async def test_block_fails_after_its_deadline_and_nobody_waits_any_more() -> None:
    async with open_world() as world, world.manager.open_client("recorder") as client:
        others: list[TradeEvent] = []
        async with anyio.create_task_group() as group:
            async with client.stream(DataType.TRADE, CODES, backpressure=Block(5, 2.0)) as stuck:
                group.start_soon(_take, client.stream(DataType.TRADE, CODES), 0.0, others)
                await anyio.sleep(20)
                ledger = stuck.statistics()
                assert ledger.blocked_seconds == pytest.approx(2.0)
                assert ledger.buffered == 5
                assert _ids(await stuck.receive_batch()) == _ids(others[:5])
                with pytest.raises(BackpressureError) as raised:
                    await stuck.receive()
                assert raised.value.missed == ledger.dropped == ledger.published - 5 > 400
            group.cancel_scope.cancel()
        assert _ids(others) == list(range(1_000_001, 1_000_001 + len(others)))
        assert world.source.sessions == 1


async def test_several_are_waited_for_at_the_same_time() -> None:
    async with open_world() as world, world.manager.open_client("recorder") as client:
        others: list[TradeEvent] = []
        async with (
            anyio.create_task_group() as group,
            client.stream(DataType.TRADE, CODES, backpressure=Block(5, 2.0)) as one,
            client.stream(DataType.TRADE, CODES, backpressure=Block(5, 3.0)) as other,
        ):
            group.start_soon(_take, client.stream(DataType.TRADE, CODES), 0.0, others)
            await anyio.sleep(20)
            assert (one.statistics().blocked_seconds, other.statistics().blocked_seconds) == pytest.approx((2.0, 1.0))
            group.cancel_scope.cancel()
        pauses = [later.received_at - sooner.received_at for sooner, later in pairwise(others)]
        assert sum(pause for pause in pauses if pause > 0.2) == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize("batched", [False, True])
async def test_the_present_state_of_what_it_joins_makes_nobody_wait_or_fail(batched: bool) -> None:
    """It comes before anything newer, however it is taken, and once however often the stream changes its markets."""
    async with open_private_world() as world, world.manager.open_client("recorder") as client:
        types = DataType.TICKER | DataType.ORDERBOOK | DataType.TRADE
        async with client.stream(types, MARKETS) as first:
            await anyio.sleep(5)
            async with client.stream(types, MARKETS[0], backpressure=Block(2, 5.0)) as joined:
                for _ in range(50):
                    joined.widen(MARKETS)
                    joined.narrow(MARKETS[1])
                joined.widen(MARKETS)
                [channel] = [each for each in channels_of(world.hub()) if each.capacity == 2]
                assert len(channel.unshown) <= 6
                began, present = anyio.current_time(), list[Any]()
                with anyio.fail_after(1):
                    while len({(one.type, one.code) for one in present}) < 6:
                        present += await joined.receive_batch() if batched else [await joined.receive()]
                assert anyio.current_time() == began
                world.exchange.end_sessions(wall())
                with anyio.fail_after(30):
                    while present[-1].epoch.number == 1:
                        present += await joined.receive_batch() if batched else [await joined.receive()]
                epochs = [one.epoch.number for one in present]
                assert epochs == sorted(epochs)
                assert joined.statistics().dropped == 0
            assert first.statistics().dropped == 0


@pytest.mark.parametrize("notices", [False, True])
async def test_e7_a_state_that_has_found_no_room_is_the_present_one_no_more_when_its_epoch_ends(notices: bool) -> None:
    async with open_private_world() as world, world.manager.open_client("recorder") as client:
        types = DataType.TICKER | DataType.ORDERBOOK | DataType.TRADE
        async with client.stream(types, MARKETS):
            await anyio.sleep(5)
            policy = Block(1, 9.0)
            async with client.stream(types, MARKETS, backpressure=policy, realtime=False, notices=notices) as joined:
                world.exchange.end_sessions(wall())
                await anyio.sleep(2)
                got = list[Any]()
                with anyio.move_on_after(5):
                    while True:
                        got.append(await joined.receive())
                assert [one.epoch.number for one in got] == sorted(one.epoch.number for one in got)
                ended = [isinstance(one, EpochEnded) for one in got]
                assert sum(ended) == notices
                assert not notices or all(one.epoch.number == 2 for one in got[ended.index(True) + 1 :])
                assert sum(one.epoch.number == 1 for one in got) == 1 + 2 * notices, "of the old epoch what had room"


async def test_who_leaves_is_waited_for_no_longer() -> None:
    """Nor who is narrowed to nothing, or refused."""
    async with open_world() as world, world.manager.open_client("recorder") as client:
        async with client.stream(DataType.TRADE, CODES) as others:
            hub = world.hub()
            for how in ("leave", "narrow", "refuse", "close"):
                async with client.stream(DataType.TRADE, CODES, backpressure=Block(1, 9.0)) as stuck:
                    await anyio.sleep(2)
                    assert stuck.statistics().blocked_seconds > 1
                    await others.receive_batch()
                    left_at = anyio.current_time()
                    if how == "narrow":
                        stuck.narrow(CODES)
                    elif how == "close":
                        stuck.close()
                    elif how == "refuse":
                        [channel] = [each for each in channels_of(hub) if each.capacity == 1]
                        channel.refuse(lambda: SubscriptionError("trade", "KRW-BTC", "NO", "no"))
                    if how != "leave":
                        await others.receive()
                        assert anyio.current_time() - left_at < 0.2, how
                await others.receive()
                assert anyio.current_time() - left_at < 0.4, how
                assert not hub.holds.channels


async def test_l2_who_blocks_two_connections_fails_like_any_other() -> None:
    async with open_private_world() as world, world.manager.open_client("recorder") as client:
        both = client.stream(DataType.TRADE | DataType.MY_ORDER, "KRW-BTC", notices=False, backpressure=Block(1, 5.0))
        async with both as stuck, client.stream(DataType.TRADE, "KRW-BTC") as trades:
            await anyio.sleep(2)
            for _ in range(3):
                world.account.place(wall(), "KRW-BTC", "BID", price=1_000_000, volume="0.5")
            await anyio.sleep(10)
            ledger = stuck.statistics()
            assert ledger.dropped > 0
            assert 7 < ledger.blocked_seconds < 9, "both have waited once, until the first deadline, and not again"
            await trades.receive_batch()
            assert (await trades.receive()).received_at == wall()
            stuck.narrow("KRW-BTC")
            assert not any(connection.hub.holds.channels for connection in world.connections)


async def test_a_market_that_falls_silent_is_found_although_somebody_is_waited_for_now_and_then() -> None:
    async with open_world() as world, world.manager.open_client("recorder") as client:
        async with (
            anyio.create_task_group() as group,
            client.stream(DataType.TRADE, CODES[2]),
        ):
            quick = client.stream(DataType.TRADE, CODES[:2], backpressure=Block(1, 0.9))
            group.start_soon(_take, quick, 0.01, list[TradeEvent]())
            await anyio.sleep(120)
            assert quick.statistics().blocked_seconds > 5
            world.source.muted = frozenset(CODES[2:])
            await anyio.sleep(60)
            assert world.manager.status().stale > 0
            group.cancel_scope.cancel()


async def test_e6_what_is_wanted_later_is_asked_for_although_somebody_is_waited_for_and_nobody_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exchange that sends its data, and does not say what it serves."""
    monkeypatch.setattr(Reconciler, "expects", lambda reconciler, ticket: False)
    async with open_world() as world, world.manager.open_client("recorder") as client:
        async with anyio.create_task_group() as group:
            slow = client.stream(DataType.TRADE, CODES[0], backpressure=Block(1, 0.9))
            group.start_soon(_take, slow, 0.11, list[TradeEvent]())
            await anyio.sleep(5)
            async with client.stream(DataType.TRADE, CODES[1]) as later:
                with anyio.fail_after(30):
                    await later.receive()
            group.cancel_scope.cancel()


async def test_who_is_waited_for_does_not_make_the_markets_look_silent() -> None:
    async with open_world(ping_timeout=20.0) as world, world.manager.open_client("recorder") as client:
        recorded: list[TradeEvent] = []
        pace = 0.0

        async def record() -> None:
            async with client.stream(DataType.TRADE, CODES, backpressure=Block(1, 15.0)) as trades:
                async for trade in trades:
                    recorded.append(trade)
                    await anyio.sleep(pace)

        async with anyio.create_task_group() as group:
            group.start_soon(record)
            await anyio.sleep(120)
            pace = 14.0  # so each market is heard of every 42 s
            await anyio.sleep(600)
            group.cancel_scope.cancel()
        assert world.source.sessions == 1
        assert world.manager.status().stale == 0


async def test_who_is_waited_for_does_not_make_the_exchange_look_silent() -> None:
    """Its answers come behind the events that wait."""
    async with open_private_world() as world, world.manager.open_client("recorder") as client:
        async with client.stream(DataType.MY_ORDER, notices=False, backpressure=Block(1, 9.0)) as orders:
            await anyio.sleep(5)
            for _ in range(6):
                world.account.place(wall(), "KRW-BTC", "BID", price=1_000_000, volume="0.01")
            await client.register_interest(DataType.MY_ASSET)
            for _ in range(6):
                await anyio.sleep(8.0)
                await orders.receive()
            await client.wait_ready()
        status = world.manager.status(Endpoint.PRIVATE)
        assert status.epoch is not None
        assert status.epoch.number == 1


async def test_a_consumer_that_comes_back_is_waited_for_again() -> None:
    """A deadline that has passed without anything missing is over as soon as there is room."""
    async with open_world() as world, world.manager.open_client("recorder") as client:
        async with (
            client.stream(DataType.TRADE, CODES[0], backpressure=Block(2, 1.0)) as one,
            client.stream(DataType.TRADE, CODES[1], backpressure=DropOldest(1)),
        ):
            world.source.muted = frozenset(CODES[:1])
            await anyio.sleep(1)
            for _ in range(3):
                world.source.muted = frozenset(CODES[1:])
                while one.statistics().buffered < 2:  # noqa: ASYNC110 -- whatever it takes
                    await anyio.sleep(0.01)
                world.source.muted = frozenset(CODES[:1])
                before = one.statistics().blocked_seconds
                await anyio.sleep(3)  # the other market goes on, after the deadline
                assert one.statistics().blocked_seconds - before == pytest.approx(1.0)
                assert len(await one.receive_batch()) == 2
            assert one.statistics().dropped == 0


async def test_e3_what_was_read_and_not_handed_out_when_its_epoch_ends_is_counted() -> None:
    async with _over_wires() as (manager, client, wires):
        async with client.stream(DataType.TRADE, CODES, backpressure=Block(1, 5.0)) as stuck:
            await anyio.sleep(1)
            assert stuck.statistics().buffered == 1
            wires.open[0].reset()
            await client.register_interest(DataType.TICKER, "KRW-BTC")  # which cannot be asked for any more
            with anyio.fail_after(0.5):
                await manager.wait_status_changed()
            status = manager.status()
            assert status.late > 0
            assert status.events == stuck.statistics().published == 1
            assert (await stuck.receive()).epoch.number == 1
            assert (await stuck.receive()).epoch.number == 2


@asynccontextmanager
async def _over_wires(**settings: Any) -> AsyncIterator[tuple[Manager, Client, Wires]]:
    """The real protocol, in which pongs come by the same way as events."""
    exchange = SimulatedExchange(NumberedSource(0.1))
    config = Config(url="ws://exchange/websocket/v1", backoff=Backoff(initial=0.5, maximum=1.0), **settings)
    async with (
        open_wires(exchange, wall) as wires,
        open_manager(config, connector=wires.connect, wall=wall) as manager,
        manager.open_client("recorder") as client,
    ):
        yield manager, client, wires


async def test_the_reader_that_waits_does_not_cost_the_connection_its_pongs() -> None:
    async with _over_wires(ping_interval=2.0, ping_timeout=1.0) as (manager, client, _):
        recorded: list[TradeEvent] = []
        slow = client.stream(DataType.TRADE, CODES, backpressure=Block(5, 0.9))
        async with anyio.create_task_group() as group:
            group.start_soon(_take, slow, 0.85, recorded)
            await anyio.sleep(120)
            assert slow.statistics().blocked_seconds > 100
            group.cancel_scope.cancel()
        status = manager.status()
        assert status.epoch is not None
        assert (status.epoch.number, status.reason) == (1, "first connect")
        assert _ids(recorded) == list(range(1_000_001, 1_000_001 + len(recorded)))


async def test_a_connection_that_is_dead_is_found_out_although_somebody_blocks_it() -> None:
    async with _over_wires(ping_interval=2.0, ping_timeout=1.0) as (manager, client, wires):
        recorded: list[TradeEvent] = []
        async with anyio.create_task_group() as group:
            group.start_soon(_take, client.stream(DataType.TRADE, CODES, backpressure=Block(5, 0.9)), 0.5, recorded)
            await anyio.sleep(5)
            wires.open[0].up.dead = wires.open[0].down.dead = True
            with anyio.fail_after(120):  # what was on its way is taken first
                while (epoch := manager.status().epoch) is None or epoch.number == 1:
                    await manager.wait_status_changed()
            group.cancel_scope.cancel()


async def test_l2_a_consumer_that_blocks_one_connection_changes_nothing_on_another() -> None:
    async with open_private_world() as world, world.manager.open_client("recorder") as client:
        async with (
            client.stream(DataType.TRADE, "KRW-BTC", backpressure=Block(5, 5.0)) as stuck,
            client.stream(DataType.MY_ORDER) as orders,
        ):
            await orders.receive()  # it is served
            while stuck.statistics().buffered < 5:  # noqa: ASYNC110 -- whatever it takes
                await anyio.sleep(0.1)
            await anyio.sleep(0.5)
            assert stuck.statistics().blocked_seconds > 0
            placed_at = anyio.current_time()
            world.account.place(wall(), "KRW-BTC", "BID", price=1_000_000, volume="0.5")
            await orders.receive()
            assert anyio.current_time() == placed_at
            assert stuck.statistics().dropped == 0


@pytest.mark.parametrize("policy", [Block(5, 10.0), Block(deadline=11)])
async def test_a_deadline_that_is_no_shorter_than_the_ping_time_out_is_refused(policy: Block) -> None:
    async with open_world() as world, world.manager.open_client("recorder") as client:
        with pytest.raises(InvalidConfigError, match="ping_timeout"):
            client.stream(DataType.TRADE, CODES, backpressure=policy)


@pytest.mark.parametrize("policy", [DropOldest, 1024, "block"])
async def test_what_is_no_policy_is_refused_where_it_is_given(policy: Any) -> None:
    async with open_world() as world, world.manager.open_client("recorder") as client:
        with pytest.raises(UsageError, match=r"DropOldest\(1024\)"):
            client.stream(DataType.TRADE, CODES, backpressure=policy)


async def test_l2_an_epoch_whose_first_events_nobody_has_room_for_is_served() -> None:
    """One consumer after the other is waited for, together for longer than the exchange's answer may take."""
    async with open_private_world() as world, world.manager.open_client("recorder") as client:
        async with AsyncExitStack() as stack:
            for kind in (DataType.TICKER, DataType.TRADE):
                for code in MARKETS:
                    await stack.enter_async_context(client.stream(kind, code, backpressure=Block(1, 2.0)))
            async with client.stream(DataType.ORDERBOOK, MARKETS, notices=True) as books:
                await anyio.sleep(3)
                assert world.manager.status().state is ConnectionState.ACTIVE
                await anyio.sleep(30)
                assert not any(isinstance(one, EpochEnded) for one in await books.receive_batch())
                assert world.manager.metrics().connections[0].epochs_lost == 0


@pytest.mark.parametrize("realtime", [True, False])
@pytest.mark.parametrize("how", ["stays", "is narrowed", "is narrowed meanwhile"])
async def test_a_trade_that_found_no_room_before_its_epoch_was_over_comes_with_the_next(
    how: str, realtime: bool
) -> None:
    """Though all others have had it, and nobody trades."""
    async with open_private_world(rate=0.0005, seed=5) as world, world.manager.open_client("recorder") as client:
        async with client.stream(DataType.TRADE, MARKETS):
            await anyio.sleep(3)
            async with client.stream(DataType.TRADE, MARKETS, backpressure=Block(1, 9.0), realtime=realtime) as joined:
                if how == "is narrowed meanwhile":
                    joined.narrow(MARKETS)
                world.exchange.end_sessions(wall())
                await anyio.sleep(0.1)
                if how == "is narrowed":
                    joined.narrow(MARKETS)
                if how != "stays":
                    joined.widen(MARKETS)
                got = list[Any]()
                with anyio.move_on_after(60):
                    while True:
                        got.append(await joined.receive())
                assert sorted(trade.code for trade in got) == sorted(MARKETS)
                assert [trade.epoch.number for trade in got] == [1, *[2] * (len(MARKETS) - 1)]
