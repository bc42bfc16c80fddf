"""Frames to events and back, by the field table."""

import json
import pickle
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.shared import RECORDING, SAMPLES, needs_shared

from upbit_streams import DataType, Epoch, Event, Format, OrderbookEvent, TradeEvent, to_fields
from upbit_streams.model.events import OrderbookUnit
from upbit_streams.model.subscriptions import Want, wants_of
from upbit_streams.testing import read_recording
from upbit_streams.wire.decode import Decoder
from upbit_streams.wire.encode import encode
from upbit_streams.wire.fields import TABLE, Kind
from upbit_streams.wire.replies import BadFrame, ErrorReply, StatusReply
from upbit_streams.wire.requests import subscribe

EPOCH = Epoch(connection="public", number=3, started_at=1.0, wall_offset=0.0, reason="test")
DECODERS = {format: Decoder(format) for format in Format}
PUBLIC = ("ticker", "trade", "orderbook_", "candle")


def _decode(frame: bytes | str, format: Format) -> Event:
    [event], replies = DECODERS[format].decode([frame], EPOCH, 2.0)
    assert not replies
    return event


def _samples(format: Format) -> list[Path]:
    found = [path for path in sorted(SAMPLES.glob("*.json")) if path.name.startswith(PUBLIC)]
    return [path for path in found if format.value in path.name and "LIST" not in path.name and "rest" not in path.name]


@needs_shared
@pytest.mark.parametrize("format", list(Format))
def test_every_sample_of_a_public_type_decodes_to_what_it_says_and_encodes_to_the_same(format: Format) -> None:
    paths = _samples(format)
    assert len(paths) >= 6
    for path in paths:
        raw = json.loads(path.read_bytes())
        event = _decode(path.read_bytes(), format)
        assert to_fields(event, format) == raw, path.name
        assert json.loads(encode(event, format)) == raw, path.name
        assert next(iter(json.loads(encode(event, format)))) == ("ty" if format is Format.SIMPLE else "type")


@needs_shared
def test_the_recording_survives_both_formats() -> None:
    recording = read_recording(RECORDING)
    assert len(recording) == 270
    for recorded in recording:
        stamped = msgspec.structs.replace(recorded.event, epoch=EPOCH, received_at=2.0)
        for format in Format:
            assert _decode(encode(recorded.event, format), format) == stamped


def _values(type_: Any) -> st.SearchStrategy[Any]:
    if isinstance(type_, Kind):
        return st.lists(_instances(type_), max_size=3).map(tuple)
    return {
        float: st.floats(allow_nan=False, allow_infinity=False),
        int: st.integers(0, 2**63 - 1),
        str: st.text(max_size=10),
        bool: st.booleans(),
        Any: st.none() | st.text(max_size=3),
    }[type_]


def _instances(kind: Kind) -> st.SearchStrategy[Any]:
    members = {
        field.name: st.none() | _values(field.type) if field.optional else _values(field.type) for field in kind.fields
    }
    return st.builds(kind.event, **members)


EVENTS = st.sampled_from(list(TABLE)).flatmap(lambda name: _instances(TABLE[name]))


@given(event=EVENTS, format=st.sampled_from(Format))
def test_decoding_undoes_encoding_in_every_format(event: Event, format: Format) -> None:
    assert _decode(encode(event, format), format) == msgspec.structs.replace(event, epoch=EPOCH, received_at=2.0)


@given(event=EVENTS, format=st.sampled_from(Format))
def test_an_event_of_the_wire_is_like_one_made_by_hand(event: Event, format: Format) -> None:
    """Class, equality, hash, text and pickle do not show which format it came in."""
    decoded = _decode(encode(event, format), format)
    made = msgspec.structs.replace(event, epoch=EPOCH, received_at=2.0)
    assert isinstance(decoded, type(event))
    assert decoded.type == event.type
    assert (decoded, hash(decoded), repr(decoded)) == (made, hash(made), repr(made))
    assert decoded != msgspec.structs.replace(made, code=made.code + "x")
    unpickled = pickle.loads(pickle.dumps(decoded))  # noqa: S301 -- our own bytes
    assert unpickled == decoded
    assert type(unpickled) is type(event)


def test_events_of_different_types_are_never_equal() -> None:
    common: dict[str, Any] = {field.name: field.type() for field in TABLE["candle.1m"].fields}
    assert DataType.CANDLE_1M.event(**common) == DataType.CANDLE_1M.event(**common)
    assert DataType.CANDLE_1M.event(**common) != DataType.CANDLE_3M.event(**common)


def test_the_table_names_exactly_the_fields_of_each_event_class() -> None:
    assert {kind.name for kind in DataType.all()} == set(TABLE)
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


def test_unknown_fields_are_ignored_and_cannot_set_the_stamp() -> None:
    trade = _decode(TRADE % b',"news":[{}],"epoch":7,"received_at":"x"', Format.DEFAULT)
    assert trade.epoch is EPOCH
    assert trade.received_at == 2.0


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
        b'{"type":"nope"}',
        b"[" * 100_000,
        "\ud800",
        b'{"error":7}',
    ],
)
def test_a_frame_that_is_nothing_known_is_a_value_with_a_bounded_sample(frame: bytes | str) -> None:
    good = TRADE % b""
    events, [bad] = DECODERS[Format.DEFAULT].decode([good, frame, good], EPOCH, 0.0)
    assert len(events) == 2
    assert isinstance(bad, BadFrame)
    assert bad.why
    assert len(bad.sample) <= 200


@given(frame=st.one_of(st.binary(), st.text(), st.recursive(st.none() | st.text(), st.lists).map(json.dumps)))
def test_no_frame_ever_raises(frame: bytes | str) -> None:
    for decoder in DECODERS.values():
        events, replies = decoder.decode([frame], EPOCH, 0.0)
        assert len(events) + len(replies) == 1


WANTS = st.frozensets(
    st.builds(Want, st.sampled_from(DataType.all()), st.sampled_from(["KRW-BTC", "KRW-ETH", "BTC-ETH"])), min_size=1
)


@given(wants=WANTS)
def test_a_request_asks_for_exactly_its_wants_in_one_fixed_order(wants: frozenset[Want]) -> None:
    ticket, *types, format = json.loads(subscribe(wants, "me", Format.SIMPLE))
    assert (ticket, format) == ({"ticket": "me"}, {"format": "SIMPLE"})
    asked = [(part["type"], code) for part in types for code in part["codes"]]
    assert asked == sorted((want.type.name, want.code) for want in wants)
    assert len({part["type"] for part in types}) == len(types)
    assert subscribe(sorted(wants, key=repr), "me", Format.SIMPLE) == subscribe(wants, "me", Format.SIMPLE)


def test_wants_are_every_type_for_every_code() -> None:
    trade, ticker = DataType.TRADE, DataType.TICKER
    assert wants_of(trade, " krw-btc ") == {Want(trade, "KRW-BTC")}
    assert wants_of([trade, ticker], ["KRW-BTC", "BTC-ETH", "krw-btc"]) == {
        Want(kind, code) for kind in (trade, ticker) for code in ("KRW-BTC", "BTC-ETH")
    }
    assert attrs.asdict(Want(trade, "KRW-BTC"))["type"] is trade
