"""Habits: what is silent for longer than it ever was is suspicious, and nothing else is."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from upbit_streams.rules.freshness import Habit

LOOK = 5.0
gaps = st.lists(st.floats(0.5, 60.0), min_size=12, max_size=60)


def _live(habit: Habit, gaps: Sequence[float], start: float = 0.0) -> tuple[float, list[float]]:
    """Look every few seconds while events come with these gaps. Returns when the last came, and every alarm."""
    events, now = [start], start
    for gap in gaps:
        events.append(events[-1] + gap)
    alarms: list[float] = []
    while now < events[-1]:
        now += LOOK
        heard = max(event for event in events if event <= now)
        if (silent_for := habit.look(now, heard)) is not None:
            alarms.append(silent_for)
    return events[-1], alarms


@given(gap=st.floats(0.01, 300.0), jitter=st.lists(st.floats(0.5, 1.5), min_size=60, max_size=60))
def test_what_goes_on_as_usual_raises_no_alarm(gap: float, jitter: Sequence[float]) -> None:
    _, alarms = _live(Habit(0.0), [gap * factor for factor in jitter])
    assert alarms == []


@given(gaps=gaps)
def test_a_silence_beyond_all_habit_raises_one_alarm_and_then_ever_rarer_ones(gaps: list[float]) -> None:
    habit = Habit(0.0)
    last, _ = _live(habit, gaps * 10)
    limit = max(30.0, 4 * max(gaps))
    alarms = []
    for look in range(1, 2000):
        now = last + look * LOOK
        if habit.look(now, last) is not None:
            alarms.append(now - last)
            habit.asked(now)
    assert alarms, "it is never told"
    assert 30.0 < alarms[0] <= limit + 2 * LOOK
    waits = [later - earlier for earlier, later in pairwise(alarms)]
    assert all(later > 1.5 * earlier for earlier, later in pairwise(waits)), "it storms"


@given(gaps=gaps)
def test_an_alarm_that_helped_changes_no_habit(gaps: list[float]) -> None:
    habit = Habit(0.0)
    last, _ = _live(habit, gaps * 10)
    before = habit.usual
    now = last
    while habit.look(now, last) is None:
        now += LOOK
        assert now < last + 1000
    habit.asked(now)
    habit.look(now + LOOK, now + 1.0)
    assert habit.alarms == 0
    assert habit.usual <= max(before, LOOK)


def test_nothing_is_suspected_before_its_habit_is_known() -> None:
    habit = Habit(0.0)
    _, alarms = _live(habit, [0.1])
    assert alarms == []
    assert habit.look(1e6, 0.1) is None


def test_a_silence_begins_when_it_is_asked_for_anew() -> None:
    habit = Habit(0.0)
    last, _ = _live(habit, [1.0] * 100)
    habit.asked(last + 1000.0)
    assert habit.look(last + 1029.0, last) is None
    assert habit.look(last + 1031.0, last) is not None


def test_a_clock_that_was_set_back_hides_no_silence() -> None:
    """Each epoch reads the clock of the wall anew."""
    habit = Habit(0.0)
    last, _ = _live(habit, [1.0] * 100, start=10_000.0)
    habit.asked(last - 3600.0)
    assert habit.look(last - 3571.0, 0.0) is None
    assert habit.look(last - 3569.0, 0.0) is not None


def test_calm_nights_are_learnt_and_forgotten() -> None:
    habit = Habit(0.0)
    last, _ = _live(habit, [20.0] * 200)
    assert 15.0 <= habit.usual <= 20.0
    _live(habit, [0.5] * 14_400, last)  # two hours
    assert habit.usual < 10.0


def test_what_is_heard_in_the_moment_of_every_look_is_usually_silent_for_no_time() -> None:
    habit = Habit(0.0)
    for number in range(1, 20):
        assert habit.look(number * LOOK, number * LOOK) is None
    assert habit.usual == 0.0
