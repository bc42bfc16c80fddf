"""Every transport passes the suite over real sockets, too."""

import pytest

from upbit_streams.testing.conformance import CHECKS, Check, on_loopback
from upbit_streams.transport import trio_websocket, websocket

pytestmark = [pytest.mark.anyio, pytest.mark.socket]


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_the_default_transport(check: Check) -> None:
    await check(on_loopback(websocket.connect))


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_trio_websocket(check: Check) -> None:
    await check(on_loopback(trio_websocket.connect))
