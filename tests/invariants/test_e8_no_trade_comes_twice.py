"""E8: no trade is delivered twice: what a snapshot repeats is recognised and counted, not delivered."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import Life, Reader, enough, lives, open_live_world, readers
from tests.support.market import stamp_of_event
from tests.support.world import CODES

from upbit_streams import DataType, DropOldest

Run = Callable[..., Any]
LIVES = st.tuples(lives(), readers())


@enough
@given(life=LIVES)
def test_e8_every_trade_that_was_sent_is_delivered_once(virtual_run: Run, life: tuple[Life, list[Reader]]) -> None:
    """And every snapshot that repeats one is counted."""
    script, several = life

    async def main() -> None:
        called: list[Any] = []
        async with open_live_world(script) as world, world.manager.open_client("strategy") as client:
            callback = Reader(0.0, is_batched=False, items=called)
            await client.subscribe_trade(CODES, called.append)
            policy = DropOldest(1000)
            await world.live_with([(client.stream(DataType.TRADE, CODES, backpressure=policy), one) for one in several])
            repeated = world.manager.status().repeated
        sent = [one for talk in world.sent for one in talk]
        once = [(one.stamp.code, one.stamp.serial) for one in sent if not one.is_repeated]
        assert len(set(once)) == len(once)
        for reader in [callback, *several]:
            got = [stamp_of_event(event) for event in reader.events]
            assert [(one.code, one.serial) for one in got] == once
        assert repeated == len(sent) - len(once)

    virtual_run(main)
