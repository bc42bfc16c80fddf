"""The simulated exchange's core, sentence by sentence of the protocol's sections 2, 5, 6, 7, 10 and 11.

It is sans-IO, so a test is its clock: it says what time it is, what the client sends and when somebody asks.
"""

import json
from collections.abc import Iterable
from typing import Any
from unittest.mock import Mock
from weakref import WeakSet

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.shared import SAMPLES, needs_shared
from tests.support.world import NumberedSource

from upbit_streams import DataType, Endpoint
from upbit_streams.testing import (
    MarketSimulation,
    MarketSource,
    Recorded,
    Refusal,
    Replay,
    Session,
    SimulatedExchange,
    backlog,
)
from upbit_streams.testing.sources import Feed

START = 1_795_000_000.0
CODES = ("KRW-BTC", "KRW-ETH", "BTC-ETH")
TYPES = [kind.name for kind in DataType.all(Endpoint.PUBLIC)]


def busy(rate: float = 100.0) -> SimulatedExchange:
    """An exchange with markets that move."""
    return SimulatedExchange(MarketSource(MarketSimulation(codes=CODES, rate=rate, start_ms=int(START * 1000))))


def quiet() -> SimulatedExchange:
    """An exchange whose markets are as they are, and stay so."""
    return SimulatedExchange(
        MarketSource(MarketSimulation(codes=CODES, rate=100.0, start_ms=int(START * 1000) + 10**12))
    )


def request(*asked: dict[str, Any], format: str | None = None, ticket: str = "test") -> str:
    return json.dumps([{"ticket": ticket}, *asked, *([{"format": format}] if format else [])])


def want(type_name: str, *codes: str, **options: object) -> dict[str, object]:
    return {"type": type_name, "codes": codes, **options}


def taken(session: Session, now: float) -> list[Any]:
    """What the session says now, decoded."""
    frames = session.take(now)
    assert all(isinstance(frame, bytes) for frame in frames)  # section 10: binary frames with JSON in UTF-8
    return [json.loads(frame.decode()) for frame in frames]


def played(session: Session, since: float, until: float) -> list[tuple[float, Any]]:
    """What the session says in a time, each with its moment, asked for exactly when it says that it wants to be."""
    said: list[tuple[float, Any]] = []
    now = since
    while now <= until:
        said += [(now, frame) for frame in taken(session, now)]
        assert session.ended(now) or session.next_time() > now, "it would be asked over and over at the same moment"
        if session.ended(now):
            break
        now = session.next_time()
    return said


def keys(frames: Iterable[Any]) -> list[tuple[str, str]]:
    return [(frame["type"], frame["code"]) for frame in frames]


def talk(exchange: SimulatedExchange, text: str, seconds: float = 5.0) -> list[Any]:
    """All that a new session says in some seconds after one message."""
    session = exchange.connect(START)
    session.receive(START, text)
    return [frame for _, frame in played(session, START, START + seconds)]


# Section 2: requests


def test_the_first_of_each_is_its_snapshot_and_all_later_ones_are_realtime() -> None:
    frames = talk(busy(), request(*(want(type_name, *CODES) for type_name in TYPES)), 10.0)
    everything = [(type_name, code) for type_name in TYPES for code in CODES]
    assert keys(frames[: len(everything)]) == everything
    assert {frame["stream_type"] for frame in frames[: len(everything)]} == {"SNAPSHOT"}
    assert {frame["stream_type"] for frame in frames[len(everything) :]} == {"REALTIME"}
    assert set(keys(frames[len(everything) :])) == set(everything)


def test_there_is_no_acknowledgement() -> None:
    assert talk(quiet(), request(want("trade", "KRW-BTC", is_only_realtime=True))) == []


def test_nothing_comes_before_a_request() -> None:
    session = busy().connect(START)
    assert played(session, START, START + 10.0) == []


def test_a_request_replaces_the_one_before() -> None:
    session = busy().connect(START)
    session.receive(START, request(want("trade", "KRW-BTC"), want("ticker", "KRW-ETH")))
    assert set(keys(frame for _, frame in played(session, START, START + 5))) == {
        ("trade", "KRW-BTC"),
        ("ticker", "KRW-ETH"),
    }
    session.receive(START + 5, request(want("trade", "KRW-ETH")))
    after = [frame for _, frame in played(session, START + 5, START + 10)]
    assert set(keys(after)) == {("trade", "KRW-ETH")}
    assert [frame["stream_type"] for frame in after].count("SNAPSHOT") == 1


def test_a_new_request_sends_snapshots_of_what_stays_once_more() -> None:
    session = quiet().connect(START)
    session.receive(START, request(want("orderbook", "KRW-BTC")))
    (first,) = taken(session, START)
    session.receive(START + 1, request(want("orderbook", "KRW-BTC", "KRW-ETH")))
    again, new = taken(session, START + 1)
    assert again == first
    assert (new["code"], new["stream_type"]) == ("KRW-ETH", "SNAPSHOT")


def test_what_happened_before_a_new_request_is_still_told_so_what_stays_misses_nothing() -> None:
    exchange = busy(rate=300)
    calm, restless = exchange.connect(START), exchange.connect(START)
    for session in (calm, restless):
        session.receive(START, request(want("trade", "KRW-BTC")))
    trades: dict[Session, list[int]] = {calm: [], restless: []}
    snapshots = 0
    for second in range(1, 20):
        now = START + second
        restless.receive(now, request(want("trade", "KRW-BTC"), want("ticker", CODES[second % 3])))
        for session, ids in trades.items():
            for frame in taken(session, now):
                if frame["type"] == "trade":
                    snapshots += frame["stream_type"] == "SNAPSHOT"
                    ids += [frame["sequential_id"]] * (frame["stream_type"] == "REALTIME")
    assert len(trades[calm]) > 100
    assert trades[restless] == trades[calm]
    assert snapshots == 2 + 19


def test_unknown_and_lower_case_codes_meet_silence_and_the_others_are_served() -> None:
    for type_name in TYPES:
        frames = talk(quiet(), request(want(type_name, "krw-btc", "KRW-NOPE", "", "KRW-ETH")))
        assert keys(frames) == [(type_name, "KRW-ETH")]
    assert talk(busy(), request(want("trade", "krw-btc", "KRW-NOPE", "KRW-BTC.5"))) == []


def test_a_request_without_codes_in_its_list_meets_silence() -> None:
    session = busy().connect(START)
    session.receive(START, request(want("trade", "KRW-BTC")))
    assert taken(session, START)
    session.receive(START, request(want("trade")))
    assert played(session, START, START + 10) == []


@pytest.mark.parametrize(
    ("code", "count"), [("KRW-BTC", 30), ("KRW-BTC.1", 1), ("KRW-BTC.5", 5), ("KRW-BTC.15", 15), ("KRW-BTC.3", 30)]
)
def test_the_suffix_says_how_many_levels_and_is_not_in_the_answer(code: str, count: int) -> None:
    (whole,) = talk(quiet(), request(want("orderbook", "KRW-BTC")))
    frames = talk(busy(), request(want("orderbook", code)))
    assert {(frame["code"], len(frame["orderbook_units"])) for frame in frames} == {("KRW-BTC", count)}
    assert len(frames) > 5
    (book,) = talk(quiet(), request(want("orderbook", code)))
    assert book == {**whole, "orderbook_units": whole["orderbook_units"][:count]}


@pytest.mark.parametrize("spelling", ["is_only_snapshot", "isOnlySnapshot"])
@pytest.mark.parametrize("type_name", ["ticker", "trade", "orderbook", "candle.1s"])
def test_only_the_snapshot_is_one_frame_a_code_and_then_silence(type_name: str, spelling: str) -> None:
    session = busy().connect(START)
    session.receive(START, request(want(type_name, "KRW-BTC", "KRW-ETH", **{spelling: True})))
    frames = played(session, START, START + 10)
    assert [(now, frame["code"], frame["stream_type"]) for now, frame in frames] == [
        (START, "KRW-BTC", "SNAPSHOT"),
        (START, "KRW-ETH", "SNAPSHOT"),
    ]
    assert session.ended(START + 10) is None


@pytest.mark.parametrize("spelling", ["is_only_realtime", "isOnlyRealtime"])
@pytest.mark.parametrize("type_name", ["ticker", "trade", "orderbook", "candle.1s"])
def test_only_realtime_is_no_snapshot(type_name: str, spelling: str) -> None:
    frames = talk(busy(), request(want(type_name, "KRW-BTC", **{spelling: True})))
    assert len(frames) >= 4
    assert {frame["stream_type"] for frame in frames} == {"REALTIME"}


def test_the_flags_of_one_object_are_not_those_of_another() -> None:
    frames = talk(
        busy(),
        request(
            want("trade", "KRW-BTC", is_only_snapshot=True),
            want("trade", "KRW-ETH", is_only_realtime=True),
            want("ticker", "KRW-BTC"),
        ),
    )
    seen = {(frame["type"], frame["code"], frame["stream_type"]) for frame in frames}
    assert seen == {
        ("trade", "KRW-BTC", "SNAPSHOT"),
        ("trade", "KRW-ETH", "REALTIME"),
        ("ticker", "KRW-BTC", "SNAPSHOT"),
        ("ticker", "KRW-BTC", "REALTIME"),
    }


def test_a_code_that_is_listed_twice_has_one_snapshot_and_each_event_once() -> None:
    once = talk(busy(), request(want("trade", "KRW-BTC")))
    assert talk(busy(), request(want("trade", "KRW-BTC", "KRW-BTC"), want("trade", "KRW-BTC"))) == once


def test_two_objects_of_one_type_with_other_options_are_both_served() -> None:
    frames = talk(quiet(), request(want("orderbook", "KRW-BTC.1"), want("orderbook", "KRW-BTC.5")))
    assert [len(frame["orderbook_units"]) for frame in frames] == [1, 5]


def test_all_markets_fit_into_one_request() -> None:
    codes = [f"KRW-C{number:03}" for number in range(855)]
    frames = talk(SimulatedExchange(NumberedSource(codes=codes)), request(want("trade", *codes)), 0.1)
    assert keys(frames) == [("trade", code) for code in codes]


def test_the_format_of_the_newest_request_is_that_of_the_whole_connection() -> None:
    session = busy().connect(START)
    shapes: list[Any] = []
    for turn, format in enumerate(["SIMPLE", None, "SIMPLE_LIST", "JSON_LIST", "DEFAULT"]):
        session.receive(START + turn, request(want("trade", "KRW-BTC"), format=format))
        frames = [frame for _, frame in played(session, START + turn, START + turn + 0.9)]
        # All that was still to be told of the time before is told as it was asked for then.
        frames = frames[next(n for n, frame in enumerate(frames) if "SNAPSHOT" in json.dumps(frame)) :]
        assert len(frames) > 1
        shapes.append(
            {
                (len(frame), *list(frame[0])[:2]) if isinstance(frame, list) else tuple(list(frame)[:2])
                for frame in frames
            }
        )
    assert shapes == [
        {("ty", "cd")},
        {("type", "code")},
        {(1, "ty", "cd")},
        {(1, "type", "code")},
        {("type", "code")},
    ]


def test_the_formats_differ_in_their_spelling_alone() -> None:
    asked = [want(type_name, "KRW-BTC") for type_name in TYPES]
    default = talk(quiet(), request(*asked))
    assert [[frame] for frame in default] == talk(quiet(), request(*asked, format="JSON_LIST"))
    simple = talk(quiet(), request(*asked, format="SIMPLE"))
    assert [[frame] for frame in simple] == talk(quiet(), request(*asked, format="SIMPLE_LIST"))
    assert [list(frame.values())[:-3] for frame in simple if frame["ty"] != "orderbook"] == [
        list(frame.values())[:-3] for frame in default if frame["type"] != "orderbook"
    ]


def test_what_is_subscribed_can_be_asked_without_replacing_it() -> None:
    session = busy().connect(START)
    session.receive(START, request({"method": "LIST_SUBSCRIPTIONS"}, ticket="first"))
    assert taken(session, START) == [{"method": "LIST_SUBSCRIPTIONS", "result": [], "ticket": "first"}]
    session.receive(START, request(want("ticker", "KRW-BTC"), want("orderbook", "KRW-BTC.5", "KRW-ETH")))
    assert len(taken(session, START)) == 3
    session.receive(START, request({"method": "LIST_SUBSCRIPTIONS"}, ticket="second"))
    assert taken(session, START) == [
        {
            "method": "LIST_SUBSCRIPTIONS",
            "result": [
                {"type": "ticker", "codes": ["KRW-BTC"]},
                {"type": "orderbook", "codes": ["KRW-BTC", "KRW-ETH"], "level": 0},
            ],
            "ticket": "second",
        }
    ]
    frames = [frame for _, frame in played(session, START, START + 5)]
    assert set(keys(frames)) == {("ticker", "KRW-BTC"), ("orderbook", "KRW-BTC"), ("orderbook", "KRW-ETH")}
    assert {frame["stream_type"] for frame in frames} == {"REALTIME"}


def test_asking_what_is_subscribed_changes_the_format_of_the_connection() -> None:
    session = busy().connect(START)
    session.receive(START, request(want("ticker", "KRW-BTC")))
    session.take(START)
    session.receive(START, request({"method": "LIST_SUBSCRIPTIONS"}, format="SIMPLE"))
    assert taken(session, START) == [
        {"mthd": "LIST_SUBSCRIPTIONS", "rslt": [{"ty": "ticker", "cds": ["KRW-BTC"]}], "tckt": "test"}
    ]
    assert {frame["ty"] for _, frame in played(session, START, START + 5)} == {"ticker"}


type_names = st.sampled_from(["trade", "orderbook", "candle.1s"])
code_lists = st.lists(st.sampled_from([*CODES, "krw-btc", "KRW-NOPE"]), max_size=4)
requests = st.lists(st.tuples(type_names, code_lists), min_size=1, max_size=3)


@given(script=st.lists(st.tuples(requests, st.floats(0.25, 3.0)), min_size=1, max_size=6))
def test_after_each_request_come_its_snapshots_and_then_its_types_and_markets_and_no_others(
    script: list[tuple[list[tuple[str, list[str]]], float]],
) -> None:
    session = busy().connect(START)
    now = START
    for asked, pause in script:
        wanted = {(type_name, code) for type_name, codes in asked for code in codes if code in CODES}
        session.take(now)  # what happened before is not what this is about
        session.receive(now, request(*(want(type_name, *codes) for type_name, codes in asked)))
        frames = [frame for _, frame in played(session, now, now + pause)]
        count = len(wanted)
        assert {frame["stream_type"] for frame in frames[:count]} <= {"SNAPSHOT"}
        assert {frame["stream_type"] for frame in frames[count:]} <= {"REALTIME"}
        assert sorted(keys(frames[:count])) == sorted(wanted)
        assert set(keys(frames[count:])) <= wanted
        now += pause
    assert session.ended(now) is None


@needs_shared
@pytest.mark.parametrize(
    ("name", "count"), [("three_types", 5), ("2021_format_second", 0), ("orderbook_level_count", 2)]
)
def test_the_sample_requests_are_served(name: str, count: int) -> None:
    frames = talk(quiet(), (SAMPLES / f"request_{name}.json").read_text())
    assert len(frames) == count
    assert "error" not in json.dumps(frames)


# Section 5: keep-alive


def ups(said: list[tuple[float, Any]]) -> list[float]:
    return [round(now - START, 6) for now, frame in said if frame == {"status": "UP"}]


@pytest.mark.parametrize(("at", "first"), [(0.0, 10.0), (1.1, 10.0), (9.4, 10.0), (12.0, 20.0)])
def test_one_ping_in_words_is_answered_at_each_tick_of_ten_seconds(at: float, first: float) -> None:
    session = quiet().connect(START)
    assert START % 10 == 0
    session.receive(START + at, "PING")
    said = played(session, START + at, START + 200)
    assert ups(said) == [first + 10 * tick for tick in range(int((200 - first) // 10) + 1)]
    assert len(said) == len(ups(said))
    assert session.ended(START + 200) is None  # its own answers keep it open


def test_more_pings_in_words_change_nothing() -> None:
    session = quiet().connect(START)
    for second in range(1, 31):
        session.receive(START + second - 0.5, b"PING" if second % 2 else "PING")
        assert ups([(START + second, frame) for frame in taken(session, START + second)]) == (
            [second] if second % 10 == 0 else []
        )


def test_a_ping_in_words_that_comes_with_a_tick_does_not_take_its_place() -> None:
    session = quiet().connect(START)
    session.receive(START, "PING")
    session.receive(START + 10, "PING")
    assert taken(session, START + 10) == [{"status": "UP"}]


def test_a_ping_in_words_is_answered_beside_the_data_and_changes_no_subscription() -> None:
    session = busy().connect(START)
    session.receive(START, request(want("trade", "KRW-BTC")))
    session.receive(START, "PING")
    said = played(session, START, START + 25)
    assert ups(said) == [10.0, 20.0]
    assert set(keys(frame for _, frame in said if "status" not in frame)) == {("trade", "KRW-BTC")}


def test_a_silent_socket_is_dropped_after_sixty_seconds_without_a_close_frame() -> None:
    session = quiet().connect(START)
    assert session.next_time() == START + 60
    assert session.ended(START + 59.99) is None
    assert session.take(START + 60) == []
    ended = session.ended(START + 60)
    assert ended is not None
    assert ended.code is None


@pytest.mark.parametrize("traffic", ["a frame sent", "a message received", "a ping"])
def test_traffic_in_either_direction_keeps_a_socket_open_for_sixty_seconds_more(traffic: str) -> None:
    session = quiet().connect(START)
    session.receive(START, request(want("trade", "KRW-NOPE")))
    last = START + 50
    match traffic:
        case "a ping":
            session.touch(last)
        case "a message received":
            session.receive(last, request(want("trade", "KRW-NOPE")))
        case _:
            session.receive(last - 1, request(want("trade", "KRW-BTC")))
            assert session.take(last)
    assert session.take(last + 59.99) == []
    assert session.ended(last + 59.99) is None
    assert session.next_time() == last + 60
    assert session.ended(last + 60) is not None


def test_pings_alone_keep_a_socket_open_for_ever_and_do_not_reach_back() -> None:
    session = quiet().connect(START)
    for minute in range(100):
        session.touch(START + minute * 59)
        session.touch(START)  # told late, and known already
        assert played(session, START + minute * 59, START + minute * 59 + 58) == []
    assert session.ended(START + 99 * 59 + 59) is None


def test_a_dropped_socket_is_dead_to_messages_and_pings() -> None:
    for ping in (True, False):
        session = quiet().connect(START)
        session.take(START + 60)
        if ping:
            session.touch(START + 61)
        else:
            session.receive(START + 61, "PING")
        assert session.take(START + 70) == []
        assert session.ended(START + 70) is not None


# Section 6: errors

MALFORMED = [
    ("WRONG_FORMAT", "no JSON at all"),
    ("WRONG_FORMAT", "ping"),
    ("WRONG_FORMAT", '{"ticket":"test"}'),
    ("WRONG_FORMAT", request(want("trade", "KRW-BTC"), format="XML")),
    ("NO_TICKET", json.dumps([want("trade", "KRW-BTC")])),
    ("NO_TYPE", request()),
    ("NO_TYPE", request({"codes": ["KRW-BTC"]})),
    ("NO_CODES", request({"type": "ticker"})),
    ("INVALID_PARAM", request(want("nope", "KRW-BTC"))),
]


@pytest.mark.parametrize(("name", "text"), MALFORMED)
def test_a_malformed_request_is_answered_with_its_error_and_a_close_soon_after(name: str, text: str) -> None:
    session = busy().connect(START)
    session.receive(START, request(want("trade", "KRW-BTC"), want("orderbook", *CODES)))
    assert played(session, START, START + 5)
    wake = Mock()
    session.wake = wake
    session.receive(START + 5, text)
    assert wake.called
    (error,) = taken(session, START + 5)
    assert set(error) == {"error"}
    assert set(error["error"]) == {"name", "message"}
    assert error["error"]["name"] == name
    # Every other subscription of the connection dies with it, and nobody is listened to any more.
    session.receive(START + 5.1, request(want("trade", "KRW-BTC")))
    session.receive(START + 5.1, "PING")
    assert played(session, START + 5.1, START + 100) == []
    assert session.ended(START + 5.149) is None
    assert session.next_time() == START + 5.15
    ended = session.ended(START + 5.15)
    assert ended is not None
    assert (ended.code, ended.at) == (1000, START + 5.15)


def test_an_error_is_sent_even_by_a_front_that_asks_too_late() -> None:
    session = quiet().connect(START)
    session.receive(START, "no JSON at all")
    assert taken(session, START + 70)[0]["error"]["name"] == "WRONG_FORMAT"
    assert session.ended(START + 70) is not None


def test_an_error_comes_behind_the_answers_to_what_was_asked_before() -> None:
    session = quiet().connect(START)
    session.receive(START, request(want("ticker", "KRW-BTC")))
    session.receive(START, "no JSON at all")
    snapshot, error = taken(session, START)
    assert (snapshot["stream_type"], error["error"]["name"]) == ("SNAPSHOT", "WRONG_FORMAT")


# Section 7: limits


@pytest.mark.breaches
def test_five_messages_in_any_second_are_allowed_and_the_sixth_is_not() -> None:
    exchange = quiet()
    session = exchange.connect(START)
    times = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8]
    for at in times:
        session.receive(START + at, request(want("trade", "KRW-NOPE")))
    assert (session.take(START + 1.9), exchange.breaches) == ([], [])
    session.receive(START + 1.9, request(want("trade", "KRW-NOPE")))
    (error,) = taken(session, START + 1.9)
    assert error["error"]["name"] == "TOO_MANY_REQUEST"
    assert len(exchange.breaches) == 1
    ended = session.ended(START + 2.1)
    assert ended is not None
    assert ended.code == 1000


@pytest.mark.breaches
def test_a_hundred_messages_in_any_minute_are_allowed_and_no_more() -> None:
    exchange = quiet()
    session = exchange.connect(START)
    for number in range(100):
        session.receive(START + number * 0.5, request(want("trade", "KRW-NOPE")))
    session.receive(START + 60.0, request(want("trade", "KRW-NOPE")))  # the first is a minute ago
    assert (session.take(START + 60), exchange.breaches) == ([], [])
    session.receive(START + 60.1, request(want("trade", "KRW-NOPE")))
    assert taken(session, START + 60.1)[0]["error"]["name"] == "TOO_MANY_REQUEST"


def test_the_limit_of_messages_is_one_of_each_connection() -> None:
    exchange = quiet()
    for _ in range(5):
        session = exchange.connect(START)
        for _ in range(5):
            session.receive(START, request(want("trade", "KRW-NOPE")))
        assert session.take(START) == []
    assert exchange.breaches == []


@pytest.mark.breaches
@pytest.mark.parametrize(
    ("message", "counts"),
    [("PING", False), (request({"method": "LIST_SUBSCRIPTIONS"}), True), (request(want("trade", "KRW-BTC")), True)],
)
def test_what_counts_as_a_message(message: str, counts: bool) -> None:
    exchange = quiet()
    session = exchange.connect(START)
    for _ in range(6):
        session.receive(START, message)
    assert bool(exchange.breaches) == counts


def refused(exchange: SimulatedExchange, now: float) -> int:
    with pytest.raises(Refusal) as refusal:
        exchange.connect(now)
    assert refusal.value.body
    return refusal.value.status


@pytest.mark.breaches
def test_five_connects_in_any_second_are_allowed_and_the_sixth_is_refused() -> None:
    exchange = quiet()
    for at in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2):
        exchange.connect(START + at)
    assert (len(exchange.sessions), exchange.breaches) == (7, [])
    assert refused(exchange, START + 1.3) == 429
    assert (len(exchange.sessions), len(exchange.breaches)) == (7, 1)


@pytest.mark.breaches
def test_who_tries_on_and_on_is_refused_on_and_on() -> None:
    exchange = quiet()
    for _ in range(5):
        exchange.connect(START)
    assert {refused(exchange, START + tenth / 10) for tenth in range(1, 50)} == {429}
    assert list(exchange.connects) == [START] * 5 + [START + tenth / 10 for tenth in range(1, 50)]
    exchange.connect(START + 5.9)


def test_a_refusal_can_be_set_and_lifted() -> None:
    exchange = quiet()
    exchange.refusal = Refusal(418, "blocked for 60 s")
    assert refused(exchange, START) == 418
    assert refused(exchange, START + 1) == 418
    # The same refusal would carry the traceback of each time it was raised, for ever longer.
    assert exchange.refusal.__traceback__ is None
    exchange.refusal = None
    exchange.connect(START + 2)
    assert exchange.breaches == []


# The end of a session


@pytest.mark.parametrize("code", [None, 1000, 1012])
def test_the_exchange_can_end_all_sessions(code: int | None) -> None:
    exchange = busy()
    sessions = [exchange.connect(START) for _ in range(3)]
    wakes = [Mock() for _ in sessions]
    for session, wake in zip(sessions, wakes, strict=True):
        session.receive(START, request(want("trade", "KRW-BTC")))
        session.wake = wake
    exchange.end_sessions(START + 1, code)
    for session, wake in zip(sessions, wakes, strict=True):
        wake.assert_called_once()
        # With a close frame comes all that was said before; a socket that breaks takes it with it.
        assert len(session.take(START + 1)) == (0 if code is None else 1)
        ended = session.ended(START + 1)
        assert ended is not None
        assert (ended.code, ended.at) == (code, START + 1)
    assert len(exchange.sessions) == 3  # until their fronts have closed them


def test_the_first_end_of_a_session_is_its_end() -> None:
    session = quiet().connect(START)
    session.end(START + 1, 1012)
    session.end(START, None)
    ended = session.ended(START + 1)
    assert ended is not None
    assert (ended.code, ended.at) == (1012, START + 1)


def test_faults_strike_sessions_in_the_order_of_their_connects_so_that_a_run_can_be_repeated() -> None:
    exchange = SimulatedExchange(NumberedSource())
    connected = [exchange.connect(START + number) for number in range(50)]
    assert list(exchange.sessions_of(None)) == connected
    assert list(exchange.sessions_of(Endpoint.PUBLIC)) == connected
    assert exchange.sessions_of(Endpoint.PRIVATE) == ()


def test_a_closed_session_says_nothing_and_hears_nothing_however_long_somebody_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, feeds = MarketSource(MarketSimulation(codes=CODES, rate=100.0, start_ms=int(START * 1000))), WeakSet[Feed]()
    open_feed = source.open

    def noting() -> Feed:
        feed = open_feed()
        feeds.add(feed)
        return feed

    monkeypatch.setattr(source, "open", noting)
    exchange = SimulatedExchange(source)
    kept = [exchange.connect(START) for _ in range(3)]
    for session in kept:
        session.receive(START, request(want("trade", *CODES)))
        session.close()
        session.close()
    other = exchange.connect(START)
    other.receive(START, request(want("trade", *CODES)))
    assert played(other, START, START + 5)
    for session in kept:
        session.receive(START + 5, request(want("trade", *CODES)))
        assert (session.take(START + 5), session.ended(START + 5) is not None) == ([], True)
    assert exchange.sessions == {other}
    assert len(feeds) == 1


def test_a_session_that_falls_too_far_behind_is_dropped_after_all_up_to_the_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlog, "BACKLOG", 10)
    exchange = busy(rate=300)
    quick, slow = exchange.connect(START), exchange.connect(START)
    for session in (quick, slow):
        session.receive(START, request(want("trade", "KRW-BTC")))
        session.take(START)
    seen = [frame for _, frame in played(quick, START, START + 5)]
    assert len(seen) > 20
    assert taken(slow, START + 5) == seen[:10]
    assert slow.take(START + 5) == []
    ended = slow.ended(START + 5)
    assert ended is not None
    assert ended.code is None
    assert quick.ended(START + 5) is None


# Section 11, and what else a session stands for


def test_sessions_hear_the_same_market_each_what_it_asked_for() -> None:
    exchange = busy()
    first, second = exchange.connect(START), exchange.connect(START)
    first.receive(START, request(want("trade", "KRW-BTC", is_only_realtime=True)))
    second.receive(START, request(want("trade", "KRW-BTC", "KRW-ETH", is_only_realtime=True)))
    one: list[Any] = []
    two: list[Any] = []
    for tick in range(50):
        one += taken(first, START + tick / 10)
        two += taken(second, START + tick / 10)
    assert len(one) > 20
    assert [frame for frame in two if frame["code"] == "KRW-BTC"] == one


def test_the_snapshot_of_a_trade_is_the_last_one_once_more() -> None:
    session = busy().connect(START)
    session.receive(START, request(want("trade", "KRW-BTC")))
    *_, last = [frame for _, frame in played(session, START, START + 5)]
    session.receive(START + 5, request(want("trade", "KRW-BTC")))
    frames = taken(session, START + 5)
    *late, snapshot = frames
    last = late[-1] if late else last
    assert (last["stream_type"], snapshot["stream_type"]) == ("REALTIME", "SNAPSHOT")
    assert {**snapshot, "stream_type": "REALTIME"} == last


def test_a_session_has_nothing_to_say_before_the_time_it_names() -> None:
    session = busy().connect(START)
    session.receive(START, request(want("trade", *CODES)))
    now = START
    for _ in range(200):
        session.take(now)
        later = session.next_time()
        assert session.take(now + (later - now) * 0.99) == []
        now = later


def test_the_markets_are_those_of_the_source() -> None:
    assert [market["market"] for market in busy().markets()] == list(CODES)
    source = NumberedSource()
    assert [market["market"] for market in SimulatedExchange(source).markets()] == list(source.codes)


def test_a_recording_is_told_from_its_beginning_after_the_first_request_of_each_session() -> None:
    simulation = MarketSimulation(codes=CODES, rate=100.0, start_ms=int(START * 1000))
    recording = [Recorded(event.timestamp / 1000, event) for event in simulation.advance(int(START * 1000) + 5000)]
    exchange = SimulatedExchange(Replay(recording))
    at_once = [event.sequential_id for _, event in trades_of(exchange.connect(START), START)]
    assert len(at_once) > 10
    session = exchange.connect(START + 100)
    later = [(now - START - 100, event.sequential_id) for now, event in trades_of(session, START + 100)]
    assert [number for _, number in later] == at_once
    assert later[-1][0] > 4


def trades_of(session: Session, now: float) -> list[tuple[float, Any]]:
    """The trades a session hears in ten seconds after it asked for them, with their moments."""
    session.receive(now, request(want("trade", "KRW-BTC")))
    return [(at, Mock(**frame)) for at, frame in played(session, now, now + 10) if frame["type"] == "trade"]
