"""E2: every event carries the epoch on whose socket it arrived."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import Life, Reader, enough, lives, open_live_world, readers
from tests.support.market import stamp_of_event
from tests.support.world import CODES

from upbit_streams import Block, Coalesce, DataType, DropNewest, DropOldest, Policy, Throttle

Run = Callable[..., Any]
POLICIES: tuple[Policy, ...] = (DropOldest(), DropNewest(), Coalesce(), Throttle(0.5), Block(1000))
LIVES = st.tuples(lives(), readers(), st.sampled_from(POLICIES))


@enough
@given(life=LIVES)
def test_e2_every_event_carries_the_epoch_on_whose_socket_it_arrived(
    virtual_run: Run, life: tuple[Life, list[Reader], Policy]
) -> None:
    script, several, policy = life

    async def main() -> None:
        async with open_live_world(script) as world, world.manager.open_client("strategy") as client:
            kinds = [DataType.TICKER, DataType.TRADE]
            await world.live_with([(client.stream(kinds, CODES, backpressure=policy), one) for one in several])
        sessions = [{one.stamp for one in sent} for sent in world.sent]
        for reader in several:
            assert reader.events
            for event in reader.events:
                stamp = stamp_of_event(event)
                assert stamp in sessions[event.epoch.number - 1], f"{stamp} was not sent in {event.epoch}"
                assert stamp.session == event.epoch.number, f"{stamp} is of another socket than {event.epoch}"

    virtual_run(main)
