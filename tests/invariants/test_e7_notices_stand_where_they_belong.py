"""E7: a notice stands exactly where it belongs: ``EpochStarted(n)`` before the first event of *n*; ``Lagged(k)`` where
the *k* events are missing, judged from what was sent."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.lives import Burst, Life, Reader, enough, lives, open_live_world, readers
from tests.support.world import CODES

from upbit_streams import (
    Block,
    Coalesce,
    DataType,
    DropNewest,
    DropOldest,
    EpochEnded,
    EpochStarted,
    Event,
    Fail,
    Lagged,
    Policy,
    Throttle,
)
from upbit_streams.testing import Drop

Run = Callable[..., Any]
ROOMS = st.integers(1, 4)
LOSSY = st.builds(DropOldest, ROOMS) | st.builds(DropNewest, ROOMS)
OTHERS = st.sampled_from([Coalesce(len(CODES)), Throttle(1.3, len(CODES)), Fail(3), Block(2, 2.0), DropOldest(1000)])
SLOW = st.builds(Reader, st.sampled_from([0.3, 0.7, 2.0, 7.0]), st.just(value=False))
# There is always one that drops, and is read one by one while more comes.
LIVES = st.tuples(
    lives(),
    st.tuples(SLOW, readers(2)).map(lambda drawn: [drawn[0], *drawn[1]]),
    st.tuples(LOSSY, LOSSY | OTHERS, OTHERS),
)


@enough
@example(
    life=(
        Life([Burst(count=5), Drop(after=2.0)]),
        [Reader(2.0, is_batched=False)],
        (DropOldest(1), DropOldest(1), DropOldest(1)),
    )
)
@given(life=LIVES)
def test_e7_every_notice_stands_where_what_was_sent_says(
    virtual_run: Run, life: tuple[Life, list[Reader], tuple[Policy, ...]]
) -> None:
    script, several, policies = life
    # An example that is given above is used for both backends.
    several = [Reader(reader.pause, reader.is_batched) for reader in several]

    async def main() -> None:
        async with open_live_world(script) as world, world.manager.open_client("strategy") as client:
            ledgers = await world.live_with(
                [
                    (client.stream(DataType.TRADE, CODES, backpressure=policy, notices=True), reader)
                    for policy, reader in zip(policies, several, strict=False)
                ]
            )
        for policy, reader, ledger in zip(policies, several, ledgers, strict=False):
            _check_epochs(reader.items)
            begun = [item.epoch.number for item in reader.items if isinstance(item, EpochStarted)]
            assert reader.failures or begun[-1] == len(world.sent)
            told = sum(item.dropped for item in reader.items if isinstance(item, Lagged))
            if isinstance(policy, DropOldest | DropNewest):
                assert told == ledger.dropped
            else:
                assert told == 0, "the error tells it"

    virtual_run(main)


def _check_epochs(items: Sequence[Any]) -> None:
    """Each event stands between the start and the end of its epoch."""
    begun = ended = 0
    for item in items:
        match item:
            case EpochStarted(epoch):
                assert epoch.number > begun, f"told again, or too late: {item}"
                assert begun in (0, ended), f"epoch {begun} has not ended before {item}"
                begun = epoch.number
            case EpochEnded(epoch):
                assert epoch.number >= begun > ended, f"told again, or too late: {item}"
                ended = begun
            case Event():
                assert item.epoch.number == begun > ended, f"{item} stands outside of its epoch"
