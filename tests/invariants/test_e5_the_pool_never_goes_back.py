"""E5: the pool never goes back: an older epoch never overwrites a newer one."""

from collections.abc import Callable
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import BEAT, Life, enough, lives, open_live_world
from tests.support.market import stamp_of_event
from tests.support.world import CODES, numbered_trade, open_world, wall

from upbit_streams import DataType, Epoch, EpochStarted, NotReadyError, TradeEvent
from upbit_streams.engine.hub import Hub
from upbit_streams.model.subscriptions import wants_of
from upbit_streams.testing import Refusal

Run = Callable[..., Any]
LIVES = st.tuples(lives(), st.lists(st.floats(0.01, 2.0), max_size=20))
KINDS = ("ticker", "trade", "orderbook")


@enough
@given(life=LIVES)
def test_e5_whenever_the_pool_is_read_it_has_what_was_sent_last(
    virtual_run: Run, life: tuple[Life, list[float]]
) -> None:
    """Of each topic, and neither an older one nor one of an older epoch. It is read in regular and in random
    moments."""
    script, looks = life

    async def main() -> None:
        async with open_live_world(script) as world, world.manager.open_client("strategy") as client:
            await client.register_interest([DataType.from_name(kind) for kind in KINDS], CODES)
            seen: dict[tuple[str, str], tuple[int, int]] = {}

            wrong: list[str] = []

            def check() -> None:
                for topic in [(kind, code) for kind in KINDS for code in CODES]:
                    last = world.exchange.last.get(topic)
                    try:
                        event = getattr(client, f"get_{topic[0]}")(topic[1])
                    except NotReadyError:
                        if last is not None:
                            wrong.append(f"the pool has nothing, and sent was {last}")
                        continue
                    stamp = stamp_of_event(event)
                    if last is None or stamp != last.stamp:
                        wrong.append(f"the pool has {stamp}, and sent was {last}")
                    now = event.epoch.number, stamp.serial
                    if now < seen.get(topic, now):
                        wrong.append(f"the pool had {topic} of {seen[topic]} and has {now}: epoch and serial")
                    seen[topic] = now

            async def look() -> None:
                while True:
                    await anyio.sleep(BEAT / 4)
                    check()

            async def look_at_random() -> None:
                for pause in looks:
                    await anyio.sleep(pause)
                    check()

            async with anyio.create_task_group() as group:
                group.start_soon(look)
                group.start_soon(look_at_random)
                await world.live()
                check()
                group.cancel_scope.cancel()
            assert not wrong, wrong[0]
            assert len(seen) == len(KINDS) * len(CODES)

    virtual_run(main)


@enough
@given(numbers=st.lists(st.integers(1, 5), min_size=1, max_size=30))
def test_e5_an_older_epoch_never_overwrites_a_newer_one(virtual_run: Run, numbers: list[int]) -> None:
    async def main() -> None:
        hub = Hub()
        [want] = wants = wants_of(DataType.TRADE, "KRW-BTC")
        hub.register(wants)
        hub.asked(wants)
        for place, number in enumerate(numbers):
            hub.publish([numbered_trade("KRW-BTC", number, place)], Epoch("public", number, 0.0, 0.0, "test"))
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
