"""Values of several markets and types, taken at one point of one epoch."""

from collections.abc import Callable
from typing import Any

import anyio
import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.private import MARKETS, open_private_world
from tests.support.world import CODES, Fault, faults, numbered_trade, open_world, wall

from upbit_streams import (
    Block,
    ConnectionState,
    Cut,
    DataType,
    Epoch,
    NotReadyError,
    NotRegisteredError,
    ScopeError,
    StaleDataError,
    TradeEvent,
    UsageError,
    indicator,
)
from upbit_streams.engine.clocks import Clocks
from upbit_streams.engine.hub import Hub
from upbit_streams.interests import Interests
from upbit_streams.model.kinds import Endpoint
from upbit_streams.model.subscriptions import Want, wants_of
from upbit_streams.pool import Pool

Run = Callable[..., Any]


async def test_a_cut_has_what_is_registered_of_its_markets() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest([DataType.TICKER, DataType.TRADE], MARKETS)
        await client.register_interest(DataType.ORDERBOOK, "KRW-BTC", count=1)
        with pytest.raises(NotReadyError) as missing:
            client.pool.cut(MARKETS, DataType.TICKER)
        assert missing.value.missing == (("ticker", "KRW-BTC"), ("ticker", "KRW-ETH"))
        await client.wait_ready()
        cut = client.pool.cut(["krw-btc", "KRW-ETH"])
        assert set(cut.events) == {(kind, code) for kind in (DataType.TICKER, DataType.TRADE) for code in MARKETS} | {
            (DataType.ORDERBOOK, "KRW-BTC")
        }
        assert cut[DataType.TICKER, "krw-eth"] is client.get_ticker("KRW-ETH")
        assert len(cut[DataType.ORDERBOOK, "KRW-BTC"].orderbook_units) == 1
        assert cut.epoch == world.manager.status().epoch
        assert cut.taken_at == pytest.approx(wall(), abs=1e-5)
        with pytest.raises(UsageError, match=r"no trade of KRW-SOL; it has orderbook of KRW-BTC, ticker of KRW-BTC, "):
            cut[DataType.TRADE, "KRW-SOL"]


async def test_a_client_that_was_left_has_no_cut() -> None:
    """Also of markets that it never had: the cure is another one."""
    async with open_private_world() as world:
        async with world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TICKER, "KRW-BTC")
            await client.wait_ready()
        for code in MARKETS:
            with pytest.raises(ScopeError):
                client.pool.cut(code)


async def test_a_cut_names_all_that_is_not_registered() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TICKER, "KRW-BTC")
        for types, missing in [
            (DataType.TICKER, (("ticker", "KRW-ETH"), ("ticker", "KRW-SOL"))),
            (None, (("anything", "KRW-ETH"), ("anything", "KRW-SOL"))),
        ]:
            with pytest.raises(NotRegisteredError, match=r"of KRW-ETH, \w+ of KRW-SOL") as raised:
                client.pool.cut(["KRW-BTC", "KRW-ETH", "KRW-SOL"], types)
            assert raised.value.missing == missing


async def test_a_cut_of_what_several_connections_serve_says_how_to_choose() -> None:
    periods = [indicator("rsi", "5m", period=period) for period in (7, 14)]
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest([DataType.TICKER, DataType.MY_ORDER], "KRW-BTC")
        await client.wait_ready()
        with pytest.raises(UsageError, match=r"asked for is myOrder, ticker; say with types=\.\.\. which are meant"):
            client.pool.cut("KRW-BTC")
        await client.register_interest(DataType.INDICATOR, "KRW-BTC", indicators=periods)
        with pytest.raises(UsageError, match="indicator, myOrder, ticker; say with types="):
            client.pool.cut("KRW-BTC")
        with pytest.raises(UsageError, match=r"asked for is myOrder, ticker$"):
            client.pool.cut("KRW-BTC", [DataType.TICKER, DataType.MY_ORDER])
        assert list(client.pool.cut("KRW-BTC", DataType.TICKER)) == [(DataType.TICKER, "KRW-BTC")]


async def test_a_trade_that_the_new_epoch_repeats_is_of_that_epoch() -> None:
    """Nobody trades for long after a reconnect; the snapshot shows the trade that everybody has had already."""
    async with open_private_world(rate=0.0005, seed=5) as world, world.manager.open_client("strategy") as client:
        await client.register_interest([DataType.TRADE, DataType.TICKER], "KRW-BTC", history=10)
        await client.wait_ready()
        async with client.stream(DataType.TRADE, "KRW-BTC", notices=True) as had:
            before = client.pool.entry(DataType.TRADE, "KRW-BTC")
            world.exchange.end_sessions(wall())
            await world.manager.wait_status_changed()
            cut = await client.wait_for(lambda: client.pool.cut("KRW-BTC"))
            assert wall() < before.event.received_at + 30, "it waited for somebody to trade"
            assert cut.epoch.number == 2
            trade = cut[DataType.TRADE, "KRW-BTC"]
            assert (trade.stream_type, trade.sequential_id) == ("SNAPSHOT", before.event.sequential_id)
            await anyio.sleep(60)
            entry = client.pool.entry(DataType.TRADE, "KRW-BTC")
            assert (entry.event, entry.is_stale, entry.updates) == (trade, False, 1)
            with pytest.raises(StaleDataError, match="nothing has changed since"):
                client.get_trade("KRW-BTC", within=1)
            assert len(client.get_trade_history("KRW-BTC")) == 1
            assert [type(item).__name__ for item in await had.receive_batch()] == [
                "EpochStarted",
                "TradeEvent",
                "EpochEnded",
            ]
            with pytest.raises(anyio.WouldBlock):
                had.receive_nowait()
            status = world.manager.status()
            assert status.repeated
            assert not status.unanswered
        async with client.stream(DataType.TRADE, "KRW-BTC") as comes:
            assert comes.receive_nowait() == trade


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["trade", "repeat", "an older one", "lose"]), st.integers(0, 3)), min_size=10
    )
)
def test_e5_a_repeated_trade_never_takes_the_pool_back(virtual_run: Run, steps: list[tuple[str, int]]) -> None:
    async def main() -> None:
        hub, number, sent, latest = Hub(), 1, 0, (0, 0)
        [want] = wants = wants_of(DataType.TRADE, "KRW-BTC")
        hub.register(wants)
        hub.asked(wants)
        for step, back in steps:
            epoch = Epoch("public", number, 0.0, 0.0, "test")
            id_, stream_type = sent, "SNAPSHOT"
            match step:
                case "trade":
                    sent = id_ = sent + 1
                    stream_type = "REALTIME"
                case "an older one":
                    id_ = max(sent - back, 0)
                case "lose":
                    hub.ended(epoch, "test", 0.0, 0.0)
                    hub.asked(wants)
                    number += 1
                    continue
                case _:
                    pass
            if not id_:
                continue
            trade = msgspec.structs.replace(numbered_trade("KRW-BTC", 0, id_), epoch=epoch, stream_type=stream_type)
            hub.publish([trade], epoch)
            if id_ == sent:
                latest = number, sent
            seen = hub.latest(want)
            assert isinstance(seen, TradeEvent)
            assert (seen.epoch.number, seen.sequential_id) == latest
            assert hub.updates(want) == sent
            assert not hub.look_for_unanswered(anyio.current_time())
            heard = [one.at for one in hub.heard(epoch).values()]
            assert len(heard) == 1

    virtual_run(main)


async def test_a_cut_that_cannot_be_is_refused() -> None:
    rsi = indicator("rsi", "5m", period=14)
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest([DataType.TICKER, DataType.ORDERBOOK], "KRW-BTC")
        await client.wait_ready()
        wrong: list[tuple[Any, Any, str]] = [
            ("KRW-ETH", None, "anything of KRW-ETH"),
            ("KRW-BTC", [DataType.TICKER, DataType.TRADE], "trade of KRW-BTC"),
            ("KRW-BTC", DataType.INDICATOR, "indicator of KRW-BTC"),
        ]
        for codes, types, why in wrong:
            with pytest.raises(NotRegisteredError, match=why):
                client.pool.cut(codes, types)
        for codes, types in ([], None), ("KRW-BTC", []):
            with pytest.raises(UsageError, match="at least one"):
                client.pool.cut(codes, types)
        with pytest.raises(UsageError, match="constants of DataType"):
            client.pool.cut("KRW-BTC", "ticker")  # type: ignore[arg-type]
        await client.register_interest(DataType.INDICATOR, "KRW-BTC", indicators=rsi)
        with pytest.raises(UsageError, match="one connection"):
            client.pool.cut("KRW-BTC")
        await client.register_interest(DataType.ORDERBOOK, "KRW-BTC", level=1000)
        with pytest.raises(UsageError, match="in 2 ways"):
            client.pool.cut("KRW-BTC", DataType.ORDERBOOK)
        client.pool.cut("KRW-BTC", DataType.TICKER)


@given(script=faults(), looks=st.lists(st.floats(0, 3), min_size=5, max_size=30))
def test_e5_a_cut_is_of_the_epoch_that_is_alive_and_of_one_read(
    virtual_run: Run, script: list[Fault], looks: list[float]
) -> None:
    """Each read brings a trade of each market, numbered one after the other."""

    async def main() -> None:
        async with open_world() as world, world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()
            cuts: list[Cut] = []

            async def look() -> None:
                for pause in looks:
                    await anyio.sleep(pause)
                    status = world.manager.status()
                    whole = all(trade.epoch == status.epoch for trade in client.get_multiple_trades().values())
                    if whole and status.state.is_open:
                        cuts.append(client.pool.cut(CODES))
                        assert cuts[-1].epoch == status.epoch
                        continue
                    with pytest.raises(StaleDataError):
                        client.pool.cut(CODES)

            async with anyio.create_task_group() as group:
                group.start_soon(look)
                await world.suffer(script)
                group.cancel_scope.cancel()
            for cut in cuts:
                first, *_ = ids = [cut[DataType.TRADE, code].sequential_id for code in CODES]
                assert ids == [first, first + 1, first + 2]
                assert {event.epoch for event in cut.events.values()} == {cut.epoch}
            newest = [cut[DataType.TRADE, "KRW-BTC"].sequential_id for cut in cuts]
            assert newest == sorted(newest)

    virtual_run(main)


async def test_a_cut_beside_a_reader_that_waits_is_one_point_of_what_the_exchange_sent() -> None:
    """Each read brings a trade of each market, numbered one after the other, and somebody takes one now and then."""
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        slow = client.stream(DataType.TRADE, CODES, backpressure=Block(3, deadline=0.9))
        split = 0
        async with slow as held:
            for _ in range(100):
                await held.receive()
                await anyio.sleep(0.07)
                cut = client.pool.cut(CODES)
                ids = [cut[DataType.TRADE, code].sequential_id for code in CODES]
                first = min(ids)
                assert sorted(ids) == [first, first + 1, first + 2]
                split += ids[0] != first
        assert split, "no read was split, so this shows nothing"


@attrs.define
class _Connection:
    """As much of a connection as the pool needs."""

    hub: Hub
    open_epoch: Epoch | None = None
    clocks: Clocks = attrs.field(factory=lambda: Clocks(anyio.current_time))

    def check_login(self) -> None: ...

    def why_spoiled(self, want: Want) -> str:
        return ""

    def status(self) -> Any:
        return attrs.make_class("Status", ["state", "reason"])(ConnectionState.ACTIVE, "test")


READS = st.lists(st.tuples(st.integers(0, 1), st.lists(st.sampled_from(CODES[:2]), max_size=4), st.booleans()))


@given(reads=READS, late=st.lists(st.integers(0, 30), max_size=5))
def test_a_cut_is_the_state_after_a_whole_number_of_reads_of_one_epoch(
    virtual_run: Run, reads: list[tuple[int, list[str], bool]], late: list[int]
) -> None:
    """Against a model, over all orders of reads, new epochs, reads of epochs that are over, and cuts."""

    async def main() -> None:
        connection = _Connection(Hub())
        interests = Interests("strategy", {Endpoint.PUBLIC: connection})  # type: ignore[dict-item]
        interests.register(wants_of(DataType.TRADE, CODES[:2]), None)
        connection.hub.asked(wants_of(DataType.TRADE, CODES[:2]))
        pool, number, sent = Pool(interests), 1, 0
        model: dict[str, tuple[int, int]] = {}
        for place, (step, codes, cuts) in enumerate(reads):
            number += step
            connection.open_epoch = epoch = Epoch("public", number, 0.0, 0.0, "test")
            if place in late and number > 1:
                over = attrs.evolve(epoch, number=number - 1)
                connection.hub.publish([], epoch)
                connection.hub.publish([msgspec.structs.replace(numbered_trade(CODES[0], 0, 0), epoch=over)], over)
            events = []
            for code in codes:
                sent += 1
                events.append(msgspec.structs.replace(numbered_trade(code, number, sent), epoch=epoch))
                model[code] = number, sent
            connection.hub.publish(events, epoch)
            if not cuts:
                continue
            if len(model) < 2:
                with pytest.raises(NotReadyError):
                    pool.cut(CODES[:2])
            elif any(one != number for one, _ in model.values()):
                with pytest.raises(StaleDataError) as stale:
                    pool.cut(CODES[:2])
                assert stale.value.within is None
            else:
                cut = pool.cut(CODES[:2])
                trades = [cut[DataType.TRADE, code] for code in CODES[:2]]
                assert {trade.code: (trade.epoch.number, int(trade.trade_price)) for trade in trades} == model
                assert cut.epoch == epoch

    virtual_run(main)
