"""The states that a connection goes through, as its users see them."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from tests.support.world import CODES, open_world, wall

from upbit_streams import ConnectionState, Credentials, DataType, Endpoint, EpochEnded, FeedCrashedError, Manager
from upbit_streams.engine.hub import Hub
from upbit_streams.engine.login import Login
from upbit_streams.rules.lifecycle import TABLE
from upbit_streams.testing import Ban, Drop, Fault, Refusal, SilentAccept, play, strategies

Run = Callable[..., Any]
S = ConnectionState


async def _note(manager: Manager, states: list[ConnectionState]) -> None:
    while True:
        states.append((await manager.wait_status_changed()).state)


@pytest.mark.anyio
async def test_a_connection_goes_from_state_to_state_as_the_page_says() -> None:
    states: list[ConnectionState] = []
    async with open_world(idle_timeout=5.0) as world, anyio.create_task_group() as group:
        assert world.manager.status().state is S.DISCONNECTED
        group.start_soon(_note, world.manager, states)
        async with world.manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()
            assert world.manager.status().state is S.ACTIVE
            world.exchange.refusal = Refusal(503, "maintenance")
            await play([Drop()], world.exchange, wall)
            await anyio.sleep(10)
            assert world.manager.status().state is S.RECONNECTING
            world.exchange.refusal = None
            await anyio.sleep(10)
            assert world.manager.status().state is S.ACTIVE
            await client.register_interest(DataType.TICKER, CODES)
            await anyio.sleep(1)
            assert world.manager.status().state is S.ACTIVE
        await anyio.sleep(20)
        assert world.manager.status().state is S.DISCONNECTED
        group.cancel_scope.cancel()
    # Those that lasted no moment may have gone unseen.
    seen = [state for state in states if state not in (S.CONNECTED, S.SUBSCRIBING, S.CONNECTING)]
    assert seen[0] is S.ACTIVE
    assert seen[-1] is S.DISCONNECTED
    assert set(seen[1:-2]) == {S.RECONNECTING}
    assert seen[-2] is S.ACTIVE


@pytest.mark.anyio
@pytest.mark.parametrize("where", [Endpoint.PUBLIC, Endpoint.PRIVATE])
async def test_a_bug_ends_an_epoch_with_what_it_is(where: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose stream is still open are told the truth, and not that nobody wants anything."""
    notices: list[object] = []
    with pytest.raises(FeedCrashedError):
        async with open_world(url="wss://memory") as world, world.manager.open_client("strategy") as client:
            async with client.stream(DataType.TRADE, CODES, notices=True) as trades:
                await trades.receive()
                try:
                    if where is Endpoint.PUBLIC:
                        monkeypatch.setattr(Hub, "publish", _fail)
                    else:
                        monkeypatch.setattr(Login, "token", _fail)
                        world.manager.set_credentials(Credentials("access", "secret"))
                        await client.register_interest(DataType.MY_ASSET)
                    await anyio.sleep(10)
                finally:
                    while not any(isinstance(one, EpochEnded) for one in notices):
                        notices.append(trades.receive_nowait())
    [reason] = [one.reason for one in notices if isinstance(one, EpochEnded)]
    assert reason == ("a bug: ZeroDivisionError()" if where is Endpoint.PUBLIC else "its manager has been left")


def _fail(*_: object) -> None:
    raise ZeroDivisionError


@pytest.mark.anyio
async def test_a_quiet_market_makes_an_epoch_active_once_the_exchange_has_confirmed_the_request() -> None:
    async with open_world(interval=1000.0) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await anyio.sleep(0.1)
        assert world.manager.status().state is S.ACTIVE


@pytest.mark.anyio
async def test_an_exchange_that_accepts_and_keeps_silent_is_found_out_after_five_seconds() -> None:
    async with (
        open_world() as world,
        world.manager.open_client("strategy") as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(play, [SilentAccept(lasts=1)], world.exchange, wall)
        await anyio.sleep(0.01)
        await client.register_interest(DataType.TRADE, CODES)
        await anyio.sleep(4.9)
        assert world.manager.status().state is S.SUBSCRIBING
        assert world.manager.status().state.is_open
        await anyio.sleep(0.2)
        assert world.manager.status().state is S.RECONNECTING
        assert "did not confirm" in world.manager.status().reason
        await anyio.sleep(1)
        assert world.manager.status().state is S.ACTIVE


@given(script=strategies.faults(max_size=6))
@example(script=[Ban(seconds=60.0), Ban(seconds=60.0), Drop()])
def test_whatever_happens_only_states_that_the_table_connects_follow_each_other(
    virtual_run: Run, script: list[Fault]
) -> None:
    """And never a step that it does not have, which would end the manager with an error."""

    async def main() -> None:
        states: list[ConnectionState] = [S.DISCONNECTED]
        async with open_world() as world, world.manager.open_client("strategy") as client:
            async with anyio.create_task_group() as group:
                group.start_soon(_note, world.manager, states)
                await client.register_interest(DataType.TRADE, CODES)
                await play(script, world.exchange, wall)
                await anyio.sleep(100)
                # Several blocks begin one after the other, and who is not told how long waits longer each time.
                with anyio.fail_after(86_400):
                    while not world.manager.status().state.is_open:
                        await world.manager.wait_status_changed()
                group.cancel_scope.cancel()
        for sooner, later in pairwise(states):
            ways, reached = 0, {sooner}
            while later not in reached or not ways:
                # Between two that were seen there may be some that lasted no moment.
                reached = {to for state in reached for to in TABLE[state].values()}
                ways += 1
                assert ways <= 3
        assert states[-1].is_open

    virtual_run(main)
