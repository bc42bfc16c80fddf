"""E6: at the start of an epoch the request on the wire equals the union of all wants; every later change reaches the
wire within that epoch as soon as the limits allow; and the last request equals the wants once they rest."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import Life, enough, lives, open_live_world
from tests.support.sent import topics_of
from tests.support.world import CODES, wall

from upbit_streams import DataType

Run = Callable[..., Any]
KINDS = [DataType.TICKER, DataType.TRADE]
_GATHER = 0.1
_QUEUED = 1.2
"""Seconds that the limit of five messages a second may hold back the last change, a little more included."""

Change = tuple[int, DataType[Any], str, float]
"""Who enters a stream, or leaves the one that it has; of what; and the pause after it."""
CHANGES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(KINDS), st.sampled_from(CODES), st.floats(0.0, 2.0)), max_size=10
)
LIVES = st.tuples(lives(), CHANGES)


@enough
@given(life=LIVES)
def test_e6_the_exchange_is_asked_for_exactly_what_is_wanted(
    virtual_run: Run, life: tuple[Life, Sequence[Change]]
) -> None:
    """Three consumers enter and leave streams of random markets, while epochs end and begin."""
    script, changes = life

    async def main() -> None:
        wanted = [(wall(), frozenset({("orderbook", "KRW-BTC")}))]
        async with (
            open_live_world(script, gather=_GATHER) as world,
            world.manager.open_client("one") as client,
            AsyncExitStack() as streams,
        ):
            opened: dict[int, tuple[tuple[str, str], AsyncExitStack]] = {}

            def note() -> None:
                topics = {topic for topic, _ in opened.values()} | {("orderbook", "KRW-BTC")}
                wanted.append((wall(), frozenset(topics)))

            async def change() -> None:
                for who, kind, code, pause in changes:
                    if who in opened:
                        _, stack = opened.pop(who)
                        await stack.aclose()
                    else:
                        stack = await streams.enter_async_context(AsyncExitStack())
                        await stack.enter_async_context(client.stream(kind, code))
                        opened[who] = (kind.name, code), stack
                    note()
                    await anyio.sleep(pause)

            await client.register_interest(DataType.ORDERBOOK, "KRW-BTC")
            async with anyio.create_task_group() as group:
                group.start_soon(change)
                await world.live()
            await anyio.sleep(_GATHER + _QUEUED)
            await world.recover()
            await anyio.sleep(_GATHER + _QUEUED)
            ended, talks = wall(), world.exchange.talks
            assert talks[-1].requests, "nothing is asked for"
            assert topics_of(talks[-1].requests[-1][1]) == wanted[-1][1], "the last request is not what is wanted"
        for number, talk in enumerate(talks, 1):
            until = talks[number].begun_at if number < len(talks) else ended
            if until - talk.begun_at > _GATHER:
                assert talk.requests, f"nothing was asked for in epoch {number}"
            for at, request in talk.requests:
                asked = topics_of(request)
                # In the moment of a change, both what was and what is wanted is right.
                choices = [topics for since, topics, end in _spans(wanted, ended) if since <= at <= end]
                assert asked in choices, f"asked for {sorted(asked)}, wanted {choices}"

    virtual_run(main)


def _spans(
    wanted: Sequence[tuple[float, frozenset[tuple[str, str]]]], ended: float
) -> list[tuple[float, frozenset[tuple[str, str]], float]]:
    """What was wanted, from when to when."""
    ends = [*(since for since, _ in wanted[1:]), ended]
    return [(since, topics, end) for (since, topics), end in zip(wanted, ends, strict=True)]
