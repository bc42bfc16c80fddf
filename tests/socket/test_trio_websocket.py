"""What of trio-websocket the conformance suite does not reach: TLS, where it cannot run, and what it leaves behind."""

import socket
import struct
import sys

import anyio
import pytest
import trio
import trustme
from tests.socket.test_websocket import CONFIG, greet, server_tls, serving, trusting
from tests.support.world import NumberedSource, wall

from upbit_streams import (
    Config,
    ConnectFailedError,
    ConnectionLostError,
    DataType,
    InvalidConfigError,
    Secret,
    Transport,
    open_manager,
)
from upbit_streams.testing import SimulatedExchange, open_exchange, open_wires, run
from upbit_streams.testing.conformance import on_loopback
from upbit_streams.testing.conformance.peer import talking
from upbit_streams.transport.trio_websocket import connect

pytestmark = [pytest.mark.anyio, pytest.mark.socket]

on_trio = pytest.mark.parametrize("anyio_backend", ["trio"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@on_trio
async def test_tls_with_a_certificate_of_a_trusted_authority_works(authority: trustme.CA) -> None:
    async with serving(greet, server_tls(authority)) as address:
        transport = await connect(f"wss://{address}/", CONFIG, ssl_context=trusting(authority))
        assert await transport.receive() == [b"hello"]
        await transport.send("and to you")
        assert await transport.receive() == [b"goodbye"]
        with pytest.raises(ConnectionLostError) as lost:
            await transport.receive()
        assert lost.value.code == 1006
        await transport.aclose()


@on_trio
async def test_tls_verifies_the_certificate_and_the_name(authority: trustme.CA) -> None:
    async with serving(greet, server_tls(authority, "exchange.example")) as address:
        with pytest.raises(ConnectFailedError, match="its certificate is not valid"):
            await connect(f"wss://{address}/", CONFIG)
        with pytest.raises(ConnectFailedError, match=r"not valid for '127.0.0.1'"):
            await connect(f"wss://{address}/", CONFIG, ssl_context=trusting(authority))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_on_asyncio_it_says_that_it_cannot_run() -> None:
    with pytest.raises(InvalidConfigError, match="runs on trio only"):
        await connect("ws://127.0.0.1:1/", CONFIG)


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio_websocket", None)
    with pytest.raises(InvalidConfigError, match=r"pip install 'upbit-streams\[trio\]'"):
        await connect("ws://127.0.0.1:1/", CONFIG)


@on_trio
async def test_no_task_is_left_whatever_becomes_of_a_connection() -> None:
    async with open_exchange(SimulatedExchange(NumberedSource())) as url:
        for patience in (None, 0.0, 0.0003, 0.001, 0.002, 0.004):
            with anyio.move_on_after(patience):
                transport = await connect(url, CONFIG)
                assert len(library_tasks()) == 2
                with anyio.CancelScope(shield=True):
                    await transport.aclose()
            assert library_tasks() == []


def library_tasks() -> list[str]:
    """The tasks of this transport, wherever they are in this run."""
    waiting = [trio.lowlevel.current_root_task()]
    found: list[str] = []
    while waiting:
        if (task := waiting.pop()) is not None:
            found += [task.name] if "trio-websocket" in task.name or "WebSocketConnection" in task.name else []
            waiting += [inner for nursery in task.child_nurseries for inner in nursery.child_tasks]
    return found


def test_a_manager_runs_on_it_in_virtual_time() -> None:
    async def main() -> set[int]:
        exchange = SimulatedExchange(NumberedSource())
        epochs: set[int] = set()
        async with open_wires(exchange, wall) as wires:

            async def connector(url: str, config: Config, token: Secret | None) -> Transport:
                return await connect(url, config, token, dial=wires.dial)

            async with (
                open_manager(
                    Config(url="ws://localhost/websocket/v1"), connector=connector, wall=wall, draw=lambda: 0.5
                ) as manager,
                manager.open_client("test") as client,
                client.stream(DataType.TRADE, "KRW-BTC") as trades,
            ):
                for reset in (True, False):
                    with anyio.move_on_after(100.0):
                        async for trade in trades:
                            epochs.add(trade.epoch.number)
                    if reset:
                        wires.open[0].down.reset_after = 7
        assert exchange.breaches == []
        return epochs

    assert run(main, backend="trio") == {1, 2}


FAULTS = {
    "an opcode that nobody has defined": (b"\x83\x00", 1002, "broke the protocol"),
    "a continuation of nothing": (b"\x80\x00", 1002, "broke the protocol"),
    "a text that is not UTF-8": (b"\x81\x01\xff", 1007, "broke the protocol"),
    "a message that is too large": (b"\x82\x7e\x03\xe9" + bytes(1001), 1009, "larger than max_message_size"),
    "a text that is too large in bytes": (b"\x81\x7e\x03\xea" + "가".encode() * 334, 1009, "max_message_size"),
    "too many fragments": (b"\x02\x00" + b"\x00\x00" * 40_000, 1009, "fragments"),
}


@on_trio
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_what_it_refuses_is_not_called_a_close_of_the_exchange(fault: tuple[bytes, int, str]) -> None:
    """And then nothing is waited for: the exchange, which leaves the socket open here, owes no answer."""
    sent, code, told = fault
    async with talking(on_loopback(connect), Config(close_timeout=10.0, max_message_size=1000)) as (transport, peer):
        await peer.stream.send(sent)
        with anyio.fail_after(5.0), pytest.raises(ConnectionLostError, match=told) as lost:
            await transport.receive()
        assert lost.value.code == code
        assert "closed it" not in str(lost.value)
        with pytest.raises(ConnectionLostError, match=told):
            await transport.send("too late")
        with anyio.fail_after(5.0):
            await transport.aclose()
            opcode, data = await peer.frame()
        assert (opcode, int.from_bytes(data[:2], "big")) == (8, code)


@on_trio
@pytest.mark.parametrize("how", ["reset", "hang up"])
async def test_a_socket_that_ends_is_not_called_a_close_of_the_exchange(how: str) -> None:
    async with talking(on_loopback(connect), Config(close_timeout=10.0)) as (transport, peer):
        if how == "reset":
            raw = peer.stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 -- this is not Django's
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(peer.stream)
        with anyio.fail_after(5.0), pytest.raises(ConnectionLostError, match="without a close frame") as lost:
            await transport.receive()
        assert lost.value.code == 1006
        assert ("reset by peer" in str(lost.value)) == (how == "reset")
        with anyio.fail_after(5.0):
            await transport.aclose()
