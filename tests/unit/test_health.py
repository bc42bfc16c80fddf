"""Which health follows from which facts, and rates out of counters."""

from collections.abc import Sequence
from itertools import accumulate

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upbit_streams import ConnectionState, DataType, GlobalManagerState, HealthStatus, MyOrderEvent
from upbit_streams.engine.account import Account
from upbit_streams.rules.health import (
    CRITICAL_SECONDS,
    WINDOW_SECONDS,
    Counts,
    Standing,
    judge,
    manager_state,
    measure,
    window_start,
    worst,
)
from upbit_streams.testing.strategies import events

S, H = ConnectionState, HealthStatus

standings = st.builds(
    Standing,
    name=st.sampled_from(["public", "private", "info"]),
    state=st.just(S.ACTIVE) | st.sampled_from(S),
    subscriptions=st.integers(0, 3000),
    down_seconds=st.sampled_from([0.0, 29.999999999999996, CRITICAL_SECONDS]) | st.floats(0, 30) | st.floats(0, 1e6),
    uptime_seconds=st.floats(0, 1e6),
    reconnects=st.integers(0, 1000),
    failed_attempts=st.integers(0, 1000),
    reason=st.text(max_size=5),
    unanswered=st.just(0) | st.integers(0, 3000),
)


@st.composite
def recents(draw: st.DrawFn) -> Counts:
    """What may be counted within a window: no frame is an error twice."""
    messages = draw(st.integers(0, 10_000))
    return Counts(
        at=draw(st.floats(0, WINDOW_SECONDS)),
        messages=messages,
        errors=draw(st.just(0) | st.just(messages) | st.integers(0, messages)),
        epochs_lost=draw(st.integers(0, 3) | st.integers(0, 1000)),
    )


@settings(max_examples=100)
@given(standing=standings, recent=recents())
def test_a_score_is_from_0_to_1_and_says_no_other_thing_than_the_status(standing: Standing, recent: Counts) -> None:
    judged = judge(standing, recent)
    assert 0 <= judged.score <= 1
    assert (judged.score == 0) == (judged.status is H.CRITICAL)
    assert judged.score < 1 or judged.status is H.HEALTHY
    assert bool(judged.reasons) == (judged.status is not H.HEALTHY)


@settings(max_examples=100)
@given(standing=standings, recent=recents())
def test_what_nobody_wants_is_healthy_and_what_is_wanted_is_so_only_while_it_is_served(
    standing: Standing, recent: Counts
) -> None:
    judged = judge(standing, recent)
    if not standing.subscriptions:
        assert (judged.status, judged.score) == (H.HEALTHY, 1.0)
    elif standing.state is S.ERROR or (standing.state is not S.ACTIVE and standing.down_seconds >= CRITICAL_SECONDS):
        assert judged.status is H.CRITICAL
    elif standing.state is not S.ACTIVE or standing.unanswered or recent.epochs_lost > 1:
        assert judged.status is H.DEGRADED
    elif not recent.errors:
        assert judged.status is H.HEALTHY


@settings(max_examples=100)
@given(standing=standings, recent=recents(), more=st.integers(1, 100), data=st.data())
def test_more_trouble_never_makes_anything_better(
    standing: Standing, recent: Counts, more: int, data: st.DataObject
) -> None:
    worse_standing, worse_recent = standing, recent
    match data.draw(st.sampled_from(["down", "down longer", "error", "lost", "errors", "unanswered"])):
        case "down":
            if standing.state is S.ACTIVE:
                worse_standing = attrs.evolve(standing, state=S.RECONNECTING)
        case "down longer":
            standing = attrs.evolve(standing, state=S.RECONNECTING, down_seconds=data.draw(st.floats(0, 30)))
            worse_standing = attrs.evolve(standing, down_seconds=standing.down_seconds + more / 10)
        case "error":
            worse_standing = attrs.evolve(standing, state=S.ERROR)
        case "lost":
            worse_recent = attrs.evolve(recent, epochs_lost=recent.epochs_lost + more)
        case "errors":
            worse_recent = attrs.evolve(recent, errors=min(recent.errors + more, recent.messages))
        case _:
            worse_standing = attrs.evolve(standing, unanswered=standing.unanswered + more)
    before, after = judge(standing, recent), judge(worse_standing, worse_recent)
    assert after.score <= before.score
    assert worst([before.status, after.status]) is after.status


@given(st.lists(st.sampled_from(H)))
def test_the_whole_is_as_well_as_the_worst_of_its_parts(statuses: list[HealthStatus]) -> None:
    severity = {H.HEALTHY: 0, H.DEGRADED: 1, H.CRITICAL: 2}
    found = worst(statuses)
    assert severity[found] == max((severity[status] for status in statuses), default=0)


@given(st.lists(standings, max_size=3), st.booleans())
def test_the_state_of_a_manager(parts: Sequence[Standing], is_open: bool) -> None:
    state = manager_state(parts, is_open=is_open)
    wanted = {part.state for part in parts if part.subscriptions}
    assert (state is GlobalManagerState.SHUTTING_DOWN) == (not is_open)
    if is_open:
        assert (state is GlobalManagerState.ERROR) == (S.ERROR in wanted)
        assert (state is GlobalManagerState.IDLE) == (not wanted)


_STEPS = st.tuples(*[st.integers(0, 1000)] * 8)


@given(
    steps=st.lists(_STEPS, min_size=2, max_size=20),
    seconds=st.integers(1, 60),
    window=st.integers(1, 20),
    standing=standings,
)
def test_rates_are_exact_for_known_counters(
    steps: list[tuple[int, ...]], seconds: int, window: int, standing: Standing
) -> None:
    """With one sample every so many seconds, a rate over the last few is the mean of what was counted in them."""
    sums = accumulate(steps, lambda one, other: tuple(a + b for a, b in zip(one, other, strict=True)))
    samples = [Counts(float(number * seconds), *each) for number, each in enumerate(sums)]
    window = min(window, len(samples) - 1)
    total, recent = samples[-1], samples[-1].since(samples[-1 - window])
    found = measure(standing, total, recent)
    messages, counted, errors, *_, reads, lag = [sum(column) for column in zip(*steps[-window:], strict=True)]
    assert found.messages_per_second == messages / (window * seconds)
    assert found.events_per_second == counted / (window * seconds)
    assert found.error_rate == (errors / messages if messages else 0)
    assert found.lag == (lag / reads if reads else None)
    assert found.messages == sum(step[0] for step in steps)
    assert found.bytes_received == sum(step[3] for step in steps)
    assert found.bytes_sent == sum(step[4] for step in steps)
    assert found.epochs_lost == sum(step[5] for step in steps)
    assert found.health_score == judge(standing, recent).score


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.floats(0, 100))
def test_a_window_is_never_longer_than_it_has_to_be(pauses: list[float], since: float) -> None:
    times = list(accumulate(pauses))
    now = times[-1] + since
    start = window_start(times, now)
    assert start == 0 or now - times[start] >= WINDOW_SECONDS - 1e-6
    assert all(now - time < WINDOW_SECONDS + 1e-6 for time in times[start + 1 :])


def test_nothing_has_a_rate_before_any_time_has_passed() -> None:
    assert Counts(0.0, messages=5).rate(5) == 0


@given(
    order=events(DataType.MY_ORDER),
    ages=st.lists(st.integers(0, 5), max_size=20),
    before=st.integers(0, 6),
)
def test_done_orders_that_are_old_are_forgotten_and_open_ones_are_not(
    order: MyOrderEvent, ages: list[int], before: int
) -> None:
    account = Account()
    for number, at in enumerate(sorted(ages)):
        for state in ("done", "wait"):
            account.take(msgspec.structs.replace(order, uuid=f"{state} {number}", state=state, received_at=float(at)))
    assert account.forget_done(float(before)) == sum(at < before for at in ages)
    assert [kept.received_at for kept in account.done_orders.values()] == sorted(at for at in ages if at >= before)
    assert len(account.open_orders) == len(ages)


@pytest.mark.parametrize(
    ("unanswered", "recent", "reasons"),
    [
        (0, Counts(60.0, messages=100, errors=1, epochs_lost=1), ()),
        (1, Counts(60.0), ("nothing has come for 1 of 2 subscriptions",)),
        (0, Counts(60.0, epochs_lost=2), ("lost 2 times within 60 s",)),
        (0, Counts(60.0, messages=100, errors=2), ("2% of the frames were errors or not understood",)),
    ],
)
def test_an_active_connection_may_be_degraded_and_says_why(
    unanswered: int, recent: Counts, reasons: tuple[str, ...]
) -> None:
    standing = Standing(
        name="public",
        state=S.ACTIVE,
        subscriptions=2,
        down_seconds=0.0,
        uptime_seconds=1.0,
        reconnects=0,
        failed_attempts=0,
        reason="",
        unanswered=unanswered,
    )
    assert judge(standing, recent).reasons == reasons


def test_what_has_counted_nothing_is_nothing() -> None:
    nothing, something = Counts(0.0), Counts(*range(1, 10))
    assert nothing.plus(something) == something.plus(nothing) == something.since(nothing) == something
    assert something.since(something) == nothing
    assert something.plus(something).since(something) == something
    assert (nothing.rate(5), nothing.error_rate, nothing.mean_lag) == (0.0, 0.0, None)


@pytest.mark.parametrize("state", [S.CONNECTING, S.CONNECTED, S.SUBSCRIBING, S.RECONNECTING])
def test_what_serves_nothing_has_half_the_score_and_less_the_longer_it_lasts(state: ConnectionState) -> None:
    def score(down: float) -> float:
        standing = Standing(
            name="public",
            state=state,
            subscriptions=1,
            down_seconds=down,
            uptime_seconds=0.0,
            reconnects=0,
            failed_attempts=0,
            reason="test",
        )
        return judge(standing, Counts(60.0)).score

    assert [score(down) for down in (0.0, 15.0, 29.0, 30.0)] == pytest.approx([0.5, 0.375, 0.5 - 29 / 120, 0.0])
