"""A private frame that cannot be read, over a whole connection: whoever has asked for such is told at its place."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from tests.support import private
from tests.support.private import PrivateWorld, open_private_world
from tests.support.world import wall

from upbit_streams import (
    Config,
    Connector,
    DataType,
    Endpoint,
    EpochEnded,
    EpochStarted,
    FrameLost,
    FrameLostError,
    MyOrderEvent,
    ScopeError,
    Secret,
)
from upbit_streams.testing import Garbage, memory_connector
from upbit_streams.transport.interface import Transport

ORDER = b'{"type":"myOrder","code":"KRW-BTC","uuid":'


def _place(world: PrivateWorld) -> None:
    world.account.place(wall(), "KRW-BTC", "BID", price=1_000_000, volume="0.01")


def _lose(world: PrivateWorld, data: bytes = ORDER) -> None:
    Garbage(data=data).strike(world.exchange, wall())


def _told(item: Any) -> str:
    return type(item).__name__ if not isinstance(item, MyOrderEvent) else item.state


class _InOneRead:
    """A transport that receives all of a few seconds at once."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def receive(self) -> Sequence[bytes | str]:
        frames = [*await self._inner.receive()]
        with anyio.move_on_after(3.0):
            while True:
                frames += await self._inner.receive()
        return frames


def _in_one_read(connect: Connector) -> Connector:
    async def connected(url: str, config: Config, token: Secret | None = None) -> Any:
        return _InOneRead(await connect(url, config, token))

    return connected


@pytest.mark.parametrize("is_one_read", [False, True])
@pytest.mark.parametrize("notices", [None, False, True])
async def test_e7_it_stands_between_the_orders(
    notices: bool | None, is_one_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_one_read:
        monkeypatch.setattr(private, "memory_connector", lambda *given: _in_one_read(memory_connector(*given)))
    async with (
        open_private_world() as world,
        world.manager.open_client("strategy") as client,
        client.stream(DataType.MY_ORDER, ["KRW-BTC"], notices=notices) as orders,
    ):
        await anyio.sleep(8)
        for step in (_place, _lose, _place):
            step(world)
            await anyio.sleep(0.2)
        _lose(world, b"\xff\x00 nothing that can be read")
        await anyio.sleep(9)
        found, lost = list[str](), list[Any]()
        for _ in range(4 + (notices is not False)):
            try:
                item: Any = await orders.receive()
            except FrameLostError as why:
                item = why
            if isinstance(item, FrameLostError | FrameLost):
                lost.append(item)
            found.append(_told(item))
        told = "FrameLost" if notices else "FrameLostError"
        assert found == ["EpochStarted"] * (notices is not False) + ["wait", told, "wait", told]
        assert [one.payload for one in lost] == [ORDER, b"\xff\x00 nothing that can be read"]
        assert [(one.type, one.code) for one in lost] == [("myOrder", "KRW-BTC"), ("", "")]
        statistics = orders.statistics()
        assert (statistics.published, statistics.delivered, statistics.frames_lost) == (2, 2, 2)
        assert world.manager.status(Endpoint.PRIVATE).bad_frames == 2


async def test_market_data_is_not_told_of_it_and_comes_again() -> None:
    async with (
        open_private_world() as world,
        world.manager.open_client("strategy") as client,
        client.stream(DataType.TICKER, ["KRW-BTC"]) as tickers,
    ):
        await tickers.receive()
        Garbage().strike(world.exchange, wall())
        for _ in range(5):
            await tickers.receive()
        assert tickers.statistics().frames_lost == 0


async def test_a_callback_is_told_by_on_error_and_goes_on() -> None:
    seen, errors = list[Any](), list[Exception]()
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        subscription = await client.subscribe_my_order("KRW-BTC", seen.append, on_error=errors.append)
        await anyio.sleep(1)
        for step in (_place, _lose, _place):
            step(world)
            await anyio.sleep(1)
        assert [_told(item) for item in seen if not isinstance(item, EpochStarted)] == ["wait", "wait"]
        assert [type(error) for error in errors] == [FrameLostError]
        assert subscription.is_active


async def test_without_on_error_it_ends_the_scope_of_its_client() -> None:
    async with open_private_world() as world:
        with pytest.raises(FrameLostError):
            async with world.manager.open_client("strategy") as client:
                await client.subscribe_my_order("KRW-BTC", lambda _: None)
                await anyio.sleep(1)
                _lose(world)
                await anyio.sleep(10)


async def test_what_was_lost_is_told_after_a_reconnect_too() -> None:
    async with (
        open_private_world() as world,
        world.manager.open_client("strategy") as client,
        client.stream(DataType.MY_ORDER, notices=True) as orders,
    ):
        assert isinstance(await orders.receive(), EpochStarted)
        _lose(world)
        await anyio.sleep(1)
        world.exchange.end_sessions(wall())
        await anyio.sleep(10)
        kinds = [type(item) for item in await orders.receive_batch()]
        assert kinds == [FrameLost, EpochEnded, EpochStarted]


async def test_a_stream_has_one_block() -> None:
    async with open_private_world() as world, world.manager.open_client("strategy") as client:
        stream = client.stream(DataType.TICKER, ["KRW-BTC"])
        async with stream:
            with pytest.raises(ScopeError, match=r"make another one with client\.stream"):
                async with stream:
                    pass
            await stream.receive()  # the block goes on
        with pytest.raises(ScopeError, match="entered already"):
            async with stream:
                pass
