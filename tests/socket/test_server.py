"""The simulated exchange on real sockets: HTTP, sessions that end in every way, and the same frames as in memory."""

import json
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
import pytest
from anyio.abc import SocketStream
from tests.support.world import NumberedSource, numbered_trade
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from upbit_streams import (
    Config,
    ConnectionLostError,
    Endpoint,
    Event,
    HandshakeRefusedError,
    OrderbookEvent,
    OrderbookUnit,
)
from upbit_streams.auth import Credentials, login_token
from upbit_streams.model.secret import Secret
from upbit_streams.testing import (
    Account,
    MarketSimulation,
    MarketSource,
    Recorded,
    Refusal,
    Replay,
    SimulatedExchange,
    exchange,
    memory_connector,
    open_exchange,
    server,
)
from upbit_streams.testing import session as session_module
from upbit_streams.transport.interface import Transport
from upbit_streams.transport.websocket import connect

pytestmark = pytest.mark.socket

CONFIG = Config(connect_timeout=5.0, close_timeout=3.0)
wall = time.time  # noqa: TID251 -- real sockets live in real time
# Long enough for a market that nobody moves on.
STILL = 10**13


def still_market() -> MarketSource:
    """Markets that are as they are, and stay so."""
    return MarketSource(MarketSimulation(codes=["KRW-BTC", "KRW-ETH"], rate=100.0, start_ms=STILL))


def request(*asked: dict[str, Any], **format: str) -> str:
    return json.dumps([{"ticket": "test"}, *asked, format or {"format": "DEFAULT"}])


TRADES = request({"type": "trade", "codes": ["KRW-BTC"]})


@asynccontextmanager
async def served(source: Any) -> AsyncGenerator[tuple[SimulatedExchange, str], None]:
    """An exchange on a socket, for a bounded time."""
    simulated = SimulatedExchange(source)
    with anyio.fail_after(10):
        async with open_exchange(simulated) as url:
            yield simulated, url


@asynccontextmanager
async def session(url: str, config: Config = CONFIG) -> AsyncGenerator[Transport, None]:
    transport = await connect(url, config)
    try:
        yield transport
    finally:
        with anyio.CancelScope() as closing:
            closing.cancel()
            await transport.aclose()


async def until_lost(transport: Transport) -> tuple[list[Any], ConnectionLostError]:
    """All that still comes, and how the connection ends."""
    frames: list[Any] = []
    with pytest.raises(ConnectionLostError) as lost:
        while True:
            frames += map(json.loads, await transport.receive())
    return frames, lost.value


async def until_no_session_is_left(simulated: SimulatedExchange) -> None:
    while simulated.sessions:  # noqa: ASYNC110 -- the server sees the end of a client a moment later
        await anyio.sleep(0.005)


async def raw(url: str) -> SocketStream:
    uri = parse_uri(url)
    return await anyio.connect_tcp(uri.host, uri.port)


async def http(url: str, text: str) -> tuple[int, dict[str, str], str]:
    """Send these bytes, and read the answer to its end."""
    async with await raw(url) as stream:
        await stream.send(text.replace("\n", "\r\n").encode())
        answer = b""
        with suppress(anyio.EndOfStream):
            while True:
                answer += await stream.receive()
    head, _, body = answer.decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


UPGRADE = "Host: x\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n"
KEY = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n"


async def raw_session(url: str, text: str = TRADES) -> SocketStream:
    """A session without compression that has sent a request, and whose client is in the hands of the test."""
    stream = await raw(url)
    await stream.send(f"GET /websocket/v1 HTTP/1.1\n{UPGRADE}{KEY}\n".replace("\n", "\r\n").encode())
    answer = await stream.receive()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"permessage-deflate" not in answer
    await stream.send(Frame(Opcode.TEXT, text.encode()).serialize(mask=True))
    return stream


# HTTP


@pytest.mark.parametrize("query", ["", "?isDetails=true", "?is_details=true&x=/websocket/v1"])
async def test_the_list_of_markets(query: str) -> None:
    async with served(still_market()) as (_, url):
        started = anyio.current_time()
        status, headers, body = await http(url, f"GET /v1/market/all{query} HTTP/1.1\nHost: x\n\n")
        assert anyio.current_time() - started < 0.9
        assert status == 200
        assert [market["market"] for market in json.loads(body)] == ["KRW-BTC", "KRW-ETH"]
        assert headers["content-length"] == str(len(body.encode()))
        assert headers["connection"] == "close"
        assert headers["content-type"].startswith("application/json")


async def test_head_is_get_without_the_body() -> None:
    async with served(still_market()) as (_, url):
        _, get_headers, body = await http(url, "GET /v1/market/all HTTP/1.1\nHost: x\n\n")
        status, headers, nothing = await http(url, "HEAD /v1/market/all HTTP/1.1\nHost: x\n\n")
        if status == 400:
            pytest.skip("before version 17, websockets itself lets nothing but GET pass")
        assert (status, nothing) == (200, "")
        assert headers["content-length"] == get_headers["content-length"] == str(len(body))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET /v1/nope HTTP/1.1\nHost: x\n\n", 404),
        ("GET / HTTP/1.1\nHost: x\n\n", 404),
        (f"GET /websocket/v1/other HTTP/1.1\n{UPGRADE}{KEY}\n", 404),
        ("POST /v1/market/all HTTP/1.1\nHost: x\nContent-Length: 0\n\n", 405),
        ("POST /v1/market/all HTTP/1.1\nHost: x\nContent-Length: 5\n\nhello", 400),
        (f"POST /websocket/v1 HTTP/1.1\n{UPGRADE}{KEY}\n", 405),
        ("GET /websocket/v1 HTTP/1.1\nHost: x\n\n", 426),
        (f"GET /websocket/v1 HTTP/1.1\n{UPGRADE}\n", 400),
        ("hello?\n\n", 400),
        (f"GET /v1/market/all HTTP/1.1\nX: {'x' * 10_000}\n\n", 400),
    ],
    ids=lambda value: str(value)[:25],
)
async def test_what_is_wrong_with_a_request_is_told_in_its_status(text: str, status: int) -> None:
    async with served(still_market()) as (simulated, url):
        told, headers, body = await http(url, text)
        # Before version 17, websockets itself lets nothing but GET pass.
        assert told == status or (told, text[:4]) == (400, "POST")
        assert body
        assert headers["content-length"] == str(len(body.encode()))
        # It was no attempt to connect, and whoever does it right is served.
        assert list(simulated.connects) == []
        async with session(url):
            assert len(simulated.sessions) == 1


async def test_a_websocket_path_may_have_a_query() -> None:
    async with served(still_market()) as (_, url):
        async with session(f"{url}?token=x") as transport:
            await transport.send(TRADES)
            assert len(await transport.receive()) == 1


@pytest.mark.parametrize("status", [401, 418, 429, 503, 599])
async def test_a_refusal_is_the_answer_to_the_handshake(status: int) -> None:
    async with served(still_market()) as (simulated, url):
        simulated.refusal = Refusal(status, "not now")
        with pytest.raises(HandshakeRefusedError) as refused:
            await connect(url, CONFIG)
        assert (refused.value.status, refused.value.body) == (status, "not now")
        simulated.refusal = None
        async with session(url):
            pass


@pytest.mark.breaches
async def test_the_sixth_connect_within_a_second_gets_429() -> None:
    async with served(still_market()) as (simulated, url):
        for _ in range(5):
            async with session(url):
                pass
        with pytest.raises(HandshakeRefusedError) as refused:
            await connect(url, CONFIG)
        assert refused.value.status == 429
        assert len(simulated.breaches) == 1
        await until_no_session_is_left(simulated)


# Where it listens


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    async with served(still_market()) as (_, url):
        with pytest.raises(OSError, match="in use"):
            async with open_exchange(SimulatedExchange(still_market()), port=parse_uri(url).port):
                pass


async def test_the_url_is_one_of_the_host_and_a_free_port() -> None:
    for host in ("localhost", "127.0.0.1", "::1"):
        with anyio.fail_after(5):
            async with open_exchange(SimulatedExchange(still_market()), host) as url:
                assert parse_uri(url).host == host
                assert parse_uri(url).port > 0
                async with session(url):
                    pass


# How sessions end


async def test_a_polite_close_of_the_exchange_is_quick_for_both() -> None:
    async with served(still_market()) as (simulated, url), session(url) as transport:
        await transport.send(TRADES)
        await transport.receive()
        started = anyio.current_time()
        simulated.end_sessions(wall(), 1012)
        frames, lost = await until_lost(transport)
        assert (frames, lost.code) == ([], 1012)
        await transport.aclose()
        await until_no_session_is_left(simulated)
        assert anyio.current_time() - started < 0.5


async def test_a_polite_close_of_the_client_is_quick_for_both() -> None:
    async with served(still_market()) as (simulated, url), session(url) as transport:
        started = anyio.current_time()
        await transport.aclose()
        await until_no_session_is_left(simulated)
        assert anyio.current_time() - started < 0.5


async def test_a_client_that_says_goodbye_while_data_flows_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "CONNECTS_PER_SECOND", 1000)
    goodbye = Frame(Opcode.CLOSE, b"\x03\xe8")
    trades = [Recorded(0.0, numbered_trade("KRW-BTC", 0, 0))] * 20_000
    async with served(Replay(trades, float("inf"))) as (_, url):
        for _ in range(10):
            async with await raw_session(url) as stream:
                received = await stream.receive()
                await stream.send(goodbye.serialize(mask=True))
                with suppress(anyio.EndOfStream):
                    while True:
                        received = received[-100:] + await stream.receive()
                assert received.endswith(goodbye.serialize(mask=False))


async def test_a_client_that_never_answers_a_close_is_left_after_a_moment() -> None:
    async with served(still_market()) as (simulated, url), await raw_session(url) as stream:
        started = anyio.current_time()
        simulated.end_sessions(wall(), 1000)
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await stream.receive()
        assert 0.9 < anyio.current_time() - started < 2
        await until_no_session_is_left(simulated)


async def test_the_exchange_can_drop_a_session_without_a_word() -> None:
    async with served(still_market()) as (simulated, url), session(url) as transport:
        await transport.send(TRADES)
        await transport.receive()
        simulated.end_sessions(wall())
        frames, lost = await until_lost(transport)
        assert (frames, lost.code) == ([], 1006)
        await until_no_session_is_left(simulated)


async def test_leaving_the_block_drops_every_session() -> None:
    simulated = SimulatedExchange(NumberedSource(0.001))
    with anyio.fail_after(5):
        async with open_exchange(simulated) as url:
            transports = [await connect(url, CONFIG) for _ in range(3)]
            for transport in transports:
                await transport.send(TRADES)
                await transport.receive()
            unfinished = await raw(url)
        assert simulated.sessions == set()
        for transport in transports:
            _, lost = await until_lost(transport)
            assert lost.code == 1006
            await transport.aclose()
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await unfinished.receive()
        await unfinished.aclose()


async def test_a_client_that_goes_away_leaves_nothing_behind_whenever_it_goes() -> None:
    async with served(NumberedSource(0.001)) as (simulated, url):
        stages = [b"", b"GET /websoc", f"GET /websocket/v1 HTTP/1.1\n{UPGRADE}{KEY}\n".replace("\n", "\r\n").encode()]
        for stage in stages:
            stream = await raw(url)
            if stage:
                await stream.send(stage)
            await stream.aclose()
        async with session(url) as transport:
            await transport.send(TRADES)
            await transport.receive()
        await until_no_session_is_left(simulated)


def heavy(count: int) -> list[Recorded]:
    """Far more bytes than any kernel keeps for a socket."""
    unit = OrderbookUnit(ask_price=1.0, bid_price=1.0, ask_size=1.0, bid_size=1.0)
    book = OrderbookEvent(
        code="KRW-BTC",
        timestamp=0,
        stream_type="REALTIME",
        total_ask_size=1.0,
        total_bid_size=1.0,
        orderbook_units=(unit,) * 100,
        level=0.0,
    )
    return [Recorded(0.0, numbered_trade("KRW-BTC", 0, 0)), *([Recorded(0.0, book)] * count)]


async def test_a_client_that_never_reads_is_left_and_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WRITE_SECONDS", 0.3)

    async with served(Replay(heavy(4000), float("inf"))) as (simulated, url):
        books = request({"type": "orderbook", "codes": ["KRW-BTC"]})
        async with await raw_session(url, books) as stuck, session(url) as transport:
            started = anyio.current_time()
            await transport.send(TRADES)
            assert len(await transport.receive()) == 1
            assert len(simulated.sessions) == 2
            while len(simulated.sessions) > 1:  # noqa: ASYNC110 -- it is the time that is waited for
                await anyio.sleep(0.01)
            assert 0.2 < anyio.current_time() - started < 2
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                while True:
                    await stuck.receive()
            async with anyio.create_task_group() as group:
                group.start_soon(transport.receive)
                await transport.ping()
                group.cancel_scope.cancel()


class Cracked(NumberedSource):
    """A source with a bug: whoever asks for KRW-ETH meets it."""

    broken_from_the_start = False

    def open(self) -> Any:
        if self.broken_from_the_start:
            raise ZeroDivisionError
        feed = super().open()
        take = feed.take

        def crash(now: float) -> list[Event]:
            events = take(now)
            if any(event.code == "KRW-ETH" for event in events):
                raise ZeroDivisionError
            return events

        feed.take = crash  # type: ignore[method-assign]
        return feed


async def test_a_session_that_crashes_is_logged_and_closed_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served(Cracked(0.005)) as (simulated, url), session(url) as healthy:
        await healthy.send(TRADES)
        await healthy.receive()
        async with session(url) as crashing:
            await crashing.send(request({"type": "trade", "codes": ["KRW-ETH"]}))
            frames, lost = await until_lost(crashing)
            assert (frames, lost.code) == ([], 1011)
        assert [(record.levelno, record.name) for record in caplog.records] == [
            (logging.ERROR, "upbit_streams.testing")
        ]
        assert "ZeroDivisionError" in caplog.text
        await healthy.receive()
        assert len(simulated.sessions) == 1
        async with session(url) as another:
            await another.send(TRADES)
            await another.receive()


async def test_a_source_that_cannot_be_opened_costs_its_clients_the_connection_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Cracked(0.005)
    async with served(source) as (_, url), session(url) as healthy:
        source.broken_from_the_start = True
        with pytest.raises(HandshakeRefusedError) as refused:
            await connect(url, CONFIG)
        assert refused.value.status == 500
        assert "ZeroDivisionError" in caplog.text
        await healthy.send(TRADES)
        await healthy.receive()


async def test_a_client_that_breaks_the_protocol_is_told_and_left() -> None:
    async with served(still_market()) as (simulated, url), await raw_session(url) as stream:
        await stream.send(b"\xff\xff\xff\xff")
        received = b""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                received += await stream.receive()
        assert Frame(Opcode.CLOSE, b"\x03\xea").serialize(mask=False)[2:4] in received  # 1002
        await until_no_session_is_left(simulated)


# Time


async def test_a_silent_session_is_dropped_and_pings_prevent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # A machine that is busy may not run this for a second: no limit is nearer than that.
    monkeypatch.setattr(session_module, "IDLE_SECONDS", 1.5)
    started = anyio.current_time()
    async with served(still_market()) as (_, url), session(url) as pinging, session(url) as silent:

        async def ping() -> None:
            while True:
                await pinging.ping()
                await anyio.sleep(0.2)

        async with anyio.create_task_group() as group:
            group.start_soon(ping)
            group.start_soon(pinging.receive)
            frames, lost = await until_lost(silent)
            assert (frames, lost.code) == ([], 1006)
            assert anyio.current_time() - started > 1.4
            await pinging.ping()  # still there
            group.cancel_scope.cancel()


async def test_a_ping_in_words_is_answered_at_each_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "UP_INTERVAL", 0.1)
    async with served(still_market()) as (_, url), session(url) as transport:
        await transport.send("PING")
        started = anyio.current_time()
        frames: list[Any] = []
        while len(frames) < 4:
            frames += map(json.loads, await transport.receive())
        assert frames == [{"status": "UP"}] * 4
        assert anyio.current_time() - started > 0.25


async def test_a_market_moves_while_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.05)
    now = wall()
    source = MarketSource(MarketSimulation(codes=["KRW-BTC"], rate=1000.0, start_ms=int(now * 1000)))
    async with served(source):
        while source.next_time() < now + 0.3:  # noqa: ASYNC110 -- nobody tells
            await anyio.sleep(0.01)


# The same as in memory


def market_and_recording() -> list[Any]:
    market = MarketSimulation(codes=["KRW-BTC", "KRW-ETH"], rate=200.0, start_ms=0)
    return [still_market(), Replay([Recorded(0.0, event) for event in market.advance(1000)], float("inf"))]


BOOKS = request({"type": "orderbook", "codes": ["KRW-BTC.5", "KRW-ETH"]}, {"type": "trade", "codes": ["KRW-ETH"]})
SCRIPTS: dict[str, Sequence[str]] = {
    "all types": [request(*({"type": name, "codes": ["KRW-BTC"]} for name in ("ticker", "trade", "candle.1m")))],
    "two requests": [TRADES, BOOKS],
    "formats": [request({"type": "ticker", "codes": ["KRW-BTC"]}, format="SIMPLE_LIST")],
    "listing": [BOOKS, request({"method": "LIST_SUBSCRIPTIONS"}, format="SIMPLE")],
    "silence": [request({"type": "ticker", "codes": ["krw-btc"]})],
    "too many": [TRADES] * 6,
}


async def what_is_due(transport: Transport) -> list[bytes]:
    """What a session in memory has to say at once: there it need not travel."""
    frames: list[bytes] = []
    with suppress(ConnectionLostError):
        while True:
            with anyio.move_on_after(0.02) as pause:
                frames += map(bytes, await transport.receive())  # type: ignore[arg-type]
            if pause.cancelled_caught:
                break
    return frames


async def the_end(transport: Transport) -> tuple[list[bytes], int]:
    """What comes after nonsense was sent: the rest, and how the exchange closes the connection."""
    frames: list[bytes] = []
    with pytest.raises(ConnectionLostError) as lost:
        await transport.send("nonsense")
        while True:
            frames += map(bytes, await transport.receive())  # type: ignore[arg-type]
    return frames, lost.value.code


@pytest.mark.breaches
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_both_fronts_say_the_same_to_the_same_script(
    script: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CLOSE_AFTER_ERROR", 0.01)
    for in_memory, on_socket in zip(market_and_recording(), market_and_recording(), strict=True):
        remembered = SimulatedExchange(in_memory)
        transport = await memory_connector(remembered, wall)("ws://memory", CONFIG, None)
        expected: list[list[bytes]] = []
        for text in script:
            await transport.send(text)
            expected.append(await what_is_due(transport))
        end = await the_end(transport)
        await transport.aclose()
        assert remembered.sessions == set()
        said = [frame for frames in expected for frame in frames]
        assert (end[1], b'"error"' in [*said, *end[0]][-1]) == (1000, True)
        assert said or "krw-btc" in script[0]

        async with served(on_socket) as (simulated, url), session(url) as transport:
            for text, answer in zip(script, expected, strict=True):
                await transport.send(text)
                frames: list[bytes] = []
                while len(frames) < len(answer):
                    frames += map(bytes, await transport.receive())  # type: ignore[arg-type]
                assert frames == answer
            assert await the_end(transport) == end
            await transport.aclose()
            await until_no_session_is_left(simulated)


async def test_in_memory_a_lost_or_closed_connection_says_so_at_once() -> None:
    simulated = SimulatedExchange(still_market())
    connector = memory_connector(simulated, wall)

    async def nothing_works(transport: Transport, code: int) -> None:
        for attempt in (transport.receive, transport.ping, partial(transport.send, TRADES)):
            with anyio.fail_after(1), pytest.raises(ConnectionLostError) as lost:
                await attempt()
            assert lost.value.code == code

    for code in (1012, None):
        transport = await connector("ws://memory", CONFIG, None)
        simulated.end_sessions(wall(), code)
        await nothing_works(transport, code or 1006)
        await transport.aclose()
        await nothing_works(transport, 1000)
    transport = await connector("ws://memory", CONFIG, None)
    async with anyio.create_task_group() as group:

        async def receive() -> None:
            with pytest.raises(ConnectionLostError):
                await transport.receive()

        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        await transport.aclose()
    assert simulated.sessions == set()
    simulated.refusal = Refusal(418, "blocked")
    with pytest.raises(HandshakeRefusedError) as refused:
        await connector("ws://memory", CONFIG, None)
    assert (refused.value.status, refused.value.body) == (418, "blocked")


# The other endpoints


def login_of(account: Account) -> Secret:
    return login_token(Credentials(account.access_key, account.secret_key.reveal()), str(uuid4()))


async def subscribe(transport: Transport, *asked: dict[str, Any]) -> None:
    """Ask for something of which there is no snapshot, and wait until the exchange has heard it."""
    await transport.send(request(*asked))
    await transport.send(request({"method": "LIST_SUBSCRIPTIONS"}))
    (answer,) = map(json.loads, await transport.receive())
    assert len(answer["result"]) == len(asked)


@pytest.mark.breaches
@pytest.mark.parametrize("endpoint", ["private", "info"])
async def test_a_login_is_checked_at_the_handshake(endpoint: str) -> None:
    async with served(still_market()) as (simulated, url):
        account = simulated.open_account()
        token = login_of(account)
        transport = await connect(f"{url}/{endpoint}", CONFIG, token)
        assert [each.endpoint for each in simulated.sessions] == [endpoint]
        await transport.aclose()
        names = []
        for bad in (None, token, Secret("no token")):
            with pytest.raises(HandshakeRefusedError) as refused:
                await connect(f"{url}/{endpoint}", CONFIG, bad)
            assert refused.value.status == 401
            names.append(json.loads(refused.value.body)["error"]["name"])
        assert names == ["no_authorization_token", "nonce_used", "jwt_verification"]


async def test_an_account_hears_of_its_order_at_once() -> None:
    async with served(still_market()) as (simulated, url):
        account = simulated.open_account(balances={"KRW": 10**9})
        transport = await connect(f"{url}/private", CONFIG, login_of(account))
        await subscribe(transport, {"type": "myOrder"}, {"type": "myAsset"})
        uuid = account.place(wall(), "KRW-BTC", "BID", "price", price=1_000_000)
        frames: list[Any] = []
        while not any(frame.get("state") == "cancel" for frame in frames):
            frames += map(json.loads, await transport.receive())
        assert {frame["uuid"] for frame in frames if frame["type"] == "myOrder"} == {uuid}
        states = [frame["state"] for frame in frames if frame["type"] == "myOrder"]
        assert (states[0], {*states[1:-1]}, states[-1]) == ("wait", {"trade"}, "cancel")
        await transport.aclose()


async def test_a_stalled_endpoint_sends_nothing_and_answers_no_ping_until_it_goes_on() -> None:
    async with served(still_market()) as (simulated, url):
        account = simulated.open_account()
        transport = await connect(f"{url}/private", CONFIG, login_of(account))
        public = await connect(url, CONFIG)
        await subscribe(transport, {"type": "myAsset"})
        simulated.stalled.add(Endpoint.PRIVATE)
        account.deposit(wall(), "KRW", 1)
        frames: list[Any] = []
        async with anyio.create_task_group() as group:

            async def hear() -> None:
                while True:
                    frames.extend(map(json.loads, await transport.receive()))

            group.start_soon(hear)
            with anyio.move_on_after(0.3) as scope:
                await transport.ping()
            assert scope.cancelled_caught
            assert frames == []
            simulated.stalled.clear()
            await transport.ping()
            with anyio.fail_after(3.0):
                while not frames:  # noqa: ASYNC110 -- frames of another task
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        assert [frame["type"] for frame in frames] == ["myAsset"]
        for each in (transport, public):
            await each.aclose()
