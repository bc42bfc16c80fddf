"""The invariants of the architecture page, each a property over what can go wrong, on both backends in virtual time."""

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.world import CODES, Fault, NumberedSource, faults, numbered_trade, open_world, wall

from upbit_streams import (
    DataType,
    DropOldest,
    Epoch,
    EpochStarted,
    EventStream,
    NotReadyError,
    TradeEvent,
)
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.hub import Hub
from upbit_streams.model.subscriptions import wants_of
from upbit_streams.rules.rate_limit import MESSAGES, RateLimit
from upbit_streams.testing import Refusal, SimulatedExchange

Run = Callable[..., Any]


async def _consume(stream: EventStream[TradeEvent], pause: float, seen: list[TradeEvent], *, batched: bool) -> None:
    """A consumer of its own pace."""
    async with stream:
        while True:
            seen.extend(await stream.receive_batch() if batched else [await stream.receive()])
            await anyio.sleep(pause)


@given(script=faults(), draws=st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_e1_epoch_numbers_grow_by_exactly_one_at_each_successful_connect(
    virtual_run: Run, script: list[Fault], draws: list[float]
) -> None:
    async def main() -> None:
        numbers: list[int] = []
        turn = iter(draws * 1000)
        async with open_world(draw=lambda: next(turn)) as world, world.manager.open_client("strategy") as client:

            async def note() -> None:
                while True:
                    status = await world.manager.wait_status_changed()
                    if status.epoch is not None and (not numbers or numbers[-1] != status.epoch.number):
                        numbers.append(status.epoch.number)

            async with anyio.create_task_group() as group:
                group.start_soon(note)
                await client.register_interest(DataType.TRADE, CODES)
                await world.suffer(script)
                group.cancel_scope.cancel()
            assert numbers == list(range(1, world.source.sessions + 1))

    virtual_run(main)


@given(script=faults())
def test_e2_every_event_carries_the_epoch_on_whose_socket_it_arrived(virtual_run: Run, script: list[Fault]) -> None:
    async def main() -> None:
        seen: list[TradeEvent] = []
        async with open_world() as world, world.manager.open_client("strategy") as client:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: _consume(client.stream(DataType.TRADE, CODES), 0.0, seen, batched=True))
                await world.suffer(script)
                group.cancel_scope.cancel()
        assert seen
        assert all(trade.epoch.number == trade.sequential_id // 1_000_000 for trade in seen)

    virtual_run(main)


@given(
    script=faults(),
    paces=st.lists(st.tuples(st.sampled_from([0.0, 0.3, 2.0, 7.0]), st.booleans()), min_size=1, max_size=4),
    capacity=st.integers(1, 40),
)
def test_e3_in_no_stream_does_an_epoch_or_an_order_ever_go_back(
    virtual_run: Run, script: list[Fault], paces: list[tuple[float, bool]], capacity: int
) -> None:
    async def main() -> None:
        async with open_world() as world, world.manager.open_client("strategy") as client:
            seen: list[list[TradeEvent]] = [[] for _ in paces]
            streams = [client.stream(DataType.TRADE, CODES, backpressure=DropOldest(capacity)) for _ in paces]
            async with anyio.create_task_group() as group:
                for (pause, batched), stream, trades in zip(paces, streams, seen, strict=True):
                    group.start_soon(partial(_consume, stream, pause, trades, batched=batched))
                await world.suffer(script)
                group.cancel_scope.cancel()
            for trades, stream in zip(seen, streams, strict=True):
                # The ids of a later session are higher, so one comparison covers the epochs and the order within them.
                ids = [trade.sequential_id for trade in trades]
                assert ids == sorted(set(ids))
                epochs = [trade.epoch.number for trade in trades]
                assert epochs == sorted(epochs)
                ledger = stream.statistics()
                assert ledger.published == ledger.delivered + ledger.dropped + ledger.buffered
                assert ledger.delivered == len(trades)

    virtual_run(main)


def _epoch(number: int) -> Epoch:
    return Epoch(connection="public", number=number, started_at=0.0, wall_offset=0.0, reason="test")


@given(numbers=st.lists(st.integers(1, 5), max_size=30))
def test_e3_what_arrives_after_its_epoch_is_dropped_and_counted(virtual_run: Run, numbers: list[int]) -> None:
    """Whatever the order in which reads of several epochs reach the hub."""

    async def main() -> None:
        hub, wants, channel = Hub(), wants_of(DataType.TRADE, "KRW-BTC"), Channel(DropOldest(100))
        hub.register(wants)
        hub.asked(wants)
        hub.attach(wants, channel)
        for place, number in enumerate(numbers):
            hub.publish([numbered_trade("KRW-BTC", number, place)], _epoch(number))
        arrived = [channel.receive_nowait().sequential_id // 1_000_000 for _ in range(channel.statistics().buffered)]
        channel.close()
        expected = [number for place, number in enumerate(numbers) if number == max(numbers[: place + 1])]
        assert arrived == expected
        assert hub.late == len(numbers) - len(expected)

    virtual_run(main)


@given(numbers=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(CODES)), max_size=20))
def test_e3_what_a_late_consumer_is_shown_first_is_of_the_newest_epoch_only(
    virtual_run: Run, numbers: list[tuple[int, str]]
) -> None:
    async def main() -> None:
        hub, wants, channel = Hub(), wants_of(DataType.TRADE, CODES), Channel(DropOldest(100))
        hub.register(wants)
        hub.asked(wants)
        for place, (number, code) in enumerate(numbers):
            trade = msgspec.structs.replace(numbered_trade(code, number, place), epoch=_epoch(number))
            hub.publish([trade], trade.epoch)
        hub.attach(wants, channel)
        shown = [channel.receive_nowait() for _ in range(channel.statistics().buffered)]
        channel.close()
        newest = max((number for number, _ in numbers), default=0)
        expected = {code for place, (number, code) in enumerate(numbers) if number == newest}
        assert {trade.code for trade in shown} == expected
        assert all(trade.sequential_id // 1_000_000 == newest for trade in shown)

    virtual_run(main)


@given(script=faults(), looks=st.lists(st.floats(0, 3), max_size=30))
def test_e5_the_pool_never_goes_back(virtual_run: Run, script: list[Fault], looks: list[float]) -> None:
    async def main() -> None:
        async with open_world() as world, world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, CODES)
            seen: dict[str, list[int]] = {code: [] for code in CODES}

            async def look() -> None:
                for pause in looks:
                    await anyio.sleep(pause)
                    for code in CODES:
                        try:
                            seen[code].append(client.get_trade(code).sequential_id)
                        except NotReadyError:
                            assert not seen[code], "what was there has gone"

            async with anyio.create_task_group() as group:
                group.start_soon(look)
                await world.suffer(script)
                group.cancel_scope.cancel()
            assert all(ids == sorted(ids) for ids in seen.values())

    virtual_run(main)


@given(numbers=st.lists(st.integers(1, 5), min_size=1, max_size=30))
def test_e5_an_older_epoch_never_overwrites_a_newer_one(virtual_run: Run, numbers: list[int]) -> None:
    async def main() -> None:
        hub = Hub()
        [want] = wants = wants_of(DataType.TRADE, "KRW-BTC")
        hub.register(wants)
        hub.asked(wants)
        for place, number in enumerate(numbers):
            hub.publish([numbered_trade("KRW-BTC", number, place)], _epoch(number))
            latest = hub.latest(want)
            assert isinstance(latest, TradeEvent)
            assert latest.sequential_id // 1_000_000 == max(numbers[: place + 1])

    virtual_run(main)


async def test_e5_what_an_epoch_has_left_behind_is_not_shown_as_the_present_state() -> None:
    """Who opens a stream while the connection is down gets nothing of the epoch that is over, and no notice of it."""
    async with open_world() as world, world.manager.open_client("strategy") as client:
        async with client.stream(DataType.TRADE, CODES):
            await anyio.sleep(5)
            world.exchange.refusal = Refusal(503, "maintenance")
            world.exchange.end_sessions(wall())
            await anyio.sleep(1)
            async with client.stream(DataType.TRADE, CODES, notices=True) as trades:
                await anyio.sleep(1)
                world.exchange.refusal = None
                await anyio.sleep(10)
                began, first, *_ = await trades.receive_batch()
                assert isinstance(began, EpochStarted)
                assert (began.epoch.number, began.missing_from, began.down) == (2, None, None)
                assert isinstance(first, TradeEvent)
                assert first.epoch.number == 2


class _UserError(Exception):
    pass


@given(script=faults(4), leave_after=st.floats(0, 15), way=st.sampled_from(["return", "raise", "cancel"]))
def test_l1_nothing_of_ours_outlives_the_manager_however_it_is_left(
    virtual_run: Run, script: list[Fault], leave_after: float, way: str
) -> None:
    async def main() -> None:
        tasks_before = {task.id for task in anyio.get_running_tasks()}
        source = NumberedSource()
        exchange = SimulatedExchange(source)
        seen: list[TradeEvent] = []

        async def body() -> None:
            async with open_world() as world, world.manager.open_client("strategy") as client:
                nonlocal exchange
                exchange = world.exchange
                async with anyio.create_task_group() as group:
                    group.start_soon(lambda: _consume(client.stream(DataType.TRADE, CODES), 0.1, seen, batched=False))
                    group.start_soon(world.suffer, script)
                    await anyio.sleep(leave_after)
                    if way == "raise":
                        # Out of the inner group, so that what is tested is this library's own wrapping.
                        group.cancel_scope.cancel()
                    elif way == "cancel":
                        await anyio.sleep_forever()
                    else:
                        group.cancel_scope.cancel()
                if way == "raise":
                    raise _UserError

        if way == "raise":
            with pytest.raises(_UserError):
                await body()
        else:
            with anyio.move_on_after(leave_after + 1 if way == "cancel" else None):
                await body()
        assert not exchange.sessions, "a connection is still open"
        assert {task.id for task in anyio.get_running_tasks()} == tasks_before

    virtual_run(main)


@settings(max_examples=10)  # each is half a minute of connects and requests as fast as they are allowed
@given(
    script=faults(),
    draws=st.lists(st.sampled_from([0.001, 0.01, 1.0]), min_size=1, max_size=5),
    churn=st.lists(st.floats(0.01, 0.5), min_size=1, max_size=10),
    polite=st.booleans(),
)
def test_l3_no_request_ever_breaks_the_limits(
    virtual_run: Run, script: list[Fault], draws: list[float], churn: list[float], polite: bool
) -> None:
    """However short the waits that chance deals, however often the wants change, and if every connect is closed at
    once."""

    async def main() -> None:
        turn = iter(draws * 10_000)
        async with open_world(draw=lambda: next(turn), gather=0.001) as world:

            async def change_wants() -> None:
                for number, pause in enumerate(cycle(churn)):
                    async with world.manager.open_client(f"client {number}") as client:
                        await client.register_interest(DataType.TRADE, CODES[number % len(CODES)])
                        await anyio.sleep(pause)

            async def close_at_once() -> None:
                while polite:
                    world.exchange.end_sessions(wall(), 1000)
                    await anyio.sleep(0.01)

            async with world.manager.open_client("strategy") as client:
                await client.register_interest(DataType.TICKER, CODES)
                with anyio.move_on_after(25.0):
                    async with anyio.create_task_group() as group:
                        group.start_soon(change_wants)
                        group.start_soon(close_at_once)
                        group.start_soon(world.suffer, script)
            assert world.exchange.breaches == []
            connects = list(world.exchange.connects)
            assert all(sixth - first >= 1.0 for first, sixth in zip(connects, connects[5:], strict=False))

    virtual_run(main)


@given(pauses=st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.3, 2.0, 90.0]) | st.floats(0, 90), max_size=10))
def test_l3_over_any_window_the_limiter_lets_no_more_through_and_never_waits_in_vain(pauses: list[float]) -> None:
    limit, now, sent = RateLimit(MESSAGES), 0.0, list[float]()
    for pause in pauses * 40:
        now += pause
        wait = max(limit.wait(now), 0.0)
        if wait:
            assert any(
                sum(1 for time in sent if time > now + wait - window.seconds - 1e-6) >= window.count
                for window in MESSAGES
            ), "it waited although every window had room"
        now += wait
        limit.record(now)
        sent.append(now)
    for window in MESSAGES:
        for first, beyond in zip(sent, sent[window.count :], strict=False):
            assert beyond - first >= window.seconds - 1e-6
