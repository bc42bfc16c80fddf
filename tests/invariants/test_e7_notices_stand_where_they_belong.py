"""E7: a notice stands exactly where it belongs: ``EpochStarted(n)`` before the first event of *n*; ``Lagged(k)`` where
the *k* events are missing, judged from what was sent."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.lives import Burst, Life, Reader, enough, lives, open_live_world, readers
from tests.support.market import stamp_of_event
from tests.support.sent import Sent
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
from upbit_streams.testing import Delay, Drop, Fault, Stall

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
            late = world.manager.status().late
        for policy, reader, ledger in zip(policies, several, ledgers, strict=False):
            _check_epochs(reader.items)
            begun = [item.epoch.number for item in reader.items if isinstance(item, EpochStarted)]
            assert reader.failures or begun[-1] == len(world.sent)
            told = sum(item.dropped for item in reader.items if isinstance(item, Lagged))
            if isinstance(policy, DropOldest | DropNewest):
                assert told == ledger.dropped
                if not late:
                    _check_losses(reader.items, world.sent)
            else:
                assert told == 0, "the error tells it"

    virtual_run(main)


# What is on its way when the sockets end is lost; so is all that was sent while nothing came through.
_SLOW = st.builds(
    lambda seconds, after: [Delay(seconds=seconds, lasts=after + 1.0), Drop(after=after)],
    st.floats(0.1, 1.5),
    st.floats(1.0, 5.0),
)
_SILENT = st.builds(lambda after, lasts: [Stall(after=after, lasts=lasts)], st.floats(0.0, 3.0), st.floats(0.1, 6.0))
LOSSES = st.lists(_SLOW | _SILENT, min_size=1, max_size=3).map(
    lambda parts: [fault for part in parts for fault in part]
)


@enough
@given(script=LOSSES)
def test_e7_what_is_missing_has_happened_between_the_times_that_a_notice_says(
    virtual_run: Run, script: list[Fault]
) -> None:
    async def main() -> None:
        async with open_live_world(Life(script), ping_interval=1.0, ping_timeout=4.0) as world:
            witness, reader = world.exchange.market.open(), Reader(0.0, is_batched=False)
            async with world.manager.open_client("strategy") as client:
                stream = client.stream(DataType.TRADE, CODES, backpressure=DropOldest(1000), notices=True)
                await world.live_with([(stream, reader)])
        told = [(item.missing_from, item.missing_to) for item in reader.items if isinstance(item, EpochStarted)]
        had = {stamp_of_event(event).serial for event in reader.events}
        for _, serial, at in witness.waiting:
            if min(had) < serial < max(had) and serial not in had:
                assert any(since is not None and since <= at <= until for since, until in told), (
                    f"what happened at {at} is missing, and told was of {told}"
                )

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


def _check_losses(items: Sequence[Any], sent: Sequence[Sequence[Sent]]) -> None:
    """Between two events so many are told as missing as were sent between them; and in the epoch in which they were, if
    both are told of."""
    news = [(number, one) for number, of_one in enumerate(sent, 1) for one in of_one if not one.is_repeated]
    place_of = {one.stamp: place for place, (_, one) in enumerate(news)}
    place, lagged, lagged_before_start, begun = -1, 0, 0, 0
    for item in [*items, None]:
        match item:
            case Lagged(dropped):
                lagged += dropped
            case EpochStarted(epoch):
                lagged_before_start, begun = lagged, epoch.number
            case Event() | None:
                next_place = len(news) if item is None else place_of[stamp_of_event(item)]
                missing = news[place + 1 : next_place]
                assert lagged == len(missing), f"{len(missing)} are missing before {item}, told was of {lagged}"
                number = news[place][0]
                if place >= 0 and begun == number + 1:  # of several lives without an event one is told
                    before = sum(of == number for of, _ in missing)
                    assert lagged_before_start == before, f"{before} are missing of epoch {number}"
                place, lagged = next_place, 0
    for one, next_one in pairwise(items):
        assert not (isinstance(one, Lagged) and isinstance(next_one, Lagged)), "one gap is told as two"
