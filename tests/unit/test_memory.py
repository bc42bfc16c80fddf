"""The simulated exchange in memory: the endpoints by their URLs, the login, and stalls."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import anyio
import pytest
from tests.support.world import NumberedSource, wall

from upbit_streams import Config, Endpoint, HandshakeRefusedError
from upbit_streams.auth import Credentials, login_token
from upbit_streams.model.secret import Secret
from upbit_streams.testing import Account, Delay, SimulatedExchange, memory_connector, play, settle
from upbit_streams.transport.interface import Transport

pytestmark = pytest.mark.anyio


def token(account: Account) -> Secret:
    return login_token(Credentials(account.access_key, account.secret_key.reveal()), str(uuid4()))


def asked(*types: str) -> str:
    return json.dumps([{"ticket": "test"}, *({"type": name} for name in types)])


async def told(transport: Transport) -> list[Any]:
    frames: Sequence[bytes | str] = await transport.receive()
    return [json.loads(frame) for frame in frames]


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("", Endpoint.PUBLIC),
        ("/websocket/v1", Endpoint.PUBLIC),
        ("/websocket/v1/private", Endpoint.PRIVATE),
        ("/private?x=1", Endpoint.PRIVATE),
        ("/websocket/v1/info", Endpoint.INFO),
    ],
)
async def test_the_path_says_which_endpoint_it_is(path: str, endpoint: Endpoint) -> None:
    exchange = SimulatedExchange(NumberedSource())
    account = exchange.open_account()
    connect = memory_connector(exchange, wall)
    transport = await connect(f"ws://memory{path}", Config(), token(account))
    assert [session.endpoint for session in exchange.sessions] == [endpoint]
    await transport.aclose()
    if endpoint is not Endpoint.PUBLIC:
        with pytest.raises(HandshakeRefusedError) as refused:
            await connect(f"ws://memory{path}", Config(), None)
        assert refused.value.status == 401
        assert json.loads(refused.value.body)["error"]["name"] == "no_authorization_token"


async def test_news_wake_whoever_waits_for_them() -> None:
    exchange = SimulatedExchange(NumberedSource())
    account = exchange.open_account()
    transport = await memory_connector(exchange, wall)("ws://memory/private", Config(), token(account))
    await transport.send(asked("myAsset", "announcement"))
    started = anyio.current_time()
    async with anyio.create_task_group() as group:

        async def act() -> None:
            await anyio.sleep(5.0)
            account.deposit(wall(), "KRW", 1)

        group.start_soon(act)
        (frame,) = await told(transport)
    assert frame["assets"] == [{"currency": "KRW", "balance": 1, "locked": 0}]
    assert anyio.current_time() == started + 5.0
    await transport.aclose()


async def test_a_stall_of_one_endpoint_holds_frames_and_pings_back_until_it_is_over() -> None:
    exchange = SimulatedExchange(NumberedSource())
    account = exchange.open_account()
    connect = memory_connector(exchange, wall)
    transport = await connect("ws://memory/private", Config(), token(account))
    public = await connect("ws://memory", Config(), None)
    await transport.send(asked("myAsset"))
    exchange.stalled.add(Endpoint.PRIVATE)
    account.deposit(wall(), "KRW", 1)
    for wait in (transport.receive, transport.ping):
        with anyio.move_on_after(20.0) as scope:
            await wait()
            pytest.fail("it should have waited")
        assert scope.cancelled_caught
        await public.ping()
    exchange.stalled.clear()
    await transport.ping()
    (frame,) = await told(transport)
    assert frame["type"] == "myAsset"
    await transport.aclose()
    await public.aclose()


async def test_a_pong_overtakes_no_frame_so_whoever_has_it_has_had_all_before() -> None:
    exchange = SimulatedExchange(NumberedSource())
    account = exchange.open_account()
    transport = await memory_connector(exchange, wall)("ws://memory/private", Config(), token(account))
    await transport.send(asked("myAsset"))
    heard: list[float] = []
    async with anyio.create_task_group() as group:

        async def listen() -> None:
            await told(transport)
            heard.append(anyio.current_time())

        group.start_soon(listen)
        group.start_soon(play, [Delay(lasts=60.0, seconds=10.0)], exchange, wall)
        await anyio.sleep(5.0)
        account.deposit(wall(), "KRW", 1)
        await anyio.sleep(2.0)
        await transport.ping()
        assert anyio.current_time() == pytest.approx(15.0)
        await transport.ping()  # with nothing on its way it comes at once
        assert anyio.current_time() == pytest.approx(15.0)
        await settle()
        assert heard == [pytest.approx(15.0)]
        group.cancel_scope.cancel()
    await transport.aclose()
