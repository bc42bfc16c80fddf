"""When to try again, and how often at most."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import Backoff
from upbit_streams.rules.backoff import delay, next_failures
from upbit_streams.rules.rate_limit import CONNECTS, MESSAGES, Limit, RateLimit
from upbit_streams.rules.refusals import block_seconds

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


@pytest.mark.parametrize("limits", [CONNECTS, MESSAGES])
def test_five_may_happen_at_once_and_the_next_when_a_second_has_passed(limits: Sequence[Limit]) -> None:
    limit = RateLimit(limits)
    for _ in range(5):
        assert limit.wait(7.0) == 0.0
        limit.record(7.0)
    assert limit.wait(7.0) == pytest.approx(1.1)
    assert limit.wait(7.5) == pytest.approx(0.6)
    assert limit.wait(8.1 + 1e-9) == 0.0


def test_a_hundred_messages_may_be_sent_as_fast_as_may_be_and_the_next_when_a_minute_has_passed() -> None:
    limit, now = RateLimit(MESSAGES), 0.0
    for _ in range(100):
        now += limit.wait(now)
        limit.record(now)
    assert now == pytest.approx(19 * 1.1)
    assert limit.wait(now) == pytest.approx(60.5 - now)


@pytest.mark.parametrize(
    ("amount", "seconds"),
    [
        ("1500 ms", 1.5),
        ("1500 millis", 1.5),
        ("1500 milliseconds", 1.5),
        ("1500밀리초", 1.5),
        ("7 s", 7.0),
        ("7 secs", 7.0),
        ("7초", 7.0),
        ("3 m", 180.0),
        ("3 mins", 180.0),
        ("3분", 180.0),
        ("2 h", 7200.0),
        ("2 hrs", 7200.0),
        ("2시간", 7200.0),
        ("1 hour 30 minutes 5 seconds", 5405.0),
        ('"remaining_minutes": 3}', 180.0),
        ('"retry_after_ms": 1500}', 1.5),
        ('"wait_millis": 1500}', 1.5),
        ('"until": 1795000060}', 60.0),
        ('"until": 1795000060500}', 60.5),
        ("2026-11-18T11:07:40Z", 60.0),
        ("2026-11-18T20:07:40+09:00", 60.0),
        ("2026-11-18 20:07:40", 60.0),
        ("2026-11-18 11:07:40", 60.0),
        ("8 days, or 9000000 s", 7 * 86400.0),
        ('blocked for 5 seconds, {"remaining_minutes": 3} at 2026-11-18T11:06:50Z', 180.0),
        ('blocked for 5 seconds, {"remaining_minutes": 3} until 2026-11-18T12:06:40Z', 3600.0),
    ],
)
def test_each_unit_in_which_a_block_may_be_told_is_understood(amount: str, seconds: float) -> None:
    assert block_seconds(418, amount, 1_795_000_000.0) == pytest.approx(seconds + 0.1)


_BODIES = [
    ("Blocked for {n} seconds.", 1),
    ("blocked for {n}s", 1),
    ("잠시 후 다시 시도해주세요. ({n}초)", 1),
    ("{n}분 동안 요청이 제한됩니다.", 60),
    ("Blocked for {n} minutes", 60),
    ('{"error":{"name":418,"message":"","remaining":{n}}}', 1),
    ('{"blockTime": "{n}"}', 1),
    ('{"retry_after_ms": {n}000}', 1),
    ('{"error":{"message":"Try again in {n} sec."}}', 1),
    ("<html><body>I am a teapot. Wait: {n} seconds", 1),
]


@given(body=st.sampled_from(_BODIES), number=st.integers(1, 1000))
def test_a_418_is_obeyed_as_long_as_it_says(body: tuple[str, int], number: int) -> None:
    text, unit = body
    seconds = block_seconds(418, text.replace("{n}", str(number)), 1_795_000_000.0)
    assert seconds == pytest.approx(number * unit + 0.1)


@pytest.mark.parametrize(
    "body", ['{"until":"2026-11-18T11:07:40Z"}', "2026-11-18 20:07:40 KST", '{"until":1795000060}']
)
def test_a_point_of_time_is_understood(body: str) -> None:
    seconds = block_seconds(418, body, 1_795_000_000.0)
    assert seconds == pytest.approx(60.1)


@given(
    body=st.text() | st.from_regex(r"[0-9]{1,20} ?(s|초|hours)[\"}: ]{0,3}", fullmatch=True), wall=st.floats(0, 1e10)
)
def test_any_body_of_a_block_means_a_wait_that_ends(body: str, wall: float) -> None:
    for status, least in ((429, 0), (418, 0)):
        seconds = block_seconds(status, body, wall)
        assert seconds is not None
        assert least < seconds <= 7 * 86400 + 0.1
    assert block_seconds(503, body, wall) is None


@given(blocks=st.integers(0, 10_000))
def test_a_block_that_does_not_say_how_long_doubles_with_each_of_a_row(blocks: int) -> None:
    assert block_seconds(418, "I'm a teapot", 0.0, blocks) == min(30.0 * 2 ** min(blocks, 20), 3600.0) + 0.1
    assert block_seconds(429, "", 0.0, blocks) == 1.1


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100)), min_size=1))
def test_a_block_only_ever_lengthens_the_wait(blocks: list[tuple[float, float]]) -> None:
    limit, now, latest = RateLimit(CONNECTS), 0.0, 0.0
    for pause, seconds in blocks:
        now += pause
        limit.block(now, now + seconds)
        latest = max(latest, now + seconds)
        assert limit.wait(now) == pytest.approx(max(latest - now, 0))


@given(st.lists(st.tuples(st.floats(1, 100), st.lists(st.floats(0, 0.9), max_size=5))))
def test_however_many_are_told_of_a_block_it_is_one_of_a_row(blocks: list[tuple[float, list[float]]]) -> None:
    limit, now = RateLimit(CONNECTS), 0.0
    for number, (seconds, others) in enumerate(blocks):
        assert limit.blocks_before(now) == number
        limit.block(now, now + seconds)
        for fraction in sorted(others):
            assert limit.blocks_before(now + seconds * fraction) == number, "it makes the block of the others longer"
            limit.block(now + seconds * fraction, now + seconds)
        now += seconds
    limit.passed()
    assert limit.blocks_before(now) == 0
    limit.block(now, now + 1)
    limit.passed()  # it was on its way before the block
    assert limit.blocks_before(now) == 0


def test_the_first_waits_are_of_the_initial_length_and_double_from_then_on() -> None:
    assert [delay(failures, BACKOFF, 1.0) for failures in range(8)] == [0.5, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
