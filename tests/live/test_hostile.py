"""Whatever numbers the exchange chooses, and whatever is wrong with a frame: nothing ends but the event."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.private import MARKETS, open_private_world
from tests.support.world import CODES, open_world, wall

from upbit_streams import DataType, DropOldest, Endpoint, Event, FrameLostError, NotReadyError, to_fields
from upbit_streams.cli.account import Balances, Orders
from upbit_streams.cli.markets import Markets
from upbit_streams.testing import Garbage, play
from upbit_streams.wire.fields import TABLE, Field, Kind

Run = Callable[..., Any]
TYPES = [
    DataType.TICKER,
    DataType.TRADE,
    DataType.ORDERBOOK,
    DataType.CANDLE_1M,
    DataType.MY_ORDER,
    DataType.MY_ASSET,
]
HOSTILE = [
    "1" + "0" * 400,
    "-1" + "0" * 400,
    "1" + "0" * 5000,
    "1e400",
    "1e999999999",
    "-1e999999999",
    "1e-999999999",
    "0e999999999",
    "0." + "0" * 5000 + "1",
    "1.7976931348623157e308",
    "5e-324",
    "9223372036854775808",
    "-9223372036854775808",
    "1700000000000000",
    "1e15",
    "NaN",
    "-Infinity",
    '"1e999999999"',
    '"NaN"',
    "null",
    "true",
    "[]",
    '"\\ud800"',
]


def _usual(kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in kind.fields:
        if isinstance(field.type, Kind):
            found[field.name] = [_usual(field.type)] if field.array else _usual(field.type)
        else:
            found[field.name] = (
                field.values[-1] if field.values else {str: "x", Any: None, bool: True}.get(field.type, 7)
            )
    return found | ({"code": MARKETS[0]} if "code" in found else {}) | ({"level": 0} if "level" in found else {})


def _places(kind: Kind, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for field in kind.fields:
        if isinstance(field.type, Kind):
            yield from _places(field.type, (*path, field.name, *([0] if field.array else [])))
        elif _is_number(field):
            yield (*path, field.name)


def _is_number(field: Field) -> bool:
    return field.type not in (str, bool)


@st.composite
def hostile_frames(draw: st.DrawFn, kind: DataType[Event]) -> bytes:
    """An event of one type with hostile numbers in some of its numeric fields."""
    fields = {"type": kind.name, **_usual(TABLE[kind.name])}
    places = draw(st.lists(st.sampled_from(list(_places(TABLE[kind.name]))), min_size=1, max_size=4, unique=True))
    hostile: list[str] = []
    for *way, last in places:
        holder: Any = fields
        for step in way:
            holder = holder[step]
        holder[last] = f"here {len(hostile)} is it"
        hostile.append(draw(st.sampled_from(HOSTILE)))
    frame = json.dumps(fields)
    for place, number in enumerate(hostile):
        frame = frame.replace(f'"here {place} is it"', number)
    return frame.encode()


def _every_number(frames_of: DataType[Event]) -> list[bytes]:
    """Every hostile number in every numeric field, one at a time."""
    found: list[bytes] = []
    for *way, last in _places(TABLE[frames_of.name]):
        fields = {"type": frames_of.name, **_usual(TABLE[frames_of.name])}
        holder: Any = fields
        for step in way:
            holder = holder[step]
        holder[last] = "here it is"
        found += [json.dumps(fields).replace('"here it is"', number).encode() for number in HOSTILE]
    return found


async def _suffer(frames: list[tuple[DataType[Event], bytes]]) -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        public, private = TYPES[:4], TYPES[4:]
        await client.register_interest(public, MARKETS, history=50)
        await client.register_interest(private)
        await client.wait_ready()
        markets, orders, balances = Markets(public, MARKETS), Orders(), Balances()
        seen: list[Event] = []
        unread: set[bytes] = set()
        encoder = msgspec.json.Encoder(decimal_format="number")
        async with (
            client.stream(public, MARKETS, backpressure=DropOldest(100_000)) as market,
            client.stream(private, backpressure=DropOldest(100_000)) as account,
            anyio.create_task_group() as group,
        ):

            async def consume(stream: Any, sections: list[Any]) -> None:
                while True:
                    try:
                        event = await stream.receive()
                    except FrameLostError as lost:
                        unread.add(lost.payload)
                        continue
                    if isinstance(event, Event):  # and no notice
                        seen.append(event)
                    for section in sections:
                        section.take(event)

            group.start_soon(consume, market, [markets])
            group.start_soon(consume, account, [orders, balances])
            for kind, frame in frames:
                await play([Garbage(data=frame, endpoint=kind.endpoint)], world.exchange, wall)
            await anyio.sleep(1)
            assert unread <= {frame for _, frame in frames}
            for section in (markets, orders, balances):
                shown = str(section.columns(100))
                assert len(shown) < 100_000
            for code in MARKETS:
                ticker = client.get_ticker(code)
                assert isinstance(ticker.trade_price + ticker.acc_trade_price_24h, float)
            assert client.get_multiple_prices(MARKETS)
            for event in seen:
                assert hash(event) == hash(event)
                assert 0 <= event.timestamp <= 10**14
                assert len(encoder.encode(to_fields(event))) < 50_000
            health, metrics = world.manager.health(), world.manager.metrics()
            assert math.isfinite(health.score)
            assert repr(metrics)
            for endpoint in (Endpoint.PUBLIC, Endpoint.PRIVATE):
                status = world.manager.status(endpoint)
                assert status.epoch is not None
                assert status.epoch.number == 1
                assert repr(status)
            assert all(abs(one.lag or 0.0) < 86_400 for one in metrics.connections)
            group.cancel_scope.cancel()


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
@given(data=st.data())
def test_no_number_of_the_exchange_ends_anything(virtual_run: Run, kind: DataType[Event], data: st.DataObject) -> None:
    frames = data.draw(st.lists(hostile_frames(kind), min_size=1, max_size=20))
    virtual_run(lambda: _suffer([(kind, frame) for frame in frames]))


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
async def test_no_number_in_any_field_ends_anything(kind: DataType[Event]) -> None:
    await _suffer([(kind, frame) for frame in _every_number(kind)])


@pytest.mark.parametrize("time", HOSTILE)
async def test_a_frame_of_an_unknown_type_and_a_time_that_is_none_ends_nothing(time: str) -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES[0])
        await client.wait_ready()
        before = world.manager.status().epoch
        frame = b'{"type":"x","timestamp":%s}' % time.encode()
        await play([Garbage(data=frame)], world.exchange, wall)
        await anyio.sleep(5)
        assert world.manager.status().epoch is before
        [metrics] = [one for one in world.manager.metrics().connections if one.name == "public"]
        assert abs(metrics.lag or 0.0) < 86_400


BAD = b'{"type":"trade","code":"KRW-NONE","timestamp":1,"trade_price":1,"stream_type":"REALTIME"}'


async def test_what_came_and_was_not_understood_is_named_in_place_of_a_typing_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, ["KRW-NONE", "KRW-NADA"])
        await anyio.sleep(1)
        await play([Garbage(data=BAD)], world.exchange, wall)
        with pytest.raises(NotReadyError, match=r"what came of trade of KRW-NONE was not understood: trade\.trade_vol"):
            await client.wait_ready(timeout=1)
        await anyio.sleep(15)
        assert world.manager.status().unanswered == (("trade", "KRW-NADA"), ("trade", "KRW-NONE"))
    told = [record.getMessage() for record in caplog.records]
    assert "public: what came of trade of KRW-NONE was not understood: trade.trade_volume is missing" in told
    assert (
        "public: nothing has come of trade of KRW-NADA; most likely a typing error, or not listed in this region"
        in told
    )


async def test_what_was_not_understood_in_an_earlier_epoch_is_no_reason_in_a_later_one() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-NONE")
        await anyio.sleep(1)
        await play([Garbage(data=BAD)], world.exchange, wall)
        world.exchange.end_sessions(wall())
        await anyio.sleep(5)
        with pytest.raises(NotReadyError, match="a market code the exchange does not list"):
            await client.wait_ready(timeout=1)


async def test_what_is_remembered_of_bad_frames_is_bounded() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, "KRW-NONE")
        await anyio.sleep(1)
        frames = [BAD.replace(b"NONE", str(number).encode()) for number in range(300)]
        await play([Garbage(data=frame) for frame in [*frames, BAD]], world.exchange, wall)
        with pytest.raises(NotReadyError, match="a market code the exchange does not list"):
            await client.wait_ready(timeout=1)
        assert world.manager.status().bad_frames == 301
