"""What ends with what, and what a connection does over time."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import anyio
import attrs
import pytest
from tests.support.world import CODES, NumberedSource, World, open_world, wall

from upbit_streams import (
    Backoff,
    Config,
    ConnectionState,
    DataType,
    EpochStarted,
    EventStream,
    HandshakeRefusedError,
    NotReadyError,
    ScopeError,
    Secret,
    TradeEvent,
    UnknownEvent,
    open_manager,
)
from upbit_streams.testing import Refusal, SimulatedExchange, memory_connector
from upbit_streams.transport.interface import Transport


@attrs.define
class _Slow:
    """A transport with a peer that is slow to pong and to say goodbye, and what was asked of it."""

    inner: Transport
    pong_after: float = 0.0
    close_after: float = 0.0
    pings: list[float] = attrs.field(factory=list)
    closed: list[float] = attrs.field(factory=list)
    extra: list[bytes] = attrs.field(factory=list)

    async def receive(self) -> Sequence[bytes | str]:
        received = await self.inner.receive()
        frames = [*self.extra, *received]
        self.extra.clear()
        return frames

    async def send(self, message: str) -> None:
        await self.inner.send(message)

    async def ping(self) -> None:
        self.pings.append(anyio.current_time())
        await anyio.sleep(self.pong_after)
        await self.inner.ping()

    async def aclose(self) -> None:
        await anyio.sleep(self.close_after)
        await self.inner.aclose()
        self.closed.append(anyio.current_time())


def _slow_connector(made: list[_Slow], **how: Any) -> Any:
    connect = memory_connector(SimulatedExchange(NumberedSource()), wall)

    async def slow(url: str, config: Config, token: Secret | None) -> Transport:
        made.append(_Slow(await connect(url, config, token), **how))
        return made[-1]

    return slow


async def test_a_stream_ends_with_its_client_wherever_it_was_entered() -> None:
    async with open_world() as world, AsyncExitStack() as outer, anyio.create_task_group() as group:
        ended = anyio.Event()
        async with world.manager.open_client("strategy") as client:
            trades = await outer.enter_async_context(client.stream(DataType.TRADE, CODES))

            async def consume() -> None:
                with pytest.raises(ScopeError, match="has been left"):
                    while True:
                        await trades.receive()
                ended.set()

            group.start_soon(consume)
            await anyio.sleep(3)
        with anyio.fail_after(1):
            await ended.wait()


async def test_everything_that_waits_ends_with_the_manager() -> None:
    ended = list[str]()
    async with anyio.create_task_group() as group:

        async def wait_for_status(world: World) -> None:
            with pytest.raises(ScopeError, match="manager 'main'"):
                while True:
                    await world.manager.wait_status_changed()
            ended.append("status")

        async def wait_for_trades(world: World) -> None:
            async with (
                world.manager.open_client("strategy") as client,
                client.stream(DataType.TRADE, CODES) as stream,
            ):
                with pytest.raises(ScopeError):
                    while True:
                        await stream.receive()
                ended.append("stream")

        async with open_world() as world:
            group.start_soon(wait_for_status, world)
            group.start_soon(wait_for_trades, world)
            await anyio.sleep(3)
        await anyio.sleep(1)
        assert sorted(ended) == ["status", "stream"]
        assert world.manager.status().state is ConnectionState.DISCONNECTED


async def test_waiting_for_readiness_survives_other_registrations_and_ends_with_the_client() -> None:
    async with open_world() as world, anyio.create_task_group() as group:
        outcome = list[str]()
        async with world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, ["KRW-BTC", "KRW-NOSUCH"])

            async def wait() -> None:
                with pytest.raises((NotReadyError, ScopeError)) as error:
                    await client.wait_ready(timeout=1000)
                outcome.append(type(error.value).__name__)

            group.start_soon(wait)
            await anyio.sleep(1)
            await client.register_interest(DataType.TRADE, "KRW-ETH")
            await anyio.sleep(1)
        await anyio.sleep(2000)
        assert outcome == ["ScopeError"]


async def test_one_stream_that_leaves_starves_no_other() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, "KRW-BTC") as stays:
            async with client.stream(DataType.TRADE, "KRW-BTC") as leaves:
                await leaves.receive()
            await anyio.sleep(1)
            await stays.receive_batch()
            await anyio.sleep(1)
            assert stays.statistics().buffered > 5


async def test_managers_of_one_run_share_the_limit_of_connects() -> None:
    exchange = SimulatedExchange(NumberedSource())
    connect = memory_connector(exchange, wall)
    for _ in range(4):
        async with AsyncExitStack() as stack:
            for name in ("one", "two", "three"):
                manager = await stack.enter_async_context(open_manager(name=name, connector=connect, wall=wall))
                client = await stack.enter_async_context(manager.open_client("strategy"))
                await client.register_interest(DataType.TRADE, "KRW-BTC")
                await client.wait_ready()
    assert len(exchange.connects) == 12
    assert exchange.breaches == []


async def test_a_ping_goes_out_at_every_interval_and_a_late_pong_ends_the_epoch() -> None:
    made = list[_Slow]()
    settings = Config(url="ws://memory", ping_interval=20, ping_timeout=10)
    async with open_manager(settings, connector=_slow_connector(made), wall=wall, draw=lambda: 0.0) as manager:
        async with manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()
            started = anyio.current_time()
            await anyio.sleep(65)
            assert [round(ping - started) for ping in made[0].pings] == [20, 40, 60]
            made[0].pong_after = 11
            await anyio.sleep(30)
            status = manager.status()
            assert status.epoch is not None
            assert (status.epoch.number, status.epoch.reason) == (2, "no pong within 10 s")


async def test_a_manager_that_is_cancelled_still_says_goodbye_but_not_longer_than_allowed() -> None:
    for close_after, goodbyes in ((0.5, 1), (5.0, 0)):
        made = list[_Slow]()
        with anyio.move_on_after(3):
            connector = _slow_connector(made, close_after=close_after)
            async with open_manager(Config(url="ws://memory"), connector=connector, wall=wall) as manager:
                async with manager.open_client("strategy") as client, client.stream(DataType.TRADE, CODES) as trades:
                    await trades.receive()
                    left_at = anyio.current_time() + 3
                    await anyio.sleep_forever()
        assert len(made[0].closed) == goodbyes
        assert anyio.current_time() <= left_at + 1.01


async def test_the_time_of_receipt_is_the_wall_clocks() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES) as trades:
            await anyio.sleep(7)
            await trades.receive_batch()
            trade = await trades.receive()
            assert trade.received_at == pytest.approx(wall(), abs=0.01)
            assert trade.epoch.started_at == pytest.approx(wall() - 7, abs=0.2)
    status = world.manager.status()
    assert status.messages - 1 == status.events > 100  # the other one tells what is served


async def test_the_waits_grow_while_nobody_answers_and_are_short_again_after_a_success() -> None:
    backoff = Backoff(initial=1.0, maximum=8.0)
    async with open_world(backoff=backoff, draw=lambda: 1.0) as world, world.manager.open_client("strategy") as client:
        world.exchange.refusal = Refusal(503, "maintenance")
        await client.register_interest(DataType.TRADE, CODES)
        await anyio.sleep(40)
        connects = list(world.exchange.connects)
        assert [round(b - a) for a, b in pairwise(connects)][:5] == [1, 2, 4, 8, 8]
        world.exchange.refusal = None
        await client.wait_ready()
        await anyio.sleep(10)
        ended = wall()
        world.exchange.end_sessions(ended)
        await anyio.sleep(5)
        assert world.exchange.connects[-1] - ended == pytest.approx(1.0, abs=0.1)


async def test_events_of_an_unknown_type_can_be_listened_for_and_nobody_asks_for_them() -> None:
    made = list[_Slow]()
    async with open_manager(Config(url="ws://memory"), connector=_slow_connector(made), wall=wall) as manager:
        async with manager.open_client("strategy") as client:
            async with client.stream(DataType.UNKNOWN) as unknown:
                await anyio.sleep(70)
                assert not made, "it connected for something that cannot be asked for"
                await client.register_interest(DataType.TRADE, CODES)
                await client.wait_ready()
                made[0].extra += [b'{"type":"liquidation","x":1}', b"nonsense", b'{"type":"liquidation","x":2}']
                events = [await unknown.receive(), await unknown.receive()]
                assert all(isinstance(event, UnknownEvent) for event in events)
                assert [event.payload for event in events] == [
                    b'{"type":"liquidation","x":1}',
                    b'{"type":"liquidation","x":2}',
                ]
            status = manager.status()
            assert status.bad_frames == 1
            assert "nonsense" in status.last_bad_frame
            assert [(drift.where, drift.count) for drift in status.drift] == [("liquidation", 2)]


async def test_a_stream_that_outlives_its_client_asks_for_nothing_any_more() -> None:
    async with open_world() as world, anyio.create_task_group() as group:
        async with world.manager.open_client("strategy") as client:
            streams = list[EventStream[TradeEvent]]()

            async def hold() -> None:
                async with client.stream(DataType.TRADE, "KRW-BTC") as stream:
                    streams.append(stream)
                    await stream.receive()
                    await anyio.sleep(200)

            group.start_soon(hold)
            await anyio.sleep(5)
        ledger = streams[0].statistics()
        await anyio.sleep(100)
        assert not world.exchange.sessions
        assert world.manager.metrics().subscriptions == 0
        assert streams[0].statistics() == ledger
        assert ledger.published == ledger.delivered + ledger.buffered > 10


async def test_what_is_missing_begins_when_the_last_answered_ping_was_sent() -> None:
    """What the exchange sent after that may not have been read, although its pong was."""
    made: list[_Slow] = []
    async with (
        open_manager(
            Config(url="ws://memory"), connector=_slow_connector(made, pong_after=3.0), wall=wall, draw=lambda: 0.5
        ) as manager,
        manager.open_client("strategy") as client,
        client.stream(DataType.TRADE, CODES, notices=True) as stream,
    ):
        begun = wall()
        await anyio.sleep(24)
        assert made[0].pings == [pytest.approx(begun - wall() + anyio.current_time() + 20.0, abs=0.1)]
        pinged = wall() - anyio.current_time() + made[0].pings[0]
        await made[0].inner.aclose()
        await anyio.sleep(5)
        first, second = [item for item in await stream.receive_batch() if isinstance(item, EpochStarted)]
        assert (first.epoch.number, first.missing_from, first.down) == (1, None, None)
        assert second.missing_from == pytest.approx(pinged, abs=1e-3)


async def test_what_brings_nothing_in_this_epoch_is_unanswered_whatever_it_brought_in_the_last() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        await anyio.sleep(15)
        assert world.manager.status().unanswered == ()
        world.source.muted = frozenset(CODES[:1])
        world.exchange.end_sessions(wall())
        await anyio.sleep(9)
        assert world.manager.status().unanswered == ()
        await anyio.sleep(3)
        assert world.manager.status().unanswered == (("trade", CODES[0]),)


async def test_l3_a_connect_counts_when_it_begins_and_when_it_ends() -> None:
    """The exchange sees it somewhere between, so one that took long is seen together with those that came after it."""
    seen: list[float] = []

    async def refusing(url: str, config: Config, token: Secret | None) -> Transport:
        await anyio.sleep(0.0 if seen else 1.0)
        seen.append(anyio.current_time())
        raise HandshakeRefusedError(url, 503, "maintenance")

    async with (
        open_manager(Config(url="ws://memory"), connector=refusing, wall=wall, draw=lambda: 0.0) as manager,
        manager.open_client("strategy") as client,
        client.stream(DataType.TRADE, CODES),
    ):
        await anyio.sleep(20)
    assert len(seen) > 20
    assert all(later - sooner > 1.0 for sooner, later in zip(seen, seen[5:], strict=False))


async def test_a_manager_that_has_not_connected_yet_has_counted_nothing() -> None:
    async with open_world() as world:
        status = world.manager.status()
        assert (status.messages, status.events, status.late, status.unwanted, status.repeated, status.stale) == (0,) * 6
        assert (status.bad_frames, status.errors, status.differences, status.failed_attempts) == (0,) * 4
        [metrics] = [each for each in world.manager.metrics().connections if each.name == "public"]
        assert (metrics.messages, metrics.events, metrics.bytes_received, metrics.bytes_sent) == (0,) * 4
        assert (metrics.errors, metrics.reconnects, metrics.epochs_lost, metrics.lag) == (0, 0, 0, None)
