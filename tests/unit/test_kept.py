"""What is kept of a topic: as much as the most that anybody asks for, and no longer than a round of the cleanup."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import numbered_trade

from upbit_streams import DataType
from upbit_streams.engine.kept import Kept, Leftovers
from upbit_streams.model.events import Candle1mEvent
from upbit_streams.model.subscriptions import Want

WANT = Want(DataType.TRADE, "KRW-BTC")
EVERYTHING = 10**6

STEPS = st.lists(
    st.tuples(st.just("grow"), st.integers(1, 12))
    | st.tuples(st.sampled_from(["shrink", "clean", "take"]), st.integers(0, 20)),
    max_size=60,
)


@given(steps=STEPS)
def test_a_ring_has_the_largest_bound_of_those_who_want_it_now_or_did_a_moment_ago(
    steps: list[tuple[str, int]],
) -> None:
    """Against a model of lists."""
    kept, number = Kept(), 0
    bounds: list[int] = []
    recent: list[int] = []
    """The bounds that anybody had since the cleanup last passed."""
    ring: list[int] = []
    most = 0
    for step, value in steps:
        match step:
            case "grow":
                kept.grow(value, None)
                bounds.append(value)
                recent.append(value)
                most = max(most, value)
            case "shrink" if bounds:
                kept.shrink(bounds.pop(value % len(bounds)))
            case "clean":
                before, most = most, max(recent, default=0)
                assert kept.clean() is (most < before)
                ring = ring[-most:] if most else []
                recent = list(bounds)
            case "take" if most:
                for _ in range(value):
                    number += 1
                    kept.remember(numbered_trade("KRW-BTC", 1, number))
                    ring = [*ring, number][-most:]
            case _:
                pass
        assert [int(event.trade_price) for event in kept.last(WANT, EVERYTHING)] == ring  # type: ignore[attr-defined]
        assert max(bounds, default=0) <= most
        for bound in bounds:
            assert len(kept.last(WANT, bound)) == min(bound, len(ring))
    kept.clean()
    kept.clean()
    assert (kept.history is not None and kept.history.maxlen) == max(bounds, default=False)


def test_nobody_asks_so_nothing_is_kept() -> None:
    kept = Kept()
    assert kept.history is None
    assert kept.last(WANT, 5) == []
    assert not kept.clean()


def test_a_history_begins_with_the_latest() -> None:
    kept, latest = Kept(), numbered_trade("KRW-BTC", 1, 1)
    kept.grow(3, latest)
    kept.grow(5, numbered_trade("KRW-BTC", 1, 2))
    assert kept.last(WANT, 5) == [latest]


def _candle(minute: int, price: int) -> Candle1mEvent:
    return Candle1mEvent(
        code="KRW-BTC",
        timestamp=minute * 60_000 + price,
        stream_type="REALTIME",
        candle_date_time_utc=f"2026-11-18T00:{minute:02}:00",
        candle_date_time_kst=f"2026-11-18T09:{minute:02}:00",
        opening_price=1.0,
        high_price=1.0,
        low_price=1.0,
        trade_price=float(price),
        candle_acc_trade_volume=1.0,
        candle_acc_trade_price=1.0,
    )


@given(minutes=st.lists(st.integers(0, 5), min_size=10, max_size=30), bound=st.integers(1, 8))
def test_a_candle_stands_there_once_in_its_last_state_also_when_that_comes_late(minutes: list[int], bound: int) -> None:
    kept = Kept()
    kept.grow(bound, None)
    states: dict[int, int] = {}
    for price, minute in enumerate(minutes):
        kept.remember(_candle(minute, price))
        states[minute] = price
        states = dict(sorted(states.items())[-bound:])
    history = kept.last(Want(DataType.candle(1), "KRW-BTC"), EVERYTHING)
    assert history == [_candle(minute, price) for minute, price in states.items()]


def test_a_trade_that_a_snapshot_repeats_is_known_again_behind_many_others() -> None:
    kept = Kept()
    kept.grow(EVERYTHING, None)
    trades = [numbered_trade("KRW-BTC", 1, number) for number in range(1000)]
    for trade in trades:
        kept.remember(trade)
    for trade in trades:
        kept.remember(msgspec.structs.replace(trade, stream_type="SNAPSHOT"))
    assert kept.last(WANT, EVERYTHING) == trades


def test_what_is_left_of_a_topic_goes_when_the_cleanup_has_passed_twice() -> None:
    leftovers, kept = Leftovers(), Kept()
    assert leftovers.take("topic") is not kept
    for passes in (0, 1):
        leftovers.put("topic", kept)
        assert sum(leftovers.clean() for _ in range(passes)) == 0
        assert leftovers.take("topic") is kept
        assert leftovers.take("topic") is not kept
    leftovers.put("topic", kept)
    assert [leftovers.clean() for _ in range(3)] == [0, 1, 0]
    assert leftovers.take("topic") is not kept


def test_a_snapshot_repeats_a_trade_of_the_history_or_adds_one() -> None:
    kept = Kept()
    kept.grow(10, None)
    for number, kind in [(1, "SNAPSHOT"), (2, "REALTIME"), (2, "SNAPSHOT"), (1, "SNAPSHOT"), (5, "SNAPSHOT")]:
        kept.remember(msgspec.structs.replace(numbered_trade("KRW-BTC", 1, number), stream_type=kind))
    assert [int(event.trade_price) for event in kept.last(WANT, EVERYTHING)] == [1, 2, 5]  # type: ignore[attr-defined]
