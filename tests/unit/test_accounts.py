"""Logging in to the simulated exchange and what a login hears (protocol sections 4.5 to 4.7, 6.3, 7 and 9)."""

import base64
import hmac
import json
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from tests.support.world import NumberedSource

from upbit_streams import Endpoint, MyOrderEvent, UsageError
from upbit_streams.testing import (
    Account,
    MarketSimulation,
    MarketSource,
    NoMarketError,
    Refusal,
    Session,
    SimulatedExchange,
)

START = 1_795_000_000.0
ACCESS, SECRET = "A" * 40, "S" * 40
PRIVATE, INFO = Endpoint.PRIVATE, Endpoint.INFO


def new_exchange() -> tuple[SimulatedExchange, Account]:
    """An exchange whose markets stand still, and an account with a known key."""
    source = MarketSource(
        MarketSimulation(codes=["KRW-BTC", "KRW-ETH"], rate=100.0, start_ms=int(START * 1000) + 10**12)
    )
    exchange = SimulatedExchange(source)
    account = exchange.open_account(access_key=ACCESS, secret_key=SECRET, balances={"KRW": 10**8, "BTC": "1.5"})
    return exchange, account


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def encoded(payload: object, secret: str = SECRET, algorithm: str = "HS512") -> str:
    """A token, made by hand."""
    said = (
        f"{base64url(json.dumps({'alg': algorithm, 'typ': 'JWT'}).encode())}.{base64url(json.dumps(payload).encode())}"
    )
    digest = algorithm.replace("HS", "sha")
    return f"{said}.{base64url(hmac.new(secret.encode(), said.encode(), digest).digest())}"


def token(access_key: str = ACCESS, secret: str = SECRET, algorithm: str = "HS512", **payload: object) -> str:
    return encoded({"access_key": access_key, "nonce": str(uuid4()), **payload}, secret, algorithm)


def unsigned(header: str, payload: object) -> str:
    return f"{base64url(header.encode())}.{base64url(json.dumps(payload).encode())}."


def login(exchange: SimulatedExchange, now: float = START, endpoint: Endpoint = PRIVATE, **options: Any) -> Session:
    return exchange.connect(now, endpoint, token(**options))


def name_of(refusal: Refusal) -> str:
    body = json.loads(refusal.body)
    assert refusal.status == 401
    assert set(body) == {"error"}
    assert set(body["error"]) == {"name", "message"}
    return str(body["error"]["name"])


def want(type_name: str, *codes: str, **options: object) -> dict[str, object]:
    return {"type": type_name, **({"codes": codes} if codes else {}), **options}


def ask(session: Session, now: float, *asked: dict[str, object], format: str = "DEFAULT") -> list[Any]:
    session.receive(now, json.dumps([{"ticket": "test"}, *asked, {"format": format}]))
    return said(session, now)


def said(session: Session, now: float) -> list[Any]:
    return [json.loads(frame, parse_float=Decimal) for frame in session.take(now)]


# The token


def test_a_token_of_a_key_opens_a_session_of_its_account() -> None:
    exchange, account = new_exchange()
    for number, algorithm in enumerate(("HS256", "HS512")):
        for endpoint in (PRIVATE, INFO):
            session = login(exchange, START + number, endpoint, algorithm=algorithm)
            assert (session.endpoint, session.account) == (endpoint, account)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("no_authorization_token", None),
        ("no_authorization_token", ""),
        ("jwt_verification", "no token"),
        ("jwt_verification", "a.b.c"),
        ("jwt_verification", "\ud800.\ud800.x"),
        ("jwt_verification", token(secret="another" * 10)),
        ("jwt_verification", token()[:-1]),
        ("jwt_verification", token().rpartition(".")[0] + "."),
        ("jwt_verification", token(algorithm="HS384")),
        ("jwt_verification", unsigned('{"alg":"none"}', {"access_key": ACCESS, "nonce": "n"})),
        ("jwt_verification", unsigned('{"alg":"HS512"}', {"access_key": ACCESS, "nonce": "n"})),
        ("jwt_verification", unsigned('{"alg":["HS512"]}', {"access_key": ACCESS, "nonce": "n"})),
        ("jwt_verification", encoded([ACCESS])),
        ("jwt_verification", encoded("text")),
        ("invalid_access_key", token("B" * 40)),
        ("invalid_access_key", encoded({"nonce": "n"})),
        ("invalid_access_key", token(access_key=[ACCESS])),  # type: ignore[arg-type]
        ("invalid_query_payload", encoded({"access_key": ACCESS})),
        ("invalid_query_payload", token(nonce="")),
        ("invalid_query_payload", token(nonce=5)),
    ],
    ids=lambda text: str(text)[
        :20
    ],  # of all of a token, which is another each time, xdist's workers would make other tests
)
@pytest.mark.parametrize("endpoint", [PRIVATE, INFO])
def test_a_bad_token_is_refused_by_its_name(name: str, bad: str | None, endpoint: Endpoint) -> None:
    exchange, _ = new_exchange()
    with pytest.raises(Refusal) as refusal:
        exchange.connect(START, endpoint, bad)
    assert name_of(refusal.value) == name
    assert not exchange.sessions


def test_the_public_endpoint_takes_no_notice_of_tokens() -> None:
    exchange, _ = new_exchange()
    assert exchange.connect(START, Endpoint.PUBLIC, "no token").account is None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("expired_access_key", {"revoked": True}),
        ("expired_access_key", {"expires_at": START}),
        ("no_authorization_ip", {"address_allowed": False}),
    ],
)
def test_a_key_may_stop_to_open_sessions(name: str, change: dict[str, Any]) -> None:
    exchange, account = new_exchange()
    before = login(exchange)
    for field, value in change.items():
        setattr(account.keys[ACCESS], field, value)
    with pytest.raises(Refusal) as refusal:
        login(exchange)
    assert name_of(refusal.value) == name
    assert before.ended(START + 1) is None  # who is in stays in


@pytest.mark.breaches
def test_a_nonce_is_used_once_on_either_endpoint_and_by_each_key() -> None:
    exchange, account = new_exchange()
    first = token(nonce="once")
    exchange.connect(START, PRIVATE, first)
    for again in (first, token(nonce="once", algorithm="HS256")):
        for endpoint in (PRIVATE, INFO):
            with pytest.raises(Refusal) as refusal:
                exchange.connect(START + 1, endpoint, again)
            assert name_of(refusal.value) == "nonce_used"
    access, secret = account.new_key()
    exchange.connect(START + 1, PRIVATE, token(access, secret.reveal(), nonce="once"))


def test_a_nonce_of_a_token_that_was_not_verified_is_not_used() -> None:
    exchange, _ = new_exchange()
    with pytest.raises(Refusal):
        exchange.connect(START, PRIVATE, token(secret="another" * 10, nonce="once"))
    exchange.connect(START, PRIVATE, token(nonce="once"))


def test_keys_roll() -> None:
    exchange, account = new_exchange()
    access, secret = account.new_key()
    account.revoke(ACCESS)
    assert login(exchange, access_key=access, secret=secret.reveal()).account is account
    with pytest.raises(Refusal):
        login(exchange)
    account.revoke()
    with pytest.raises(Refusal):
        login(exchange, access_key=access, secret=secret.reveal())


def test_keys_that_are_made_have_forty_characters_and_differ_and_are_not_shown() -> None:
    exchange, account = new_exchange()
    made = exchange.open_account()
    access, secret = made.new_key()
    texts = [made.access_key, made.secret_key.reveal(), access, secret.reveal()]
    assert [len(text) for text in texts] == [40] * 4
    assert len(set(texts)) == 4
    shown = repr([made, account, made.keys[access], list(made.keys.values()), vars(made)["keys"]])
    assert not any(text in repr(made) for text in texts)
    assert not any(text.reveal() in shown for text in (made.secret_key, secret, account.secret_key))
    login(exchange, access_key=access, secret=secret.reveal())
    with pytest.raises(UsageError):
        exchange.open_account(access_key=ACCESS)


def test_the_first_account_has_the_same_keys_in_every_exchange() -> None:
    accounts = [SimulatedExchange(NumberedSource()).open_account() for _ in range(2)]
    assert len({(account.access_key, account.secret_key) for account in accounts}) == 1


def test_a_failed_login_can_be_told_as_a_frame() -> None:
    exchange, _ = new_exchange()
    exchange.login_errors_as_frames = True
    session = exchange.connect(START, PRIVATE, token(secret="another" * 10))
    assert said(session, START) == []
    (error,) = ask(session, START, want("myOrder"))
    assert error["error"]["name"] == "INVALID_AUTH"
    ended = session.ended(START + 1)
    assert ended is not None
    assert ended.code == 1000
    assert ask(login(exchange), START, want("myOrder")) == []


@pytest.mark.parametrize(("field", "type_name"), [("can_view_orders", "myOrder"), ("can_view_assets", "myAsset")])
def test_a_key_without_the_scope_hears_so_when_it_asks(field: str, type_name: str) -> None:
    exchange, account = new_exchange()
    setattr(account.keys[ACCESS], field, False)
    session = login(exchange)
    others = {"myOrder", "myAsset", "announcement"} - {type_name}
    assert ask(session, START, *(want(other) for other in others)) == []
    (error,) = ask(session, START, want(type_name))
    assert error["error"]["name"] == "out_of_scope"
    ended = session.ended(START + 1)
    assert ended is not None
    assert ended.code == 1000


# Limits and faults


@pytest.mark.breaches
def test_connects_are_counted_by_account_and_for_all_others_together() -> None:
    exchange, _ = new_exchange()
    other = exchange.open_account()
    for _ in range(5):
        exchange.connect(START)
        login(exchange)
    for endpoint in (PRIVATE, INFO):
        with pytest.raises(Refusal) as refusal:
            login(exchange, START + 0.5, endpoint)
        assert refusal.value.status == 429
    with pytest.raises(Refusal) as refusal:
        exchange.connect(START + 0.5, PRIVATE, None)
    assert refusal.value.status == 429
    login(exchange, access_key=other.access_key, secret=other.secret_key.reveal())
    assert len(exchange.breaches) == 3
    assert len(exchange.connects) == 14


@pytest.mark.breaches
def test_messages_are_counted_by_connection_on_every_endpoint() -> None:
    exchange, _ = new_exchange()
    for session in (login(exchange), login(exchange, endpoint=INFO)):
        for _ in range(5):
            assert ask(session, START, {"method": "LIST_SUBSCRIPTIONS"})[0]["result"] == []
        (error,) = ask(session, START, {"method": "LIST_SUBSCRIPTIONS"})
        assert error["error"]["name"] == "TOO_MANY_REQUEST"
    assert len(exchange.breaches) == 2


def test_one_endpoint_can_refuse() -> None:
    exchange, _ = new_exchange()
    exchange.refusals[PRIVATE] = Refusal(503, "maintenance")
    with pytest.raises(Refusal) as refusal:
        login(exchange)
    assert refusal.value.status == 503
    exchange.connect(START)
    login(exchange, endpoint=INFO)
    exchange.refusal = Refusal(418, "blocked")
    with pytest.raises(Refusal) as refusal:
        exchange.connect(START)
    assert refusal.value.status == 418


@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_the_sessions_of_one_endpoint_can_be_ended(endpoint: Endpoint) -> None:
    exchange, _ = new_exchange()
    sessions = [exchange.connect(START), login(exchange), login(exchange, endpoint=INFO)]
    exchange.end_sessions(START, 1001, endpoint)
    assert [session.endpoint for session in sessions if session.ended(START)] == [endpoint]


def test_a_stalled_session_says_nothing_for_as_long_and_everything_afterwards() -> None:
    exchange, account = new_exchange()
    session, public = login(exchange), exchange.connect(START)
    assert ask(session, START, want("myAsset")) == []
    exchange.stalled.add(PRIVATE)
    account.deposit(START + 1, "KRW", 1)
    session.receive(START + 2, "PING")
    session.receive(START + 2, json.dumps([{"ticket": "test"}, {"method": "LIST_SUBSCRIPTIONS"}]))
    now = START + 2
    while now < START + 200:
        assert session.take(now) == []
        assert session.ended(now) is None
        assert session.next_time() > now
        now = session.next_time()
    assert public.ended(now) is not None  # the others are idle as ever
    exchange.stalled.clear()
    assets, listing, up = sorted(said(session, now), key=str, reverse=True)[::-1]
    assert {"assets", "result", "status"} <= {*assets, *listing, *up}
    assert session.ended(now) is None


def test_a_stalled_session_can_be_ended() -> None:
    exchange, _ = new_exchange()
    session = login(exchange)
    exchange.stalled.add(PRIVATE)
    assert session.take(START) == []
    exchange.end_sessions(START + 1)
    assert session.ended(START + 1) is not None


# What is heard


def test_every_session_of_the_account_hears_it_from_its_subscription_on_and_nobody_else() -> None:
    exchange, account = new_exchange()
    other = exchange.open_account()
    early, late, alien = (
        login(exchange),
        login(exchange),
        login(exchange, access_key=other.access_key, secret=other.secret_key.reveal()),
    )
    everything = [want("myOrder"), want("myAsset")]
    assert ask(early, START, *everything) == ask(alien, START, *everything) == []
    uuid = account.place(START + 1, "KRW-BTC", "ASK", price=200_000_000, volume="0.1")
    assert ask(late, START + 2, *everything) == []  # no snapshot
    account.cancel(START + 3, uuid)
    heard = [(frame["type"], frame.get("state")) for frame in said(early, START + 4)]
    assert heard == [("myOrder", "wait"), ("myAsset", None), ("myOrder", "cancel"), ("myAsset", None)]
    assert [(frame["type"], frame.get("state")) for frame in said(late, START + 4)] == heard[2:]
    assert said(alien, START + 4) == []


@pytest.mark.parametrize(
    ("asked", "heard"),
    [
        ([want("myOrder")], ["KRW-BTC", "KRW-ETH"]),
        ([{"type": "myOrder", "codes": []}], ["KRW-BTC", "KRW-ETH"]),
        ([want("myOrder", "KRW-ETH")], ["KRW-ETH"]),
        ([want("myOrder", "krw-btc", "KRW-NOPE")], []),
        ([want("myOrder", "KRW-BTC"), want("myOrder")], ["KRW-BTC", "KRW-ETH"]),
        ([want("myAsset")], []),
        ([want("myOrder", is_only_snapshot=True)], []),
    ],
)
def test_orders_are_heard_for_all_markets_or_for_some(asked: list[dict[str, object]], heard: list[str]) -> None:
    exchange, account = new_exchange()
    session = login(exchange)
    ask(session, START, *asked)
    for code in ("KRW-BTC", "KRW-ETH"):
        account.place(START + 1, code, "BID", price=1_000_000, volume="0.01")
    assert [frame["code"] for frame in said(session, START + 2) if frame["type"] == "myOrder"] == heard


def test_what_happens_while_nobody_is_connected_is_lost() -> None:
    exchange, account = new_exchange()
    session = login(exchange)
    ask(session, START, want("myAsset"))
    session.close()
    account.deposit(START, "KRW", 1)
    session = login(exchange)
    assert ask(session, START, want("myAsset")) == []


def test_assets_are_told_exactly_and_only_those_that_changed() -> None:
    exchange, account = new_exchange()
    session = login(exchange)
    ask(session, START, want("myAsset"))
    account.deposit(START + 1, "KRW", "1234567890.12345678901234567891")
    account.deposit(START + 2, "XRP", 5)
    first, second = said(session, START + 2)
    assert first["assets"] == [{"currency": "KRW", "balance": Decimal("1334567890.12345678901234567891"), "locked": 0}]
    assert second["assets"] == [{"currency": "XRP", "balance": 5, "locked": 0}]
    assert (first["asset_timestamp"], first["stream_type"]) == (int(START * 1000) + 1000, "REALTIME")
    assert first["asset_uuid"] == second["asset_uuid"]
    assert set(account.balances()) == {"KRW", "BTC", "XRP"}


@pytest.mark.parametrize("amount", ["-1", "nan", "inf", "x", "1e-21", 10**41, object()])
def test_a_balance_is_an_exact_number(amount: Any) -> None:
    exchange, account = new_exchange()
    with pytest.raises(UsageError):
        account.deposit(START, "KRW", amount)
    with pytest.raises(UsageError):
        exchange.open_account(balances={"KRW": amount})


@pytest.mark.parametrize("format", ["DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"])
def test_what_is_subscribed_can_be_asked_on_the_private_endpoint(format: str) -> None:
    exchange, _ = new_exchange()
    session = login(exchange)
    ask(session, START, want("myAsset"), want("myOrder", "KRW-BTC", "KRW-ETH"), want("announcement"), format=format)
    (answer,) = ask(session, START, {"method": "LIST_SUBSCRIPTIONS"}, format=format)
    simple = format.startswith("SIMPLE")
    kind, codes = ("ty", "cds") if simple else ("type", "codes")
    (found,) = answer if format.endswith("LIST") else [answer]
    assert found["rslt" if simple else "result"] == [
        {kind: "myAsset"},
        {kind: "myOrder", codes: ["KRW-BTC", "KRW-ETH"]},
        {kind: "announcement"},
    ]
    ask(session, START, want("myOrder"))
    (answer,) = ask(session, START, {"method": "LIST_SUBSCRIPTIONS"})
    assert answer["result"] == [{"type": "myOrder"}]


# Announcements


def test_announcements_are_told_by_category_and_with_their_body_where_it_was_asked_for() -> None:
    exchange, _ = new_exchange()
    plain, trades, public = login(exchange), login(exchange), exchange.connect(START)
    ask(plain, START, want("announcement"))
    ask(trades, START, want("announcement", categories=["trade", "wallet"], include_body=True))
    ask(public, START, want("trade", "KRW-NOPE"))
    first = exchange.announce(START + 1, title="T", category="trade", body="B")
    second = exchange.announce(START + 2, title="M", category="maintenance", body="B")
    exchange.announce(START + 86_401, title="T2", category="trade", body="B" * 100_000, uuid=first)
    # Nobody looks in between, and nobody is dropped by that: it is for the front to look at the time it is told.
    told = said(plain, START + 3)
    assert [(each["uuid"], each["event_type"], each["title"], "body" in each) for each in told] == [
        (first, "CREATED", "T", False),
        (second, "CREATED", "M", False),
        (first, "UPDATED", "T2", False),
    ]
    assert [(each["uuid"], each["body"]) for each in said(trades, START + 3)] == [(first, "B"), (first, None)]
    assert said(public, START + 3) == []
    assert told[0]["first_listed_at"] == told[2]["first_listed_at"] == "2026-11-18T20:06:41+09:00"
    assert told[2]["listed_at"] == "2026-11-19T20:06:41+09:00"
    assert first in told[0]["url"]
    for wrong in ({"category": "nope"}, {"uuid": "nope"}):
        with pytest.raises(UsageError):
            exchange.announce(START, **{"title": "T", **wrong})


# Without a market


def test_without_a_simulated_market_there_are_accounts_and_no_orders() -> None:
    exchange = SimulatedExchange(NumberedSource())
    account = exchange.open_account(access_key=ACCESS, secret_key=SECRET, balances={"KRW": 5})
    session, info = login(exchange), login(exchange, endpoint=INFO)
    ask(session, START, want("myOrder"), want("myAsset"), want("announcement"))
    rsi = {"type": "rsi", "params": {"period": 14}}
    assert ask(info, START, want("indicator", "KRW-BTC", timeframe="5m", indicators=[rsi])) == []
    for act in (
        lambda: account.place(START, "KRW-BTC", "BID", price=1_000_000, volume=1),
        lambda: account.cancel(START, "x"),
    ):
        with pytest.raises(NoMarketError, match="MarketSource"):
            act()
    account.deposit(START, "KRW", 1)
    exchange.announce(START, title="T")
    event = MyOrderEvent(
        code="KRW-BTC", uuid="mine", ask_bid="BID", order_type="limit", state="wait", trades_count=0,
        order_timestamp=1, timestamp=1, stream_type="REALTIME",
    )  # fmt: skip
    account.tell(event)
    assert [frame["type"] for frame in said(session, START)] == ["myAsset", "announcement", "myOrder"]
    assert account.orders() == {"mine": event}
    assert account.open_orders() == {}
    exchange.advance(START + 1)
    assert info.next_time() == session.next_time() == START + 60
