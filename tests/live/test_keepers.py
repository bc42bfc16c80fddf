"""The tasks that look after a manager, and what it tells of its health: on both backends, in virtual time."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.private import open_private_world
from tests.support.world import CODES, World, numbered_trade, open_world, wall

from upbit_streams import (
    ConnectionState,
    Credentials,
    DataType,
    Endpoint,
    Format,
    GlobalManagerState,
    HealthStatus,
    Manager,
    NotReadyError,
)
from upbit_streams.engine import keepers
from upbit_streams.rules.health import window_start, worst
from upbit_streams.testing import Drop, Fault, Garbage, Refusal, play, settle, strategies
from upbit_streams.wire.encode import encode

Run = Callable[..., Any]
H, G = HealthStatus, GlobalManagerState
_FRAME = encode(numbered_trade(CODES[0], 1, 1), Format.DEFAULT)
KEEPERS = {"upbit-streams health monitor", "upbit-streams metrics collector", "upbit-streams cleanup"}


class _Told(logging.Handler):
    """What is logged of health, and when."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[tuple[float, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "health is" in record.getMessage():
            self.lines.append((anyio.current_time(), record.levelno, record.getMessage()))


@pytest.fixture
def told() -> Iterator[_Told]:
    log, handler = logging.getLogger("upbit_streams"), _Told()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


def _task_names() -> set[str]:
    return {task.name or "" for task in anyio.get_running_tasks()}


async def test_the_keepers_are_named_tasks_that_live_as_long_as_the_manager() -> None:
    async with open_world() as world:
        await settle()
        assert _task_names() >= KEEPERS
        await anyio.sleep(1000)
        assert _task_names() >= KEEPERS
        before = anyio.current_time()
    assert not _task_names() & KEEPERS
    assert anyio.current_time() == before
    assert world.manager.health().state is G.SHUTTING_DOWN


async def _lose(world: World) -> None:
    world.exchange.refusal = Refusal(503, "maintenance")
    await play([Drop()], world.exchange, wall)


async def test_health_goes_down_and_up_with_a_connection_and_each_change_is_logged_once(told: _Told) -> None:
    async with open_world(draw=lambda: 0.5) as world, world.manager.open_client("strategy") as client:
        health = world.manager.health()
        assert (health.state, health.status, health.score, health.at) == (G.IDLE, H.HEALTHY, 1.0, wall())
        await client.register_interest(DataType.TRADE, CODES)
        assert world.manager.health().status is H.DEGRADED
        assert world.manager.health().state is G.ACTIVE
        await client.wait_ready()
        assert world.manager.health().status is H.HEALTHY
        await anyio.sleep(40 - anyio.current_time())
        assert told.lines == []

        await _lose(world)
        await anyio.sleep(1)
        health = world.manager.health()
        [public] = [one for one in health.connections if one.name == "public"]
        assert (health.status, public.status, public.score) == (H.DEGRADED, H.DEGRADED, health.score)
        assert public.reasons == (f"reconnecting for 1 s: {world.manager.status().reason}",)
        await anyio.sleep(28.9)
        assert world.manager.health().status is H.DEGRADED
        await anyio.sleep(0.2)
        health = world.manager.health()
        assert (health.status, health.score) == (H.CRITICAL, 0.0)
        assert health.state is G.ACTIVE, "it tries on"
        await anyio.sleep(200 - anyio.current_time())

        world.exchange.refusal = None
        await anyio.sleep(10)
        health = world.manager.health()
        assert health.status is H.HEALTHY
        assert all(one.reasons == () for one in health.connections)
        await anyio.sleep(100)
    assert [(at, level) for at, level, _ in told.lines] == [
        (60.0, logging.WARNING),
        (90.0, logging.WARNING),
        (210.0, logging.INFO),
    ]
    texts = [text for _, _, text in told.lines]
    assert "main: health is degraded; public reconnecting for 20 s:" in texts[0]
    assert "maintenance" in texts[0]
    assert "main: health is critical; public reconnecting for 50 s:" in texts[1]
    assert texts[2] == "main: health is healthy"


async def test_a_connection_that_does_not_last_is_degraded_until_it_has_been_steady_for_a_minute() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES)
        await client.wait_ready()
        await play([Drop(), Drop(after=5)], world.exchange, wall)
        lost_at = anyio.current_time()
        await anyio.sleep(5)
        assert world.manager.status().state is ConnectionState.ACTIVE
        health = world.manager.health()
        assert health.status is H.DEGRADED
        assert [one.reasons for one in health.connections if one.reasons] == [("lost 2 times within 10 s",)]
        assert 0.5 < health.score < 1
        await anyio.sleep(lost_at + 59 - anyio.current_time())
        assert world.manager.health().status is H.DEGRADED
        await anyio.sleep(12)
        assert (world.manager.health().status, world.manager.health().score) == (H.HEALTHY, 1.0)


async def test_frames_that_are_not_understood_are_counted_and_degrade() -> None:
    async with open_world(interval=1.0) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.TRADE, CODES[0])
        await client.wait_ready()
        await anyio.sleep(10)
        await play([Garbage(data=b"{")] * 5, world.exchange, wall)
        await anyio.sleep(5)
        [public] = [one for one in world.manager.metrics().connections if one.name == "public"]
        assert public.errors == 5
        assert public.error_rate == 5 / public.messages
        assert world.manager.metrics().error_rate == public.error_rate
        assert world.manager.health().status is H.DEGRADED
        await anyio.sleep(80)
        assert world.manager.metrics().error_rate == 0
        assert world.manager.health().status is H.HEALTHY


async def test_a_key_that_is_refused_is_an_error_and_critical_until_another_comes() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.MY_ORDER)
        await client.wait_ready()
        assert world.manager.health().state is G.ACTIVE
        world.account.revoke()
        world.exchange.end_sessions(wall(), endpoint=Endpoint.PRIVATE)
        while world.manager.status(Endpoint.PRIVATE).state is not ConnectionState.ERROR:
            await world.manager.wait_status_changed(Endpoint.PRIVATE)
        health = world.manager.health()
        assert (health.state, health.status, health.score) == (G.ERROR, H.CRITICAL, 0.0)
        assert {one.name: one.status for one in health.connections} == {
            "public": H.HEALTHY,
            "private": H.CRITICAL,
            "info": H.HEALTHY,
        }
        access_key, secret_key = world.account.new_key()
        world.manager.set_credentials(Credentials(access_key, secret_key.reveal()))
        await anyio.sleep(30)
        assert (world.manager.health().state, world.manager.health().status) == (G.ACTIVE, H.HEALTHY)


async def test_rates_are_those_of_what_the_exchange_sends_and_the_window_moves_every_10_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[int] = []

    def noting(times: Sequence[float], now: float) -> int:
        kept.append(len(times))
        return window_start(times, now)

    monkeypatch.setattr(keepers, "window_start", noting)
    async with open_world(interval=0.5) as world, world.manager.open_client("strategy") as client:
        manager, windows = world.manager, list[float]()
        assert manager.metrics().messages_per_second == 0
        await client.register_interest(DataType.TRADE, CODES[:2])
        await client.wait_ready()
        while anyio.current_time() < 120.25:
            windows.append(manager.metrics().window_seconds)
            await anyio.sleep(5)
        metrics = manager.metrics()
        [public] = [one for one in metrics.connections if one.name == "public"]
        # Two trades every half second, each a frame.
        assert public.messages_per_second == public.events_per_second == pytest.approx(4.0, abs=0.1)
        assert metrics.messages_per_second == public.messages_per_second
        assert metrics.events_per_second == public.events_per_second
        assert (public.messages, public.events) == (manager.status().messages, manager.status().events)
        assert public.bytes_received / public.messages == pytest.approx(len(_FRAME), rel=0.1)
        assert metrics.bytes_received_per_second == pytest.approx(4.0 * len(_FRAME), rel=0.1)
        assert 0 < public.bytes_sent < 1000
        assert (public.subscriptions, metrics.subscriptions, metrics.health_score) == (2, 2, 1.0)
        assert public.lag == pytest.approx(0.0, abs=1e-3)
        assert metrics.uptime_seconds == anyio.current_time()
        # It grows for a minute, and is always between one and that and the time between two samples.
        assert windows[:12] == sorted(windows[:12])
        assert all(60 <= window <= 70 for window in windows[13:])
        assert any(window > 64 for window in windows)
        await anyio.sleep(1000)
        manager.metrics()
        assert kept[-1] <= 8, "no more than a window needs"


async def test_uptime_and_reconnects_are_those_of_the_connection() -> None:
    def public(manager: Manager) -> Any:
        return next(one for one in manager.metrics().connections if one.name == "public")

    async with open_world(draw=lambda: 0.5) as world:
        manager = world.manager
        assert (public(manager).uptime_seconds, public(manager).reconnects) == (0.0, 0)
        async with manager.open_client("strategy") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()
            for number in range(1, 4):
                await anyio.sleep(20)
                assert public(manager).uptime_seconds >= 20
                world.exchange.end_sessions(wall())
                await anyio.sleep(5)
                found = public(manager)
                assert (found.reconnects, found.epochs_lost, found.failed_attempts) == (number, number, 0)
                assert 3 < found.uptime_seconds < 5
            await _lose(world)
            await anyio.sleep(5)
            found = public(manager)
            assert (found.state, found.uptime_seconds, found.reconnects) == (ConnectionState.RECONNECTING, 0.0, 3)
            assert found.failed_attempts == manager.status().failed_attempts > 0
            assert manager.health().state is G.ACTIVE
        assert manager.health().state is G.IDLE
        assert manager.health().status is H.HEALTHY, "nobody wants anything from it any more"
        assert manager.metrics().subscriptions == 0


async def test_a_manager_says_that_it_is_shutting_down_while_it_is() -> None:
    states: list[tuple[float, GlobalManagerState]] = []

    async with anyio.create_task_group() as group:
        async with open_world(close_timeout=3.0) as world, world.manager.open_client("strategy") as client:

            async def look() -> None:
                while True:
                    states.append((anyio.current_time(), world.manager.health().state))
                    await anyio.sleep(0.5)

            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()
            group.start_soon(look)
            await anyio.sleep(2)
            left_at = anyio.current_time()
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert {state for at, state in states if at < left_at} == {G.ACTIVE}
    assert {state for at, state in states if at > left_at} == {G.SHUTTING_DOWN}


async def test_the_cleanup_drops_orders_that_were_done_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepers, "KEEP_DONE_SECONDS", 600.0)
    async with open_private_world(rate=0.01) as world, world.manager.open_client("strategy") as client:
        await client.register_interest(DataType.MY_ORDER)
        await client.wait_ready()
        done, kept = (
            world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1") for _ in "12"
        )
        await anyio.sleep(130 - anyio.current_time())
        world.account.cancel(wall(), done)
        await anyio.sleep(600 + 40)
        assert client.get_my_order(done).state == "cancel"
        assert world.manager.metrics().cleaned == 0
        await anyio.sleep(12)
        with pytest.raises(NotReadyError):
            client.get_my_order(done)
        assert [order.uuid for order in client.get_open_orders()] == [kept]
        assert world.manager.metrics().cleaned == 1


@given(
    script=strategies.faults(max_size=4),
    private=st.booleans(),
)
def test_whatever_happens_health_is_as_bad_as_the_worst_connection_that_is_wanted(
    virtual_run: Run, script: list[Fault], private: bool
) -> None:
    async def main() -> None:
        async with open_private_world(rate=1.0) as world, world.manager.open_client("strategy") as client:
            manager = world.manager

            async def look() -> None:
                while True:
                    health, metrics = manager.health(), manager.metrics()
                    assert health.status is worst(one.status for one in health.connections)
                    assert health.score == min(one.score for one in health.connections) == metrics.health_score
                    for one, measured in zip(health.connections, metrics.connections, strict=True):
                        state = manager.status(Endpoint(one.name)).state
                        assert measured.state is state
                        wanted = one.name == "public" or (private and one.name == "private")
                        if one.status is H.HEALTHY:
                            assert not wanted or state is ConnectionState.ACTIVE
                        if state is ConnectionState.ERROR:
                            assert one.status is H.CRITICAL
                        assert (measured.uptime_seconds > 0) <= state.is_open
                        assert 0 <= measured.error_rate <= 1
                    await anyio.sleep(1.9)

            await client.register_interest(DataType.TRADE, "KRW-BTC")
            if private:
                await client.register_interest(DataType.MY_ORDER)
            async with anyio.create_task_group() as group:
                group.start_soon(look)
                await play(script, world.exchange, wall)
                await anyio.sleep(60)
                group.cancel_scope.cancel()

    virtual_run(main)
