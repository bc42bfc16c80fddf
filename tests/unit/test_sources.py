"""Where the simulated exchange gets its market from: recordings, read and played, and the simulation."""

import json
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.shared import RECORDING, needs_shared
from tests.support.world import numbered_trade

from upbit_streams import Event, InvalidConfigError, TradeEvent, UsageError
from upbit_streams.model.kinds import Format
from upbit_streams.testing import MarketSimulation, MarketSource, Recorded, RecordingError, Replay, read_recording
from upbit_streams.testing.sources import Feed
from upbit_streams.wire.encode import encode

START = 1_795_000_000.0
BTC, ETH = ("trade", "KRW-BTC"), ("trade", "KRW-ETH")


def trade(number: int, code: str = "KRW-BTC") -> TradeEvent:
    return numbered_trade(code, 0, number)


def line(recv: object, number: int, format: Format = Format.DEFAULT) -> str:
    return json.dumps({"recv": recv, "frame": encode(trade(number), format).decode()})


def ids(events: object) -> list[int]:
    assert isinstance(events, list | tuple)
    return [event.sequential_id for event in events]


# Reading a recording


def test_a_recording_may_be_in_either_format_and_have_empty_lines(tmp_path: Path) -> None:
    file = tmp_path / "recording.ndjson"
    file.write_text("\n".join([line(1.5, 1), "", line(1.5, 2, Format.SIMPLE), "  ", line(7, 3)]))
    for path in (file, str(file)):
        recording = read_recording(path)
        assert [recorded.received_at for recorded in recording] == [1.5, 1.5, 7.0]
        assert [recorded.event for recorded in recording] == [trade(1), trade(2), trade(3)]


def test_fields_that_nobody_knows_are_no_matter(tmp_path: Path) -> None:
    file = tmp_path / "recording.ndjson"
    file.write_text(json.dumps({"host": "kr", **json.loads(line(1, 1))}))
    assert len(read_recording(file)) == 1


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "it is empty"),
        (["", "  "], "it is empty"),
        (["not JSON"], "line 1 is not an object with 'recv' and 'frame'"),
        ([line(1, 1), "{"], "line 2 is not an object"),
        ([line(1, 1), "", "[]"], "line 3 is not an object"),
        (['{"recv": 1}'], "line 1 is not an object with 'recv' and 'frame'"),
        (['{"frame": "{}"}'], "line 1 is not an object with 'recv' and 'frame'"),
        ([line("1", 1)], "line 1 is not an object"),
        (['{"recv": 1, "frame": {"type": "trade"}}'], "line 1 is not an object"),
        (['{"recv": 1, "frame": ' + "[" * 100_000], "line 1 is not an object"),
        (['{"x": ' + "[" * 100_000 + "]" * 100_000 + line(1, 1).replace("{", ",", 1)], "line 1 is not an object"),
        (['{"recv": 1, "frame": "\\ud800"}'], "line 1 is not an object"),
        (['{"recv": 1, "frame": "{}"}'], "the frame in line 1 is not an event of Upbit"),
        ([line(1, 1), '{"recv": 2, "frame": "hello"}'], "the frame in line 2 is not an event of Upbit"),
        (['{"recv": 1, "frame": "{\\"status\\":\\"UP\\"}"}'], "the frame in line 1 is not an event of Upbit"),
        ([line(2, 1), line(3, 2), line(2.9, 3)], "line 3 was received before the line above it"),
    ],
)
def test_a_file_that_is_no_recording_gets_a_sentence_with_its_line(tmp_path: Path, lines: list[str], told: str) -> None:
    file = tmp_path / "recording.ndjson"
    file.write_text("\n".join(lines))
    with pytest.raises(RecordingError) as error:
        read_recording(file)
    assert told in str(error.value)
    assert str(file) in str(error.value)
    assert isinstance(error.value, UsageError)


def test_a_file_that_cannot_be_read_gets_a_sentence(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    for path, told in [
        (tmp_path / "nowhere", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (binary, "it is not text"),
    ]:
        with pytest.raises(RecordingError, match=f"cannot read the recording .*: {told}"):
            read_recording(path)


@given(content=st.text() | st.lists(st.sampled_from([line(1, 1), line(2, 2), "", "{}", "["])).map("\n".join))
def test_any_text_is_a_recording_or_gets_a_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "recording.ndjson"
    file.write_text(content)
    told = ""
    try:
        recording = read_recording(file)
    except RecordingError as why:
        told = str(why)
    else:
        assert len(recording) == sum(1 for text in content.splitlines() if text.strip())
    assert not told or str(file) in told


@needs_shared
def test_the_real_recording_is_read_whole() -> None:
    recording = read_recording(RECORDING)
    kinds = [recorded.event.type for recorded in recording]
    assert len(kinds) == len(RECORDING.read_text().splitlines())
    assert (kinds.count("trade"), kinds.count("orderbook")) == (168, 102)
    times = [recorded.received_at for recorded in recording]
    assert times == sorted(times)


# Playing it


def taken(feed: Feed, now: float) -> list[int]:
    return ids(feed.take(now))


RECORDED = [
    Recorded(100.0, trade(1)),
    Recorded(100.0, trade(2, "KRW-ETH")),
    Recorded(110.0, trade(3)),
    Recorded(110.5, trade(4)),
    Recorded(130.5, trade(5, "KRW-ETH")),
]


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0])
def test_a_recording_plays_at_its_speed(speed: float) -> None:
    feed = Replay(RECORDED, speed).open()
    feed.start(START, frozenset([BTC, ETH]))
    for after, expected in [(0.0, [1, 2]), (10.0, [3]), (10.5, [4]), (30.5, [5])]:
        due = START + after / speed
        assert feed.next_time() == pytest.approx(due, abs=1e-6)
        assert taken(feed, due - 0.001) == []
        assert taken(feed, due + 0.001) == expected
    assert feed.next_time() == float("inf")
    assert taken(feed, START + 10_000) == []


def test_at_infinite_speed_everything_is_due_at_once() -> None:
    feed = Replay(RECORDED, float("inf")).open()
    feed.start(START, frozenset([BTC, ETH]))
    assert feed.next_time() == START
    assert taken(feed, START) == [1, 2, 3, 4, 5]


def test_nothing_plays_before_something_was_asked_for() -> None:
    feed = Replay(RECORDED).open()
    assert (taken(feed, START + 1000), feed.next_time()) == ([], float("inf"))
    feed.start(START + 1000, frozenset([BTC, ETH]))
    assert taken(feed, START + 1000) == [1, 2]


def test_another_request_goes_on_where_the_recording_is() -> None:
    feed = Replay(RECORDED).open()
    feed.start(START, frozenset([BTC]))
    assert taken(feed, START + 5) == [1]
    feed.start(START + 5, frozenset([BTC, ETH]))
    assert taken(feed, START + 9.9) == []
    assert taken(feed, START + 10.4) == [3]
    assert taken(feed, START + 100) == [4, 5]


def test_what_was_not_asked_for_is_passed_over_in_its_time() -> None:
    feed = Replay(RECORDED).open()
    feed.start(START, frozenset([ETH]))
    assert taken(feed, START) == [2]
    assert taken(feed, START + 30) == []
    assert taken(feed, START + 31) == [5]
    feed = Replay(RECORDED).open()
    feed.start(START, frozenset([("ticker", "KRW-BTC"), ("trade", "KRW-NOPE")]))
    assert taken(feed, START + 100) == []


def test_every_session_hears_a_recording_from_its_beginning() -> None:
    replay = Replay(RECORDED)
    for hour in range(3):
        feed = replay.open()
        feed.start(START + hour * 3600, frozenset([BTC]))
        assert taken(feed, START + hour * 3600 + 60) == [1, 3, 4]


def test_a_recording_has_no_snapshots_but_its_own() -> None:
    replay = Replay(RECORDED)
    assert replay.open().snapshot(START, "trade", "KRW-BTC") is None
    assert replay.codes == ["KRW-BTC", "KRW-ETH"]


def test_a_long_recording_comes_in_portions_and_is_never_too_far_behind() -> None:
    replay = Replay([Recorded(0.0, trade(number)) for number in range(100_000)], float("inf"))
    feed = replay.open()
    feed.start(START, frozenset([BTC]))
    seen: list[int] = []
    while feed.next_time() <= START:
        portion = taken(feed, START)
        assert 0 < len(portion) <= 1000
        seen += portion
    assert seen == list(range(100_000))
    assert not feed.overflowed


def test_an_empty_recording_is_a_silent_market() -> None:
    feed = Replay([]).open()
    feed.start(START, frozenset([BTC]))
    assert (taken(feed, START + 1), feed.next_time()) == ([], float("inf"))


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(InvalidConfigError, match=r"speed is .*; it must be above 0"):
        Replay(RECORDED, speed)


@given(
    pauses=st.lists(st.floats(0, 10), max_size=20),
    speed=st.floats(0.01, 1000) | st.just(float("inf")),
    looks=st.lists(st.floats(0, 100), max_size=20),
)
def test_however_fast_it_plays_and_however_often_one_looks_it_is_the_same(
    pauses: list[float], speed: float, looks: list[float]
) -> None:
    recording: list[Recorded] = []
    time = 0.0
    for number, pause in enumerate(pauses):
        time += pause
        recording.append(Recorded(time, trade(number)))
    feed = Replay(recording, speed).open()
    feed.start(START, frozenset([BTC]))
    seen: list[int] = []
    for look in sorted(looks):
        seen += taken(feed, START + look)
    while feed.next_time() < float("inf"):
        seen += taken(feed, feed.next_time())
    assert seen == list(range(len(pauses)))


# The simulated market


@pytest.fixture
def market() -> MarketSource:
    codes = ["KRW-BTC", "KRW-ETH"]
    return MarketSource(MarketSimulation(codes=codes, rate=200.0, start_ms=int(START * 1000)))


def started(market: MarketSource, now: float = START) -> Feed:
    feed = market.open()
    feed.start(now, frozenset([BTC]))
    return feed


def test_feeds_of_one_market_hear_the_same_whoever_asks_first_and_how_often(market: MarketSource) -> None:
    often, seldom, late = started(market), started(market), started(market)
    heard: list[Event] = []
    for tick in range(1, 101):
        heard += often.take(START + tick / 20)
    assert len(heard) > 20
    assert list(seldom.take(START + 5)) == heard
    late.start(START + 5, frozenset([BTC]))
    assert list(late.take(START + 5)) == []


def test_a_market_moves_while_nobody_listens(market: MarketSource) -> None:
    before = market.snapshot(*BTC)
    feed = started(market, START + 60)
    assert list(feed.take(START + 60)) == []
    assert market.snapshot(*BTC) != before


def test_a_feed_that_nobody_has_any_more_is_forgotten(market: MarketSource) -> None:
    feed = started(market)
    known = weakref.ref(feed)
    del feed
    assert known() is None


def test_a_feed_too_far_behind_says_so_and_has_no_gap(market: MarketSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upbit_streams.testing.backlog.BACKLOG", 20)
    quick, slow = started(market), started(market)
    heard: list[Event] = []
    tick = 0
    while not slow.overflowed:
        tick += 1
        heard += quick.take(START + tick / 20)
    assert list(slow.take(START + tick / 20)) == heard[:20]
    for later in range(tick + 1, tick + 40):
        heard += quick.take(START + later / 20)
    assert list(slow.take(START + (tick + 39) / 20)) == []
    assert (slow.overflowed, quick.overflowed) == (True, False)
    assert len(heard) > 25
