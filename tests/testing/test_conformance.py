"""Every transport that runs in virtual time passes the suite, and one that does not do what it must fails it."""

from typing import Any

import anyio
import pytest

from upbit_streams import Config, ConnectionLostError, Secret
from upbit_streams.testing import Wire
from upbit_streams.testing.conformance import (
    CHECKS,
    EXCHANGE_CHECKS,
    Check,
    ConformanceError,
    in_memory,
    on_wires,
)
from upbit_streams.transport import trio_websocket, websocket
from upbit_streams.transport.interface import Dial

pytestmark = pytest.mark.anyio

on_trio = pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_the_default_transport_over_wires(check: Check) -> None:
    await check(on_wires())


def chop(wire: Wire) -> None:
    wire.up.chop = wire.down.chop = 61


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_the_default_transport_over_wires_that_are_chopped(check: Check) -> None:
    await check(on_wires(prepare=chop))


@on_trio
@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_trio_websocket_over_wires_that_are_chopped(check: Check) -> None:
    await check(on_wires(trio_websocket.connect, chop))


@on_trio
@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_trio_websocket_over_wires(check: Check) -> None:
    await check(on_wires(trio_websocket.connect))


@pytest.mark.parametrize("check", EXCHANGE_CHECKS, ids=str)
async def test_the_connector_in_memory(check: Check) -> None:
    await check(in_memory())


class Wrong:
    """A transport that does everything right but what a test takes away."""

    def __init__(self, inner: websocket.WebSocket, fault: str) -> None:
        self.inner = inner
        self.fault = fault

    async def receive(self) -> Any:
        if self.fault == "drops":
            return (await self.inner.receive())[:1]
        if self.fault == "loses":
            received = await self.inner.receive()
            await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.0005)
            return received
        try:
            return await self.inner.receive()
        except ConnectionLostError as lost:
            if self.fault == "forgets codes":
                raise ConnectionLostError(lost.why) from None
            if self.fault == "raises another":
                raise OSError("broken pipe") from None
            raise

    async def send(self, message: str) -> None:
        await self.inner.send(message.upper() if self.fault == "shouts" else message)

    async def ping(self) -> None:
        if self.fault == "never pongs":
            await anyio.sleep_forever()
        await self.inner.ping()

    async def aclose(self) -> None:
        if self.fault == "cannot close":
            await anyio.sleep_forever()
        await self.inner.aclose(1001 if self.fault == "leaves" else 1000)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("drops", "text_and_binary_come_alike"),
        ("loses", "a_cancelled_receive_loses_nothing"),
        ("forgets codes", "a_close_of_the_exchange_has_its_code"),
        ("raises another", "an_end_without_a_close_frame_is_1006"),
        ("shouts", "what_is_sent_arrives"),
        ("never pongs", "a_ping_is_answered"),
        ("cannot close", "closing_takes_no_longer_than_close_timeout"),
        ("leaves", "closing_is_polite"),
    ],
)
async def test_a_transport_that_does_not_do_what_it_must_fails_by_name(fault: str, name: str) -> None:
    async def connect(url: str, config: Config, token: Secret | None = None, *, dial: Dial | None = None) -> Wrong:
        return Wrong(await websocket.connect(url, config, token, dial=dial), fault)

    (check,) = (check for check in CHECKS if check.name == name)
    with pytest.raises(ConformanceError, match=f"^{name}: ") as failed:
        await check(on_wires(connect))
    assert failed.value.check == name
    assert check.must in str(failed.value)


async def test_a_connector_that_shows_the_token_fails() -> None:
    async def connect(
        url: str, config: Config, token: Secret | None = None, *, dial: Dial | None = None
    ) -> websocket.WebSocket:
        revealed = token.reveal() if token is not None else ""
        connection = await websocket.connect(url, config, token, dial=dial)
        assert revealed is not None
        return connection

    (check,) = (check for check in CHECKS if check.name == "the_token_goes_into_its_header_only")
    with pytest.raises(ConformanceError, match="The error shows the token"):
        await check(on_wires(connect))
