"""The buffer between the hub and a consumer: its ledger, its policies, its notices and its failures."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import numbered_trade

from upbit_streams import AuthenticationError, BackpressureError, DropOldest, Epoch, EpochStarted, Fail, TradeEvent
from upbit_streams.engine.backpressure import Channel
from upbit_streams.testing import settle

Run = Callable[..., Any]


def _epoch(number: int) -> Epoch:
    return Epoch(connection="private", number=number, started_at=0.0, wall_offset=0.0, reason="test")


EPOCHS = [_epoch(number) for number in range(50)]


def _trade(number: int, epoch: Epoch = EPOCHS[0]) -> TradeEvent:
    return msgspec.structs.replace(numbered_trade("KRW-BTC", 0, number), epoch=epoch)


def _numbers(items: Sequence[Any]) -> list[int]:
    return [item.sequential_id for item in items if isinstance(item, TradeEvent)]


def _refused() -> AuthenticationError:
    return AuthenticationError("wss://x", "jwt_verification", "no", "check it")


@contextmanager
def _channel(policy: DropOldest | Fail, *, notices: bool = False) -> Iterator[Channel]:
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
        with _channel(policy, notices=True) as channel:
            channel.begin(EPOCHS[0], 0.0)

            async def wait() -> None:
                with suppress(anyio.EndOfStream, anyio.ClosedResourceError, BackpressureError):
                    taken.append(await channel.receive())

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
                            case "wait" if not channel._receive.statistics().tasks_waiting_receive:
                                group.start_soon(wait)
                                await settle()
                            case "reconnect" if epoch < 49:
                                channel.end(EPOCHS[epoch], published)
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
        with _channel(DropOldest(capacity), notices=True) as channel:
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
                        channel.end(EPOCHS[epoch], epoch + 0.5)
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


async def test_notices_do_not_grow_behind_a_consumer_that_does_not_read() -> None:
    with _channel(DropOldest(4), notices=True) as channel:
        for number in range(10_000):
            epoch = _epoch(number)
            channel.begin(epoch, float(number))
            channel.put(_trade(number, epoch))
            channel.put(_trade(number, epoch))
            channel.end(epoch, float(number))
        assert len(channel._notices) <= 6
        first = channel.receive_nowait()
        assert isinstance(first, EpochStarted)
        assert first.missing_from is None


async def test_a_notice_wakes_who_waits_although_no_event_comes() -> None:
    with _channel(Fail(4), notices=True) as channel:
        seen: list[Any] = []

        async def consume() -> None:
            while True:
                seen.append(await channel.receive())

        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            await settle()
            channel.begin(EPOCHS[1], 1.0)
            await settle()
            assert seen == [EpochStarted(EPOCHS[1], None, 1.0)]
            channel.end(EPOCHS[1], 2.0)
            channel.begin(EPOCHS[2], 3.0)
            channel.put(_trade(1, EPOCHS[2]))
            await settle()
            assert seen[1:] == [EpochStarted(EPOCHS[2], 2.0, 3.0), _trade(1, EPOCHS[2])]
            group.cancel_scope.cancel()


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
    with _channel(Fail(4), notices=True) as channel:
        channel.put(_trade(0, EPOCHS[1]))
        with pytest.raises(anyio.WouldBlock):
            channel.receive_nowait()
        channel.begin(EPOCHS[1], 1.0)
        channel.put(_trade(1, EPOCHS[1]))
        assert isinstance(channel.receive_nowait(), EpochStarted)
        assert _numbers([channel.receive_nowait()]) == [1]
        assert channel.statistics().published == 1
