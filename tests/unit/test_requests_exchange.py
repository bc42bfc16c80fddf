"""The exchange's side of a request: what is understood, and what error the rest deserves (protocol sections 2, 6)."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.shared import SAMPLES, needs_shared

from upbit_streams.model.kinds import DataType, Endpoint, Format
from upbit_streams.testing.requests import Request, RequestError, Subscription, listing, parse_request

TICKET = {"ticket": "test"}
BTC = {"type": "trade", "codes": ["KRW-BTC"]}


def parsed(*parts: dict[str, Any]) -> Request:
    return parse_request(json.dumps(parts))


def subscriptions(*parts: dict[str, Any]) -> tuple[Subscription, ...]:
    found = parsed(TICKET, *parts).subscriptions
    assert found is not None
    return found


def error_of(text: str | bytes) -> str:
    with pytest.raises(RequestError) as error:
        parse_request(text)
    assert error.value.message
    return error.value.name


@pytest.mark.parametrize("kind", DataType.all(Endpoint.PUBLIC), ids=lambda kind: kind.name)
def test_every_data_type_can_be_asked_for(kind: DataType[Any]) -> None:
    assert subscriptions({"type": kind.name, "codes": ["KRW-BTC", "BTC-ETH"]}) == (
        Subscription(kind.name, "KRW-BTC"),
        Subscription(kind.name, "BTC-ETH"),
    )


def test_a_request_may_be_text_or_bytes() -> None:
    text = json.dumps([TICKET, BTC])
    assert parse_request(text) == parse_request(text.encode())


def test_several_objects_of_one_type_are_all_served() -> None:
    assert subscriptions(
        {"type": "orderbook", "codes": ["KRW-BTC"], "level": 10000},
        {"type": "orderbook", "codes": ["KRW-ETH"], "level": 0.5},
        {"type": "ticker", "codes": ["KRW-BTC"]},
    ) == (
        Subscription("orderbook", "KRW-BTC", level=10000),
        Subscription("orderbook", "KRW-ETH", level=0.5),
        Subscription("ticker", "KRW-BTC"),
    )


def test_what_is_asked_for_twice_is_served_once() -> None:
    assert subscriptions({"type": "trade", "codes": ["KRW-BTC", "KRW-BTC"]}, BTC) == (Subscription("trade", "KRW-BTC"),)


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("KRW-BTC", 30), ("KRW-BTC.1", 1), ("KRW-BTC.5", 5), ("KRW-BTC.15", 15), ("KRW-BTC.30", 30),
        ("KRW-BTC.2", 30), ("KRW-BTC.3", 30), ("KRW-BTC.20", 30), ("KRW-BTC.x", 30), ("KRW-BTC.", 30),
    ],
)  # fmt: skip
def test_the_suffix_of_an_order_book_is_its_number_of_levels(code: str, count: int) -> None:
    assert subscriptions({"type": "orderbook", "codes": [code]}) == (Subscription("orderbook", "KRW-BTC", count),)


def test_only_order_books_know_the_suffix() -> None:
    assert subscriptions({"type": "trade", "codes": ["KRW-BTC.5"]}) == (Subscription("trade", "KRW-BTC.5"),)


@pytest.mark.parametrize("snapshot", ["is_only_snapshot", "isOnlySnapshot"])
@pytest.mark.parametrize("realtime", ["is_only_realtime", "isOnlyRealtime"])
def test_the_flags_are_known_in_both_spellings(snapshot: str, realtime: str) -> None:
    def flags(**options: bool) -> tuple[bool, bool]:
        (found,) = subscriptions({**BTC, **options})
        return found.snapshot, found.realtime

    assert flags() == (True, True)
    assert flags(**{snapshot: True}) == (True, False)
    assert flags(**{realtime: True}) == (False, True)
    assert flags(**{snapshot: False, realtime: False}) == (True, True)


def test_the_flags_belong_to_their_own_object() -> None:
    first, second = subscriptions({**BTC, "is_only_snapshot": True}, {"type": "trade", "codes": ["KRW-ETH"]})
    assert (first.realtime, second.realtime) == (False, True)


@pytest.mark.parametrize("format", list(Format))
def test_the_format_may_stand_anywhere(format: Format) -> None:
    name = format.value
    orders: list[list[dict[str, Any]]] = [
        [TICKET, BTC, {"format": name}],
        [TICKET, {"format": name}, BTC],
        [{"format": name}, TICKET, BTC],
    ]
    for parts in orders:
        request = parsed(*parts)
        assert request.format is format
        assert request.subscriptions == (Subscription("trade", "KRW-BTC"),)


def test_without_a_format_it_is_the_default() -> None:
    assert parsed(TICKET, BTC).format is Format.DEFAULT


def test_asking_what_is_subscribed_asks_for_no_data() -> None:
    method = {"method": "LIST_SUBSCRIPTIONS"}
    for parts in ([TICKET, method], [method, TICKET], [TICKET, method, {"format": "SIMPLE"}]):
        request = parsed(*parts)
        assert (request.ticket, request.subscriptions) == ("test", None)
    assert parsed(TICKET, method, {"format": "SIMPLE"}).format is Format.SIMPLE


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("NO_TICKET", []),
        ("NO_TICKET", [BTC]),
        ("NO_TICKET", [{"ticket": ""}, BTC]),
        ("NO_TICKET", [{"ticket": 5}, BTC]),
        ("NO_TICKET", [{"ticket": None}, BTC]),
        ("NO_TYPE", [TICKET]),
        ("NO_TYPE", [TICKET, {"format": "DEFAULT"}]),
        ("NO_TYPE", [TICKET, {"codes": ["KRW-BTC"]}]),
        ("NO_TYPE", [TICKET, {}]),
        ("NO_TYPE", [TICKET, BTC, {"codes": ["KRW-BTC"]}]),
        ("NO_TYPE", [TICKET, {"method": "SOMETHING_ELSE"}]),
        ("INVALID_PARAM", [TICKET, {"type": "nope", "codes": ["KRW-BTC"]}]),
        ("INVALID_PARAM", [TICKET, {"type": "nope"}]),
        ("INVALID_PARAM", [TICKET, {"type": "candle.2m", "codes": ["KRW-BTC"]}]),
        ("INVALID_PARAM", [TICKET, {"type": "TRADE", "codes": ["KRW-BTC"]}]),
        ("INVALID_PARAM", [TICKET, {"type": ["trade"], "codes": ["KRW-BTC"]}]),
        ("INVALID_PARAM", [TICKET, BTC, {"type": "nope", "codes": ["KRW-BTC"]}]),
        ("NO_CODES", [TICKET, {"type": "ticker"}]),
        ("NO_CODES", [TICKET, BTC, {"type": "ticker"}]),
        ("WRONG_FORMAT", [TICKET, "trade"]),
        ("WRONG_FORMAT", [TICKET, [BTC]]),
        ("WRONG_FORMAT", [TICKET, {"type": "trade", "codes": "KRW-BTC"}]),
        ("WRONG_FORMAT", [TICKET, {"type": "trade", "codes": ["KRW-BTC", 5]}]),
        ("WRONG_FORMAT", [TICKET, {"type": "trade", "codes": {"KRW-BTC": 1}}]),
        ("WRONG_FORMAT", [TICKET, {"type": "orderbook", "codes": ["KRW-BTC"], "level": "10000"}]),
        ("WRONG_FORMAT", [TICKET, {"type": "orderbook", "codes": ["KRW-BTC"], "level": True}]),
        ("WRONG_FORMAT", [TICKET, {"type": "orderbook", "codes": ["KRW-BTC"], "level": -1}]),
        ("WRONG_FORMAT", [TICKET, {**BTC, "is_only_snapshot": "true"}]),
        ("WRONG_FORMAT", [TICKET, {**BTC, "isOnlyRealtime": 1}]),
        ("WRONG_FORMAT", [TICKET, BTC, {"format": "XML"}]),
        ("WRONG_FORMAT", [TICKET, BTC, {"format": "simple"}]),
        ("WRONG_FORMAT", [TICKET, BTC, {"format": None}]),
        ("WRONG_FORMAT", [TICKET, BTC, {"format": ["SIMPLE"]}]),
    ],
)
def test_a_malformed_request_gets_the_error_of_that_name(name: str, parts: list[Any]) -> None:
    assert error_of(json.dumps(parts)) == name


@pytest.mark.parametrize(
    "text",
    [
        "", "ping", "PONG", "null", "5", '"text"', '{"ticket":"test"}', "[", '[{"ticket":"test"}', "[NaN]", b"\xff\xfe",
        b"\x00", "[" * 100_000, '[{"ticket":"\\ud800"},{"method":"LIST_SUBSCRIPTIONS"}]', "\ud800",
    ],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_what_is_no_array_of_objects_has_the_wrong_format(text: str | bytes) -> None:
    assert error_of(text) == "WRONG_FORMAT"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
fields = {
    "ticket": json_values | st.just("test"),
    "type": json_values | st.sampled_from([kind.name for kind in DataType.all()]),
    "timeframe": json_values | st.sampled_from(["5m", "1d"]),
    "indicators": json_values
    | st.lists(
        st.fixed_dictionaries(
            {"type": json_values | st.sampled_from(["rsi", "volume"])},
            optional={
                "params": json_values | st.just({"period": 10}),
                "trigger": json_values | st.sampled_from(["overbought", "volume_spike"]),
                "event_params": json_values | st.just({"multiplier": 2.0}),
            },
        ),
        max_size=2,
    ),
    "categories": json_values | st.lists(st.sampled_from(["trade", "nope"]), max_size=2),
    "include_body": json_values,
    "codes": json_values | st.lists(st.sampled_from(["KRW-BTC", "krw-btc", "KRW-BTC.5", "."]), max_size=3),
    "format": json_values | st.sampled_from(["DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"]),
    "method": json_values | st.just("LIST_SUBSCRIPTIONS"),
    "level": json_values,
    "is_only_snapshot": json_values,
    "isOnlyRealtime": json_values,
}
near_requests = st.lists(st.fixed_dictionaries({}, optional=fields), max_size=4).map(json.dumps)


@given(near_requests | st.text() | st.binary(), st.sampled_from(Endpoint))
@example('[{"ticket":"a"},{"type":"orderbook","codes":["KRW-BTC"],"level":' + "9" * 30 + "}]", Endpoint.PUBLIC)
@example('[{"ticket":"a"},{"type":"orderbook","codes":["KRW-BTC"],"level":1e999}]', Endpoint.PUBLIC)
def test_any_bytes_are_a_request_or_an_error_and_both_can_be_answered(text: str | bytes, endpoint: Endpoint) -> None:
    refused = ""
    try:
        request = parse_request(text, endpoint)
    except RequestError as why:
        refused = why.name
        msgspec.json.encode(why.message)
    else:
        assert request.ticket
        for one in request.subscriptions or ():
            assert one.type in [kind.name for kind in DataType.all(endpoint)]
            assert one.count in (1, 5, 15, 30)
        msgspec.json.encode(listing(request.subscriptions or (), request.ticket, request.format))
    assert refused in ("", "WRONG_FORMAT", "NO_TICKET", "NO_TYPE", "NO_CODES", "INVALID_PARAM", "TOO_MANY_REQUEST")


# The other endpoints


def private(*parts: dict[str, Any]) -> tuple[Subscription, ...] | None:
    return parse_request(json.dumps([TICKET, *parts]), Endpoint.PRIVATE).subscriptions


def test_orders_are_asked_for_by_market_or_all_together() -> None:
    assert private({"type": "myOrder", "codes": ["KRW-BTC", "KRW-ETH"]}) == (
        Subscription("myOrder", "KRW-BTC"),
        Subscription("myOrder", "KRW-ETH"),
    )
    assert private({"type": "myOrder"}) == private({"type": "myOrder", "codes": []}) == (Subscription("myOrder"),)


def test_balances_and_announcements_belong_to_no_market() -> None:
    assert private({"type": "myAsset"}, {"type": "announcement"}) == (
        Subscription("myAsset"),
        Subscription("announcement"),
    )
    asked = {"type": "announcement", "categories": ["trade", "event"], "include_body": True, "codes": ["KRW-BTC"]}
    assert private(asked) == (Subscription("announcement", categories=("trade", "event"), include_body=True),)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("WRONG_FORMAT", {"type": "myAsset", "codes": ["KRW-BTC"]}),
        ("WRONG_FORMAT", {"type": "myAsset", "codes": []}),
        ("WRONG_FORMAT", {"type": "myOrder", "codes": "KRW-BTC"}),
        ("INVALID_PARAM", {"type": "announcement", "categories": ["trading"]}),
        ("WRONG_FORMAT", {"type": "announcement", "categories": "trade"}),
        ("WRONG_FORMAT", {"type": "announcement", "include_body": "true"}),
        ("INVALID_PARAM", {"type": "trade", "codes": ["KRW-BTC"]}),
        ("INVALID_PARAM", {"type": "indicator", "codes": ["KRW-BTC"]}),
    ],
)
def test_what_the_private_endpoint_does_not_take(name: str, part: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as error:
        private(part)
    assert error.value.name == name


@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_types_are_those_of_the_endpoint(endpoint: Endpoint) -> None:
    for kind in DataType.all():
        if kind.endpoint is not endpoint:
            with pytest.raises(RequestError) as error:
                parse_request(json.dumps([TICKET, {"type": kind.name, "codes": ["KRW-BTC"]}]), endpoint)
            assert error.value.name == "INVALID_PARAM"


# The samples


def sample(name: str) -> str:
    return (SAMPLES / f"request_{name}.json").read_text()


@needs_shared
def test_the_sample_of_three_types_is_understood() -> None:
    request = parse_request(sample("three_types"))
    books = ["KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-USDS", "BTC-ETH", "USDT-BTC", "BTC-BERA"]
    assert request.subscriptions == (
        *(Subscription("orderbook", code) for code in books),
        Subscription("ticker", "KRW-BTC"),
        Subscription("trade", "KRW-BTC"),
    )
    assert request.format is Format.DEFAULT


@needs_shared
def test_the_sample_of_2021_is_understood() -> None:
    request = parse_request(sample("2021_format_second"))
    assert request.subscriptions == tuple(
        Subscription(type_name, code, snapshot=False)
        for type_name in ("trade", "orderbook")
        for code in ("BTC-ARK", "KRW-LAMB")
    )
    assert request.format is Format.SIMPLE


@needs_shared
def test_the_sample_of_order_book_options_is_understood() -> None:
    request = parse_request(sample("orderbook_level_count"))
    assert request.subscriptions == (
        Subscription("orderbook", "KRW-BTC", 15, level=10000),
        Subscription("orderbook", "KRW-ETH", 5, level=1000),
    )
    assert request.format is Format.SIMPLE_LIST


@needs_shared
def test_the_sample_that_asks_what_is_subscribed_is_understood() -> None:
    request = parse_request(sample("LIST_SUBSCRIPTIONS"))
    assert (request.ticket, request.subscriptions) == ("0e66c0ac-7e13-43ef-91fb-2a87c2956c49", None)


@needs_shared
@pytest.mark.parametrize("name", ["announcement", "indicator", "myOrder_myAsset"])
def test_the_samples_of_other_endpoints_ask_for_types_that_this_one_does_not_have(name: str) -> None:
    assert error_of(sample(name)) == "INVALID_PARAM"


@needs_shared
@pytest.mark.parametrize(
    ("name", "endpoint", "count"),
    [("announcement", Endpoint.PRIVATE, 1), ("myOrder_myAsset", Endpoint.PRIVATE, 2), ("indicator", Endpoint.INFO, 8)],
)
def test_the_samples_of_other_endpoints_are_understood_there(name: str, endpoint: Endpoint, count: int) -> None:
    assert len(parse_request(sample(name), endpoint).subscriptions or ()) == count


@needs_shared
def test_the_answer_to_what_is_subscribed_on_the_private_endpoint_is_that_of_the_sample() -> None:
    asked = private({"type": "myAsset"}, {"type": "myOrder", "codes": ["KRW-BTC", "KRW-ETH"]})
    expected = json.loads((SAMPLES / "control_LIST_SUBSCRIPTIONS_private_DEFAULT.json").read_text())
    assert listing(asked or (), "unique uuid", Format.DEFAULT) == expected


@needs_shared
def test_no_sample_of_a_request_is_forgotten() -> None:
    assert {path.stem for path in SAMPLES.glob("request_*.json")} == {
        "request_three_types",
        "request_2021_format_second",
        "request_orderbook_level_count",
        "request_LIST_SUBSCRIPTIONS",
        "request_announcement",
        "request_indicator",
        "request_myOrder_myAsset",
    }


@needs_shared
@pytest.mark.parametrize("format", [Format.DEFAULT, Format.SIMPLE])
def test_the_answer_to_what_is_subscribed_is_that_of_the_samples(format: Format) -> None:
    asked = subscriptions(
        {"type": "ticker", "codes": ["KRW-BTC", "KRW-ETH"]}, {"type": "orderbook", "codes": ["KRW-BTC", "KRW-ETH"]}
    )
    expected = json.loads((SAMPLES / f"control_LIST_SUBSCRIPTIONS_public_{format}.json").read_text())
    assert listing(asked, "unique uuid", format) == expected
