"""HTTP proxies: the exchange behind one, with TLS and without, and proxies that say no."""

import base64
import ssl
from functools import partial
from typing import Any

import anyio
import pytest
import trustme
from anyio.abc import ByteStream
from tests.socket.test_server import still_market
from tests.socket.test_websocket import CONFIG, Peer, greet, server_tls, serving, trusting
from tests.support.secrets import Ledger

from upbit_streams import ConnectFailedError, InvalidConfigError
from upbit_streams.testing import SimulatedExchange, open_exchange
from upbit_streams.transport import trio_websocket, websocket
from upbit_streams.transport.proxy import through_proxy

pytestmark = [pytest.mark.anyio, pytest.mark.socket]

PASSWORD = "p@ss:word"  # noqa: S105 -- nobody's


async def pump(source: ByteStream, sink: ByteStream) -> None:
    async for data in source:
        await sink.send(data)
    await sink.send_eof()


async def forward(heads: list[str], stream: ByteStream) -> None:
    """A proxy that does what it is asked for."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive(1)
    heads.append(head.decode())
    host, _, port = heads[-1].split()[1].rpartition(":")
    async with await anyio.connect_tcp(host.strip("[]"), int(port)) as target:
        for part in (b"HTTP/1.1 200 Connection est", b"ablished\r\nVia: x\r\n\r\n"):
            await stream.send(part)
            await anyio.sleep(0.01)
        async with anyio.create_task_group() as group:
            group.start_soon(pump, stream, target)
            await pump(target, stream)
            group.cancel_scope.cancel()


@pytest.mark.parametrize("connect", [websocket.connect, trio_websocket.connect], ids=["default", "trio-websocket"])
async def test_the_exchange_behind_a_proxy(connect: Any, anyio_backend: str) -> None:
    if connect is trio_websocket.connect and anyio_backend != "trio":
        pytest.skip("it runs on trio only")
    heads: list[str] = []
    exchange = SimulatedExchange(still_market())
    async with open_exchange(exchange) as url, serving(partial(forward, heads)) as proxy:
        dial = through_proxy(f"http://somebody:p%40ss%3Aword@{proxy}")
        transport = await connect(url, CONFIG, dial=dial)
        assert len(exchange.sessions) == 1
        await transport.aclose()
    target = url.removeprefix("ws://").partition("/")[0]
    login = base64.b64encode(f"somebody:{PASSWORD}".encode()).decode()
    assert heads[0].startswith(f"CONNECT {target} HTTP/1.1\r\n")
    assert f"Proxy-Authorization: Basic {login}\r\n" in heads[0]


async def test_tls_goes_through_to_the_exchange_itself() -> None:
    authority = trustme.CA()
    async with serving(greet, server_tls(authority)) as address, serving(partial(forward, [])) as proxy:
        connect = partial(websocket.connect, f"wss://{address}/", CONFIG, dial=through_proxy(f"http://{proxy}"))
        connection = await connect(ssl_context=trusting(authority))
        assert await connection.receive() == [b"hello"]
        await connection.send("and to you")
        assert await connection.receive() == [b"goodbye"]
        await connection.aclose()
        with pytest.raises(ConnectFailedError, match="its certificate is not valid"):
            await connect(ssl_context=ssl.create_default_context())


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", r"the proxy refused \(407 Proxy Authentication"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the proxy refused"),
        (b"", "no HTTP"),
        (b"x" * 100_000, "no HTTP"),
    ],
)
async def test_a_proxy_that_says_no_is_a_failed_connect_that_tells_no_password(answer: bytes, told: str) -> None:
    async def refuse(stream: ByteStream) -> None:
        await stream.receive()
        await stream.send(answer)

    async with serving(refuse) as proxy:
        dial = through_proxy(f"http://somebody:p%40ss%3Aword@{proxy}")
        with pytest.raises(ConnectFailedError, match=told) as failed:
            await websocket.connect("ws://exchange.invalid/", CONFIG, dial=dial)
    ledger = Ledger()
    ledger.add_error(failed.value)
    hidden = base64.b64encode(f"somebody:{PASSWORD}".encode()).decode()
    assert not any(PASSWORD in text or hidden in text for text in ledger.texts)


async def test_a_connect_through_a_proxy_that_is_silent_is_cancelled_whole() -> None:
    ended = anyio.Event()

    async def say_nothing(stream: ByteStream) -> None:
        await Peer(stream).at_end()
        ended.set()

    async with serving(say_nothing) as proxy:
        with anyio.move_on_after(0.1):
            await websocket.connect("ws://exchange.invalid/", CONFIG, dial=through_proxy(f"http://{proxy}"))
        await ended.wait()


@pytest.mark.parametrize("url", ["", "socks5://x:1", "http://", "x:1", "http://user:secret@host:99999", "http://[::1"])
async def test_what_is_no_http_proxy_is_told_without_its_password(url: str) -> None:
    with pytest.raises(InvalidConfigError, match="a proxy is given as") as refused:
        through_proxy(url)
    assert "secret" not in str(refused.value)
