"""Faults as data: each does what it says, to who it says, for as long as it says."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import NumberedSource, wall

from upbit_streams import Config, ConnectionLostError, Endpoint, HandshakeRefusedError, UsageError
from upbit_streams.testing import (
    Ban,
    Close,
    Delay,
    Drop,
    Duplicate,
    ErrorFrame,
    Fault,
    Garbage,
    Late,
    Player,
    Refuse,
    RefuseLogin,
    Reset,
    SilentAccept,
    SimulatedExchange,
    Skew,
    SlowClose,
    Stall,
    TooManyConnects,
    memory_connector,
    play,
    strategies,
)
from upbit_streams.transport.interface import Transport

pytestmark = pytest.mark.anyio


def asked(*codes: str) -> str:
    return json.dumps([{"ticket": "test"}, {"type": "trade", "codes": codes}])


class Client:
    """A connection, and all that came over it: when, and what."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.heard: list[tuple[float, bytes]] = []
        self.lost: Any = None
        """When it ended, and with which code."""

    async def listen(self) -> None:
        try:
            while True:
                for frame in await self.transport.receive():
                    self.heard.append((anyio.current_time(), bytes(frame)))  # type: ignore[arg-type]
        except ConnectionLostError as lost:
            self.lost = anyio.current_time(), lost.code

    def numbers(self) -> list[int]:
        return [json.loads(frame)["sequential_id"] % 1_000_000 for _, frame in self.heard]


@asynccontextmanager
async def suffering(*script: Fault, interval: float = 1.0) -> AsyncGenerator[tuple[SimulatedExchange, Client]]:
    """A client that hears a trade a second, and a script that begins with it."""
    exchange = SimulatedExchange(NumberedSource(interval))
    client = Client(await memory_connector(exchange, wall)("ws://memory", Config(), None))
    await client.transport.send(asked("KRW-BTC"))
    async with anyio.create_task_group() as group:
        group.start_soon(client.listen)
        group.start_soon(play, script, exchange, wall)
        yield exchange, client
        group.cancel_scope.cancel()


async def connect(exchange: SimulatedExchange, path: str = "") -> int:
    """The status of a handshake."""
    try:
        await (await memory_connector(exchange, wall)(f"ws://memory{path}", Config(), None)).aclose()
    except HandshakeRefusedError as refused:
        return refused.status
    return 101


@pytest.mark.parametrize(
    ("fault", "code", "seconds"),
    [(Drop(after=2.5), 1006, 2.5), (Reset(after=2.5), 1006, 2.5), (Close(after=2.5, code=1001), 1001, 2.5)],
)
async def test_sessions_end_in_the_way_the_script_says(fault: Fault, code: int, seconds: float) -> None:
    async with suffering(fault) as (_, client):
        await anyio.sleep(5)
    assert client.lost == (pytest.approx(seconds), code)
    assert client.numbers() == [1, 2]


async def test_an_error_frame_is_followed_by_a_close() -> None:
    async with suffering(ErrorFrame(after=0.5, name="NEW")) as (_, client):
        await anyio.sleep(5)
    [(at, frame)] = client.heard
    assert at == pytest.approx(0.5)
    assert json.loads(frame)["error"]["name"] == "NEW"
    assert client.lost == (pytest.approx(0.65), 1000)


async def test_garbage_comes_between_the_frames_and_a_duplicate_behind_its_original() -> None:
    async with suffering(Duplicate(), Garbage(after=1.5, data=b"?"), Duplicate(after=1)) as (_, client):
        await anyio.sleep(4.5)
    assert client.heard.pop(1)[1] == b"?"
    assert client.numbers() == [1, 2, 2, 3, 4]


@pytest.mark.parametrize(("frames", "old"), [(2, 2), (9, 5)])
async def test_a_request_takes_effect_late(frames: int, old: int) -> None:
    async with suffering(Late(frames=frames), interval=0.2) as (_, client):
        await anyio.sleep(0.5)
        await client.transport.send(asked("KRW-ETH"))
        await anyio.sleep(2)
        codes = [json.loads(frame)["code"] for _, frame in client.heard]
        assert codes[: 2 + old] == ["KRW-BTC"] * (2 + old)
        assert set(codes[2 + old :]) == {"KRW-ETH"}
        await client.transport.send(asked("KRW-BTC"))
        before = len(client.heard)
        await anyio.sleep(1)
        assert {json.loads(frame)["code"] for _, frame in client.heard[before:]} == {"KRW-BTC"}


async def test_a_stall_holds_back_everything_pongs_too() -> None:
    async with suffering(Stall(after=1.5, lasts=3)) as (exchange, client):
        await anyio.sleep(2)
        with anyio.move_on_after(2) as ping:
            await client.transport.ping()
        assert ping.cancelled_caught
        assert client.numbers() == [1]
        await anyio.sleep(1.5)
        assert client.numbers() == [1, 2, 3, 4, 5]
        assert not exchange.is_stalled(Endpoint.PUBLIC)


async def test_a_delay_makes_frames_late_and_none_overtakes_another() -> None:
    async with suffering(Delay(lasts=2.5, seconds=3), Close(after=4.5)) as (_, client):
        await anyio.sleep(10)
    assert client.numbers() == [1, 2, 3, 4]
    assert [at for at, _ in client.heard] == pytest.approx([4, 5, 5, 5])
    assert client.lost == (pytest.approx(5), 1000)  # a polite end waits for what is on its way


async def test_a_silent_session_answers_pings_and_says_nothing_for_all_its_life() -> None:
    async with suffering(SilentAccept(lasts=1)) as (exchange, client):
        await anyio.sleep(0.5)
        silent = Client(await memory_connector(exchange, wall)("ws://memory", Config(), None))
        await silent.transport.send(asked("KRW-BTC"))
        with anyio.move_on_after(200):
            async with anyio.create_task_group() as group:
                group.start_soon(silent.listen)
                while True:
                    await anyio.sleep(20)
                    await silent.transport.ping()
                    await client.transport.ping()
        assert (silent.heard, silent.lost) == ([], None)
        assert len(client.heard) == 200


async def test_a_slow_close_takes_its_time_and_is_cut_off_by_who_does_not_wait() -> None:
    async with suffering(SlowClose(lasts=9, seconds=2), Close(after=3)) as (exchange, client):
        await anyio.sleep(0.5)
        other = await memory_connector(exchange, wall)("ws://memory", Config(), None)
        await other.aclose()
        assert anyio.current_time() == pytest.approx(2.5)
        impatient = await memory_connector(exchange, wall)("ws://memory", Config(), None)
        with anyio.move_on_after(0.5):
            await impatient.aclose()
        assert len(exchange.sessions) == 1
        await anyio.sleep(5)
    assert client.lost == (pytest.approx(5), 1000)


@pytest.mark.parametrize(
    "script",
    [
        (SlowClose(lasts=9, seconds=4), Close(after=3)),
        (Delay(lasts=3.5, seconds=4), Close(after=3)),
        (Stall(after=2.5, lasts=9), SlowClose(lasts=9, seconds=4), Close(after=0.5)),
    ],
)
async def test_whoever_is_about_to_say_goodbye_tells_nothing_and_so_answers_no_ping(script: Sequence[Fault]) -> None:
    async with suffering(*script) as (_, client):
        await anyio.sleep(3.5)
        with pytest.raises(ConnectionLostError, match="code 1000"):
            await client.transport.ping()
        found_out = anyio.current_time()
        await anyio.sleep(1)
    at, code = client.lost
    assert code == 1000
    assert 5.5 < at <= found_out


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
async def test_a_skewed_clock_shows_in_time_stamps_and_nowhere_else(seconds: float) -> None:
    async with suffering(Skew(after=1.5, lasts=2, seconds=seconds)) as (_, client):
        await anyio.sleep(5.5)
    stamps = [json.loads(frame)["timestamp"] / 1000 - wall() + anyio.current_time() for _, frame in client.heard]
    assert stamps == pytest.approx([1, 2 + seconds, 3 + seconds, 4, 5], abs=0.01)
    assert [at for at, _ in client.heard] == pytest.approx([1, 2, 3, 4, 5])


async def test_handshakes_are_refused_as_long_as_the_fault_lasts_and_overlapping_ones_do_not_end_each_other() -> None:
    script = Refuse(after=1, lasts=4), RefuseLogin(after=1, lasts=1), Refuse(endpoint=Endpoint.PRIVATE, status=500)
    async with suffering(*script) as (exchange, _):
        statuses = []
        for path in ("", "", "", "/private", "", ""):
            statuses.append(await connect(exchange, path))
            await anyio.sleep(1.1)
    assert statuses == [101, 503, 401, 500, 503, 101]


@pytest.mark.breaches
@pytest.mark.parametrize("fault", [Ban(seconds=10), TooManyConnects(seconds=10)])
async def test_a_block_begins_with_who_connects_next_and_whoever_tries_before_its_end_breaks_a_limit(
    fault: Ban | TooManyConnects,
) -> None:
    async with suffering(fault) as (exchange, _):
        await anyio.sleep(100)
        assert await connect(exchange) == fault.status
        assert exchange.breaches == []
        await anyio.sleep(5)
        assert await connect(exchange) == fault.status
        assert len(exchange.breaches) == 1
        await anyio.sleep(5.1)
        assert await connect(exchange) == 101


@pytest.mark.parametrize("body", ["{seconds}", "{until}"])
async def test_a_ban_says_how_long_it_takes(body: str) -> None:
    async with suffering(Ban(seconds=90, body=body)) as (exchange, _):
        await anyio.sleep(1)
        with pytest.raises(HandshakeRefusedError) as refused:
            await memory_connector(exchange, wall)("ws://memory", Config(), None)
        assert refused.value.body == {"{seconds}": "90", "{until}": "2026-11-18T11:08:11+00:00"}[body]


async def test_a_fault_of_one_endpoint_leaves_the_others_alone() -> None:
    script = [kind(endpoint=Endpoint.PRIVATE) for kind in (Drop, Close, ErrorFrame, Garbage, Stall, Delay, Ban, Refuse)]
    async with suffering(*script) as (exchange, client):
        await anyio.sleep(2.5)
        assert (client.numbers(), client.lost) == ([1, 2], None)
        assert await connect(exchange) == 101


@given(script=strategies.faults())
async def test_when_a_script_is_over_or_cut_off_nothing_of_it_is_left(script: list[Fault]) -> None:
    exchange = SimulatedExchange(NumberedSource())
    player = Player(script, exchange, 0.0)
    while (at := player.next_time()) < float("inf"):
        player.advance(at)
        assert player.next_time() >= at
    assert all(not exchange.is_stalled(endpoint) for endpoint in Endpoint)
    assert exchange.conditions.refusal(Endpoint.PUBLIC) is None
    cut = Player(script, exchange, 0.0)
    cut.advance(5.0)
    cut.stop()
    assert cut.next_time() == float("inf")
    assert exchange.conditions.delay(Endpoint.PUBLIC) == 0
    assert not exchange.conditions.is_silent(Endpoint.PUBLIC)


@given(
    script=strategies.faults([Delay, Duplicate, Garbage, Late, Skew, Stall], max_size=5),
    pauses=st.lists(st.floats(0, 5)),
)
def test_no_frame_overtakes_another_whatever_happens_to_a_session(
    virtual_run: Any, script: list[Fault], pauses: Sequence[float]
) -> None:
    async def main() -> None:
        async with suffering(*script, interval=0.3) as (_, client):
            for pause in pauses[:4]:
                await anyio.sleep(pause + 0.3)
                await client.transport.send(asked("KRW-BTC", "KRW-ETH"))
            await anyio.sleep(100)
        numbers = []
        for _, frame in client.heard:
            try:
                numbers.append(json.loads(frame)["sequential_id"])
            except (ValueError, KeyError, TypeError):
                continue
        assert numbers == sorted(numbers)
        repeats = sum(isinstance(fault, Duplicate) for fault in script)
        assert len(numbers) - len(set(numbers)) <= repeats

    virtual_run(main)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
async def test_a_time_that_is_none_is_told(wrong: float) -> None:
    for make in (Drop, partial(Stall, lasts=1.0)):
        with pytest.raises(UsageError, match="after of a fault"):
            make(after=wrong)
    with pytest.raises(UsageError, match="lasts of a fault"):
        Stall(lasts=wrong)
