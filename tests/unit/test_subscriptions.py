"""The algebra of wants."""

import json
import re
from itertools import product
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import (
    ConflictError,
    DataType,
    Endpoint,
    Format,
    InvalidCodeError,
    OrderbookEvent,
    UsageError,
    indicator,
    indicator_signal,
)
from upbit_streams.model.indicators import INDICATORS, SIGNALS
from upbit_streams.model.kinds import Codes
from upbit_streams.model.subscriptions import (
    COUNTS,
    Want,
    check_servable,
    difference,
    normalise_code,
    serves,
    union,
    wants_of,
)
from upbit_streams.testing.strategies import events, wants
from upbit_streams.wire.requests import list_subscriptions, subscribe

BOOK, TRADE = DataType.ORDERBOOK, DataType.TRADE
GOLDEN = indicator_signal("macd", "1d", "golden_cross", fast=12, slow=26, signal_period=9)


def _sets(size: int = 8) -> st.SearchStrategy[list[frozenset[Want]]]:
    """Three sets of wants that one endpoint serves."""
    return st.sampled_from(Endpoint).flatmap(
        lambda endpoint: st.lists(st.frozensets(wants(endpoint), max_size=size), min_size=3, max_size=3)
    )


@given(sets=_sets())
def test_uniting_is_order_free_idempotent_and_associative(sets: list[frozenset[Want]]) -> None:
    a, b, c = sets
    assert union(a, b) == union(b, a)
    assert union(a, a) == union(a) == union(union(a))
    assert union(union(a, b), c) == union(a, union(b, c)) == union(a, b, c)


@given(sets=_sets())
def test_a_union_serves_each_of_its_wants_and_each_topic_stands_once(sets: list[frozenset[Want]]) -> None:
    whole = union(*sets)
    assert all(serves(whole, want) for wants in sets for want in wants)
    assert len({want.topic for want in whole}) == len(whole)


@given(sets=_sets())
def test_what_is_added_by_a_difference_is_what_was_missing_and_no_more(sets: list[frozenset[Want]]) -> None:
    a, b, _ = sets
    missing = difference(a, b)
    assert union(b, missing) == union(b, a)
    assert not difference(a, union(a, b))
    for want in missing:
        assert not serves(b, want)


@given(sets=_sets())
def test_serving_is_monotone(sets: list[frozenset[Want]]) -> None:
    a, b, _ = sets
    assert all(serves(union(a, b), want) for want in a if serves(a, want))


def _asked(request: str) -> list[dict[str, Any]]:
    return [part for part in json.loads(request) if "ticket" not in part and set(part) != {"format"}]


@given(sets=_sets(4), data=st.data())
def test_a_request_asks_for_exactly_the_union_in_as_few_objects_as_there_are_ways_of_asking(
    sets: list[frozenset[Want]], data: st.DataObject
) -> None:
    some = frozenset[Want]().union(*sets)
    request = subscribe(some, "me", Format.SIMPLE)
    assert request == subscribe(data.draw(st.permutations(sorted(some, key=repr))), "me", Format.SIMPLE)
    assert json.loads(request)[0] == {"ticket": "me"}
    assert json.loads(request)[-1] == {"format": "SIMPLE"}
    asked = set()
    for part in _asked(request):
        for code in part.get("codes", [""]):
            market, _, count = code.partition(".")
            options = frozenset((k, json.dumps(v)) for k, v in part.items() if k not in ("codes", "indicators"))
            for definition in part.get("indicators", [None]):
                asked.add((market, int(count or 30), options, json.dumps(definition, sort_keys=True)))
    assert len(asked) == len(union(some))
    ways = [json.dumps({k: v for k, v in part.items() if k != "codes"}, sort_keys=True) for part in _asked(request)]
    assert len(ways) == len(set(ways))


def test_consumers_with_different_counts_levels_and_preferences_of_one_market_are_all_served() -> None:
    some = [
        Want(BOOK, "KRW-BTC", count=5, realtime=False),
        Want(BOOK, "KRW-BTC", count=15, snapshot=False),
        Want(BOOK, "KRW-BTC", count=1, level=10000),
    ]
    assert _asked(subscribe(some, "me", Format.DEFAULT)) == [
        {"type": "orderbook", "codes": ["KRW-BTC.1"], "level": 10000},
        {"type": "orderbook", "codes": ["KRW-BTC.15"]},
    ]


@given(book=events(BOOK), count=st.sampled_from(COUNTS), snapshot=st.booleans(), realtime=st.booleans())
def test_each_want_sees_what_it_asked_for(book: Any, count: int, snapshot: bool, realtime: bool) -> None:
    if not snapshot and not realtime:
        return
    seen = Want(BOOK, "KRW-BTC", count=count, snapshot=snapshot, realtime=realtime).view(book)
    if snapshot if book.stream_type == "SNAPSHOT" else realtime:
        assert isinstance(seen, OrderbookEvent)
        assert seen.orderbook_units == book.orderbook_units[:count]
    else:
        assert seen is None


def test_all_markets_leave_nothing_to_ask_for_one_by_one() -> None:
    everywhere, one = Want(DataType.MY_ORDER), Want(DataType.MY_ORDER, "KRW-BTC")
    assert union([one], [everywhere]) == {everywhere}
    assert serves([everywhere], one)
    assert not serves([one], everywhere)
    assert _asked(subscribe([one, everywhere], "me", Format.DEFAULT)) == [{"type": "myOrder"}]


def test_what_is_asked_for_everywhere_keeps_the_options_of_what_it_absorbs() -> None:
    everywhere = Want(DataType.MY_ORDER, snapshot=False)
    [whole] = union([everywhere], [Want(DataType.MY_ORDER, "KRW-BTC")])
    assert (whole.code, whole.snapshot, whole.realtime) == ("", True, True)


def test_announcements_are_joined_to_all_categories_that_anybody_wants() -> None:
    trade, event = (Want(DataType.ANNOUNCEMENT, categories=frozenset({name})) for name in ("trade", "event"))
    [both] = union([trade, event], [attrs.evolve(trade, include_body=True)])
    assert both.categories == {"trade", "event"}
    assert both.include_body
    assert union([trade], [Want(DataType.ANNOUNCEMENT)]) == {Want(DataType.ANNOUNCEMENT)}
    assert not trade.covers(event)
    assert both.covers(event)
    assert not both.covers(Want(DataType.ANNOUNCEMENT))


def test_equal_levels_give_equal_requests() -> None:
    asked = [subscribe([Want(BOOK, "KRW-BTC", level=level)], "me", Format.DEFAULT) for level in (10_000, 10_000.0)]
    assert asked[0] == asked[1]
    assert dict(indicator("rsi", "5m", period=14.0).params) == {"period": 14}
    assert type(indicator("rsi", "5m", period=14.0).params[0][1]) is int


def test_what_one_connection_cannot_serve_is_found_before_anything_is_sent() -> None:
    with pytest.raises(ConflictError, match="private and public"):
        subscribe([Want(DataType.TRADE, "KRW-BTC"), Want(DataType.MY_ASSET)], "me", Format.DEFAULT)
    rsi = indicator("rsi", "5m", period=14)
    hundred = [Want(DataType.INDICATOR, f"KRW-C{number}", indicator=rsi) for number in range(100)]
    check_servable(hundred)
    with pytest.raises(ConflictError, match="101 combinations"):
        check_servable([*hundred, Want(DataType.INDICATOR, "KRW-BTC", indicator=rsi)])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Want(BOOK, "KRW-BTC", count=2), "1, 5, 15 or 30"),
        (lambda: Want(BOOK, "BTC-ETH", level=10), "only KRW"),
        (lambda: Want(BOOK, "KRW-BTC", level=-1), "a price in KRW"),
        (lambda: Want(BOOK, "KRW-BTC", level=float("nan")), "a price in KRW"),
        (lambda: Want(BOOK, "KRW-BTC", level=float("inf")), "a price in KRW"),
        (lambda: Want(BOOK, "KRW-BTC", level=True), "a price in KRW"),
        (lambda: Want(BOOK, "KRW-BTC", level="10"), "a price in KRW"),  # type: ignore[arg-type]
        (lambda: Want(BOOK, "KRW-BTC", count=True), "1, 5, 15 or 30"),
        (lambda: Want(BOOK, "KRW-BTC", count=5.0), "1, 5, 15 or 30"),  # type: ignore[arg-type]
        (lambda: Want(TRADE), "not a market code"),
        (lambda: Want(TRADE, "krw-btc"), "not a market code"),
        (lambda: normalise_code("KRW-\N{LATIN SMALL LETTER SHARP S}"), "not a market code"),
        (lambda: Want(TRADE, "KRW-BTC", count=5), "for order books"),
        (lambda: Want(TRADE, "KRW-BTC", snapshot=False, realtime=False), "at least one"),
        (lambda: Want(TRADE, "KRW-BTC", include_body=True), "for announcements"),
        (lambda: Want(DataType.ANNOUNCEMENT, categories=frozenset({"weather"})), "'weather'"),
        (lambda: Want(DataType.INDICATOR, "KRW-BTC"), "needed there"),
        (lambda: Want(TRADE, "KRW-BTC", indicator=indicator("rsi", "5m", period=14)), "for the indicator types"),
        (lambda: Want(DataType.INDICATOR, "BTC-ETH", indicator=indicator("rsi", "5m", period=14)), "KRW markets only"),
        (
            lambda: Want(DataType.INDICATOR, "KRW-BTC", indicator=GOLDEN),
            "what indicator",
        ),
        (lambda: wants_of(DataType.MY_ASSET, "KRW-BTC"), "not asked for by market"),
        (lambda: wants_of(TRADE), "at least one market code"),
        (lambda: wants_of([]), "at least one data type"),
        (lambda: indicator("rsi", "5m", period=15), "period 2/3/4"),
        (lambda: indicator("rsi", "7m", period=14), "'7m'"),
        (lambda: indicator("moon_phase", "5m"), "'moon_phase'"),
        (lambda: indicator("ma_crossover", "5m", type="SMA", short_period=5, long_period=60), "short_period 5"),
        (lambda: indicator_signal("rsi", "5m", "overbought", period=14, threshold=20), "threshold=20"),
        (lambda: indicator_signal("rsi", "5m", "golden_cross", period=14), "'golden_cross'"),
        (lambda: indicator_signal("stars", "5m", "golden_cross"), "'stars'"),
    ],
)  # fmt: skip
def test_what_the_exchange_would_refuse_or_ignore_cannot_be_wanted(make: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()


def test_every_documented_parameter_and_nothing_else_is_supported() -> None:
    """The counts of the protocol's table, section 4.9."""
    combinations = {
        name: sum(len(list(product(*alternative.values()))) for alternative in alternatives)
        for name, alternatives in INDICATORS.items()
    }
    assert combinations == {
        "volume": 10, "rsi": 15, "moving_average": 30, "ma_crossover": 8, "bollinger_bands": 15, "macd": 3,
    }  # fmt: skip
    triggers = {name: list(triggers) for name, (_, triggers) in SIGNALS.items()}
    assert triggers == {
        "volume": ["volume_spike"],
        "rsi": ["overbought", "oversold"],
        "moving_average": ["price_cross_above", "price_cross_below"],
        "ma_crossover": ["golden_cross", "dead_cross"],
        "bollinger_bands": ["price_cross_above", "price_cross_below"],
        "macd": ["golden_cross", "dead_cross", "zero_cross_above", "zero_cross_below"],
    }


@given(text=st.text(max_size=12) | st.from_regex("[a-zA-Z]{2,4}-[a-zA-Z0-9]{1,5}"))
def test_a_code_is_normal_or_refused_by_name(text: str) -> None:
    normal = text.strip().upper()
    if re.fullmatch("[A-Z0-9]{2,10}-[A-Z0-9]{1,20}", normal):
        assert normalise_code(text) == normalise_code(normal) == normal
    else:
        with pytest.raises(InvalidCodeError, match=re.escape(repr(text))) as refused:
            normalise_code(text)
        assert refused.value.code == text


def test_the_question_what_is_subscribed_carries_the_format() -> None:
    assert json.loads(list_subscriptions("me", Format.SIMPLE_LIST)) == [
        {"ticket": "me"},
        {"method": "LIST_SUBSCRIPTIONS"},
        {"format": "SIMPLE_LIST"},
    ]


def test_types_are_asked_for_by_market_as_the_protocol_has_it() -> None:
    by_market = {kind.name: kind.codes for kind in DataType.all() if kind.codes is not Codes.REQUIRED}
    assert by_market == {"myOrder": Codes.OPTIONAL, "myAsset": Codes.NONE, "announcement": Codes.NONE}
    assert attrs.fields(Want).code.default == ""
