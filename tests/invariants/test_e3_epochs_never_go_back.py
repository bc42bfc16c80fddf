"""E3: in every stream and every callback, epochs never go back; what arrives after its epoch is dropped and counted."""

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import Life, Reader, enough, lives, open_live_world, readers
from tests.support.market import stamp_of_event
from tests.support.world import CODES, numbered_trade

from upbit_streams import DataType, DropOldest, Epoch
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.hub import Hub
from upbit_streams.model.subscriptions import wants_of

Run = Callable[..., Any]
LIVES = st.tuples(lives(), readers(), st.integers(1, 40))


@enough
@given(life=LIVES)
def test_e3_in_no_stream_does_an_epoch_or_an_order_ever_go_back(
    virtual_run: Run, life: tuple[Life, list[Reader], int]
) -> None:
    script, several, capacity = life

    async def main() -> None:
        called: list[Any] = []
        async with open_live_world(script) as world, world.manager.open_client("strategy") as client:
            await client.subscribe_trade(CODES, called.append)
            policy = DropOldest(capacity)
            await world.live_with([(client.stream(DataType.TRADE, CODES, backpressure=policy), one) for one in several])
        # A trade that is told again stands where it was told first.
        order: dict[tuple[str, int], int] = {}
        for place, one in enumerate(one for talk in world.sent for one in talk):
            order.setdefault((one.stamp.code, one.stamp.serial), place)
        for events in [called, *(reader.events for reader in several)]:
            assert events
            epochs = [event.epoch.number for event in events]
            assert epochs == sorted(epochs)
            places = [order[stamp.code, stamp.serial] for stamp in map(stamp_of_event, events)]
            assert places == sorted(set(places)), "the order is not that in which it was sent"

    virtual_run(main)


def _epoch(number: int) -> Epoch:
    return Epoch(connection="public", number=number, started_at=0.0, wall_offset=0.0, reason="test")


@enough
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


@enough
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
