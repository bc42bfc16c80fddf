"""S1: keys and tokens go to the exchange and nowhere else, whatever goes wrong on the way."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import attrs
import jwt
import pytest
from anyio.abc import ByteStream
from tests.socket.test_server import still_market, wall
from tests.socket.test_websocket import Peer, serving
from tests.support.secrets import Ledger, keep_everything
from websockets.exceptions import InvalidState

from upbit_streams import (
    AuthenticationError,
    Backoff,
    Config,
    ConnectFailedError,
    Credentials,
    DataType,
    Endpoint,
    EpochStarted,
    Secret,
    UpbitStreamsError,
    open_manager,
)
from upbit_streams.auth import login_token
from upbit_streams.testing import SimulatedExchange, open_exchange
from upbit_streams.transport.websocket import connect

pytestmark = pytest.mark.socket

ACCESS, SECRET = "AcCeSs" + "0123456789" * 3 + "abcd", "sEcReT" + "9876543210" * 3 + "dcba"
CONFIG = Config(
    url="ws://127.0.0.1",
    connect_timeout=1.0,
    close_timeout=0.2,
    backoff=Backoff(initial=0.01, maximum=0.02),
)


class Told(Exception):  # noqa: N818 -- a user's own
    """What a user's code raises."""


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every token that is made."""
    made: list[str] = []

    def remembering(credentials: Credentials, nonce: str) -> Secret:
        token = login_token(credentials, nonce)
        made.append(token.reveal())
        return token

    monkeypatch.setattr("upbit_streams.engine.login.login_token", remembering)
    return made


@contextmanager
def nothing_is_told(tokens: list[str]) -> Iterator[Ledger]:
    """Nothing that is written within the block has a key or a token in it."""
    with keep_everything() as ledger:
        yield ledger
    assert tokens
    assert len(ledger.texts) > 5
    # Halves of the keys, too: what is shown of a long text is cut.
    for secret in {ACCESS[:20], SECRET[:20], *tokens, *(token.rpartition(".")[2] for token in tokens)}:
        for text in ledger.texts:
            assert secret not in text


async def test_s1_a_whole_run_writes_no_key_and_no_token(tokens: list[str]) -> None:
    exchange = SimulatedExchange(still_market())
    account = exchange.open_account(access_key=ACCESS, secret_key=SECRET, balances={"KRW": 10**9})
    with nothing_is_told(tokens) as ledger, anyio.fail_after(20):
        async with open_exchange(exchange) as url:
            with pytest.raises(Told) as raised:
                async with (
                    open_manager(attrs.evolve(CONFIG, url=url), credentials=Credentials(ACCESS, SECRET)) as manager,
                    manager.open_client("strategy") as client,
                    client.stream([DataType.MY_ORDER, DataType.MY_ASSET]) as changes,
                ):
                    ledger.add_events([await changes.receive()])
                    now = 10.0**10
                    account.place(now, "KRW-BTC", "BID", "price", price=100_000)
                    ledger.add_events([await changes.receive(), await changes.receive()])
                    exchange.end_sessions(wall(), 1000)
                    while not isinstance(await changes.receive(), EpochStarted):
                        pass
                    account.revoke()
                    exchange.end_sessions(wall())
                    with pytest.raises(AuthenticationError, match="expired_access_key") as refused:
                        while True:
                            ledger.add_events([await changes.receive()])
                    ledger.add_error(refused.value)
                    ledger.texts += [repr(manager.status(endpoint)) for endpoint in Endpoint]
                    ledger.texts.append(repr(manager.independence()))
                    assert ledger.add_reachable(manager) > 20
                    raise Told("a user's own error")
            ledger.add_error(raised.value)
    assert len(tokens) >= 3
    assert len(set(tokens)) == len(tokens), "a token was sent twice"


async def echo(stream: ByteStream) -> None:
    """Some proxies answer with what they were asked."""
    request = (await stream.receive()).replace(b"\r\n", b" ").replace(b'"', b"'")
    body = b'{"error":{"name":"jwt_verification","message":"' + request + b'"}}'
    await stream.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def echo_a_bad_gateway(stream: ByteStream) -> None:
    request = await stream.receive()
    await stream.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n" % len(request) + request)


async def no_http(stream: ByteStream) -> None:
    await stream.send(await stream.receive())


async def hang_up(stream: ByteStream) -> None:
    await stream.receive()


async def reset(stream: ByteStream) -> None:
    await Peer(stream).reset()


async def say_nothing(stream: ByteStream) -> None:
    await anyio.sleep_forever()


async def _logged_in(stream: ByteStream) -> tuple[Peer, str]:
    """Accept whoever comes. Returns the key that came with the login, too."""
    peer = Peer(stream)
    peer.protocol.debug = False  # it is not our side that is looked at
    request = await peer.shake_hands()
    token = request.headers["Authorization"].removeprefix("Bearer ")
    key: str = jwt.decode(token, options={"verify_signature": False})["access_key"]
    await peer.next_frame()
    return peer, key


async def refuse_in_a_frame(stream: ByteStream) -> None:
    peer, key = await _logged_in(stream)
    with suppress(InvalidState):  # that was a goodbye
        await peer.send(b'{"error":{"name":"INVALID_AUTH","message":"no such key: ' + key.encode() + b'"}}')


async def say_why_it_closes(stream: ByteStream) -> None:
    peer, key = await _logged_in(stream)
    with suppress(InvalidState):
        peer.protocol.send_close(1008, f"no such key: {key}")
        await peer.flush()
        await peer.at_end()


async def send_what_is_no_json(stream: ByteStream) -> None:
    peer, key = await _logged_in(stream)
    with suppress(InvalidState):
        # As much of it is kept to be shown as ends within the key.
        await peer.send(f"no such key: {key}", "x" * 180 + key)
        await peer.at_end()


async def send_a_type_that_nobody_knows(stream: ByteStream) -> None:
    peer, key = await _logged_in(stream)
    with suppress(InvalidState):
        await peer.send(f'{{"type":"keyWarning","key":"{key}"}}', f'{{"type":"{key}","timestamp":1}}')
        await peer.at_end()


async def refuse_with_a_body_that_is_cut(stream: ByteStream) -> None:
    request = await stream.receive()
    token = request.partition(b"Bearer ")[2].partition(b"\r\n")[0].decode()
    key = jwt.decode(token, options={"verify_signature": False})["access_key"]
    body = ("x" * 170 + key).encode()
    await stream.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


OTHER_SIDES = (
    echo, echo_a_bad_gateway, no_http, hang_up, reset, say_nothing, refuse_in_a_frame, say_why_it_closes,
    send_what_is_no_json, send_a_type_that_nobody_knows, refuse_with_a_body_that_is_cut,
)  # fmt: skip


@pytest.mark.parametrize("behave", OTHER_SIDES, ids=lambda behave: behave.__name__)
async def test_s1_whatever_the_other_side_does_nobody_is_told_the_token(behave: Any, tokens: list[str]) -> None:
    config = attrs.evolve(CONFIG, connect_timeout=0.1)
    with nothing_is_told(tokens) as ledger:
        async with serving(behave) as address:
            config = attrs.evolve(config, url=f"ws://{address}")
            token = login_token(Credentials(ACCESS, SECRET), "n")
            tokens.append(token.reveal())
            try:
                websocket = await connect(config.url, config, token)
                await websocket.aclose()
            except UpbitStreamsError as why:
                ledger.add_error(why)
            async with (
                open_manager(config, credentials=Credentials(ACCESS, SECRET)) as manager,
                manager.open_client("strategy") as client,
            ):
                await client.register_interest(DataType.MY_ORDER)
                try:
                    await client.wait_ready(timeout=0.7)
                except UpbitStreamsError as why:
                    ledger.add_error(why)
                ledger.texts.append(repr(manager.status(Endpoint.PRIVATE)))
                ledger.add_reachable(manager)


async def test_s1_a_login_that_is_cancelled_leaves_no_token_behind(tokens: list[str]) -> None:
    with nothing_is_told(tokens) as ledger:
        async with serving(say_nothing) as address:
            for _ in range(5):
                token = login_token(Credentials(ACCESS, SECRET), "n")
                tokens.append(token.reveal())
                try:
                    with anyio.fail_after(random.uniform(0.0, 0.02)):
                        await connect(f"ws://{address}", CONFIG, token)
                except (TimeoutError, ConnectFailedError) as why:
                    ledger.add_error(why)
