"""Snapshots that repeat a trade: whose news they are, and how that is counted."""

from collections.abc import Sequence
from typing import Any

import anyio
import msgspec
from tests.support.world import numbered_trade

from upbit_streams import DataType, DropOldest, Epoch, EpochEnded, EpochStarted, Lagged, Stale
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.hub import Hub
from upbit_streams.model.subscriptions import Want

CHANGES = Want(DataType.TRADE, "KRW-BTC")
STATES = Want(DataType.TRADE, "KRW-BTC", realtime=False)
EPOCHS = [Epoch("public", number, 0.0, 0.0, "test") for number in range(3)]


def _trade(number: int, kind: str = "REALTIME", epoch: Epoch = EPOCHS[1]) -> Any:
    return msgspec.structs.replace(numbered_trade("KRW-BTC", 0, number), epoch=epoch, stream_type=kind)


def _snapshot(number: int, epoch: Epoch = EPOCHS[1]) -> Any:
    return _trade(number, "SNAPSHOT", epoch)


def _joined(hub: Hub, want: Want, notices: Sequence[Any] = ()) -> Channel:
    channel = Channel(DropOldest(99), notices=notices)
    _join(hub, want, channel)
    return channel


def _join(hub: Hub, want: Want, channel: Channel) -> None:
    hub.register([want])
    hub.attach([want], channel)


def _leave(hub: Hub, want: Want, channel: Channel) -> None:
    hub.detach([want], channel, stays=True)
    hub.unregister([want])


def _taken(channel: Channel) -> list[Any]:
    items = list[Any]()
    try:
        while True:
            item = channel.receive_nowait()
            items.append(getattr(item, "sequential_id", type(item)))
    except anyio.WouldBlock:
        return items


async def test_a_trade_that_is_news_to_nobody_counts_as_repeated() -> None:
    hub = Hub()
    changes, states = _joined(hub, CHANGES), _joined(hub, STATES)
    hub.asked(hub.wants.union)
    hub.publish([_snapshot(1), _trade(2)], EPOCHS[1])
    for number in range(3, 8):
        hub.asked(hub.wants.union)
        hub.publish([_trade(number), _snapshot(number)], EPOCHS[1])
    assert _taken(changes) == [*range(1, 8)]
    assert _taken(states) == [1], "one in an epoch"
    assert (hub.published, hub.repeated) == (7, 5)


async def test_e8_what_was_told_long_ago_is_not_told_again_after_a_short_stay() -> None:
    """A snapshot may be of a trade a few back."""
    hub = Hub()
    channel = _joined(hub, CHANGES)
    hub.asked(hub.wants.union)
    hub.publish([_snapshot(48), _trade(49), _trade(50)], EPOCHS[1])
    _leave(hub, CHANGES, channel)
    hub.ended(EPOCHS[1], "test", 0.0, 0.0)
    for number in (49, 50):
        _join(hub, CHANGES, channel)
        hub.asked(hub.wants.union)
        hub.publish([_snapshot(number, EPOCHS[2])], EPOCHS[2])
        _leave(hub, CHANGES, channel)
    assert _taken(channel) == [48, 49, 50]


async def test_e7_who_is_served_again_is_told_so_though_the_answer_is_no_news() -> None:
    hub = Hub()
    _joined(hub, STATES)
    channel = _joined(hub, CHANGES, (EpochStarted, EpochEnded, Lagged, Stale))
    hub.asked(hub.wants.union)
    hub.publish([_snapshot(1)], EPOCHS[1])
    _leave(hub, CHANGES, channel)
    hub.ended(EPOCHS[1], "test", 0.0, 0.0)
    hub.asked(hub.wants.union)
    hub.publish([_snapshot(1, EPOCHS[2])], EPOCHS[2])
    _join(hub, CHANGES, channel)
    hub.asked(hub.wants.union)
    hub.publish([_snapshot(1, EPOCHS[2])], EPOCHS[2])
    assert _taken(channel) == [EpochStarted, 1, EpochEnded, EpochStarted]


async def test_e5_a_snapshot_that_is_older_than_what_was_told_does_not_move_the_pool_back() -> None:
    """More trades came while it was on its way. Streams are told of it all the same, since it is news."""
    hub = Hub()
    channel = _joined(hub, CHANGES)
    hub.asked(hub.wants.union)
    hub.publish([_at(_trade(2), 20), _at(_snapshot(1), 10)], EPOCHS[1])
    latest = hub.latest(CHANGES)
    assert latest is not None
    assert latest.sequential_id == 2  # type: ignore[attr-defined] # it is a trade
    assert [item.sequential_id for item in await channel.receive_batch()] == [2, 1]
    assert not hub.look_for_unanswered(1e9), "it was answered"
    hub.publish([_at(_snapshot(3), 20)], EPOCHS[1])  # of the same moment
    latest = hub.latest(CHANGES)
    assert latest is not None
    assert latest.sequential_id == 3  # type: ignore[attr-defined] # it is a trade


def _at(trade: Any, stamp: int) -> Any:
    return msgspec.structs.replace(trade, trade_timestamp=stamp)
