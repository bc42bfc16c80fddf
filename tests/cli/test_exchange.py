"""``upbit-streams exchange``."""

import json
import re
import signal
import socket
import time
from typing import Any
from urllib.request import urlopen

import pytest
from tests.cli.program import KEYS, PATIENCE, Exchange, Program
from tests.support.shared import RECORDING, needs_shared

pytestmark = pytest.mark.socket

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def test_the_first_line_says_where_it_listens(exchange: Exchange) -> None:
    """A program that started it with port 0 reads there where to connect, and can at once."""
    assert re.fullmatch(r"listening on ws://127\.0\.0\.1:[1-9]\d*/websocket/v1\n", exchange.stdout.text())
    socket.create_connection(("127.0.0.1", exchange.port), timeout=5).close()


def test_another_host_can_be_given() -> None:
    """The URL is one that a client can use as it is, an IPv6 address included."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    exchange = Exchange("--host", "::1")
    assert exchange.url.startswith("ws://[::1]:")
    watch = Program("watch", "KRW-BTC", "--url", exchange.url, "--count", "1", "--format", "json")
    assert watch.end() == 0


def test_it_lists_its_markets(exchange: Exchange) -> None:
    """Other clients ask for ``GET /v1/market/all`` before they connect."""
    with urlopen(f"http://127.0.0.1:{exchange.port}/v1/market/all", timeout=5) as answer:
        markets = json.load(answer)
    assert {"market": "KRW-BTC", "korean_name": "BTC", "english_name": "BTC"} in markets


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """Status 0 and not a word, although a client is connected; the client takes it as any loss."""
    exchange = Exchange()
    watch = Program("watch", "KRW-BTC", "--url", exchange.url, "--format", "json")
    watch.wait_events(1)
    exchange.send(number)
    assert exchange.end(10) == 0
    assert exchange.stdout.text() == f"listening on {exchange.url}\n"
    assert exchange.stderr.text() == ""
    watch.stderr.wait_for("reconnecting: ")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_it_starts_ends_it_at_once(number: signal.Signals) -> None:
    """In the middle of the imports there is nothing to close and nothing to say."""
    exchange = Program("exchange", "--port", "0", python_options=("-X", "importtime"))
    exchange.stderr.wait_for(r"\| +click\.core\n")
    exchange.send(number)
    assert exchange.end(10) in (0, 130)
    assert exchange.stdout.text() == ""


def test_a_port_in_use_gets_a_sentence(exchange: Exchange) -> None:
    """The second one on a port says which port it is, and ends."""
    second = Program("exchange", "--port", str(exchange.port))
    assert second.end() == 1
    assert second.stdout.text() == ""
    assert second.stderr.text() == (
        f"upbit-streams: cannot listen on port {exchange.port} of 127.0.0.1: Address already in use\n"
    )


def test_the_rate_is_about_kept() -> None:
    """``--rate`` counts tickers, trades and books of all markets together."""
    exchange = Exchange("--rate", "200")
    with urlopen(f"http://127.0.0.1:{exchange.port}/v1/market/all", timeout=5) as answer:
        codes = [market["market"] for market in json.load(answer)]
    types = ("--type", "ticker", "--type", "trade", "--type", "orderbook")
    watch = Program("watch", *codes, *types, "--url", exchange.url, "--format", "json", "--duration", "3")
    assert watch.end() == 0
    live = [event["received_at"] for event in watch.events() if event["stream_type"] == "REALTIME"]
    assert 140 < len(live) / (live[-1] - live[0]) < 260


def test_the_same_seed_makes_the_same_prices(exchange: Exchange) -> None:
    """And another seed makes others. A client hears of them from when it has connected on."""

    def prices(events: list[dict[str, Any]]) -> list[tuple[float, float]]:
        return [(event["trade_price"], event["trade_volume"]) for event in events]

    seeded = ("--rate", "300", "--seed", "7")
    watch = ("watch", "KRW-BTC", "--type", "trade", "--format", "json", "--url")
    watches = [Program(*watch, url) for url in (Exchange(*seeded).url, Exchange(*seeded).url, exchange.url)]
    give_up = time.perf_counter() + PATIENCE
    common = 0
    while common < 20:
        assert time.perf_counter() < give_up
        time.sleep(0.2)
        once, again = (prices(watch.events()) for watch in watches[:2])
        for early, late in ((once, again), (again, once)):
            if late and late[0] in early:
                start = early.index(late[0])
                common = min(len(early) - start, len(late))
                assert early[start : start + common] == late[:common]
                break
    assert not set(once) & set(prices(watches[2].wait_events(20)))


@needs_shared
def test_it_plays_a_recording_to_everyone_from_its_beginning() -> None:
    """``--replay`` and ``--speed``, to two clients one after the other."""
    exchange = Exchange("--replay", str(RECORDING), "--speed", "max")
    for _ in range(2):
        watch = Program(
            "watch", "KRW-LAMB", "--type", "trade", "--type", "orderbook", "--url", exchange.url, "--format", "json",
            "--count", "5",
        )  # fmt: skip
        assert watch.end() == 0
        first = watch.events()[0]
        assert (first["type"], first["trade_price"], first["sequential_id"]) == ("trade", 127.0, 1618678262000003)


def test_it_has_an_account_for_the_key_in_its_environment(backend: str) -> None:
    """Whoever has the same key can log in and sees somebody trade; nobody else can."""
    exchange = Exchange(environment=KEYS)
    account = ("--my-orders", "--my-assets", "--url", exchange.url, "--format", "json", "--backend", backend)
    watch = Program("watch", *account, environment=KEYS)
    watch.wait_events(3, type="myOrder")
    watch.wait_events(3, type="myAsset")
    stranger = Program("watch", *account, environment={**KEYS, "UPBIT_SECRET_KEY": "AnotherKey" * 4})
    assert stranger.end() == 1
    assert "jwt_verification" in stranger.stderr.text()
    exchange.send(signal.SIGINT)
    assert exchange.end() == 0
    assert exchange.stdout.text() == f"listening on {exchange.url}\n"
    assert exchange.stderr.text() == ""


def test_without_a_key_it_has_no_account(exchange: Exchange) -> None:
    """There is nobody to log in as."""
    watch = Program("watch", "--announcements", "--url", exchange.url, environment=KEYS)
    assert watch.end() == 1
    assert "invalid_access_key" in watch.stderr.text()


def test_it_announces_something_now_and_then() -> None:
    """To whoever has logged in and asks for it."""
    exchange = Exchange(environment=KEYS)
    watch = Program(
        "watch", "--announcements", "--url", exchange.url, "--count", "1", "--format", "json", environment=KEYS
    )
    assert watch.end(60) == 0
    assert [event["type"] for event in watch.events()] == ["announcement"]


@needs_shared
def test_an_account_beside_a_recording() -> None:
    """It can log in, and nothing trades."""
    exchange = Exchange("--replay", str(RECORDING), environment=KEYS)
    watch = Program("watch", "--my-orders", "--url", exchange.url, terminal=True, environment=KEYS)
    watch.stdout.wait_for(rf"connected to {exchange.url}/private · epoch 1 · 0 events")
    watch.send(signal.SIGINT)
    assert watch.end() == 0
