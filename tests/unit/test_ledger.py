"""E4 for every policy, over generated lives of a stream: nothing is lost that is not counted, and the order is kept."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.ledger import ALL_NOTICES, CODES, DEADLINE, INTERVAL, POLICIES, Ledger, Steps, steps

from upbit_streams import EpochEnded, EpochStarted, Lagged, Notice

Run = Callable[..., Any]
every_policy = pytest.mark.parametrize("name", POLICIES)
kinds = st.sampled_from([(), (EpochStarted,), ALL_NOTICES])


def _live(run: Run, name: str, capacity: int, notices: Sequence[type[Notice]], steps: Steps) -> Ledger:
    ledgers = []

    async def main() -> None:
        ledgers.append(Ledger(POLICIES[name](capacity), notices))
        await ledgers[0].run(steps)

    run(main)
    return ledgers[0]


def _by_code(ledger: Ledger) -> dict[str, list[int]]:
    """The numbers that came out, by market."""
    found = defaultdict[str, list[int]](list)
    for taken in ledger.events():
        found[taken.item.code].append(taken.number)
    return found


def _newest(ledger: Ledger) -> dict[str, int]:
    """The number of the last event of each market."""
    return {code: number for number, (code, _, _) in enumerate(ledger.sent)}


@every_policy
@given(capacity=st.integers(1, 8), notices=kinds, steps=steps())
def test_e4_published_is_delivered_and_lost_and_buffered(
    virtual_run: Run, name: str, capacity: int, notices: Sequence[type[Notice]], steps: Steps
) -> None:
    """At every moment; what is lost is lost as the policy says; and what comes out is in order, each once."""
    ledger = _live(virtual_run, name, capacity, notices, steps)
    statistics = ledger.channel.statistics()
    numbers = [taken.number for taken in ledger.events()]
    assert len(numbers) == len(set(numbers)), "one came twice"
    for of_one in _by_code(ledger).values():
        assert of_one == sorted(of_one), "the order of a market has changed"
    epochs = [taken.item.epoch.number for taken in ledger.events()]
    assert epochs == sorted(epochs), "E3: an epoch goes back"
    assert all(taken.item.epoch.number == ledger.sent[taken.number][1] for taken in ledger.events()), "E2"
    if name not in ("Coalesce", "Throttle"):
        assert numbers == sorted(numbers), "the order has changed"
        assert statistics.coalesced == statistics.throttled == 0
    assert not (statistics.coalesced and name != "Coalesce")
    assert not (statistics.throttled and name != "Throttle")
    assert not (statistics.blocked_seconds and name != "Block")
    assert statistics.buffered == 0 or ledger.failure is not None


@every_policy
@given(capacity=st.integers(1, 8), steps=steps())
@example(capacity=2, steps=[("read", 7), ("take", 1)] * 5)
def test_e7_notices_stand_where_they_belong_under_every_policy(
    virtual_run: Run, name: str, capacity: int, steps: Steps
) -> None:
    ledger = _live(virtual_run, name, capacity, ALL_NOTICES, steps)
    begun = ended = lagged = 0
    for taken in ledger.taken:
        match taken.item:
            case EpochStarted(epoch):
                assert epoch.number > begun
                begun = epoch.number
            case EpochEnded(epoch):
                assert epoch.number >= begun > ended
                ended = begun
            case Lagged(dropped):
                lagged += dropped
            case event if taken in ledger.events():
                assert event.epoch.number == begun > ended, "an event stands outside of its epoch"
    if name in ("Block", "Fail"):
        assert lagged == 0, "the error tells it"
    else:
        assert lagged == ledger.channel.statistics().dropped, "what is dropped is told, and nothing else"
    if name != "Throttle":  # where it may not be time for any event yet
        pairs = pairwise(taken.item for taken in ledger.taken)
        assert not any(isinstance(one, Lagged) and isinstance(next_one, Lagged) for one, next_one in pairs), "starved"


@given(capacity=st.integers(3, 8), notices=kinds, steps=steps())
def test_e4_coalesce_ends_with_the_newest_of_each_market(
    virtual_run: Run, capacity: int, notices: Sequence[type[Notice]], steps: Steps
) -> None:
    ledger = _live(virtual_run, "Coalesce", capacity, notices, steps)
    assert {code: numbers[-1] for code, numbers in _by_code(ledger).items()} == _newest(ledger)
    assert ledger.channel.statistics().dropped == 0, "there was room for every market"


@given(capacity=st.integers(3, 8), notices=kinds, steps=steps())
@example(capacity=3, notices=(), steps=[("read", 1), ("batch", 1), ("read", 3), ("rest", 1), ("read", 3)])
@example(
    capacity=3,
    notices=(),
    steps=[("read", 1), ("take", 1), ("read", 3), ("reconnect", 1), ("read", 1), ("batch", 1)],
)
def test_e4_throttle_is_no_faster_than_its_interval_and_its_trailing_edge_arrives(
    virtual_run: Run, capacity: int, notices: Sequence[type[Notice]], steps: Steps
) -> None:
    ledger = _live(virtual_run, "Throttle", capacity, notices, steps)
    assert {code: numbers[-1] for code, numbers in _by_code(ledger).items()} == _newest(ledger)
    for code in CODES:
        times = [taken.at for taken in ledger.events() if taken.item.code == code]
        assert all(later - sooner > INTERVAL - 1e-6 for sooner, later in pairwise(times)), "too fast"
    assert ledger.channel.statistics().dropped == 0, "there was room for every market"
    epochs = [taken.item.epoch.number for taken in ledger.events()]
    assert epochs == sorted(epochs), "E3: an epoch goes back"


@pytest.mark.parametrize("name", ["Fail", "Block"])
@given(capacity=st.integers(1, 8), steps=steps())
@example(capacity=1, steps=[("read", 7), ("rest", 7), ("rest", 7), ("read", 3), ("take", 1)])
def test_e4_fail_and_block_are_lossless_and_then_tell_how_much(
    virtual_run: Run, name: str, capacity: int, steps: Steps
) -> None:
    ledger = _live(virtual_run, name, capacity, (), steps)
    statistics = ledger.channel.statistics()
    numbers = [taken.number for taken in ledger.events()]
    assert numbers == list(range(len(numbers))), "something is missing in the middle"
    assert (ledger.failure is None) is (statistics.dropped == 0), "lost in silence, or failed for nothing"
    if ledger.failure is not None:
        assert ledger.failure.missed == statistics.dropped == len(ledger.sent) - len(numbers)
        assert name == "Fail" or statistics.blocked_seconds > DEADLINE - 1e-6, "the reader has not waited for it"
    elif name == "Block":
        assert numbers == list(range(len(ledger.sent)))


@given(capacity=st.integers(1, 8), steps=steps())
def test_e4_drop_newest_keeps_what_came_first(virtual_run: Run, capacity: int, steps: Steps) -> None:
    """Nothing that has come in ever goes: gaps stand only where as many waited as may."""
    ledger = _live(virtual_run, "DropNewest", capacity, ALL_NOTICES, steps)
    expected = 0
    for taken in ledger.taken:
        if isinstance(taken.item, Lagged):
            expected += taken.item.dropped
        elif taken in ledger.events():
            assert taken.number == expected, "something is missing that nobody told, or not there"
            expected += 1
    assert expected == len(ledger.sent)


@given(steps=steps())
def test_e3_coalesce_keeps_the_order_in_which_markets_began_to_wait(virtual_run: Run, steps: Steps) -> None:
    """However often one changes, it does not wait longer for that."""
    # A pause after each batch, so that the time tells them apart.
    apart = [each for step in steps if step[0] in ("read", "batch") for each in (step, ("rest", 1))]
    ledger = _live(virtual_run, "Coalesce", 8, (), apart)
    for _, batch in groupby(ledger.events(), key=lambda taken: taken.at):
        codes = [taken.item.code for taken in batch]
        # Each read brings the markets in turn, so the first to wait is the one after the last of the batch before.
        assert len(codes) == len(set(codes)), "two of one market at once"
        turn = CODES.index(codes[0])
        assert codes == [*CODES[turn:], *CODES[:turn]][: len(codes)]
