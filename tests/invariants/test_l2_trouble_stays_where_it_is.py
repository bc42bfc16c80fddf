"""L2: one connection's trouble changes nothing on another: not its epoch, not its events, nor when they come."""

from collections.abc import Callable
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import BEAT, Reader, enough
from tests.support.market import StampedMarket, asset_event, stamp_of_event
from tests.support.private import credentials_of
from tests.support.sent import Telling
from tests.support.world import CODES, wall

from upbit_streams import Backoff, Block, Config, DataType, DropOldest, Endpoint, open_manager
from upbit_streams.testing import (
    Close,
    Drop,
    ErrorFrame,
    Fault,
    Garbage,
    RefuseLogin,
    SilentAccept,
    Stall,
    memory_connector,
    play,
    strategies,
)

Run = Callable[..., Any]
_KINDS: tuple[type[Fault], ...] = (Drop, Close, ErrorFrame, Garbage, RefuseLogin, SilentAccept, Stall)
LIVES = st.tuples(
    strategies.faults(_KINDS, min_size=1, max_size=4), st.sampled_from([Endpoint.PUBLIC, Endpoint.PRIVATE])
)


@enough
@given(life=LIVES)
def test_l2_whatever_happens_to_one_connection_another_brings_all_in_its_time(
    virtual_run: Run, life: tuple[list[Fault], Endpoint]
) -> None:
    """While a consumer blocks the one in trouble, too."""
    script, troubled = life
    watched = Endpoint.PRIVATE if troubled is Endpoint.PUBLIC else Endpoint.PUBLIC
    kinds = {Endpoint.PUBLIC: DataType.TRADE, Endpoint.PRIVATE: DataType.MY_ASSET}
    codes: dict[Endpoint, Any] = {Endpoint.PUBLIC: CODES, Endpoint.PRIVATE: ()}

    async def main() -> None:
        exchange = Telling(StampedMarket(BEAT))
        account = exchange.open_account()
        settings = Config(url="ws://localhost/v1", backoff=Backoff(initial=0.5, maximum=4.0))
        async with (
            open_manager(
                settings,
                credentials=credentials_of(account),
                connector=memory_connector(exchange, wall),
                wall=wall,
                draw=lambda: 0.5,
            ) as manager,
            manager.open_client("strategy") as client,
            client.stream(kinds[watched], codes[watched], backpressure=DropOldest(1000), notices=False) as stream,
            client.stream(kinds[troubled], codes[troubled], backpressure=Block(1), notices=False),
        ):

            async def tell() -> None:
                for serial in range(1_000_000):
                    account.tell(asset_event(serial, wall()))
                    await anyio.sleep(BEAT)

            reader = Reader(0.0, is_batched=False)
            async with anyio.create_task_group() as group:
                group.start_soon(reader.run, stream)
                await anyio.sleep(1.5 * BEAT)
                group.start_soon(tell)
                await play([attrs.evolve(fault, endpoint=troubled) for fault in script], exchange, wall)
                await anyio.sleep(3.5 * BEAT)
                group.cancel_scope.cancel()
            reader.drain(stream)
            status = manager.status(watched)
            [sent] = exchange.sent([kinds[watched].name], watched)
        assert status.epoch is not None
        assert status.epoch.number == 1
        assert (status.errors, status.late, status.bad_frames) == (0, 0, 0)
        assert len(sent) > 2
        assert [stamp_of_event(event) for event in reader.events] == [one.stamp for one in sent]
        for event, one in zip(reader.events, sent, strict=True):
            assert event.received_at == pytest.approx(one.at, abs=1e-3)
            assert one.is_snapshot or one.at == pytest.approx(event.timestamp / 1000, abs=2e-3)

    virtual_run(main)
