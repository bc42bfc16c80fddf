"""A frame that cannot be read, of what is told once, is told at its place to everybody for whom it may have been."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.world import numbered_trade

from upbit_streams import (
    DataType,
    DropOldest,
    Epoch,
    EpochEnded,
    EpochStarted,
    ExchangeError,
    Fail,
    FrameLost,
    FrameLostError,
    Lagged,
    Notice,
    Policy,
    Stale,
)
from upbit_streams.engine.account import Account
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.hub import Hub
from upbit_streams.model.kinds import Format
from upbit_streams.model.subscriptions import Want
from upbit_streams.wire.decode import Decoder
from upbit_streams.wire.replies import BadFrame

Run = Callable[..., Any]
EPOCHS = [Epoch("private", number, float(number), 0.0, "test") for number in range(3)]
ALL: tuple[type[Notice], ...] = (EpochStarted, EpochEnded, Lagged, Stale, FrameLost)
KINDS: list[tuple[type[Notice], ...]] = [(), (EpochStarted,), ALL]


def _event(number: int) -> Any:
    return msgspec.structs.replace(numbered_trade("KRW-BTC", 0, number), epoch=EPOCHS[1])


def _lost(number: int = 0, type_name: str = "myOrder", code: str = "") -> FrameLost:
    return FrameLost(EPOCHS[1], type_name, code, "test", str(number).encode())


async def _taken(channel: Channel, step: str) -> list[Any]:
    """Events, and what could not be read, as a number below 0."""
    try:
        if step == "batch":
            with anyio.move_on_after(0.01):
                return [each for each in map(_number, await channel.receive_batch()) if each is not None]
        else:
            with suppress(anyio.WouldBlock):
                return [each for each in [_number(channel.receive_nowait())] if each is not None]
    except FrameLostError as lost:
        return [-int(lost.payload)]
    return []


def _number(item: Any) -> int | None:
    if isinstance(item, FrameLost):
        return -int(item.payload)
    return None if isinstance(item, Notice) else item.sequential_id


@settings(max_examples=25)
@given(
    kinds=st.sampled_from(KINDS),
    policy=st.sampled_from([Fail(99), DropOldest(99)]),
    steps=st.lists(st.sampled_from(["put", "put", "lose", "take", "take", "batch"]), max_size=40),
)
def test_e7_a_lost_frame_stands_where_it_came(
    virtual_run: Run, kinds: Sequence[type[Notice]], policy: Policy, steps: Sequence[str]
) -> None:
    """With notices and without, in the order in which all came; and the ledger of the events is as if it had not."""

    async def main() -> None:
        channel, put, taken = Channel(policy, notices=kinds), list[int](), list[int]()
        channel.begin(EPOCHS[1], 0.0)
        lost = 0
        for step in steps:
            if step in ("put", "lose"):
                number = len(put) + 1
                if step == "put":
                    channel.put(_event(number))
                elif lost < 16:
                    channel.lose_frame(_lost(number))
                    number, lost = -number, lost + 1
                else:
                    continue
                put.append(number)
            else:
                taken += await _taken(channel, step)
        while more := await _taken(channel, "batch"):
            taken += more
        while more := await _taken(channel, "take"):
            taken += more + await _taken(channel, "batch")
        assert taken == put
        ledger = channel.statistics()
        assert ledger.published == ledger.delivered == len([number for number in put if number > 0])
        assert ledger.frames_lost == lost
        channel.close()

    virtual_run(main)


async def test_it_is_raised_once_has_what_came_and_the_stream_goes_on() -> None:
    channel = Channel(Fail(9))
    channel.put(_event(1))
    channel.lose_frame(_lost(7, code="KRW-BTC"))
    channel.put(_event(2))
    assert [item.sequential_id for item in await channel.receive_batch()] == [1]
    with pytest.raises(FrameLostError, match="a frame with myOrder of KRW-BTC could not be read: test") as lost:
        await channel.receive()
    error = lost.value
    assert isinstance(error, ExchangeError)
    assert (error.epoch, error.type, error.code, error.why) == (1, "myOrder", "KRW-BTC", "test")
    assert (error.payload, error.frames) == (b"7", 1)
    assert (await channel.receive()).sequential_id == 2
    channel.close()


async def test_it_wakes_who_waits() -> None:
    channel = Channel(Fail(9))
    async with anyio.create_task_group() as group:

        async def lose() -> None:
            await anyio.sleep(1)
            channel.lose_frame(_lost())

        group.start_soon(lose)
        with anyio.fail_after(2), pytest.raises(FrameLostError):
            await channel.receive()
    channel.close()


@pytest.mark.parametrize("kinds", KINDS)
async def test_b1_those_that_nobody_reads_are_told_together_where_the_last_stands(kinds: Any) -> None:
    channel = Channel(DropOldest(4), notices=kinds)
    channel.begin(EPOCHS[1], 0.0)
    for number in range(1, 1001):
        channel.lose_frame(_lost(number))
        channel.put(_event(number))
    found = list[tuple[int, int]]()
    with suppress(anyio.WouldBlock):
        while True:
            try:
                item = channel.receive_nowait()
                if isinstance(item, FrameLost):
                    found.append((int(item.payload), item.frames))
            except FrameLostError as lost:
                found.append((int(lost.payload), lost.frames))
    assert len(found) == 16
    assert sum(frames for _, frames in found) == 1000 == channel.statistics().frames_lost
    assert found[-1] == (1000, 985)
    channel.close()


ORDERS, ASSETS, NEWS = Want(DataType.MY_ORDER), Want(DataType.MY_ASSET), Want(DataType.ANNOUNCEMENT)
BTC, ETH = Want(DataType.MY_ORDER, "KRW-BTC"), Want(DataType.MY_ORDER, "KRW-ETH")


@pytest.mark.parametrize(
    ("type_name", "code", "told"),
    [
        ("myOrder", "KRW-BTC", [ORDERS, BTC]),
        ("myOrder", "", [ORDERS, BTC, ETH]),
        ("myAsset", "", [ASSETS]),
        ("announcement", "", [NEWS]),
        ("", "", [ORDERS, BTC, ETH, ASSETS, NEWS]),
        ("myOrdxr", "KRW-BTC", [ORDERS, BTC, ETH, ASSETS, NEWS]),
        ("ticker", "KRW-BTC", []),
    ],
)
async def test_everybody_is_told_for_whom_it_may_have_been(type_name: str, code: str, told: list[Want]) -> None:
    hub, channels = Hub(Account(), confirms=True), dict[Want, Channel]()
    for want in (ORDERS, BTC, ETH, ASSETS, NEWS):
        channels[want] = Channel(Fail(9))
        hub.register([want])
        hub.attach([want], channels[want])
    watcher = Channel(DropOldest(1))
    hub.attach([ORDERS], watcher, watches=True)
    hub.lose_frame(_lost(0, type_name, code), 0.0)
    assert [want for want, channel in channels.items() if channel.statistics().frames_lost] == told
    assert not watcher.statistics().frames_lost, "there is nothing to look at"


async def test_one_that_comes_after_its_epoch_is_over_is_told_to_nobody() -> None:
    hub, channel = Hub(Account(), confirms=True), Channel(Fail(9))
    hub.register([ORDERS])
    hub.attach([ORDERS], channel)
    hub.ended(EPOCHS[1], "test", 0.0, 0.0)
    hub.lose_frame(_lost(), 0.0)
    assert not channel.statistics().frames_lost


async def test_the_first_of_an_epoch_shows_that_the_exchange_serves_it() -> None:
    hub, channel = Hub(Account(), confirms=True), Channel(Fail(9), notices=(EpochStarted, FrameLost))
    hub.register([ORDERS])
    hub.asked(hub.wants.union)
    hub.attach([ORDERS], channel)
    hub.lose_frame(_lost(), 5.0)
    assert channel.receive_nowait() == EpochStarted(EPOCHS[1], None, 5.0)
    assert channel.receive_nowait() == _lost()


def test_a_bad_frame_knows_its_place_among_the_events_of_its_read() -> None:
    ticker = b'{"type":"trade","code":"KRW-BTC"'
    unknown = b'{"type":"new","code":"KRW-BTC","timestamp":1}'
    events, replies = Decoder(Format.DEFAULT).decode([unknown, unknown, ticker, unknown, b"[]", ticker], EPOCHS[1], 0.0)
    assert len(events) == 3
    assert [reply.place for reply in replies if isinstance(reply, BadFrame)] == [2, 3, 3]


ORDER = b'{"type":"myOrder","code":"KRW-BTC","uuid":"u"}'


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (b'[{"type":"myAsset","x":tru},%s]' % ORDER, ("", "")),
        (b'[{"type":"myAsset"}%s]' % ORDER, ("", "")),
        (b"[%s,%s]" % (b",".join([b'{"type":"myAsset"}'] * 20), ORDER), ("", "")),
        (b"[%s%s]" % (ORDER, ORDER), ("myOrder", "KRW-BTC")),
        (b"[%s%s]" % (ORDER, ORDER.replace(b"BTC", b"ETH")), ("myOrder", "")),
        (b'[%s{"type":"myOrder"}]' % ORDER, ("myOrder", "")),
        (b'[{"type":"myOrder","code":"KRW-BTC","x":tru}]', ("myOrder", "KRW-BTC")),
    ],
)
def test_what_is_lost_of_several_elements_is_of_no_type_that_only_one_has(frame: bytes, told: tuple[str, str]) -> None:
    """Otherwise nobody would be told of an order behind a balance in the same array."""
    _, replies = Decoder(Format.JSON_LIST).decode([frame], EPOCHS[1], 0.0)
    last = replies[-1]
    assert isinstance(last, BadFrame)
    assert (last.type, last.code) == told
