"""Leaving a manager whose exchange accepts, and then answers nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from websockets.http11 import Request
from websockets.server import ServerProtocol

from upbit_streams import Config, DataType, open_manager

pytestmark = [pytest.mark.socket]


@asynccontextmanager
async def _listening(*, shakes_hands: bool, ended: anyio.Event) -> AsyncIterator[str]:
    """A server that takes everything and says nothing, but for a handshake. Tells when its client has gone."""

    async def serve(stream: ByteStream) -> None:
        async with stream:
            protocol = ServerProtocol()
            try:
                while True:
                    protocol.receive_data(await stream.receive())
                    for request in protocol.events_received():
                        if shakes_hands and isinstance(request, Request):
                            protocol.send_response(protocol.accept(request))
                            await stream.send(b"".join(protocol.data_to_send()))
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                ended.set()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(listener.serve, serve))
            port = listener.extra(SocketAttribute.local_port)  # noqa: S610 -- not Django's
            yield f"ws://127.0.0.1:{port}/websocket/v1"
            group.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["return", "cancel"])
@pytest.mark.parametrize(("shakes_hands", "seconds"), [(False, 0.0), (True, 0.4)])
async def test_closing_takes_at_most_its_deadline(*, shakes_hands: bool, seconds: float, way: str) -> None:
    """Nothing while it still waits for the handshake; afterwards as long as a goodbye may take."""
    ended = anyio.Event()
    async with _listening(shakes_hands=shakes_hands, ended=ended) as url:
        with anyio.CancelScope() as scope:
            async with open_manager(Config(url=url, close_timeout=0.4)) as manager, manager.open_client("c") as client:
                await client.register_interest(DataType.TRADE, "KRW-BTC")
                await anyio.sleep(0.2)
                assert (manager.status().epoch is not None) == shakes_hands
                left_at = anyio.current_time()
                if way == "cancel":
                    scope.cancel()
                    await anyio.sleep_forever()
        assert seconds - 0.05 <= anyio.current_time() - left_at < seconds + 0.5
        with anyio.fail_after(5):
            await ended.wait()
