"""L3: no request ever breaks the exchange's limits: over any window, at most 5 connects a second, and per connection 5
messages a second and 100 a minute; and whoever is told to stay away does."""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import Life, enough, lives, open_live_world
from tests.support.world import CODES, wall

from upbit_streams import DataType
from upbit_streams.engine.connects import Connects
from upbit_streams.rules.rate_limit import CONNECTS, MESSAGES, RateLimit
from upbit_streams.testing import play

Run = Callable[..., Any]
_CHANGES = 40
"""More than a window of any limit lets through at once."""
LIVES = st.tuples(
    lives(draws=st.sampled_from([0.001, 0.01, 1.0]), banned=True),
    st.lists(st.floats(0.01, 0.5), min_size=1, max_size=10),
    st.booleans(),
)


@enough
@given(life=LIVES)
def test_l3_no_request_ever_breaks_the_limits(virtual_run: Run, life: tuple[Life, list[float], bool]) -> None:
    """However short the waits that chance deals, however often the wants change, and if every connect is closed at
    once."""
    script, churn, closes = life

    async def main() -> None:
        async with open_live_world(script, gather=0.001) as world:

            async def change_wants() -> None:
                for number, pause in zip(range(_CHANGES), cycle(churn), strict=False):
                    async with world.manager.open_client(f"client {number}") as client:
                        await client.register_interest(DataType.TRADE, CODES[number % len(CODES)])
                        await anyio.sleep(pause)

            async def close_at_once() -> None:
                with anyio.move_on_after(3.0):
                    while closes:
                        world.exchange.end_sessions(wall(), 1000)
                        await anyio.sleep(0.05)

            async with world.manager.open_client("strategy") as client:
                await client.register_interest(DataType.TICKER, CODES)
                async with anyio.create_task_group() as group:
                    group.start_soon(change_wants)
                    await anyio.sleep(0.5)
                    await close_at_once()
                    await play(script.script, world.exchange, wall)
                    await anyio.sleep(9.0)  # longer than a block lasts
                    group.cancel_scope.cancel()
            assert world.exchange.breaches == []
            connects = list(world.exchange.connects)
            assert all(sixth - first >= 1.0 for first, sixth in zip(connects, connects[5:], strict=False))
            for talk in world.exchange.talks:
                sent = [at for at, _ in talk.requests]
                for window in MESSAGES:
                    beyond = sent[window.count :]
                    assert all(b - a >= window.seconds - 1e-6 for a, b in zip(sent, beyond, strict=False))

    virtual_run(main)


@enough
@given(
    knocks=st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.5]), st.sampled_from([0.0, 0.3, 2.0])), max_size=20),
)
def test_l3_those_who_want_to_connect_in_one_moment_do_not_take_the_same_turn(
    virtual_run: Run, knocks: list[tuple[float, float]]
) -> None:
    """However long their handshakes take, each of which counts at its end once more."""

    async def main() -> None:
        connects, begun, [limit] = Connects(anyio.current_time), list[float](), CONNECTS

        async def connect(pause: float, handshake: float) -> None:
            await anyio.sleep(pause)
            await connects.take_turn()
            begun.append(anyio.current_time())
            await anyio.sleep(handshake)
            connects.record()

        async with anyio.create_task_group() as group:
            for pause, handshake in knocks:
                group.start_soon(connect, pause, handshake)
        assert len(begun) == len(knocks)
        for first, beyond in zip(begun, begun[limit.count :], strict=False):
            assert beyond - first >= limit.seconds - 1e-6

    virtual_run(main)


@enough
@given(pauses=st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.3, 2.0, 90.0]) | st.floats(0, 90), max_size=10))
def test_l3_over_any_window_the_limiter_lets_no_more_through_and_never_waits_in_vain(pauses: list[float]) -> None:
    limit, now, sent = RateLimit(MESSAGES), 0.0, list[float]()
    for pause in pauses * 40:
        now += pause
        wait = max(limit.wait(now), 0.0)
        if wait:
            assert any(
                sum(1 for time in sent if time > now + wait - window.seconds - 1e-6) >= window.count
                for window in MESSAGES
            ), "it waited although every window had room"
        now += wait
        limit.record(now)
        sent.append(now)
    for window in MESSAGES:
        for first, beyond in zip(sent, sent[window.count :], strict=False):
            assert beyond - first >= window.seconds - 1e-6
