"""When to try again, and how often at most."""

from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import Backoff
from upbit_streams.rules.backoff import delay, next_failures

BACKOFF = Backoff(initial=0.5, maximum=30.0, stable_after=5.0)


@given(failures=st.integers(0, 10_000), fraction=st.floats(0, 1))
def test_a_wait_is_spread_evenly_up_to_a_bound_that_doubles_until_the_maximum(failures: int, fraction: float) -> None:
    bound = delay(failures, BACKOFF, 1.0)
    assert bound == (0.5 * 2 ** max(failures - 1, 0) if failures < 7 else 30.0)
    assert delay(failures, BACKOFF, fraction) == fraction * bound


def test_only_an_epoch_that_brought_data_and_lived_for_a_while_makes_the_next_wait_short_again() -> None:
    assert next_failures(7, BACKOFF, lived=5.0, brought_data=True) == 0
    assert next_failures(7, BACKOFF, lived=4.9, brought_data=True) == 8
    assert next_failures(7, BACKOFF, lived=9999.0, brought_data=False) == 8
