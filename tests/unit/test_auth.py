"""Keys and tokens: what they are, and that nobody sees them."""

import copy
import pickle
import textwrap
import traceback
from collections.abc import Mapping
from typing import Any

import attrs
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import (
    AuthenticationError,
    Config,
    Credentials,
    Endpoint,
    HandshakeRefusedError,
    InvalidConfigError,
    MissingCredentialsError,
    Secret,
    UsageError,
)
from upbit_streams.auth import login_token
from upbit_streams.model.config import check_login
from upbit_streams.rules.login import REFUSALS, login_refusal, refused_handshake

ACCESS, SECRET = "aCcEsSkEy0123456789abcdefghijKLMNOPQRSTUV", "sEcReTkEy0123456789abcdefghijKLMNOPQRSTUV"


@pytest.mark.filterwarnings("ignore:The HMAC key")  # the exchange's have 40 characters, which PyJWT finds short
@pytest.mark.parametrize("algorithm", ["HS512", "HS256"])
def test_a_token_has_the_key_and_the_nonce_and_is_signed(algorithm: str) -> None:
    credentials = Credentials(ACCESS, SECRET, algorithm=algorithm)  # type: ignore[arg-type]
    token = login_token(credentials, "n-1").reveal()
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "JWT"}
    content = jwt.decode(token, SECRET, algorithms=[algorithm])
    # No expiry and no query hash (protocol section 9).
    assert content == {"access_key": ACCESS, "nonce": "n-1"}


def test_hs512_is_the_default() -> None:
    assert Credentials(ACCESS, SECRET).algorithm == "HS512"


@pytest.mark.parametrize("around", ["", "\n", "  ", "\t\r\n"])
def test_blanks_around_a_key_are_left_out(around: str) -> None:
    for kind in (str, Secret):
        credentials = Credentials(kind(around + ACCESS + around), kind(around + SECRET + around))
        assert (credentials.access_key.reveal(), credentials.secret_key.reveal()) == (ACCESS, SECRET)


@pytest.mark.parametrize("bad", ["", " ", "two words", "키", "a\nb", None, 7, SECRET.encode(), "x" * 501])
def test_what_is_no_key_is_refused_without_being_shown(bad: object) -> None:
    pairs: list[Any] = [(bad, SECRET), (ACCESS, bad)]
    if isinstance(bad, str):
        pairs += [(Secret(bad), SECRET), (ACCESS, Secret(bad))]
    for pair in pairs:
        with pytest.raises(InvalidConfigError, match=r"is not an? .* key of Upbit") as raised:
            Credentials(*pair)
        # The first frame is this one, which knows the keys.
        frames = traceback.TracebackException.from_exception(raised.value, capture_locals=True).stack[1:]
        shown = "".join(map(str, [frame.locals for frame in frames]))
        assert ACCESS not in shown
        assert SECRET not in shown
        assert len(repr(bad)) < 5 or repr(bad) not in shown


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(InvalidConfigError, match="'HS512' or 'HS256', not 'none'"):
        Credentials(ACCESS, SECRET, algorithm="none")  # type: ignore[arg-type]


def test_keys_come_from_the_environment_as_the_official_sdk_names_them() -> None:
    found = Credentials.from_environment({"UPBIT_ACCESS_KEY": ACCESS, "UPBIT_SECRET_KEY": SECRET})
    assert found == Credentials(ACCESS, SECRET)


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({}, "UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY are not set"),
        ({"UPBIT_ACCESS_KEY": ACCESS}, "UPBIT_SECRET_KEY is not set"),
        ({"UPBIT_SECRET_KEY": SECRET, "UPBIT_ACCESS_KEY": ""}, "UPBIT_ACCESS_KEY is not set"),
    ],
)
def test_keys_that_are_not_there_are_named(environment: Mapping[str, str], missing: str) -> None:
    with pytest.raises(MissingCredentialsError, match=missing) as raised:
        Credentials.from_environment(environment)
    assert ACCESS not in str(raised.value)
    assert SECRET not in str(raised.value)


def test_s1_nothing_shows_a_secret() -> None:
    credentials = Credentials(ACCESS, SECRET)
    shown = [
        repr(credentials), str(credentials), f"{credentials}", repr([credentials]), repr(credentials.secret_key),
        str(credentials.secret_key), f"{credentials.secret_key:}",
        repr(attrs.asdict(credentials)), repr(login_token(credentials, "n")),
    ]  # fmt: skip
    for text in shown:
        assert "***" in text
        assert ACCESS not in text
        assert SECRET not in text
    for write in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            write(credentials.secret_key)


def test_secrets_are_compared_by_their_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != "a"


@pytest.mark.parametrize("name", REFUSALS)
def test_every_refusal_of_a_login_has_its_advice(name: str) -> None:
    by_frame = login_refusal("wss://x/private", name, "no")
    by_status = refused_handshake(
        HandshakeRefusedError("wss://x/private", 401, f'{{"error":{{"name":"{name}","message":"no"}}}}')
    )
    for refused, status in ((by_frame, None), (by_status, 401)):
        assert isinstance(refused, AuthenticationError)
        assert (refused.name, refused.message, refused.status) == (name, "no", status)
        assert refused.url == "wss://x/private"
        assert refused.advice == REFUSALS[name]
        assert refused.advice in str(refused)
        again = refused.again(3)
        assert (again.attempts, again.name, again.status) == (3, name, status)
        assert "3 times" in str(again)


@pytest.mark.parametrize("status", [401, 403])
def test_a_handshake_that_is_forbidden_is_about_the_login_whatever_it_says(status: int) -> None:
    refused = refused_handshake(HandshakeRefusedError("wss://x", status, "<html>"))
    assert refused is not None
    assert (refused.url, refused.name, refused.message, refused.status) == ("wss://x", "", "<html>", status)


@pytest.mark.parametrize("status", [400, 402, 404, 418, 429, 500, 503])
def test_other_refusals_are_not_about_the_login(status: int) -> None:
    assert refused_handshake(HandshakeRefusedError("wss://x", status, "")) is None
    assert login_refusal("wss://x", "WRONG_FORMAT", "") is None


@given(body=st.text(max_size=300))
def test_a_refusal_whatever_it_says_is_one(body: str) -> None:
    refused = refused_handshake(HandshakeRefusedError("wss://x", 401, body))
    assert refused is not None
    assert "check the keys" in refused.advice or refused.name in REFUSALS


@pytest.mark.parametrize(
    ("url", "endpoint", "expected"),
    [
        ("wss://api.upbit.com/websocket/v1", Endpoint.PUBLIC, "wss://api.upbit.com/websocket/v1"),
        ("wss://api.upbit.com/websocket/v1", Endpoint.PRIVATE, "wss://api.upbit.com/websocket/v1/private"),
        ("wss://api.upbit.com/websocket/v1/", Endpoint.INFO, "wss://api.upbit.com/websocket/v1/info"),
        ("ws://127.0.0.1:8765/websocket/v1?x=1", Endpoint.INFO, "ws://127.0.0.1:8765/websocket/v1/info?x=1"),
    ],
)
def test_the_endpoints_are_below_the_public_one(url: str, endpoint: Endpoint, expected: str) -> None:
    assert Config(url=url).url_of(endpoint) == expected


@pytest.mark.parametrize("bad", ["\n", "\t", "\r\n", " ", "\x00", "\x1b[2J", "\u200b", "\u2028"])
def test_a_url_has_no_line_ends_tabs_and_spaces(bad: str) -> None:
    """What takes a URL apart leaves some of them out without a word, and some would reach a log."""
    for url in (f"wss://api.upbit.com/{bad}websocket/v1", f"wss://api.upb{bad}it.com/", f"wss://api.upbit.com/{bad}"):
        with pytest.raises(InvalidConfigError, match="no spaces, line ends or tabs") as refused:
            Config(url=url)
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_keys_may_go_to_this_machine_without_encryption(host: str) -> None:
    check_login(f"ws://{host}:1/")


@pytest.mark.parametrize(
    "host", ["api.upbit.com", "10.0.0.1", "192.168.1.1", "localhost.evil.example", "[::2]", "127.0.0.1.evil.example"]
)
def test_keys_go_nowhere_else_without_encryption(host: str) -> None:
    with pytest.raises(InvalidConfigError, match="is not encrypted, so everybody between here and"):
        check_login(f"ws://{host}:1/")
    check_login(f"wss://{host}:1/")


def test_a_secret_is_hidden_in_what_others_say_even_if_it_was_cut_or_wrapped() -> None:
    token = login_token(Credentials(ACCESS, SECRET), "n")
    text = f"no such key {ACCESS} or {SECRET} or {token.reveal()}"
    assert token.hidden_in(text) == "no such key *** or *** or ***"
    for length in range(8, len(ACCESS)):
        assert token.hidden_in(f"no such key {ACCESS[:length]}") == "no such key ***"
        assert token.hidden_in(f"no such key {ACCESS[:length]}, please") == "no such key ***, please"
        assert token.hidden_in(f"...{ACCESS[-length:]} is no key") == "...*** is no key"
    wrapped = "\n".join(textwrap.wrap(token.reveal(), 20))
    assert set(token.hidden_in(wrapped).split("\n")[:-1]) == {"***"}
    assert token.hidden_in("nothing of that kind") == "nothing of that kind"
    assert Secret("").hidden_in("nothing") == "nothing"
    assert Secret("short").hidden_in("in short") == "in ***"


def test_credentials_can_be_changed_in_part() -> None:
    assert attrs.evolve(Credentials(ACCESS, SECRET), algorithm="HS256") == Credentials(
        ACCESS, SECRET, algorithm="HS256"
    )


@pytest.mark.parametrize(
    "environment", [{"UPBIT_SECRET_KEY": SECRET}, {"UPBIT_ACCESS_KEY": "b d", "UPBIT_SECRET_KEY": SECRET}]
)
def test_s1_the_environment_is_in_no_traceback(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError) as raised:
        Credentials.from_environment(environment)
    frames = traceback.TracebackException.from_exception(raised.value, capture_locals=True).stack[1:]
    assert frames
    assert SECRET not in "".join(map(str, [frame.locals for frame in frames]))


def test_the_exchanges_words_are_unescaped() -> None:
    body = '{"error":{"name":"jwt_verification","message":"\\uc2e4\\ud328 \\"x\\""}}'
    refused = refused_handshake(HandshakeRefusedError("wss://x", 401, body))
    assert refused is not None
    assert refused.message == '실패 "x"'
