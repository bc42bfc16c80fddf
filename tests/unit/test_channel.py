"""The buffer between the hub and a consumer: its ledger, its policies, its notices and its failures."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import numbered_trade

from upbit_streams import (
    AuthenticationError,
    BackpressureError,
    DropNewest,
    DropOldest,
    Epoch,
    EpochEnded,
    EpochStarted,
    Fail,
    Lagged,
    Notice,
    Stale,
    TradeEvent,
)
from upbit_streams.engine.channel import Channel
from upbit_streams.testing import settle

Run = Callable[..., Any]
ALL: tuple[type[Notice], ...] = (EpochStarted, EpochEnded, Lagged, Stale)


def _epoch(number: int) -> Epoch:
    return Epoch(connection="private", number=number, started_at=number * 5.0, wall_offset=0.0, reason="test")


EPOCHS = [_epoch(number) for number in range(50)]


def _trade(number: int, epoch: Epoch = EPOCHS[0]) -> TradeEvent:
    return msgspec.structs.replace(numbered_trade("KRW-BTC", 0, number), epoch=epoch)


def _numbers(items: Sequence[Any]) -> list[int]:
    return [item.sequential_id for item in items if isinstance(item, TradeEvent)]


def _refused() -> AuthenticationError:
    return AuthenticationError("wss://x", "jwt_verification", "no", "check it")


@contextmanager
def _channel(policy: DropOldest | DropNewest | Fail, *, notices: Any = ()) -> Iterator[Channel]:
    channel = Channel(policy, notices=notices)
    try:
        yield channel
    finally:
        channel.close()


steps = st.lists(st.sampled_from(["put", "put", "put", "take", "take", "batch", "wait", "reconnect"]), max_size=60)


@given(policy=st.one_of(st.builds(DropOldest, st.integers(1, 5)), st.builds(Fail, st.integers(1, 5))), steps=steps)
def test_e4_published_is_delivered_and_dropped_and_buffered(
    virtual_run: Run, policy: DropOldest | Fail, steps: Sequence[str]
) -> None:
    """Whatever happens in whatever order; and what is delivered is in order, each once."""

    async def main() -> None:
        published, epoch, taken = 0, 0, list[Any]()
        with _channel(policy, notices=(EpochStarted,)) as channel:
            channel.begin(EPOCHS[0], 0.0)

            waiters = list[None]()

            async def wait() -> None:
                waiters.append(None)
                with suppress(anyio.ClosedResourceError, BackpressureError):
                    taken.append(await channel.receive())
                waiters.pop()

            async with anyio.create_task_group() as group:
                for step in steps:
                    if step in ("take", "batch"):
                        await settle()  # whoever waits already comes first
                    try:
                        match step:
                            case "put":
                                channel.put(_trade(published, EPOCHS[epoch]))
                                published += 1
                            case "take":
                                taken.append(channel.receive_nowait())
                            case "batch":
                                with anyio.move_on_after(0.1):
                                    taken += await channel.receive_batch()
                            # Among several that wait, each backend has its own order.
                            case "wait" if not waiters:
                                group.start_soon(wait)
                                await settle()
                            case "reconnect" if epoch < 49:
                                channel.end(EPOCHS[epoch], "test", published, published)
                                epoch += 1
                                channel.begin(EPOCHS[epoch], published)
                    except (anyio.WouldBlock, BackpressureError):
                        pass
                    ledger = channel.statistics()
                    assert ledger.published == published == ledger.delivered + ledger.dropped + ledger.buffered
                    assert ledger.buffered <= policy.capacity + 1  # one may be in the hands of a receiver
                await settle()
                channel.close()
            assert channel.statistics().delivered == len(_numbers(taken))
            assert _numbers(taken) == sorted(set(_numbers(taken)))
            if isinstance(policy, Fail):
                assert _numbers(taken) == list(range(len(_numbers(taken)))), "something is missing in the middle"

    virtual_run(main)


@given(capacity=st.integers(1, 8), steps=st.lists(st.sampled_from(["put", "take", "batch", "reconnect"]), max_size=60))
def test_e7_an_epoch_is_announced_before_its_first_event_whatever_is_dropped(
    virtual_run: Run, capacity: int, steps: Sequence[str]
) -> None:
    async def main() -> None:
        number, epoch = 0, 1
        with _channel(DropOldest(capacity), notices=(EpochStarted,)) as channel:
            channel.begin(EPOCHS[1], 1.0)
            taken: list[Any] = []

            def put() -> None:
                # Its id tells the epoch.
                trade = numbered_trade("KRW-BTC", epoch, number)
                channel.put(msgspec.structs.replace(trade, epoch=EPOCHS[epoch]))

            for step in [*steps, *["take"] * 200]:
                match step:
                    case "put":
                        number += 1
                        put()
                    case "reconnect" if epoch < 49:
                        channel.end(EPOCHS[epoch], "test", epoch + 0.5, epoch + 0.5)
                        epoch += 1
                        channel.begin(EPOCHS[epoch], float(epoch))
                    case _:
                        with suppress(anyio.WouldBlock), anyio.move_on_after(0.1):
                            taken += await channel.receive_batch() if step == "batch" else [channel.receive_nowait()]
            told = 0
            for item in taken:
                if isinstance(item, EpochStarted):
                    # What was not told yet is told as one, from the end of the last one that was told.
                    assert item.epoch.number > told
                    assert item.missing_from == (told + 0.5 if told else None)
                    assert item.missing_to == item.epoch.number
                    told = item.epoch.number
                else:
                    assert item.sequential_id // 1_000_000 == told
            if len(taken) and not channel.statistics().buffered:
                assert told == epoch

    virtual_run(main)


@pytest.mark.parametrize("kinds", [(EpochStarted,), ALL])
async def test_b1_notices_do_not_grow_behind_a_consumer_that_does_not_read(kinds: Sequence[type[Notice]]) -> None:
    with _channel(DropOldest(4), notices=kinds) as channel:
        for number in range(10_000):
            epoch = _epoch(number)
            channel.begin(epoch, float(number))
            channel.put(_trade(number, epoch))
            channel.put(_trade(number, epoch))
            channel.tell(Stale(epoch, "trade", "KRW-BTC", 60.0, 10.0))
            channel.end(epoch, "test", float(number), float(number))
        taken = await channel.receive_batch()
        assert len([item for item in taken if isinstance(item, Notice)]) <= 3 * 6
        first = next(item for item in taken if isinstance(item, EpochStarted))
        assert first.missing_from is None


whatever = st.sampled_from(["put", "put", "put", "take", "batch", "wait", "end", "begin", "stale"])


@given(capacity=st.integers(1, 5), steps=st.lists(whatever, max_size=60))
def test_e7_every_notice_stands_exactly_where_it_belongs(virtual_run: Run, capacity: int, steps: Sequence[str]) -> None:
    """Who counts what is delivered, and what is told to be missing, always knows which event comes next."""

    async def main() -> None:
        published, number, is_open, taken = 0, 1, True, list[Any]()
        with _channel(DropOldest(capacity), notices=ALL) as channel:
            channel.begin(EPOCHS[1], 0.0)

            waiters = list[None]()

            async def wait() -> None:
                waiters.append(None)
                with suppress(anyio.ClosedResourceError):
                    taken.append(await channel.receive())
                waiters.pop()

            async with anyio.create_task_group() as group:
                for step in [*steps, *["take"] * 150]:
                    with suppress(anyio.WouldBlock):
                        match step:
                            case "put" if is_open:
                                channel.put(_trade(published, EPOCHS[number]))
                                published += 1
                            case "take":
                                await settle()
                                taken.append(channel.receive_nowait())
                            case "batch":
                                await settle()
                                with anyio.move_on_after(0.1):
                                    taken += await channel.receive_batch()
                            case "wait" if not waiters:
                                group.start_soon(wait)
                                await settle()
                            case "end" if is_open:
                                channel.end(EPOCHS[number], "test", published, published)
                                is_open = False
                            case "begin" if not is_open and number < 49:
                                number += 1
                                channel.begin(EPOCHS[number], published)
                                is_open = True
                            case "stale" if is_open:
                                channel.tell(Stale(EPOCHS[number], "trade", "KRW-BTC", published, 1.0))
                channel.close()
        index, told, ended = 0, 0, 0
        for item in taken:
            match item:
                case EpochStarted():
                    assert item.epoch.number > told
                    assert told == ended, "one began before the other ended"
                    assert item.missing_to == index, "it is not where it began"
                    told = item.epoch.number
                case EpochEnded():
                    assert item.epoch.number >= told > ended
                    assert item.ended_at <= index
                    ended = told
                case Lagged(dropped):
                    assert dropped > 0
                    index += dropped
                case Stale():
                    assert item.silent_for == index, "it is not where it fell silent"
                case _:
                    assert item.sequential_id == index, "something is missing that nobody told"
                    assert item.epoch.number == told != ended
                    index += 1
        assert index == published == channel.statistics().delivered + channel.statistics().dropped

    virtual_run(main)


async def test_a_notice_wakes_who_waits_although_no_event_comes() -> None:
    with _channel(Fail(4), notices=(EpochStarted,)) as channel:
        seen: list[Any] = []

        async def consume() -> None:
            while True:
                seen.append(await channel.receive())

        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            await settle()
            channel.begin(EPOCHS[1], 1.0)
            await settle()
            assert seen == [EpochStarted(EPOCHS[1], None, 1.0, None)]
            channel.end(EPOCHS[1], "test", 2.0, 2.5)
            channel.begin(EPOCHS[2], 3.0)  # its handshake was done at 10
            channel.put(_trade(1, EPOCHS[2]))
            await settle()
            assert seen[1:] == [EpochStarted(EPOCHS[2], 2.0, 3.0, 10.0 - 2.5), _trade(1, EPOCHS[2])]
            group.cancel_scope.cancel()


@pytest.mark.parametrize("step", [-3600.0, -1.0, 0.0, 3600.0])
@pytest.mark.parametrize("is_taken", [True, False])
async def test_how_long_it_was_down_is_told_by_the_clock_that_says_more(step: float, is_taken: bool) -> None:
    """The wall clock may be set between two epochs, or the computer suspended. Each was connected 4 s after the end of
    the one before it, and lived 6 s."""

    offsets = [1e9 + number * step for number in range(4)]
    epochs = [Epoch("public", n, offset + n * 10.0, offset, "test") for n, offset in enumerate(offsets)]
    with _channel(Fail(4), notices=(EpochStarted,)) as channel:
        taken: list[Any] = []
        for epoch in epochs:
            channel.begin(epoch, epoch.started_at)
            if is_taken or epoch.number == 0:
                taken.append(channel.receive_nowait())
            channel.end(epoch, "test", epoch.started_at + 6.0, epoch.started_at + 6.0)
        if not is_taken:
            taken.append(channel.receive_nowait())
        # Lives that nobody was told of in time are told as one, from the first end to the last start.
        ahead = max(step, 0.0)
        assert [one.down for one in taken] == [None, *([4.0 + ahead] * 3 if is_taken else [24.0 + 3 * ahead])]
        # What they ask somebody for never ends before it begins.
        assert all(one.missing_from is None or one.missing_from <= one.missing_to for one in taken)


async def test_fail_gives_what_waits_and_then_says_how_much_was_missed() -> None:
    with _channel(Fail(3)) as channel:
        for number in range(3):
            channel.put(_trade(number))
        assert _numbers(await channel.receive_batch()) == [0, 1, 2], "a full buffer is not too much yet"
        for number in range(3, 10):
            channel.put(_trade(number))
        assert _numbers(await channel.receive_batch()) == [3, 4, 5]
        for _ in range(2):
            with pytest.raises(BackpressureError, match="4 events came while 3 were waiting") as raised:
                await channel.receive()
            assert (raised.value.missed, raised.value.capacity) == (4, 3)
        channel.put(_trade(10))
        with pytest.raises(BackpressureError) as raised:
            channel.receive_nowait()
        assert raised.value.missed == 5, "it has ended; nothing more gets in"


async def test_a_failure_reaches_everybody_who_waits_and_goes_away() -> None:
    outcome = list[str]()
    with _channel(Fail(4)) as channel:

        async def wait() -> None:
            try:
                outcome.append(str((await channel.receive()).sequential_id))
            except AuthenticationError as refused:
                outcome.append(refused.name)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(wait)
            await settle()
            channel.fail("somebody", _refused)
            await settle()
            assert outcome == ["jwt_verification"] * 3
            with anyio.move_on_after(10):
                await wait()  # who goes on waits for what comes
            channel.fail("somebody", _refused)
            await wait()
            assert outcome == ["jwt_verification"] * 4
            channel.fail("somebody", _refused)
            channel.put(_trade(7))
            await wait()
            assert outcome[4:] == ["7"], "what had come before is delivered first"
            channel.fail("somebody else", _refused)
            channel.recover("somebody")
            with pytest.raises(AuthenticationError):
                channel.receive_nowait()
            with pytest.raises(anyio.WouldBlock):
                channel.receive_nowait()
            channel.fail("somebody", _refused)
            channel.recover("somebody")
            group.start_soon(wait)
            await settle()
            channel.put(_trade(8))
        assert outcome[5:] == ["8"]


async def test_nothing_of_an_epoch_comes_before_its_notice() -> None:
    with _channel(Fail(4), notices=(EpochStarted,)) as channel:
        channel.put(_trade(0, EPOCHS[1]))
        with pytest.raises(anyio.WouldBlock):
            channel.receive_nowait()
        channel.begin(EPOCHS[1], 1.0)
        channel.put(_trade(1, EPOCHS[1]))
        assert isinstance(channel.receive_nowait(), EpochStarted)
        assert _numbers([channel.receive_nowait()]) == [1]
        assert channel.statistics().published == 1


@given(
    policy=st.one_of(st.builds(DropOldest, st.integers(1, 4)), st.builds(Fail, st.just(1000))),
    kinds=st.sampled_from([(), (EpochStarted,), ALL]),
    receivers=st.integers(1, 3),
    steps=st.lists(st.sampled_from(["put", "put", "nowait", "batch", "cancel", "rest", "reconnect"]), max_size=40),
)
def test_e4_several_receivers_lose_nothing_together(
    virtual_run: Run, policy: Any, kinds: Sequence[type[Notice]], receivers: int, steps: Sequence[str]
) -> None:
    """Whoever of them is cancelled, and however they take."""

    async def main() -> None:
        published, epoch, taken = 0, 1, list[Any]()
        with _channel(policy, notices=kinds) as channel:
            channel.begin(EPOCHS[1], 0.0)
            scopes: list[anyio.CancelScope] = []

            async def consume() -> None:
                with suppress(anyio.ClosedResourceError):
                    while True:
                        with anyio.CancelScope() as scope:
                            scopes.append(scope)
                            while True:
                                taken.append(await channel.receive())

            async with anyio.create_task_group() as group:
                for _ in range(receivers):
                    group.start_soon(consume)
                for step in steps:
                    match step:
                        case "put":
                            channel.put(_trade(published, EPOCHS[epoch]))
                            published += 1
                        case "nowait":
                            with suppress(anyio.WouldBlock):
                                taken.append(channel.receive_nowait())
                        case "batch":
                            with anyio.move_on_after(0.1):
                                taken += await channel.receive_batch()
                        case "cancel" if scopes:
                            scopes.pop(0).cancel()
                        case "reconnect" if epoch < 49:
                            channel.end(EPOCHS[epoch], "test", 0.0, 0.0)
                            epoch += 1
                            channel.begin(EPOCHS[epoch], 0.0)
                        case _:
                            await settle()
                await settle()
                assert channel.statistics().buffered == 0, "somebody waits, and something lies there"
                channel.close()
                group.cancel_scope.cancel()
            ledger = channel.statistics()
            assert sorted(_numbers(taken)) == sorted(set(_numbers(taken))), "one came twice"
            assert ledger.delivered == len(_numbers(taken)) == published - ledger.dropped
            if Lagged in kinds:
                assert sum(item.dropped for item in taken if isinstance(item, Lagged)) == ledger.dropped

    virtual_run(main)


async def test_notices_of_many_markets_cost_little() -> None:
    """When a connection falls silent, all of its markets do so in one moment."""
    with _channel(DropOldest(4), notices=ALL) as channel:
        channel.begin(EPOCHS[1], 0.0)
        for number in range(3000):
            channel.tell(Stale(EPOCHS[1], "trade", f"KRW-{number}", 60.0, 1.0))
        channel.end(EPOCHS[1], "test", 0.0, 0.0)
        assert len(await channel.receive_batch()) == 3002


async def test_of_several_lives_without_an_event_between_them_one_is_told() -> None:
    for lives in (2, 3, 5):
        with _channel(DropOldest(4), notices=ALL) as channel:
            for number in range(1, lives + 1):
                channel.begin(EPOCHS[number], number * 5.0)
                if number in (1, lives):
                    channel.put(_trade(number, EPOCHS[number]))
                channel.end(EPOCHS[number], "test", number * 5.0 + 3.0, number * 5.0 + 4.0)
            items = await channel.receive_batch()
            assert [type(item) for item in items] == [
                EpochStarted,
                TradeEvent,
                EpochEnded,
                EpochStarted,
                TradeEvent,
                EpochEnded,
            ]
            assert items[3] == EpochStarted(EPOCHS[lives], 8.0, lives * 5.0, 5.0 * (lives - 1) - 4.0)
            assert items[2] == EpochEnded(EPOCHS[1], "test", 9.0)


async def test_e4_the_ledger_of_a_channel_that_was_closed_has_all_that_waited() -> None:
    """Also what stood behind a loss that was told."""
    for told in range(4):
        with _channel(DropOldest(2), notices=ALL) as channel:
            channel.begin(EPOCHS[1], 0.0)
            for number in range(5):
                channel.put(_trade(number, EPOCHS[1]))
            for _ in range(told):
                channel.receive_nowait()
        ledger = channel.statistics()
        assert ledger.published == 5
        assert ledger.published == ledger.delivered + ledger.dropped + ledger.buffered
        assert ledger.buffered == (1 if told == 3 else 2)
        assert ledger.high_water == 2


@pytest.mark.parametrize("slow", [0.0, 0.25])
@pytest.mark.parametrize("day_after", [1.75e9, 1000.0])
async def test_no_connection_was_down_for_less_than_no_time(slow: float, day_after: float) -> None:
    """Whatever the time of day is in both epochs, also if somebody has set the clock back, or to 1970: what is left of
    it is the rounding of large numbers."""
    draw = random.Random(1)
    for _ in range(100):
        ended, day = draw.uniform(0.0, 1e6), draw.uniform(1.7e9, 1.8e9)
        first = Epoch("public", 1, day, day - 1.0, "test")
        second = Epoch("public", 2, day_after, day_after - (ended + slow), "test")
        with _channel(DropOldest(4), notices=ALL) as channel:
            channel.begin(first, day)
            channel.put(_trade(1, first))
            channel.end(first, "test", day, ended + first.wall_offset)
            channel.begin(second, day_after)
            *_, told = await channel.receive_batch()
        assert isinstance(told, EpochStarted)
        assert told.down is not None
        assert told.down >= 0.0
        # If the wall clock says more than the event loop's, the computer may have been suspended meanwhile.
        assert told.down == pytest.approx(max(slow, day_after - (ended + first.wall_offset)), abs=1e-5)


async def test_e7_what_was_not_let_in_is_missing_where_it_would_have_stood() -> None:
    with _channel(DropNewest(2), notices=ALL) as channel:
        channel.begin(EPOCHS[1], 0.0)
        trades = [_trade(number, EPOCHS[1]) for number in range(6)]
        for trade in trades[:3]:
            channel.put(trade)
        assert isinstance(channel.receive_nowait(), EpochStarted)
        assert channel.receive_nowait() == trades[0]
        for trade in trades[3:]:
            channel.put(trade)
        assert await channel.receive_batch() == [trades[1], Lagged(1), trades[3], Lagged(2)]
