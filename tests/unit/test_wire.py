"""Frames to events and back, by the field table."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import product
from math import nan
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.shared import RECORDING, SAMPLES, needs_shared

from upbit_streams import (
    DataType,
    Epoch,
    Event,
    Format,
    MyAssetEvent,
    MyOrderEvent,
    OrderbookEvent,
    TradeEvent,
    UnknownEvent,
    UsageError,
    convert,
    indicator,
    to_fields,
)
from upbit_streams.model.events import OrderbookUnit
from upbit_streams.model.subscriptions import wants_of
from upbit_streams.testing import read_recording
from upbit_streams.testing.strategies import events
from upbit_streams.wire.decode import Decoder
from upbit_streams.wire.encode import encode
from upbit_streams.wire.fields import TABLE, Field, Kind
from upbit_streams.wire.replies import BadFrame, ErrorReply, StatusReply, Subscribed, SubscriptionsReply
from upbit_streams.wire.requests import list_subscriptions, subscribe

EPOCH = Epoch(connection="public", number=3, started_at=1.0, wall_offset=0.0, reason="test")
DECODERS = {format: Decoder(format) for format in Format}


def _decode(frame: bytes | str, format: Format) -> Event:
    [event], replies = DECODERS[format].decode([frame], EPOCH, 2.0)
    assert not replies
    return event


def _format_of(path: Path) -> Format:
    """The format that a sample's name tells."""
    return next((format for format in reversed(Format) if f"_{format.value}" in path.name), Format.DEFAULT)


def _samples(*kinds: str) -> list[Path]:
    return [path for path in sorted(SAMPLES.glob("*.json")) if path.name.startswith(kinds) and "rest" not in path.name]


def _exact(frame: bytes) -> Any:
    """JSON with every digit kept, and without the nulls that the exchange may leave out as well."""
    return json.loads(
        frame, parse_float=Decimal, object_hook=lambda found: {k: v for k, v in found.items() if v is not None}
    )


@needs_shared
def test_every_sample_of_an_event_decodes_without_drift_and_encodes_to_the_same_in_its_format() -> None:
    paths = _samples("ticker", "trade", "orderbook", "candle", "my", "announcement", "indicator")
    assert len(paths) == 42
    for path in paths:
        decoder, format = Decoder(_format_of(path)), _format_of(path)
        [event], replies = decoder.decode([path.read_bytes()], EPOCH, 2.0)
        assert not replies, path.name
        assert not decoder.drift.records(), path.name
        assert path.name.startswith(event.type)
        assert _exact(encode(event, format)) == _exact(path.read_bytes()), path.name
        for other in Format:
            assert _decode(encode(event, other), other) == event, path.name
            converted = convert(path.read_bytes(), other)
            assert _decode(converted, other) == event
            assert _exact(convert(converted, format)) == _exact(path.read_bytes()), path.name


@needs_shared
def test_every_sample_of_a_reply_is_told_apart() -> None:
    kinds = {"error": ErrorReply, "control_status": StatusReply, "control_LIST": SubscriptionsReply}
    for prefix, kind in kinds.items():
        paths = _samples(prefix)
        assert paths
        for path, format in product(paths, Format):
            for frame in (path.read_bytes(), b"[" + path.read_bytes() + b"]", path.read_text()):
                found, [reply] = DECODERS[format].decode([frame], EPOCH, 0.0)
                assert not found
                assert isinstance(reply, kind)


@needs_shared
def test_the_subscriptions_of_the_samples_are_read_in_both_spellings() -> None:
    default, simple = (SAMPLES / f"control_LIST_SUBSCRIPTIONS_public_{name}.json" for name in ("DEFAULT", "SIMPLE"))
    _, [reply] = DECODERS[Format.DEFAULT].decode([default.read_bytes()], EPOCH, 0.0)
    assert DECODERS[Format.SIMPLE].decode([simple.read_bytes()], EPOCH, 0.0) == ([], [reply])
    markets = frozenset({"KRW-BTC", "KRW-ETH"})
    assert reply == SubscriptionsReply(
        "unique uuid", (Subscribed("ticker", markets), Subscribed("orderbook", markets, 0.0))
    )


@needs_shared
def test_the_amounts_of_the_samples_are_exact_to_the_last_digit() -> None:
    asset = _decode((SAMPLES / "myAsset_DEFAULT.json").read_bytes(), Format.DEFAULT)
    assert isinstance(asset, MyAssetEvent)
    assert str(asset.assets[0].balance) == "1386929.37231066771348207123"
    order = _decode((SAMPLES / "myOrder_DEFAULT.json").read_bytes(), Format.DEFAULT)
    assert isinstance(order, MyOrderEvent)
    assert str(order.paid_fee) == "22.467660028283017"


@needs_shared
def test_the_requests_of_the_samples_are_what_our_wants_would_send() -> None:
    rsi = indicator("rsi", "5m", period=14)
    others = [
        indicator("moving_average", "5m", type="SMA", period=20),
        indicator("ma_crossover", "5m", type="EMA", short_period=5, long_period=20),
        indicator("macd", "5m", fast=12, slow=26, signal_period=9),
    ]
    markets = ["KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-USDS", "BTC-ETH", "USDT-BTC", "BTC-BERA"]
    wanted = {
        "three_types": wants_of(DataType.ORDERBOOK, markets) | wants_of([DataType.TICKER, DataType.TRADE], "KRW-BTC"),
        "orderbook_level_count": wants_of(DataType.ORDERBOOK, "KRW-BTC", count=15, level=10000)
        | wants_of(DataType.ORDERBOOK, "KRW-ETH", count=5, level=1000),
        "myOrder_myAsset": wants_of([DataType.MY_ORDER, DataType.MY_ASSET]),
        "announcement": wants_of(DataType.ANNOUNCEMENT, categories=frozenset({"trade"}), include_body=True),
        "indicator": frozenset(
            want
            for one in (rsi, *others)
            for want in wants_of(DataType.INDICATOR, ["KRW-BTC", "KRW-ETH"], indicator=one)
        ),
        "2021_format_second": wants_of([DataType.TRADE, DataType.ORDERBOOK], ["BTC-ARK", "KRW-LAMB"], snapshot=False),
    }
    for name, some in wanted.items():
        sample = json.loads((SAMPLES / f"request_{name}.json").read_text())
        assert _normal(json.loads(subscribe(some, "me", Format.DEFAULT))) == _normal(sample), name
    question = json.loads((SAMPLES / "request_LIST_SUBSCRIPTIONS.json").read_text())
    assert _normal(json.loads(list_subscriptions("me", Format.DEFAULT))) == _normal(question)


def _normal(request: list[dict[str, Any]]) -> list[str]:
    """A request without its ticket and format, in any order, with the flags as they are spelled today."""
    parts = [part for part in request if "ticket" not in part and "format" not in part]
    for part in parts:
        if part.pop("isOnlyRealtime", False):
            part["is_only_realtime"] = True
        for name in ("codes", "indicators"):
            if name in part:
                part[name].sort(key=json.dumps)
    return sorted(json.dumps(part, sort_keys=True) for part in parts)


@needs_shared
def test_the_recording_survives_both_formats() -> None:
    recording = read_recording(RECORDING)
    assert len(recording) == 270
    for recorded in recording:
        stamped = msgspec.structs.replace(recorded.event, epoch=EPOCH, received_at=2.0)
        for format in Format:
            assert _decode(encode(recorded.event, format), format) == stamped


@given(event=events(), format=st.sampled_from(Format))
def test_decoding_undoes_encoding_in_every_format(event: Event, format: Format) -> None:
    assert _decode(encode(event, format), format) == msgspec.structs.replace(event, epoch=EPOCH, received_at=2.0)


@given(event=events(), format=st.sampled_from(Format))
def test_an_event_of_the_wire_is_like_one_made_by_hand(event: Event, format: Format) -> None:
    """Class, equality, hash, text and pickle do not show which format it came in."""
    decoded = _decode(encode(event, format), format)
    made = msgspec.structs.replace(event, epoch=EPOCH, received_at=2.0)
    assert isinstance(decoded, type(event))
    assert decoded.type == event.type
    assert (decoded, hash(decoded), repr(decoded)) == (made, hash(made), repr(made))
    assert decoded != msgspec.structs.replace(made, timestamp=made.timestamp + 1)
    unpickled = pickle.loads(pickle.dumps(decoded))  # noqa: S301 -- our own bytes
    assert unpickled == decoded
    assert type(unpickled) is type(event)


@pytest.mark.parametrize("date", [{"at": [1]}, [], None, "2026-12-01"])
def test_an_event_is_hashable_whatever_a_field_of_any_type_holds(date: Any) -> None:
    common: dict[str, Any] = {field.name: field.type() for field in TABLE["ticker"].fields if field.type is not Any}
    ticker, same = (DataType.TICKER.event(**common, delisting_date=copy.deepcopy(date)) for _ in range(2))
    assert {ticker} == {same}
    stamped = msgspec.structs.replace(same, epoch=EPOCH, received_at=2.0)
    assert {_decode(encode(ticker, Format.SIMPLE), Format.SIMPLE)} == {stamped}


def test_events_of_different_types_are_never_equal() -> None:
    common: dict[str, Any] = {field.name: field.type() for field in TABLE["candle.1m"].fields}
    assert DataType.CANDLE_1M.event(**common) == DataType.CANDLE_1M.event(**common)
    assert DataType.CANDLE_1M.event(**common) != DataType.CANDLE_3M.event(**common)


def test_the_table_names_exactly_the_fields_of_each_event_class() -> None:
    assert {kind.name for kind in DataType.all()} == set(TABLE)
    assert DataType.UNKNOWN.name not in TABLE
    for kind in TABLE.values():
        declared = {field.name for field in msgspec.structs.fields(kind.event)} - {"epoch", "received_at"}
        assert declared == {field.name for field in kind.fields}
        assert len({field.simple for field in kind.fields}) == len(kind.fields)
    assert all(TABLE[kind.name].event is kind.event for kind in DataType.all())


@needs_shared
def test_the_table_agrees_with_the_protocols_map_of_names() -> None:
    names = json.loads((SAMPLES / "_field_map.json").read_text())
    for type_name, kind in TABLE.items():
        known = names[type_name.partition(".")[0]]
        assert {field.name: field.simple for field in kind.fields}.items() <= known.items()


def test_padding_of_the_shorter_side_is_not_among_asks_and_bids() -> None:
    units = (
        OrderbookUnit(ask_price=11.0, ask_size=1.0, bid_price=10.0, bid_size=2.0),
        OrderbookUnit(ask_price=12.0, ask_size=3.0, bid_price=0.0, bid_size=0.0),
    )
    book = OrderbookEvent(
        code="KRW-BTC",
        timestamp=1,
        stream_type="REALTIME",
        total_ask_size=4.0,
        total_bid_size=2.0,
        orderbook_units=units,
    )
    assert book.asks == [(11.0, 1.0), (12.0, 3.0)]
    assert book.bids == [(10.0, 2.0)]
    assert book.symbol == book.code


TRADE = (
    b'{"type":"trade","code":"KRW-BTC","timestamp":1,"trade_date":"2026-08-26","trade_time":"07:15:54","trade_timestamp":1,'
    b'"trade_price":1.16539E8,"trade_volume":0.00077720,"ask_bid":"ASK","prev_closing_price":6E-8,"change":"RISE",'
    b'"change_price":1,"sequential_id":17877285547970000,"stream_type":"REALTIME"%s}'
)


def test_numbers_are_read_in_every_spelling_of_the_exchange() -> None:
    trade = _decode(TRADE % b"", Format.DEFAULT)
    assert isinstance(trade, TradeEvent)
    assert (trade.trade_price, trade.trade_volume, trade.prev_closing_price) == (116539000.0, 0.0007772, 6e-8)
    assert trade.change_price == 1.0
    assert trade.sequential_id == 17877285547970000
    assert trade.best_ask_price is None


def test_a_field_of_the_exchange_cannot_set_the_stamp() -> None:
    trade = _decode(TRADE % b',"news":[{}],"epoch":7,"received_at":"x"', Format.DEFAULT)
    assert trade.epoch is EPOCH
    assert trade.received_at == 2.0


@pytest.mark.parametrize(
    ("change", "what", "where"),
    [
        (lambda fields: fields | {"news": [{}]}, "unknown field", "trade.news"),
        (lambda fields: fields | {"ask_bid": "BOTH"}, "unknown value", "trade.ask_bid=BOTH"),
        (lambda fields: fields | {"best_ask_price": None}, "unknown value", "trade.best_ask_price=null"),
    ],
)
@pytest.mark.parametrize("format", list(Format))
def test_an_event_of_an_exchange_that_has_moved_on_is_delivered_and_the_drift_counted(
    change: Any, what: str, where: str, format: Format
) -> None:
    decoder = Decoder(format)
    frame = convert(json.dumps(change(json.loads(TRADE % b""))), format)
    for count in (1, 2):
        [event], replies = decoder.decode([frame], EPOCH, 2.0)
        assert isinstance(event, TradeEvent)
        assert event.sequential_id == 17877285547970000
        assert event.epoch is EPOCH
        assert not replies
        [drift] = decoder.drift.records()
        assert (drift.what, drift.where, drift.count) == (what, where, count)
        assert drift.sample


def _without_what_is_optional(kind: Kind) -> dict[str, Any]:
    """An object with the fields that every event of this kind has, as they are sent."""
    found: dict[str, Any] = {}
    for field in kind.fields:
        if field.optional:
            continue
        if isinstance(field.type, Kind):
            part = _without_what_is_optional(field.type)
            found[field.name] = [part, part] if field.array else part
        else:
            found[field.name] = field.values[0] if field.values else {str: "x"}.get(field.type, 7)
    return found


def _places(kind: Kind, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Field]]:
    """The way to each field that every event of this kind has, and the field."""
    for field in kind.fields:
        if field.optional:
            continue
        yield (*path, field.name), field
        if isinstance(field.type, Kind):
            yield from _places(field.type, (*path, field.name, *([1] if field.array else [])))


def _at(holder: Any, path: Iterable[Any]) -> Any:
    for step in path:
        holder = getattr(holder, step) if isinstance(step, str) and not isinstance(holder, dict) else holder[step]
    return holder


PLACES = [
    pytest.param(name, path, field, id=".".join([name, *map(str, path)]))
    for name, kind in TABLE.items()
    for path, field in _places(kind)
]
WRONG: list[Any] = [None, "", "x", "1_000", [], {}, True, -1, 1.5, 10**400, 1e300]
MISSING = object()


@pytest.mark.parametrize("format", [Format.DEFAULT, Format.SIMPLE_LIST])
@pytest.mark.parametrize(("name", "path", "field"), PLACES)
def test_only_what_an_event_is_of_can_cost_it(name: str, path: tuple[Any, ...], field: Field, format: Format) -> None:
    usual = _without_what_is_optional(TABLE[name])
    for wrong in [MISSING, *WRONG]:
        fields = copy.deepcopy(usual)
        *way, last = path
        if wrong is MISSING:
            del _at(fields, way)[last]
        else:
            _at(fields, way)[last] = wrong
        decoder = Decoder(format)
        found, replies = decoder.decode([convert(json.dumps({"type": name, **fields}), format)], EPOCH, 2.0)
        if not found:
            assert field.of
            [bad] = replies
            assert isinstance(bad, BadFrame)
            assert (bad.type, bad.code) == (name, "" if "code" not in usual or path == ("code",) else "x")
            assert ".".join(step for step in path if isinstance(step, str)) in bad.why
            continue
        [event] = found
        assert not replies
        assert (event.type, event.epoch, event.received_at) == (name, EPOCH, 2.0)
        content = _at(event, path)
        assert isinstance(content, tuple if field.array else getattr(field.type, "event", field.type))
        if wrong in (MISSING, None):
            assert not field.of
            assert content != content or content in ("", -1) or field.name == "sequential_id"
            assert decoder.drift.records()
        assert hash(event) == hash(event)
        assert json.loads(encode(event, Format.DEFAULT))


def test_every_field_that_can_cost_no_event_has_a_value_that_says_so() -> None:
    """None if it is optional; a number that is none, an empty text."""
    for kind in TABLE.values():
        for field in kind.fields:
            assert field.of or field.optional or field.type in (float, int, str)


TICKER: dict[str, Any] = {"type": "ticker", **_without_what_is_optional(TABLE["ticker"])}


@pytest.mark.parametrize(
    ("change", "expected", "what"),
    [
        ({"acc_trade_price_24h": None}, nan, "unknown value"),
        ({"timestamp": 1.7e12}, 1_700_000_000_000, "other spelling"),
        ({"timestamp": "1700000000000"}, 1_700_000_000_000, "other spelling"),
        ({"timestamp": 1_700_000_000_000_123}, 1_700_000_000_000, "other unit"),
        ({"trade_timestamp": 1_700_000_000_000_123_456}, 1_700_000_000_000, "other unit"),
        ({"trade_timestamp": -1}, -1, "not understood"),
        ({"trade_timestamp": 10**400}, -1, "not understood"),
        ({"trade_price": "122902000"}, 122902000.0, "other spelling"),
        ({"trade_price": "122,902,000"}, nan, "not understood"),
        ({"trade_price": nan}, nan, "not understood"),
        ({"trade_price": 10**400}, nan, "not understood"),
        ({"stream_type": MISSING}, "", "missing field"),
        ({"market_state": 7}, "7", "other spelling"),
        ({"trade_date": ["20260826"]}, "", "not understood"),
        ({"delisting_date": 10**400}, None, "not understood"),
        ({"delisting_date": {"year": 2026.0, "deep": [1.5]}}, {"year": 2026, "deep": [1.5]}, ""),
        ({"is_trading_suspended": "yes"}, None, "not understood"),
    ],
)
def test_a_field_that_is_missing_or_spelled_otherwise_loses_no_ticker(
    change: dict[str, Any], expected: Any, what: str
) -> None:
    [name] = change
    fields = {key: value for key, value in {**TICKER, **change}.items() if value is not MISSING}
    decoder = Decoder(Format.DEFAULT)
    [event], replies = decoder.decode([json.dumps(fields)], EPOCH, 2.0)
    assert not replies
    found = getattr(event, name)
    assert type(found) is type(expected)
    assert found == expected or expected != expected
    if what:
        [drift] = decoder.drift.records()
        assert drift.what == what
        assert drift.where.startswith(f"ticker.{name}")


def test_counts_and_ids_are_whole_numbers_in_every_spelling() -> None:
    decoder = Decoder(Format.DEFAULT)
    for count, expected in ((b"1.0", 1), (b'"1"', 1), (b"1e0", 1), (b"1.5", -1), (b"1e30", -1), (b"null", -1)):
        [order], _ = decoder.decode(
            [(ORDER % b"1").replace(b'"trades_count":0', b'"trades_count":' + count)], EPOCH, 2.0
        )
        assert isinstance(order, MyOrderEvent)
        assert order.trades_count == expected


@pytest.mark.parametrize(
    "bad", [b'"\\ud800"', b'"\\ud800x"', b'"\xff"', b'"\t"', b'{"\\udfff":1}', b"NaN", b"-Infinity"]
)
def test_a_text_that_no_program_can_encode_loses_no_event(bad: bytes) -> None:
    decoder = Decoder(Format.DEFAULT)
    [event], replies = decoder.decode([TRADE % (b',"news":' + bad)], EPOCH, 2.0)
    assert event.code == "KRW-BTC"
    assert not replies
    [drift] = decoder.drift.records()
    assert (drift.what, drift.where) == ("unknown field", "trade.news")
    [event], _ = decoder.decode([(TRADE % b"").replace(b'"ASK"', b'"\\ud800"')], EPOCH, 2.0)
    assert isinstance(event, TradeEvent)
    assert event.ask_bid.encode()


def test_a_trade_without_an_id_is_known_again_by_what_is_in_it() -> None:
    without = (TRADE % b"").replace(b'"sequential_id":17877285547970000,', b"")
    other = without.replace(b"0.00077720", b"0.5")
    [trade, again, third], _ = DECODERS[Format.DEFAULT].decode([without, without, other], EPOCH, 2.0)
    assert isinstance(trade, TradeEvent)
    assert trade == again
    assert isinstance(third, TradeEvent)
    assert trade.sequential_id != third.sequential_id
    assert max(trade.sequential_id, third.sequential_id) < 0


def test_a_time_that_is_none_costs_an_event_and_an_unknown_one_has_none() -> None:
    """One such frame ended the whole manager."""
    decoder = Decoder(Format.DEFAULT)
    for time in (b"1" + b"0" * 400, b"1" + b"0" * 5000, b"-1", b"1e400", b'"soon"', b"[]", b"true"):
        [event], replies = decoder.decode([b'{"type":"x","timestamp":%s}' % time], EPOCH, 0.0)
        assert (event.timestamp, replies) == (0, [])
        found, [bad] = decoder.decode([(TRADE % b"").replace(b'"timestamp":1', b'"timestamp":' + time)], EPOCH, 0.0)
        assert not found
        assert isinstance(bad, BadFrame)
        assert bad.why == "trade.timestamp is not understood"


DEEP = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"type":"trade","x":' + b"[" * 100_000,
    b'[{"' * 50_000 + b'":1}]' * 50_000,
]


@pytest.mark.parametrize("deep", [*DEEP, *(deep[:4000] for deep in DEEP)])
def test_what_stands_too_deep_is_refused_before_it_takes_stack(deep: bytes) -> None:
    for decoder in DECODERS.values():
        found, [bad] = decoder.decode([deep], EPOCH, 0.0)
        assert not found
        assert isinstance(bad, BadFrame)
        assert "too deep" in bad.why
    with pytest.raises(UsageError, match="too deep"):
        convert(deep, Format.SIMPLE)


def test_brackets_within_texts_stand_nowhere() -> None:
    decoder = Decoder(Format.DEFAULT)
    text = b"[{" * 10_000 + b'\\"' + b"[" * 5000
    [event], replies = decoder.decode([TRADE % (b',"news":"' + text + b'"')], EPOCH, 0.0)
    assert event.type == "trade"
    assert not replies


@pytest.mark.parametrize("letter", [b"x", b"\\n"])
def test_b1_looking_for_brackets_takes_no_memory_for_the_texts_between_them(letter: bytes) -> None:
    """It took a hundred times as much as a text has."""
    program = """
import resource, sys
from upbit_streams.wire.bounds import is_too_deep
frame = b'["' + sys.argv[1].encode() * (4_000_000 // len(sys.argv[1])) + b'"' + b",[]" * 100 + b"]"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert not is_too_deep(frame)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program, letter], capture_output=True, text=True, check=True)  # noqa: S603
    assert int(done.stdout) < 20_000, "in KiB"


def test_no_frame_ends_a_process_whose_thread_has_little_stack() -> None:
    program = """
import threading
from upbit_streams import Epoch, Format, UsageError, convert
from upbit_streams.wire.decode import Decoder
epoch = Epoch(connection="public", number=1, started_at=0.0, wall_offset=0.0, reason="first connect")
opens = [b"[", b'{"a":', b'[{"a":', b'{"type":"trade","x":[', b'{"type":"ticker","delisting_date":[']
def work():
    for format in Format:
        decoder = Decoder(format)
        for open in opens:
            for times in (50, 900, 4000 // len(open), 8000, 100_000):
                for frame in (open * times, (open * times).decode()):
                    found, replies = decoder.decode([frame], epoch, 0.0)
                    assert replies and not found
                    try:
                        convert(frame, format)
                    except UsageError:
                        pass
    print("alive")
threading.stack_size(256 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_an_amount_that_is_nested_deeply_fits_into_the_stack_that_the_guide_asks_for() -> None:
    program = """
import threading
from upbit_streams import Epoch, Format
from upbit_streams.wire.decode import Decoder
epoch = Epoch(connection="private", number=1, started_at=0.0, wall_offset=0.0, reason="first connect")
def work():
    for begin in ('{"type":"myOrder","price":', '{"type":"myAsset","assets":[{"balance":'):
        frame = begin + "[" * (4096 - len(begin))
        found, replies = Decoder(Format.DEFAULT).decode([frame.encode()], epoch, 0.0)
        assert replies and not found
    print("alive")
threading.stack_size(2 * 1024 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


ORDER = (
    b'{"type":"myOrder","code":"KRW-BTC","uuid":"u","ask_bid":"BID","order_type":"limit","state":"wait","price":%s,'
    b'"trades_count":0,"order_timestamp":1,"timestamp":1,"stream_type":"REALTIME"}'
)
ASSET = (
    b'{"type":"myAsset","asset_uuid":"u","assets":[{"currency":"KRW","balance":1,"locked":%s}],"asset_timestamp":1,'
    b'"timestamp":1,"stream_type":"REALTIME"}'
)


NO_AMOUNTS = [
    b"true",
    b"{}",
    b"[1]",
    b'""',
    b'"1,5"',
    b'"NaN"',
    b'"-nan"',
    b'"sNaN"',
    b'"Infinity"',
    b'"-inf"',
    b'"1_000"',
    b'" 1 "',
    b'"1 "',
    b'"+1"',
    b'".5"',
    b'"1."',
    b'"0x10"',
    '"\u0661\u0662"'.encode(),
    '"\uff11"'.encode(),
    b"NaN",
    b"Infinity",
    b"1e102",
    b"1e-102",
    b"0e102",
    b"1e999999999",
    b"-1e-999999999",
    b"0e999999999",
    b'"1e999999999"',
    b"1e9999999999999999999",
    b"0e9999999999999999999",
    b"9" * 102,
    b"9" * 5000,
    b"0." + b"1" * 102,
]


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize("amount", NO_AMOUNTS)
def test_an_amount_that_is_no_number_is_no_amount_and_what_is_of_amounts_is_lost(format: Format, amount: bytes) -> None:
    """An order is an order without its price. A balance is of nothing else."""
    decoder = Decoder(format)
    right = convert(ORDER % b"70707", format)
    [event, other], replies = decoder.decode([right.replace(b"70707", amount), right], EPOCH, 2.0)
    assert other == _decode(right, format)
    assert event == msgspec.structs.replace(other, price=None)
    assert not replies
    assert [(drift.what, drift.where) for drift in decoder.drift.records()] == [("not understood", "myOrder.price")]
    right = convert(ASSET % b"70707", format)
    wrong = right.replace(b"70707", amount)
    [event], [bad] = decoder.decode([wrong, right], EPOCH, 2.0)
    assert event == _decode(right, format)
    assert isinstance(bad, BadFrame)
    assert bad.type == "myAsset"
    assert bad.payload in wrong
    assert bad.why == "myAsset.assets.locked is not understood"


@pytest.mark.parametrize("amount", ["0", "-0.0", "1E-9", "1e100", "0e-99", "1386929.37231066771348207123000", '"1.0"'])
@pytest.mark.parametrize("drifted", [False, True])
def test_an_amount_is_what_its_digits_say_in_every_spelling(amount: str, drifted: bool) -> None:
    """As text too, of which no digit is lost, however odd it would be."""
    frame = ORDER % amount.encode()
    [event], replies = Decoder(Format.DEFAULT).decode([frame[:-1] + (b',"news":1}' if drifted else b"}")], EPOCH, 2.0)
    assert isinstance(event, MyOrderEvent)
    assert not replies
    assert str(event.price) == str(Decimal(amount.strip('"')))
    assert event.price is not None
    assert len(f"{event.price:,.8f} {event.price + 1} {int(event.price)} {hash(event)}") < 500
    other = msgspec.structs.replace(event, price=Decimal(2))
    assert (other.price, other.epoch) == (Decimal(2), EPOCH)


@needs_shared
def test_drift_within_an_event_is_found_and_amounts_stay_exact() -> None:
    decoder, fields = Decoder(Format.SIMPLE), json.loads((SAMPLES / "myAsset_SIMPLE.json").read_text())
    fields["ast"][0]["frozen"] = 1
    frame = json.dumps(fields).replace(str(fields["ast"][0]["b"]), "1386929.37231066771348207123")
    [event], _ = decoder.decode([frame], EPOCH, 2.0)
    assert isinstance(event, MyAssetEvent)
    assert str(event.assets[0].balance) == "1386929.37231066771348207123"
    assert [drift.where for drift in decoder.drift.records()] == ["myAsset.assets.frozen"]


@pytest.mark.parametrize("format", list(Format))
def test_an_event_of_an_unknown_type_is_delivered_as_it_came_and_counted(format: Format) -> None:
    decoder, fields = Decoder(format), {"type": "liquidation", "timestamp": 5, "stream_type": "REALTIME", "x": [1.10]}
    if format.is_simple:
        fields["ty"] = fields.pop("type")
    frame = json.dumps([fields] if format.is_list else fields).encode()
    [event], replies = decoder.decode([frame], EPOCH, 2.0)
    assert isinstance(event, UnknownEvent)
    assert (event.type_name, event.epoch, event.received_at) == ("liquidation", EPOCH, 2.0)
    assert json.loads(event.payload) == fields == to_fields(event)
    assert encode(event, format) == frame
    assert not replies
    assert [(drift.what, drift.where) for drift in decoder.drift.records()] == [("unknown type", "liquidation")]


@given(event=events(), format=st.sampled_from(Format), asked=st.sampled_from(Format))
def test_an_event_in_another_format_than_asked_for_is_delivered_and_counted(
    event: Event, format: Format, asked: Format
) -> None:
    decoder = Decoder(asked)
    found, replies = decoder.decode([encode(event, format)], EPOCH, 2.0)
    assert found == [msgspec.structs.replace(event, epoch=EPOCH, received_at=2.0)]
    assert not replies
    spelled_otherwise = format.is_simple is not asked.is_simple
    assert [drift.what for drift in decoder.drift.records()] == ["other format"] * spelled_otherwise


def test_a_null_where_an_object_is_usual_is_drift_and_a_flag_is_no_time() -> None:
    decoder = Decoder(Format.DEFAULT)
    fields = {
        field.name: field.type() for field in TABLE["indicator_signal"].fields if not isinstance(field.type, Kind)
    }
    frame = fields | {"type": "indicator_signal", "params": {}, "value": {}, "event_params": None}
    frame |= {"stream_type": "REALTIME", "timeframe": "5m", "indicator": "rsi", "trigger": "oversold"}
    [event], _ = decoder.decode([json.dumps(frame)], EPOCH, 0.0)
    assert event.type == "indicator_signal"
    assert [drift.where for drift in decoder.drift.records()] == ["indicator_signal.event_params=null"]
    [event], _ = decoder.decode([b'{"type":"x","timestamp":true}'], EPOCH, 0.0)
    assert event.timestamp == 0


def test_what_is_wrong_with_a_frame_is_told_shortly_however_long_it_is() -> None:
    frame = b'[{"type":"trade","' + b"y" * 50_000 + b'":1},{"x":1}]'
    _, replies = DECODERS[Format.JSON_LIST].decode([frame], EPOCH, 0.0)
    assert len(replies) == 2
    assert all(isinstance(bad, BadFrame) and len(bad.why) <= 200 and len(bad.sample) <= 200 for bad in replies)


class OwnEvent(Event, frozen=True, gc=False, kw_only=True):
    """An event class of somebody's own."""


def test_an_event_class_of_somebodys_own_is_a_value_of_its_own() -> None:
    own = OwnEvent(timestamp=1, stream_type="")
    assert own == OwnEvent(timestamp=1, stream_type="")
    assert own != UnknownEvent(timestamp=1, stream_type="", type_name="", payload=b"")


@pytest.mark.parametrize(
    "bad", [b"7", b'"\xff"', b'{"type":"trade"}', b'{"method":"LIST_SUBSCRIPTIONS","result":1e999}']
)
def test_a_bad_element_of_an_array_costs_none_of_the_good_ones(bad: bytes) -> None:
    good = TRADE % b""
    found, replies = DECODERS[Format.JSON_LIST].decode([b"[" + b",".join([good, bad, good, good]) + b"]"], EPOCH, 0.0)
    assert len(found) == 3
    assert len(replies) == 1


def test_an_array_of_rubbish_is_given_up_before_it_takes_long() -> None:
    for format in (Format.DEFAULT, Format.JSON_LIST):
        _, replies = DECODERS[format].decode([b"[" + b"1," * 400_000 + b"1]"], EPOCH, 0.0)
        assert len(replies) < 50


def test_a_new_field_that_python_cannot_hold_loses_no_event() -> None:
    decoder = Decoder(Format.DEFAULT)
    [event], replies = decoder.decode([TRADE % b',"n":1e999'], EPOCH, 0.0)
    assert event.code == "KRW-BTC"
    assert not replies
    assert [drift.what for drift in decoder.drift.records()] == ["unknown field"]


@pytest.mark.parametrize("extra", [b'"error":null', b'"status":"FINAL"', b'"method":"limit"'])
def test_a_new_field_with_the_name_of_a_reply_loses_no_event(extra: bytes) -> None:
    decoder = Decoder(Format.DEFAULT)
    [event], replies = decoder.decode([TRADE % (b"," + extra)], EPOCH, 0.0)
    assert event.code == "KRW-BTC"
    assert not replies
    assert [drift.what for drift in decoder.drift.records()] == ["unknown field"]


def test_a_difference_counts_once_a_frame_and_a_type_within_an_object_is_one() -> None:
    unit = b'{"ask_price":2,"bid_price":1,"ask_size":1,"bid_size":1,"type":"x"}'
    frame = (
        b'{"type":"orderbook","code":"KRW-BTC","timestamp":1,"total_ask_size":1,"total_bid_size":1,"orderbook_units":['
    )
    decoder = Decoder(Format.DEFAULT)
    [event], _ = decoder.decode([frame + b",".join([unit] * 30) + b'],"stream_type":"REALTIME"}'], EPOCH, 0.0)
    assert event.type == "orderbook"
    [drift] = decoder.drift.records()
    assert (drift.where, drift.count) == ("orderbook.orderbook_units.type", 1)


def test_what_is_null_on_the_wire_is_encoded_as_null() -> None:
    ticker = {field.name: field.type() for field in TABLE["ticker"].fields if field.type is not Any}
    assert b'"delisting_date":null' in encode(DataType.TICKER.event(**ticker), Format.DEFAULT)
    order = {field.name: field.type() for field in TABLE["myOrder"].fields if not field.optional}
    assert b'"price":null' in encode(DataType.MY_ORDER.event(**order), Format.DEFAULT)


def test_the_level_of_a_subscription_is_read_in_both_spellings() -> None:
    for frame in (
        b'{"method":"LIST_SUBSCRIPTIONS","result":[{"type":"orderbook","codes":["A"],"level":5}],"ticket":"t"}',
        b'{"mthd":"LIST_SUBSCRIPTIONS","rslt":[{"ty":"orderbook","cds":["A"],"lv":5}],"tckt":"t"}',
    ):
        _, [reply] = DECODERS[Format.DEFAULT].decode([frame], EPOCH, 0.0)
        assert reply == SubscriptionsReply("t", (Subscribed("orderbook", frozenset({"A"}), 5.0),))


def test_the_memory_of_drift_is_bounded_whatever_is_sent() -> None:
    decoder = Decoder(Format.DEFAULT)
    for number in range(1000):
        decoder.decode([json.dumps({"type": f"type {number}" * 100, "x": "y" * 10_000})], EPOCH, 0.0)
    records = decoder.drift.records()
    assert len(records) == 101
    assert sum(record.count for record in records) == 1000
    assert records[-1].what == "others"
    assert all(len(record.where) <= 200 and len(record.sample) <= 200 for record in records)


@given(event=events(), first=st.sampled_from(Format), second=st.sampled_from(Format))
def test_converting_to_another_format_and_back_loses_nothing(event: Event, first: Format, second: Format) -> None:
    frame = encode(event, first)
    assert json.loads(convert(convert(frame, second), first), parse_float=str) == json.loads(frame, parse_float=str)
    assert _decode(convert(frame, second), second) == msgspec.structs.replace(event, epoch=EPOCH, received_at=2.0)


def test_what_cannot_be_converted_says_why() -> None:
    with pytest.raises(UsageError, match="not a frame"):
        convert(b"{", Format.SIMPLE)
    for frame in ("\ud800", b'{"\xff":1}', b"[" * 100_000):
        with pytest.raises(UsageError, match="not a frame"):
            convert(frame, Format.SIMPLE)
    with pytest.raises(UsageError, match="second 'tp'"):
        convert(b'{"type":"trade","trade_price":1,"tp":2}', Format.SIMPLE)
    for odd in (
        b'{"ty":"orderbook","obu":5}',
        b'{"ty":"indicator","p":[]}',
        b'{"ty":1e999999}',
        b'{"ty":"trade","ty":7}',
    ):
        assert convert(odd, Format.SIMPLE) == odd or b'"ty":7' in odd
    with pytest.raises(UsageError, match="has 2"):
        convert(b"[{},{}]", Format.SIMPLE)
    assert convert(b'{"status":"UP"}', Format.SIMPLE_LIST) == b'[{"status":"UP"}]'
    assert convert(TRADE % b',"news":1.10', Format.SIMPLE).endswith(b'"news":1.10}')


@given(batch=st.lists(events(), min_size=1, max_size=5), format=st.sampled_from([Format.JSON_LIST, Format.SIMPLE_LIST]))
def test_an_array_may_hold_any_number_of_events(batch: list[Event], format: Format) -> None:
    frame = b"[" + b",".join(encode(event, format)[1:-1] for event in batch) + b"]"
    found, replies = DECODERS[format].decode([frame], EPOCH, 2.0)
    assert found == [msgspec.structs.replace(event, epoch=EPOCH, received_at=2.0) for event in batch]
    assert not replies


def test_replies_come_before_the_type_in_telling_frames_apart() -> None:
    both = TRADE % b',"error":{"name":"NO_CODES","message":""}'
    for frame in (both, b"[" + both + b"]"):
        assert DECODERS[Format.DEFAULT].decode([frame], EPOCH, 0.0) == ([], [ErrorReply("NO_CODES", "")])
    both = TRADE % b',"status":"UP"'
    assert DECODERS[Format.DEFAULT].decode([both], EPOCH, 0.0) == ([], [StatusReply("UP")])


@pytest.mark.parametrize(
    ("frame", "reply"),
    [
        (b'{"error":{"message":"nope","name":"INVALID_PARAM"}}', ErrorReply("INVALID_PARAM", "nope")),
        (b'{"error":{"name":404}}', ErrorReply("404", "")),
        ('{"status":"UP"}', StatusReply("UP")),
    ],
)
def test_replies_are_told_from_events(frame: bytes | str, reply: Any) -> None:
    for decoder in DECODERS.values():
        assert decoder.decode([frame], EPOCH, 0.0) == ([], [reply])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"type":"trade"}',
        b"[" * 100_000,
        b"{" * 100_000,
        b'{"type":7}',
        b'{"ty":"trade"}',
        TRADE[:90],
        "\ud800",
    ],
)
def test_a_frame_that_is_nothing_known_is_a_value_with_a_bounded_sample(frame: bytes | str) -> None:
    good = TRADE % b""
    found, [bad] = DECODERS[Format.DEFAULT].decode([good, frame, good], EPOCH, 0.0)
    assert len(found) == 2
    assert isinstance(bad, BadFrame)
    assert bad.why
    assert len(bad.sample) <= 200


@pytest.mark.parametrize("format", list(Format))
def test_a_bad_frame_tells_of_which_event_it_was_to_be(format: Format) -> None:
    good = convert(TRADE % b"", format)
    for bad in (
        good.replace(b"0.00077720", b"{}"),
        good.replace(b"0.00077720", b"nothing"),
        good.replace(b",", b" , ").replace(b":", b" : ").replace(b"0.00077720", b"{"),
        good[:60],
    ):
        found, [reply] = Decoder(format).decode([bad], EPOCH, 0.0)
        assert not found
        assert isinstance(reply, BadFrame)
        assert (reply.type, reply.code) == ("trade", "KRW-BTC")
        assert len(reply.payload) >= len(bad) - 2
        assert reply.payload in bad
    _, [reply] = Decoder(format).decode([b'{"type":7,"code":"KRW-BTC","x":"' + b"y" * 1_000_000], EPOCH, 0.0)
    assert isinstance(reply, BadFrame)
    assert (reply.type, reply.code, len(reply.payload)) == ("", "KRW-BTC", 16 * 1024)


@given(frame=st.one_of(st.binary(), st.text(), st.recursive(st.none() | st.text(), st.lists).map(json.dumps)))
def test_no_frame_ever_raises(frame: bytes | str) -> None:
    for decoder in DECODERS.values():
        found, replies = decoder.decode([frame], EPOCH, 0.0)
        assert found or replies
