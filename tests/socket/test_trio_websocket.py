"""What of trio-websocket the conformance suite does not reach: TLS, where it cannot run, and what it leaves behind."""

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
