"""The properties bite: each bug that is put into the library on purpose is found by the property of its invariant, at
the number of examples that it runs with here, whatever the seed."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.invariants import (
    test_e1_epoch_numbers,
    test_e2_epochs_of_events,
    test_e3_epochs_never_go_back,
    test_e4_nothing_is_lost_uncounted,
    test_e5_the_pool_never_goes_back,
    test_e6_requests_equal_wants,
    test_e7_notices_stand_where_they_belong,
    test_e8_no_trade_comes_twice,
    test_l3_limits_are_kept,
)
from tests.machine.bugs import BUGS
from tests.support.lives import CI_EXAMPLES

Run = Callable[..., Any]
SEEDS = range(8)
PROPERTIES: dict[str, tuple[Any, Any]] = {
    "E1": (
        test_e1_epoch_numbers.test_e1_epoch_numbers_grow_by_exactly_one_at_each_successful_connect,
        test_e1_epoch_numbers.LIVES,
    ),
    "E2": (
        test_e2_epochs_of_events.test_e2_every_event_carries_the_epoch_on_whose_socket_it_arrived,
        test_e2_epochs_of_events.LIVES,
    ),
    "E3": (
        test_e3_epochs_never_go_back.test_e3_in_no_stream_does_an_epoch_or_an_order_ever_go_back,
        test_e3_epochs_never_go_back.LIVES,
    ),
    "E4": (
        test_e4_nothing_is_lost_uncounted.test_e4_what_was_sent_is_delivered_in_its_order_or_counted,
        test_e4_nothing_is_lost_uncounted.LIVES,
    ),
    "E5": (
        test_e5_the_pool_never_goes_back.test_e5_whenever_the_pool_is_read_it_has_what_was_sent_last,
        test_e5_the_pool_never_goes_back.LIVES,
    ),
    "E6": (
        test_e6_requests_equal_wants.test_e6_the_exchange_is_asked_for_exactly_what_is_wanted,
        test_e6_requests_equal_wants.LIVES,
    ),
    "E7": (
        test_e7_notices_stand_where_they_belong.test_e7_every_notice_stands_where_what_was_sent_says,
        test_e7_notices_stand_where_they_belong.LIVES,
    ),
    "E8": (
        test_e8_no_trade_comes_twice.test_e8_every_trade_that_was_sent_is_delivered_once,
        test_e8_no_trade_comes_twice.LIVES,
    ),
    "L3": (
        test_l3_limits_are_kept.test_l3_no_request_ever_breaks_the_limits,
        test_l3_limits_are_kept.LIVES,
    ),
}
"""The property of each invariant that has a seeded bug, and what it is drawn from."""


def _check(invariant: str, number: int, run: Run, examples: int) -> int:
    """Run the property with this seed. Returns how many examples it took."""
    test, drawn = PROPERTIES[invariant]
    taken = 0

    def counted(life: Any) -> None:
        nonlocal taken
        taken += 1
        test.hypothesis.inner_test(virtual_run=run, life=life)

    chosen = settings(
        max_examples=examples,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(chosen(given(life=drawn)(counted)))()
    return taken


def test_each_bug_has_its_property() -> None:
    assert PROPERTIES.keys() == BUGS.keys()


@pytest.mark.breaches
@pytest.mark.parametrize("invariant", BUGS)
def test_a_seeded_bug_is_found_by_the_property_of_its_invariant_with_every_seed(
    invariant: str, virtual_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in SEEDS:
        with monkeypatch.context() as patch:
            BUGS[invariant](patch)
            with pytest.raises(AssertionError):
                _check(invariant, number, virtual_run, CI_EXAMPLES)
        # And it is the bug that was found.
        assert _check(invariant, number, virtual_run, 1) == 1
