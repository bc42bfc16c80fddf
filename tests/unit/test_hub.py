"""What a hub shows to those who come later, and what it takes for the answer to a request."""

from itertools import permutations
from typing import Any

import anyio
import msgspec
import pytest
from tests.support.world import CODES, numbered_trade

from upbit_streams import Block, DataType, DropOldest, Epoch
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.hub import Hub
from upbit_streams.model.subscriptions import Want, wants_of

EPOCH = Epoch("public", 1, 0.0, 0.0, "test")


def _trade(code: str, number: int, at: float) -> Any:
    return msgspec.structs.replace(numbered_trade(code, 0, number), epoch=EPOCH, received_at=at)


def _waiting(channel: Channel) -> list[Any]:
    items: list[Any] = []
    try:
        while True:
            items.append(channel.receive_nowait())
    except anyio.WouldBlock:
        return items


@pytest.mark.parametrize("order", list(permutations(CODES)), ids="-".join)
async def test_the_present_states_are_shown_in_the_order_in_which_they_came(order: tuple[str, ...]) -> None:
    wants = wants_of(DataType.TRADE, CODES)
    hub = Hub()
    hub.register(wants)
    hub.asked(wants)
    for number, code in enumerate(order):
        hub.publish([_trade(code, number, float(number))], EPOCH)
    channel = Channel(DropOldest(9))
    hub.register(wants)
    hub.attach(wants, channel)
    assert [event.code for event in _waiting(channel)] == list(order)


async def test_up_to_four_events_of_the_old_request_are_not_taken_for_the_answer_to_the_new_one() -> None:
    """More of them and no snapshot, as from a recording, are the answer."""
    hub = Hub()
    changes, states = Want(DataType.TRADE, CODES[0], snapshot=False), Want(DataType.TRADE, CODES[0])
    hub.register([changes])
    hub.asked(hub.wants.union)
    hub.publish([_trade(CODES[0], 0, 0.0)], EPOCH)
    hub.register([states])
    hub.asked(hub.wants.union)
    for number in range(1, 5):
        hub.publish([_trade(CODES[0], number, 0.0)], EPOCH)
        assert not hub.is_ready(states), f"after {number}"
        assert hub.is_ready(changes)
    hub.publish([_trade(CODES[0], 5, 0.0)], EPOCH)
    assert hub.is_ready(states)


async def test_what_has_brought_nothing_since_it_was_first_asked_for_is_told_however_often_others_are() -> None:
    """Every request asks for all of it again, but nobody has to wait longer because of that."""
    hub = Hub()
    for code in CODES:
        hub.register(wants_of(DataType.TRADE, code))
        hub.asked(hub.wants.union)
        await anyio.sleep(4)
    told = [("trade", CODES[0]), ("trade", CODES[1]), ("trade", CODES[2])]
    for number in range(3):
        assert hub.look_for_unanswered(anyio.current_time() - 10.0) == tuple(told[: number + 1])
        await anyio.sleep(4)


async def test_what_is_left_of_a_read_is_never_copied_again() -> None:
    """A large burst under a small ``Block`` stops at every event."""
    hub, channel = Hub(), Channel(Block(1))
    wants = wants_of(DataType.TRADE, CODES[:1])
    hub.register(wants)
    hub.asked(hub.wants.union)
    hub.attach(wants, channel)
    events = [_trade(CODES[0], number, 0.0) for number in range(500)]
    left, got = hub.publish(events, EPOCH), _waiting(channel)
    while left:
        again = hub.publish(left, EPOCH)
        assert not again or again is left
        left = again
        got += _waiting(channel)
    assert got == events
    assert len(events) == 500, "what was given is left as it was"
