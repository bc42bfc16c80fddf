"""What the guide says of every way in which a login can go wrong, provoked from the simulated exchange."""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from tests.support.private import PrivateWorld, credentials_of, open_private_world
from tests.support.world import open_world, wall

from upbit_streams import (
    AuthenticationError,
    Client,
    Config,
    ConnectionState,
    Credentials,
    DataType,
    Endpoint,
    InvalidConfigError,
    MissingCredentialsError,
    MyOrderEvent,
    NotReadyError,
    Secret,
    Transport,
)
from upbit_streams.rules.login import REFUSALS
from upbit_streams.testing import MarketSimulation, MarketSource, Refusal, SimulatedExchange, memory_connector

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "private.md"
NOBODY = Credentials("nobody", "knows")


def table() -> dict[str, tuple[str, str]]:
    """By what happens: what one meets, and what to do."""
    section = PAGE.read_text(encoding="utf-8").partition("## When the login is refused\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+) \|$", section, re.MULTILINE)
    return {what: (met, advice) for what, met, advice in rows[2:]}


ROWS = table()

Provoke = Callable[[PrivateWorld], object]


@attrs.frozen
class Case:
    """How to make something happen."""

    row: str
    """The beginning of the first cell."""
    provoke: Provoke = lambda world: None
    """Called before the first connect."""
    tampering: str = ""
    """What happens to tokens on their way: they arrive ``twice``, or requests do ``without``."""
    by_frame: bool = False
    """Whether the handshake is accepted."""


def _body(name: str) -> str:
    return f'{{"error":{{"name":"{name}","message":"no"}}}}'


def _refuse(status: int, body: str) -> Provoke:
    def provoke(world: PrivateWorld) -> None:
        world.exchange.refusals[Endpoint.PRIVATE] = Refusal(status, body)

    return provoke


def _change_key(**changes: Any) -> Provoke:
    def provoke(world: PrivateWorld) -> None:
        for name, value in changes.items():
            setattr(world.account.keys[world.account.access_key], name, value)

    return provoke


def _as_frames(world: PrivateWorld) -> None:
    world.exchange.login_errors_as_frames = True
    world.manager.set_credentials(NOBODY)


def _wrong_secret(world: PrivateWorld) -> None:
    world.manager.set_credentials(Credentials(world.account.access_key, "wrong"))


def _key_of_another_region(world: PrivateWorld) -> None:
    other = SimulatedExchange(MarketSource(MarketSimulation(codes=["USDT-BTC"], start_ms=0)))
    other.open_account()  # the first one has the same key on every exchange
    world.manager.set_credentials(credentials_of(other.open_account()))


REFUSED = (
    Case("answers the first request with the error frame `INVALID_AUTH`", _as_frames, by_frame=True),
    Case("HTTP 401, `jwt_verification`", _wrong_secret),
    Case("HTTP 401, `invalid_access_key`", lambda world: world.manager.set_credentials(NOBODY)),
    Case("HTTP 401, `invalid_access_key`", _key_of_another_region),
    Case("HTTP 401, `expired_access_key`", _change_key(revoked=True)),
    Case("HTTP 401, `expired_access_key`", _change_key(expires_at=0.0)),
    Case("HTTP 401, `nonce_used`", tampering="twice"),
    Case("HTTP 401, `no_authorization_ip`", _change_key(address_allowed=False)),
    Case("HTTP 401, `no_authorization_token`", tampering="without"),
    Case("HTTP 401, `invalid_query_payload`", _refuse(401, _body("invalid_query_payload"))),
    Case("HTTP 401 or 403, or an error frame, `out_of_scope`", _change_key(can_view_orders=False), by_frame=True),
    Case("HTTP 401 or 403, or an error frame, `out_of_scope`", _refuse(401, _body("out_of_scope"))),
    Case("HTTP 401 or 403, or an error frame, `out_of_scope`", _refuse(403, _body("out_of_scope"))),
)
UNNAMED = (
    Case("HTTP 401 or 403 with another name, or with none", _refuse(401, _body("something_new"))),
    Case("HTTP 401 or 403 with another name, or with none", _refuse(401, "")),
    Case("HTTP 401 or 403 with another name, or with none", _refuse(403, "<html>Forbidden</html>")),
)
LATER = (
    Case("HTTP 429", _refuse(429, "Too many connection requests.")),
    Case("HTTP 418", _refuse(418, "blocked for 60 seconds")),
    Case("too many private connections", _refuse(503, "no more connections")),
    Case("too many private connections", _refuse(400, "")),
)
OTHER_TESTS = (
    "refuses once or twice",
    "the key is revoked or expires while connected",
    "there is no key",
    "the text cannot be a key",
    "`ws://` to another machine",
    "your function for the key raises",
    "your function takes longer",
    "your function gives something else",
    "`credentials` are neither",
)


def row(beginning: str) -> tuple[str, str]:
    """What one meets, and what to do."""
    [found] = [cells for what, cells in ROWS.items() if what.startswith(beginning)]
    return found


def test_the_table_has_a_row_for_each_refusal_and_each_row_is_provoked() -> None:
    for name, advice in REFUSALS.items():
        assert [cells for what, cells in ROWS.items() if f"`{name}`" in what] == [
            (f"`AuthenticationError`, name `{name}`", advice)
        ]
    beginnings = {*OTHER_TESTS, *(case.row for case in (*REFUSED, *UNNAMED, *LATER))}
    assert len(beginnings) == len(ROWS)
    for beginning in beginnings:
        row(beginning)


@asynccontextmanager
async def _open(case: Case) -> AsyncGenerator[tuple[PrivateWorld, Client], None]:
    """A world whose tokens are tampered with on their way, maybe, in which something is about to happen."""

    async def connector(url: str, config: Config, token: Secret | None = None) -> Transport:
        exchange = world.exchange
        if token is not None and case.tampering == "twice":
            exchange.connect(wall(), Endpoint.PRIVATE, token.reveal()).close()
        return await memory_connector(exchange, wall)(url, config, None if case.tampering == "without" else token)

    async with open_private_world(rate=1.0, connector=connector) as world:
        case.provoke(world)
        async with world.manager.open_client("strategy") as client:
            yield world, client


async def _wait_refused(world: PrivateWorld, client: Client) -> AuthenticationError:
    """Ask for orders and for trades; the refusal that comes of it. Trades must come all the same."""
    async with client.stream(DataType.TRADE, "KRW-BTC") as trades, client.stream(DataType.MY_ORDER) as orders:
        with pytest.raises(AuthenticationError) as told:
            while True:
                await orders.receive()
        await client.register_interest(DataType.MY_ORDER)
        with pytest.raises(AuthenticationError) as told_again:
            await client.wait_ready()
        assert str(told.value) == str(told_again.value)
        assert world.manager.status(Endpoint.PRIVATE).state is ConnectionState.ERROR
        attempts = len(world.exchange.connects)
        await trades.receive_batch()
        await anyio.sleep(60)
        await trades.receive_batch()
        assert len(world.exchange.connects) == attempts
        assert world.manager.status().state is ConnectionState.ACTIVE
        assert world.manager.status().failed_attempts == 0
    assert told.value.attempts == 3
    return told.value


def _number(case: Case) -> str:
    return re.sub(r"\W+", " ", case.row)


@pytest.mark.breaches
@pytest.mark.parametrize("case", REFUSED, ids=_number)
async def test_a_refusal_with_a_name_is_the_error_of_that_name(case: Case) -> None:
    met, advice = row(case.row)
    async with _open(case) as (world, client):
        refused = await _wait_refused(world, client)
    assert met == f"`AuthenticationError`, name `{refused.name}`"
    assert advice == refused.advice
    assert (refused.status is None) is case.by_frame


@pytest.mark.parametrize("case", UNNAMED, ids=_number)
async def test_a_refusal_of_another_name_is_the_same_error(case: Case) -> None:
    met, advice = row(case.row)
    assert met == "`AuthenticationError`, its name or an empty one"
    async with _open(case) as (world, client):
        refused = await _wait_refused(world, client)
        body = world.exchange.refusals[Endpoint.PRIVATE].body
    assert refused.name == ("something_new" if "something_new" in body else "")
    assert refused.advice == advice


@pytest.mark.parametrize("case", LATER, ids=_number)
async def test_other_refusals_are_tried_again_and_seen_in_the_status(case: Case) -> None:
    met, _ = row(case.row)
    assert met == "nothing; it tries again, and `status().reason` says why"
    async with _open(case) as (world, client):
        refusal = world.exchange.refusals[Endpoint.PRIVATE]
        await client.register_interest(DataType.MY_ORDER)
        async with client.stream(DataType.MY_ORDER) as orders:
            with pytest.raises(NotReadyError):
                await client.wait_ready(timeout=600)
            status = world.manager.status(Endpoint.PRIVATE)
            assert status.state is ConnectionState.RECONNECTING
            assert f"refused the connection with HTTP status {refusal.status}" in status.reason
            assert refusal.body in status.reason
            # The longest wait of this world is 4 s, but who is blocked stays away as long as the exchange says.
            assert status.failed_attempts > (5 if refusal.status == 418 else 100)
            with pytest.raises(anyio.WouldBlock):
                orders.receive_nowait()
            world.exchange.refusals.clear()
            await client.wait_ready(timeout=600)
            await orders.receive()


async def test_a_login_that_is_refused_once_or_twice_is_tried_again() -> None:
    met, _ = row("refuses once or twice")
    assert met == "nothing"
    async with _open(Case("", _refuse(401, _body("jwt_verification")))) as (world, client):
        await client.register_interest(DataType.MY_ORDER)
        while world.manager.status(Endpoint.PRIVATE).failed_attempts < 2:
            await world.manager.wait_status_changed(Endpoint.PRIVATE)
        world.exchange.refusals.clear()
        await client.wait_ready()
        assert world.manager.status(Endpoint.PRIVATE).failed_attempts == 2


@pytest.mark.parametrize("changes", [{"revoked": True}, {"expires_at": 0.0}])
async def test_a_key_that_ends_while_connected_is_refused_at_the_next_connect(changes: dict[str, Any]) -> None:
    met, _ = row("the key is revoked or expires while connected")
    assert met == "nothing until the next connect, then `AuthenticationError`, name `expired_access_key`"
    async with _open(Case("")) as (world, client), client.stream(DataType.MY_ORDER) as orders:
        await orders.receive()
        _change_key(**changes)(world)
        await anyio.sleep(600)
        world.account.place(wall(), "KRW-BTC", "BID", price=world.price() - 5_000_000, volume="0.1")
        assert isinstance(await orders.receive(), MyOrderEvent)
        world.exchange.end_sessions(wall())
        with pytest.raises(AuthenticationError) as refused:
            await orders.receive()
        assert refused.value.name == "expired_access_key"
        world.manager.set_credentials(Credentials(*_texts(world.account.new_key())))
        await orders.receive()


def _texts(key: tuple[str, Secret]) -> tuple[str, str]:
    return key[0], key[1].reveal()


async def test_without_a_key_nothing_that_needs_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    met, _ = row("there is no key")
    assert met == "`MissingCredentialsError`, at the call"
    monkeypatch.delenv("UPBIT_ACCESS_KEY", raising=False)
    monkeypatch.delenv("UPBIT_SECRET_KEY", raising=False)
    async with open_world(url="wss://exchange.example/v1") as world, world.manager.open_client("strategy") as client:
        with pytest.raises(MissingCredentialsError):
            await client.register_interest(DataType.MY_ORDER)
        with pytest.raises(MissingCredentialsError):
            client.stream(DataType.MY_ORDER)
        assert not world.exchange.connects


@pytest.mark.parametrize("text", ["", "two words", "umläut"])
def test_what_can_be_no_key_is_refused_when_it_is_made(text: str) -> None:
    met, _ = row("the text cannot be a key")
    assert met == "`InvalidConfigError`, when `Credentials` is made"
    with pytest.raises(InvalidConfigError):
        Credentials("right", text)


async def test_a_key_is_not_sent_without_encryption() -> None:
    met, _ = row("`ws://` to another machine")
    assert met == "`InvalidConfigError`, at the call"
    async with open_private_world(url="ws://exchange.example/v1") as world:
        async with world.manager.open_client("strategy") as client:
            with pytest.raises(InvalidConfigError):
                await client.register_interest(DataType.MY_ORDER)
            with pytest.raises(InvalidConfigError):
                client.stream(DataType.MY_ORDER)
        assert not world.exchange.connects


def _raise() -> Credentials:
    raise LookupError("the vault is closed")


async def _hang() -> Credentials:
    await anyio.sleep_forever()
    return NOBODY


@pytest.mark.parametrize(
    ("beginning", "function", "told"),
    [
        ("your function for the key raises", _raise, "raised LookupError"),
        ("your function takes longer", _hang, "raised TimeoutError"),
        ("your function gives something else", lambda: "a key", "gave a str instead of Credentials"),
    ],
)
async def test_a_function_that_gives_no_key_is_asked_again(beginning: str, function: Any, told: str) -> None:
    met, _ = row(beginning)
    assert met == "nothing; it tries again, and `status().reason` says why"
    async with _open(Case("", lambda world: world.manager.set_credentials(function))) as (world, client):
        await client.register_interest(DataType.MY_ORDER)
        with pytest.raises(NotReadyError, match=told):
            await client.wait_ready(timeout=300)
        assert told in world.manager.status(Endpoint.PRIVATE).reason
        world.manager.set_credentials(credentials_of(world.account))
        await client.wait_ready(timeout=60)


async def test_what_is_no_source_of_keys_is_refused_at_the_call() -> None:
    met, _ = row("`credentials` are neither")
    assert met == "`InvalidConfigError`, at the call"
    async with _open(Case("")) as (world, _):
        with pytest.raises(InvalidConfigError):
            world.manager.set_credentials(("access", "secret"))  # type: ignore[arg-type]
