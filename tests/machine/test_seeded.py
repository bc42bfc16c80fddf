"""The machine bites: bugs that are put into the library on purpose, one for each invariant, are found and shrunk."""

from itertools import cycle

import pytest
from hypothesis import HealthCheck, seed, settings
from tests.machine.bugs import BUGS, BUGS_OF_POLICIES
from tests.machine.consumers import Asked
from tests.machine.drive import Step, Way, replayed, shrunk
from tests.machine.feed_machine import FeedMachine, run_machine

from upbit_streams.testing import Drop

_FEW_STEPS = 10


@pytest.mark.breaches
@pytest.mark.parametrize(
    ("invariant", "backend_name"), list(zip(BUGS, cycle(["asyncio", "trio"]), strict=False)), ids=list(BUGS)
)
def test_a_seeded_bug_is_found_and_shrunk(
    invariant: str,
    backend_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @seed(8)  # the same examples each time, whatever else is changed here
    class Machine(FeedMachine):
        backend = backend_name

    BUGS[invariant](monkeypatch)
    chosen = settings(
        max_examples=600,
        stateful_step_count=20,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises(AssertionError, match=f"^{invariant}: "):
        run_machine(Machine, chosen)
    steps = shrunk(Machine.failed[0].way, Machine.failed[0].steps, invariant)
    found_in, before = Machine.tally["examples"], len(Machine.failed[0].steps)
    print(f"{invariant}: found in example {found_in}, shrunk from {before} to {len(steps)} steps")
    assert len(steps) <= _FEW_STEPS, [str(step) for step in steps]


@pytest.mark.parametrize("invariant", BUGS_OF_POLICIES)
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_a_bug_of_one_policy_is_seen_in_the_steps_that_show_it(
    invariant: str, backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_bug, policy = BUGS_OF_POLICIES[invariant]
    asked = Asked(kinds=("trade",), codes=("KRW-BTC",), policy=policy, notices=True)
    steps = [
        Step("open_stream", (0, asked), 2.5),
        Step("read_all", (), 3.45),
        Step("read_all", (), 1.0),
        Step("suffer", ([Drop(after=0.0)],), 10.0),
    ]
    way = Way(backend_name, "returning", 0.5)
    assert replayed(way, steps) == ""
    seed_bug(monkeypatch)
    assert replayed(way, steps).startswith(f"{invariant}: ")
