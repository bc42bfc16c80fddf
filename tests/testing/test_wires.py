"""The default transport over wires in memory: the whole protocol in virtual time, with faults at any byte."""

import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
import pytest
from anyio.abc import ByteStream
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import NumberedSource, wall

from upbit_streams import (
    Backoff,
    Config,
    ConnectFailedError,
    ConnectionLostError,
    DataType,
    HandshakeRefusedError,
    TradeEvent,
    open_manager,
)
from upbit_streams.testing import (
    Close,
    Refusal,
    SimulatedExchange,
    SlowClose,
    Wire,
    Wires,
    open_wires,
    play,
    serve_wires,
)
from upbit_streams.transport.interface import Transport

pytestmark = pytest.mark.anyio

CONFIG = Config(url="ws://exchange/websocket/v1", backoff=Backoff(initial=0.5, maximum=4.0))
TRADES = json.dumps([{"ticket": "test"}, {"type": "trade", "codes": ["KRW-BTC"]}, {"format": "DEFAULT"}])


@asynccontextmanager
async def wired(interval: float = 0.1) -> AsyncIterator[tuple[SimulatedExchange, Wires]]:
    exchange = SimulatedExchange(NumberedSource(interval))
    async with open_wires(exchange, wall) as wires:
        yield exchange, wires


@asynccontextmanager
async def trading() -> AsyncIterator[tuple[Transport, Wire]]:
    """A connection over a wire on which ten trades a second come."""
    async with wired() as (_, wires):
        transport = await wires.connect(CONFIG.url, CONFIG)
        await transport.send(TRADES)
        yield transport, wires.open[0]
        await transport.aclose()


async def numbers(transport: Transport, count: int) -> list[int]:
    received: list[int] = []
    while len(received) < count:
        received += [json.loads(frame)["sequential_id"] for frame in await transport.receive()]
    return received


async def until_lost(transport: Transport) -> ConnectionLostError:
    with pytest.raises(ConnectionLostError) as lost:
        while True:
            await transport.receive()
    return lost.value


def first_trades(count: int) -> list[int]:
    return [1_000_001 + number for number in range(count)]


async def test_a_connection_works_and_leaves_nothing_behind() -> None:
    async with wired() as (exchange, wires):
        transport = await wires.connect(CONFIG.url, CONFIG)
        await transport.send(TRADES)
        assert await numbers(transport, 5) == first_trades(5)
        assert anyio.current_time() == pytest.approx(0.5)
        started = anyio.current_time()
        with anyio.move_on_after(1.0) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(numbers, transport, 1000)
                await transport.ping()
                assert anyio.current_time() == started
                group.cancel_scope.cancel()
        assert not scope.cancelled_caught
        await transport.aclose()
        assert anyio.current_time() == started
        await anyio.sleep(0.1)
        assert not exchange.sessions
        assert not wires.open


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_chopped_at_any_byte_everything_arrives(size: int) -> None:
    async with wired() as (_, wires):

        def chop(wire: Wire) -> None:
            wire.up.chop = wire.down.chop = size

        wires.prepare = chop
        transport = await wires.connect(CONFIG.url, CONFIG)
        await transport.send(TRADES)
        assert await numbers(transport, 10) == first_trades(10)
        await transport.aclose()


async def test_a_reset_in_the_middle_of_a_frame_ends_the_connection_behind_the_last_whole_one() -> None:
    async with trading() as (transport, wire):
        assert await numbers(transport, 3) == first_trades(3)
        wire.down.reset_after = 10
        assert "reset" in (lost := await until_lost(transport)).why
        assert lost.code == 1006


def test_a_reset_after_any_byte_is_a_failed_connect_or_a_lost_connection(virtual_run: Callable[..., Any]) -> None:
    async def main(size: int, *, up: bool) -> int:
        async with wired() as (exchange, wires):

            def cut(wire: Wire) -> None:
                (wire.up if up else wire.down).reset_after = size

            wires.prepare = cut
            received: list[int] = []
            try:
                transport = await wires.connect(CONFIG.url, CONFIG)
            except ConnectFailedError as failed:
                assert failed.why  # noqa: PT017
                return 0
            with pytest.raises(ConnectionLostError):
                await transport.send(TRADES)
                while len(received) < 20:
                    received += await numbers(transport, 1)
                await transport.aclose()
                raise ConnectionLostError("it lived")
            assert received == first_trades(len(received))
            await transport.aclose()
            await anyio.sleep(0.1)
            assert not exchange.sessions
            return 1 + len(received)

    @given(st.integers(1, 2000), st.booleans())
    def check(size: int, up: bool) -> None:
        virtual_run(lambda: main(size, up=up))

    check()


async def test_a_stall_delays_and_loses_nothing() -> None:
    async with trading() as (transport, wire):
        await numbers(transport, 3)
        wire.down.stall(5.0)
        started = anyio.current_time()
        assert await numbers(transport, 10) == [1_000_004 + number for number in range(50)]
        assert anyio.current_time() == started + 5.0
        wire.down.stall()
        with anyio.move_on_after(60) as scope:
            await transport.receive()
        assert scope.cancelled_caught
        wire.down.resume()
        assert (await numbers(transport, 1))[0] == 1_000_054


async def test_a_slow_wire_passes_so_many_bytes_a_second_and_makes_the_sender_wait() -> None:
    sent_at: list[float] = []

    async def send(stream: ByteStream) -> None:
        await stream.send(bytes(200_000))
        sent_at.append(anyio.current_time())

    async with serve_wires(send) as wires:
        wires.prepare = lambda wire: setattr(wire.down, "rate", 1000.0)
        stream = await wires.dial("exchange", 80)
        size = 0
        with pytest.raises(anyio.EndOfStream):
            while True:
                size += len(await stream.receive())
        assert size == 200_000
        assert anyio.current_time() == pytest.approx(200.0)
        assert sent_at[0] == pytest.approx(200 - 65.536, abs=0.1)


async def test_a_half_open_wire_is_found_out_by_the_ping() -> None:
    async with wired() as (_, wires):
        async with (
            open_manager(CONFIG, connector=wires.connect, wall=wall, draw=lambda: 0.5) as manager,
            manager.open_client("test") as client,
            client.stream(DataType.TRADE, "KRW-BTC") as trades,
        ):
            await anyio.sleep(1.0)
            (wire,) = wires.open
            wire.down.dead = True
            died = anyio.current_time()
            while True:
                event = await trades.receive()
                if isinstance(event, TradeEvent) and event.epoch.number == 2:
                    break
            assert 10.0 < anyio.current_time() - died < 40.0


async def test_an_exchange_that_is_slow_to_say_goodbye_answers_no_ping_meanwhile() -> None:
    async with wired() as (exchange, wires), anyio.create_task_group() as group:
        transport = await wires.connect(CONFIG.url, CONFIG)
        group.start_soon(play, [SlowClose(lasts=9, seconds=4), Close(after=1)], exchange, wall)
        lost: list[float] = []

        async def read() -> None:
            await until_lost(transport)
            lost.append(anyio.current_time())

        group.start_soon(read)
        await transport.ping()
        await anyio.sleep(2)
        with pytest.raises(ConnectionLostError, match="closed it with code 1000"):
            await transport.ping()
        assert lost == [pytest.approx(5, abs=0.1)]
        await transport.aclose()
        group.cancel_scope.cancel()


async def test_a_dead_direction_hides_the_end_too() -> None:
    async with trading() as (transport, wire):
        await numbers(transport, 1)
        wire.down.dead = True
        with anyio.move_on_after(60) as scope:
            await transport.receive()
        assert scope.cancelled_caught


async def test_a_refusal_and_an_unreachable_exchange() -> None:
    async with wired() as (exchange, wires):
        exchange.refusal = Refusal(503, "maintenance")
        with pytest.raises(HandshakeRefusedError) as refused:
            await wires.connect(CONFIG.url, CONFIG)
        assert (refused.value.status, refused.value.body) == (503, "maintenance")
        wires.unreachable = True
        with pytest.raises(ConnectFailedError, match="connection refused"):
            await wires.connect(CONFIG.url, CONFIG)


async def test_an_exchange_that_never_answers_is_given_up() -> None:
    async with wired() as (_, wires):
        wires.prepare = lambda wire: wire.down.stall(math.inf)
        with pytest.raises(ConnectFailedError, match="no answer within 10 s"):
            await wires.connect(CONFIG.url, CONFIG)
        assert anyio.current_time() == pytest.approx(10.0)


@attrs.frozen
class Fault:
    """After so many seconds, something happens to the newest wire."""

    after: float
    kind: str
    amount: int


FAULTS = st.lists(
    st.builds(
        Fault,
        st.sampled_from([0.0, 0.05, 1.0, 7.0]),
        st.sampled_from(["chop", "rate", "stall", "die down", "die up", "reset after", "reset", "end"]),
        st.integers(1, 3000),
    ),
    max_size=8,
)


def test_whatever_happens_to_the_bytes_the_feed_is_whole_within_each_epoch_and_comes_back(
    virtual_run: Callable[..., Any],
) -> None:
    """The whole library over wires: epochs never go back, and within an epoch no event is missing or doubled."""

    async def suffer(wires: Wires, exchange: SimulatedExchange, script: list[Fault]) -> None:
        for fault in script:
            await anyio.sleep(fault.after)
            wire = wires.open[-1] if wires.open else Wire()
            match fault.kind:
                case "chop":
                    wire.up.chop = wire.down.chop = fault.amount
                case "rate":
                    wire.down.rate = float(fault.amount)
                case "stall":
                    wire.down.stall(fault.amount / 100)
                case "die down":
                    wire.down.dead = True
                case "die up":
                    wire.up.dead = True
                case "reset after":
                    wire.down.reset_after = fault.amount
                case "reset":
                    wire.reset()
                case _:
                    exchange.end_sessions(wall())

    async def main(script: list[Fault]) -> None:
        seen: dict[int, list[int]] = {}
        last = 0.0
        async with (
            wired(0.5) as (exchange, wires),
            open_manager(CONFIG, connector=wires.connect, wall=wall, draw=lambda: 0.5) as manager,
            manager.open_client("test") as client,
            client.stream(DataType.TRADE, "KRW-BTC") as trades,
            anyio.create_task_group() as group,
        ):
            group.start_soon(suffer, wires, exchange, script)
            with anyio.move_on_after(120.0):
                async for trade in trades:
                    assert not seen or trade.epoch.number >= max(seen)
                    seen.setdefault(trade.epoch.number, []).append(trade.sequential_id)
                    last = anyio.current_time()
            group.cancel_scope.cancel()
        assert last > 60.0
        for numbers_of_epoch in seen.values():
            first = numbers_of_epoch[0]
            assert first % 1_000_000 == 1
            assert numbers_of_epoch == list(range(first, first + len(numbers_of_epoch)))
        assert exchange.breaches == []
        assert not wires.open

    @given(FAULTS)
    def check(script: list[Fault]) -> None:
        virtual_run(main, script)

    check()
