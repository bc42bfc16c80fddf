"""What a connector refuses before it connects, and which of a host's addresses it takes."""

import socket
from typing import Any

import anyio
import pytest

from upbit_streams import Config, ConnectFailedError, InvalidConfigError
from upbit_streams.transport.look_up import connect_tcp
from upbit_streams.transport.websocket import connect


class Wire:
    """A stream that was opened to an address, and whether it is closed."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True


class World:
    """A host with two addresses, of which each answers after some seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
        self.opened: list[Wire] = []
        self.begun = anyio.Event()
        self._seconds = seconds
        answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in seconds]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
        monkeypatch.setattr(anyio, "connect_tcp", self._connect)

    async def _connect(self, address: str, port: int) -> Any:
        del port
        self.begun.set()
        with anyio.CancelScope(shield=True):  # as a socket that is connected in the moment in which it is cancelled
            await anyio.sleep(self._seconds[address])
        self.opened.append(Wire(address))
        return self.opened[-1]


async def test_of_two_addresses_that_answer_together_one_is_taken_and_the_other_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, {"192.0.2.1": 1.0, "192.0.2.2": 0.75})
    taken: Any = await connect_tcp("exchange.invalid", 443)
    assert len(world.opened) == 2
    assert [wire for wire in world.opened if not wire.is_closed] == [taken]


async def test_what_has_connected_is_closed_if_nobody_waits_for_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"192.0.2.1": 1.0, "192.0.2.2": 2.0})
    taken: list[Any] = []

    async def reach() -> None:
        taken.append(await connect_tcp("exchange.invalid", 443))

    async with anyio.create_task_group() as group:
        group.start_soon(reach)
        await world.begun.wait()  # the look-up takes real time
        await anyio.sleep(0.5)
        group.cancel_scope.cancel()
    assert world.opened
    assert [wire for wire in world.opened if not wire.is_closed] == taken  # it may have been in time


async def test_a_host_without_an_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    World(monkeypatch, {})
    with pytest.raises(OSError, match="no address"):
        await connect_tcp("exchange.invalid", 443)


async def test_a_url_with_a_space_or_a_line_end_is_no_url() -> None:
    for url in ("ws://exchange .invalid/", "ws://exchange.invalid/\n"):
        with pytest.raises(ConnectFailedError, match="a space, a line end or a tab"):
            await connect(url, Config())


async def test_tls_settings_of_another_kind_are_refused() -> None:
    other: Any = object()
    with pytest.raises(InvalidConfigError, match=r"an ssl\.SSLContext, not a object"):
        await connect("wss://exchange.invalid/", Config(), ssl_context=other)


async def test_a_dial_that_gives_no_stream_is_refused() -> None:
    async def dial(host: str, port: int) -> Any:
        return host, port

    with pytest.raises(InvalidConfigError, match=r"receive\(\), send\(\), aclose\(\)|receive"):
        await connect("ws://exchange.invalid/", Config(), dial=dial)
