"""What the library does when the exchange says that it connects too often, or when it may not try for ever."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import CODES, NumberedSource, open_world, wall

from upbit_streams import (
    Backoff,
    Config,
    ConnectionState,
    Credentials,
    DataType,
    Endpoint,
    InvalidConfigError,
    ReconnectFailedError,
    Secret,
    open_manager,
)
from upbit_streams.testing import (
    Ban,
    Close,
    Drop,
    Fault,
    Refusal,
    SimulatedExchange,
    TooManyConnects,
    memory_connector,
    play,
    strategies,
)
from upbit_streams.transport.interface import Connector, Transport

Run = Callable[..., Any]

_EAGER = Backoff(initial=1e-9, maximum=1e-9)
"""Nothing but the limits holds it back."""


@given(script=strategies.faults([Ban, TooManyConnects, Drop, Close]), eager=st.booleans())
def test_nobody_connects_before_a_block_is_over_and_everybody_comes_back_after_it(
    virtual_run: Run, script: list[Fault], eager: bool
) -> None:
    """Two connections, which share the limit: what one of them is told, the other obeys."""

    async def main() -> None:
        backoff = _EAGER if eager else Backoff(initial=0.5, maximum=4.0)
        async with (
            open_world(backoff=backoff, url="wss://memory") as world,
            world.manager.open_client("strategy") as client,
        ):
            account = world.exchange.open_account()
            world.manager.set_credentials(Credentials(account.access_key, account.secret_key.reveal()))
            await client.register_interest(DataType.TRADE, CODES)
            await client.register_interest(DataType.MY_ASSET)
            await play(script, world.exchange, wall)
            # A block begins with who connects next, so the last ones begin only now.
            for _ in script:
                world.exchange.end_sessions(wall())
                await anyio.sleep(70)
            await client.wait_ready(timeout=200)
            assert world.exchange.breaches == []
            assert {session.endpoint for session in world.exchange.sessions} == {Endpoint.PUBLIC, Endpoint.PRIVATE}

    virtual_run(main)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (TooManyConnects(), 1.1),
        (Ban(seconds=47), 47.1),
        (Ban(seconds=29, body="say nothing"), 30.1),
        (Ban(seconds=3000, body='{"blocked_until": "{until}"}'), 3000.1),
    ],
)
async def test_a_block_is_waited_out_to_the_second(fault: TooManyConnects, seconds: float) -> None:
    async with open_world(backoff=_EAGER) as world, world.manager.open_client("strategy") as client:
        with anyio.move_on_after(1):
            await play([fault], world.exchange, wall)
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready(timeout=4000)
        first, second = world.exchange.connects
        assert second - first == pytest.approx(seconds, abs=1.0 if "until" in fault.body else 0.01)


@pytest.mark.anyio
async def test_blocks_that_do_not_say_how_long_are_waited_out_longer_and_longer() -> None:
    async with open_world(backoff=_EAGER) as world, world.manager.open_client("strategy") as client:
        world.exchange.refusal = Refusal(418, "I'm a teapot")
        await client.register_interest(DataType.TRADE, CODES)
        await anyio.sleep(30 + 60 + 120 + 10)
        world.exchange.refusal = None
        await client.wait_ready(timeout=1000)
        world.exchange.refusal = Refusal(418, "I'm a teapot")
        world.exchange.end_sessions(wall())
        await anyio.sleep(40)
        times = list(world.exchange.connects)
        pauses = [later - sooner for sooner, later in pairwise(times)]
        assert pauses[:4] == pytest.approx([30.1, 60.1, 120.1, 240.1], abs=0.01)
        assert pauses[5:] == pytest.approx([30.1], abs=0.01)  # it was let in between


@pytest.mark.anyio
async def test_two_that_are_refused_at_once_are_refused_once() -> None:
    """Else the second would wait twice as long, and so would the first, with which it shares the limit."""
    exchange = SimulatedExchange(NumberedSource())
    account = exchange.open_account()
    exchange.refusal = Refusal(418, "I'm a teapot")
    opening = open_manager(
        Config(url="wss://memory", backoff=_EAGER),
        credentials=Credentials(account.access_key, account.secret_key.reveal()),
        connector=partial(_slow, memory_connector(exchange, wall)),
        wall=wall,
        draw=lambda: 0.5,
    )
    async with opening as manager, manager.open_client("s") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.register_interest(DataType.MY_ASSET)
        await anyio.sleep(29)
        assert len(exchange.connects) == 2
        await anyio.sleep(2)
        assert len(exchange.connects) == 4
        await anyio.sleep(58)
        assert len(exchange.connects) == 4
        await anyio.sleep(3)
        assert len(exchange.connects) == 6


async def _slow(connector: Connector, url: str, config: Config, token: Secret | None) -> Transport:
    await anyio.sleep(0.1)
    return await connector(url, config, token)


@pytest.mark.anyio
async def test_who_is_blocked_and_no_longer_wanted_does_not_come_back() -> None:
    async with open_world() as world:
        with anyio.move_on_after(1):
            await play([Ban(seconds=60)], world.exchange, wall)
        async with world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await anyio.sleep(10)
        await anyio.sleep(200)
        assert len(world.exchange.connects) == 1
        assert world.manager.status().state is ConnectionState.DISCONNECTED


@pytest.mark.anyio
@pytest.mark.parametrize("attempts", [1, 3])
async def test_after_as_many_attempts_as_are_allowed_everybody_is_told_and_it_stays_so(attempts: int) -> None:
    async with open_world(backoff=Backoff(attempts=attempts)) as world, world.manager.open_client("s") as client:
        async with client.stream(DataType.TRADE, CODES) as trades:
            await trades.receive()
            await anyio.sleep(10)
            world.exchange.refusal = Refusal(503, "maintenance")
            world.exchange.end_sessions(wall())
            with pytest.raises(ReconnectFailedError, match="maintenance") as failed:
                while True:
                    await trades.receive()
            assert failed.value.attempts == attempts
            assert len(world.exchange.connects) == 1 + attempts
        status = world.manager.status()
        assert status.state is ConnectionState.ERROR
        assert "gave up" in status.reason
        # Neither another key nor another want brings it back.
        world.exchange.refusal = None
        world.manager.set_credentials(Credentials("access", "secret"))
        await client.register_interest(DataType.TRADE, "KRW-SOL")
        with pytest.raises(ReconnectFailedError):
            await client.wait_ready()
        async with client.stream(DataType.TRADE, CODES) as later:
            with pytest.raises(ReconnectFailedError):
                await later.receive()
        await anyio.sleep(1000)
        assert len(world.exchange.connects) == 1 + attempts


@pytest.mark.anyio
async def test_an_epoch_that_is_a_success_begins_the_count_anew() -> None:
    async with open_world(backoff=Backoff(attempts=2)) as world, world.manager.open_client("s") as client:
        await client.register_interest(DataType.TRADE, CODES)
        for _ in range(4):
            world.exchange.refusal = Refusal(503, "maintenance")
            world.exchange.end_sessions(wall())
            before = len(world.exchange.connects)
            while len(world.exchange.connects) == before:  # noqa: ASYNC110 -- a plain deque wakes nobody
                await anyio.sleep(0.01)
            world.exchange.refusal = None
            await anyio.sleep(10)
        assert world.manager.status().state is not ConnectionState.ERROR


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [0.05, 1.0, 10.0])
async def test_an_epoch_that_ends_because_nobody_wants_anything_is_no_failure(seconds: float) -> None:
    """However short it was, and whether or not it brought anything: nobody minded its end."""
    async with (
        open_world(backoff=Backoff(attempts=1), idle_timeout=1.0) as world,
        world.manager.open_client("s") as client,
    ):
        for epoch in (1, 2, 3):
            async with client.stream(DataType.TRADE, CODES) as trades:
                await anyio.sleep(seconds)
            await anyio.sleep(10)
            assert world.manager.status().state is ConnectionState.DISCONNECTED
            assert len(world.exchange.connects) == epoch
        async with client.stream(DataType.TRADE, CODES) as trades:
            await trades.receive()


@pytest.mark.anyio
@pytest.mark.parametrize(("seconds", "attempts"), [(1.0, 1), (10.0, 2)])
async def test_an_epoch_that_nobody_wants_any_more_is_a_success_if_it_lived_for_long(
    seconds: float, attempts: int
) -> None:
    """And else it leaves the count of failures as it was: here, one before it."""
    async with (
        open_world(backoff=Backoff(attempts=2, initial=0.1), idle_timeout=0.1) as world,
        world.manager.open_client("s") as client,
    ):
        world.exchange.refusal = Refusal(503, "maintenance")
        async with client.stream(DataType.TRADE, CODES):
            while not world.exchange.connects:  # noqa: ASYNC110 -- a plain deque wakes nobody
                await anyio.sleep(0.01)
            world.exchange.refusal = None
            await anyio.sleep(seconds)
        await anyio.sleep(1)
        assert world.manager.status().state is ConnectionState.DISCONNECTED
        world.exchange.refusal = Refusal(503, "maintenance")
        async with client.stream(DataType.TRADE, CODES) as trades:
            with pytest.raises(ReconnectFailedError):
                await trades.receive()
        assert len(world.exchange.connects) == 2 + attempts


@pytest.mark.parametrize("attempts", [0, -1, 1.5, True, "3"])
def test_a_number_of_attempts_that_is_none_is_told(attempts: Any) -> None:
    with pytest.raises(InvalidConfigError, match="attempts"):
        Backoff(attempts=attempts)
