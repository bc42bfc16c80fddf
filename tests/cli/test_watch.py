"""``upbit-streams watch``."""

import json
import os
import re
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
from tests.cli.program import Exchange, Program
from tests.support.shared import RECORDING, needs_shared

from upbit_streams import Endpoint
from upbit_streams.testing import MarketSimulation, MarketSource, Session, SimulatedExchange, open_exchange

pytestmark = pytest.mark.socket

SIGNALS = [signal.SIGINT, signal.SIGTERM]

# The fact sheet's names (section 4), written down here a second time: the test must not ask the code what is right.
TRADE = {
    "ty": "type", "cd": "code", "tms": "timestamp", "td": "trade_date", "ttm": "trade_time", "ttms": "trade_timestamp",
    "tp": "trade_price", "tv": "trade_volume", "ab": "ask_bid", "pcp": "prev_closing_price", "c": "change",
    "cp": "change_price", "sid": "sequential_id", "st": "stream_type",
}  # fmt: skip
ORDERBOOK = {
    "ty": "type", "cd": "code", "tms": "timestamp", "tas": "total_ask_size", "tbs": "total_bid_size",
    "obu": "orderbook_units", "st": "stream_type",
}  # fmt: skip
UNIT = {"ap": "ask_price", "bp": "bid_price", "as": "ask_size", "bs": "bid_size"}
MARKETS = ("KRW-LAMB", "KRW-WAVES", "BTC-XTZ", "BTC-ITAM", "BTC-PAX")
REPLAY = (
    "watch", *MARKETS, "--type", "trade", "--type", "orderbook", "--simulate", "--replay", str(RECORDING),
    "--speed", "max", "--format", "json",
)  # fmt: skip


def recorded() -> list[dict[str, Any]]:
    """The recording under DEFAULT field names."""
    events = []
    for line in RECORDING.read_text().splitlines():
        frame = msgspec.json.decode(msgspec.json.decode(line)["frame"])
        event = {(TRADE if frame["ty"] == "trade" else ORDERBOOK)[name]: value for name, value in frame.items()}
        if "orderbook_units" in event:
            event["orderbook_units"] = [
                {UNIT[name]: value for name, value in unit.items()} for unit in event["orderbook_units"]
            ]
        events.append(event)
    return events


@needs_shared
def test_a_replay_prints_the_recording_and_nothing_else(backend: str) -> None:
    """All 168 trades and 102 books come out, every field equal, in their order."""
    before = time.time()  # noqa: TID251
    watch = Program(*REPLAY, "--backend", backend, "--count", "270")
    assert watch.end() == 0
    events = watch.events()
    for event in events:
        assert event.pop("epoch") == 1
        assert before <= event.pop("received_at") <= time.time()  # noqa: TID251
    assert events == recorded()
    assert [sum(event["type"] == name for event in events) for name in ("trade", "orderbook")] == [168, 102]
    assert re.search(r"trade events\W+168\W", watch.stderr.text())


def test_codes_may_be_in_lower_case() -> None:
    """A code means what it means in the library, however it is typed and however often."""
    options = ("--simulate", "--format", "json", "--count", "2")
    watch = Program("watch", "krw-eth", "KRW-ETH", *options)
    assert watch.end() == 0
    assert [event["code"] for event in watch.events()] == ["KRW-ETH"] * 2


@pytest.mark.parametrize("count", [1, 300])
def test_a_count_is_kept_to_the_line(count: int, exchange: Exchange) -> None:
    """``--count N`` prints N lines, and the summary says N."""
    options = ("--type", "trade", "--type", "orderbook", "--format", "json", "--count", str(count))
    watch = Program("watch", "KRW-BTC", "KRW-ETH", *options, "--url", exchange.url)
    assert watch.end() == 0
    assert len(watch.events()) == count
    assert re.search(rf"all events\W+{count}\W", watch.stderr.text())


def test_a_duration_is_kept(exchange: Exchange) -> None:
    """``--duration S`` ends after S seconds of data, though nothing comes."""
    watch = Program("watch", "KRW-NONE", "--url", exchange.url, "--duration", "0.5")
    assert watch.end() == 0
    assert re.search(r"over 0\.[5-9] s", watch.stdout.text())


def test_without_a_terminal_the_table_is_printed_once_at_the_end(exchange: Exchange) -> None:
    """In a file or a pipe stand the last state of every market, and the summary, and nothing to erase either."""
    watch = Program("watch", "KRW-BTC", "KRW-NONE", "--url", exchange.url, "--count", "3", "--duration", "10")
    assert watch.end() == 0
    text = watch.stdout.text()
    assert re.search(r"\Amarket +price +change +events\n\S+\nKRW-BTC +[\d,]+ +\S+% +3\nKRW-NONE +0\n\nsummary", text)
    assert re.search(r"ticker events\W+3\W", text)
    assert re.search(r"epochs\W+1\W", text)
    assert re.search(r"nothing came of\W+ticker of KRW-NONE\W", text)
    assert watch.stderr.text() == ""


def test_a_market_without_data_is_told(exchange: Exchange) -> None:
    """A code that the exchange does not list is answered with silence, so we say that nothing came."""
    lines = Program("watch", "KRW-BTC", "KRW-NONE", "--url", exchange.url, "--format", "json")
    table = Program("watch", "KRW-BTC", "KRW-NONE", "--url", exchange.url, terminal=True)
    told = "no data yet: ticker of KRW-NONE; a market that the exchange does not list never gets any"
    lines.stderr.wait_for(told)
    table.stdout.wait_for(told)


def test_a_narrow_terminal_cuts_no_number() -> None:
    """What does not fit is left out whole, and named."""
    types = ("--type", "ticker", "--type", "trade", "--type", "candle.1m")
    watch = Program("watch", "KRW-BTC", "--simulate", *types, terminal=True, columns=40)
    watch.stdout.wait_for(r"KRW-BTC +\d\d+,\d{3},000 +[+-]\S+% +\d+")
    watch.stdout.wait_for(r"no room for last trade")
    assert "…" not in watch.stdout.text()


def test_a_terminal_that_knows_ascii_only() -> None:
    """It gets what it can show; a missing character is no reason to end."""
    ascii_only = ("env", "PYTHONIOENCODING=ascii")
    watch = Program("watch", "KRW-BTC", "--simulate", terminal=True, wrapper=ascii_only)
    watch.stdout.wait_for("connected to")
    watch.send(signal.SIGINT)
    assert watch.end() == 0


def test_it_survives_the_death_of_the_exchange() -> None:
    """Lines and table say that they reconnect and why, and go on with epoch 2; none of epoch 1 comes after that."""
    exchange = Exchange()
    watch = ("watch", "KRW-BTC", "KRW-ETH", "--url", exchange.url, "--backend")
    printed = [Program(*watch, backend, "--format", "json") for backend in ("asyncio", "trio")]
    table = Program(*watch, "asyncio", terminal=True)
    for lines in printed:
        lines.wait_events(5)
    table.stdout.wait_for(rf"connected to {exchange.url} · epoch 1 · [1-9]\d* events")
    exchange.kill()
    table.stdout.wait_for(r"reconnecting: cannot connect to ws://.*connection refused.* · epoch 1 · ")
    Exchange(port=exchange.port)
    for lines in printed:
        lines.wait_events(20, epoch=2)
        lines.send(signal.SIGTERM)
        assert lines.end() == 130
        epochs = [event["epoch"] for event in lines.events()]
        assert epochs == sorted(epochs)
        assert set(epochs) == {1, 2}
        assert re.search("upbit-streams: reconnecting: .*\n(.*\n)*.* connected again, epoch 2\n", lines.stderr.text())
    table.stdout.wait_for(rf"connected to {exchange.url} · epoch 2 · ")
    table.send(signal.SIGTERM)
    assert table.end() == 0
    assert re.search(r"epochs\W+2\W", table.stdout.text())


def test_a_signal_ends_it_while_it_reconnects() -> None:
    """However long the exchange has been away, Ctrl-C need not wait for it."""
    exchange = Exchange()
    lines = Program("watch", "KRW-BTC", "--url", exchange.url, "--backend", "asyncio", "--format", "json")
    table = Program("watch", "KRW-BTC", "--url", exchange.url, "--backend", "trio", terminal=True)
    lines.wait_events(1)
    table.stdout.wait_for("connected to")
    exchange.kill()
    lines.stderr.wait_for("reconnecting: ")
    table.stdout.wait_for("reconnecting: ")
    lines.send(signal.SIGINT)
    table.send(signal.SIGINT)
    assert lines.end(10) == 130
    assert table.end(10) == 0
    assert re.search(r"epochs\W+1\W", table.stdout.text())


class Closing(SimulatedExchange):
    """It closes every session with code 1000 as soon as it has accepted it, for as long as it is ``closing``."""

    closing = True

    def connect(self, now: float, endpoint: Endpoint = Endpoint.PUBLIC, token: str | None = None) -> Session:
        session = super().connect(now, endpoint, token)
        if self.closing:
            session.end(now, 1000)
        return session


def market() -> MarketSource:
    return MarketSource(MarketSimulation(start_ms=int(time.time() * 1000)))  # noqa: TID251


def connects_a_second(exchange: SimulatedExchange) -> int:
    """The most connects that began within any one second."""
    times = list(exchange.connects)
    return max(sum(start <= other < start + 1.0 for other in times) for start in times)


async def test_it_does_not_storm_an_exchange_that_closes_at_once(backend: str) -> None:
    """A polite close right after the handshake, again and again, is an end like any other; later the data comes."""
    exchange = Closing(market())
    async with open_exchange(exchange) as url:
        watch = Program("watch", "KRW-BTC", "--url", url, "--format", "json", "--backend", backend, "--count", "3")
        with anyio.fail_after(30):
            while len(exchange.connects) < 3:  # noqa: ASYNC110 -- the exchange tells nobody
                await anyio.sleep(0.05)
        exchange.closing = False
        assert await anyio.to_thread.run_sync(watch.end) == 0
    assert connects_a_second(exchange) <= 5
    assert not exchange.breaches
    assert [event["epoch"] for event in watch.events()] == [len(exchange.connects)] * 3
    assert re.search("reconnecting: .*closed it with code 1000", watch.stderr.text())


async def test_it_goes_on_when_the_exchange_closes_politely(backend: str) -> None:
    """Sessions that bring data and are closed with code 1000 soon after are epochs, each after the one before."""
    exchange = SimulatedExchange(market())
    async with open_exchange(exchange) as url:
        watch = Program("watch", "KRW-BTC", "--url", url, "--format", "json", "--backend", backend)
        for epoch in (1, 2):
            await anyio.to_thread.run_sync(partial(watch.wait_events, 1, epoch=epoch))
            exchange.end_sessions(time.time(), 1000)  # noqa: TID251
        await anyio.to_thread.run_sync(partial(watch.wait_events, 1, epoch=3))
        watch.send(signal.SIGTERM)
        assert await anyio.to_thread.run_sync(watch.end) == 130
    assert connects_a_second(exchange) <= 5
    assert not exchange.breaches
    epochs = [event["epoch"] for event in watch.events()]
    assert epochs == sorted(epochs)
    assert {1, 2, 3} <= set(epochs)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_it_starts_ends_it_at_once(number: signal.Signals) -> None:
    """In the middle of the imports there is nothing to close and nothing to say."""
    watch = Program("watch", "KRW-BTC", "--simulate", python_options=("-X", "importtime"))
    watch.stderr.wait_for(r"\| +click\.core\n")
    watch.send(number)
    assert watch.end(10) in (0, 130)
    assert watch.stdout.text() == ""


# What the script ``upbit-streams`` does that pip makes of the entry point.
SCRIPT = ("-c", "from upbit_streams_cli import main; main()")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("module", ["msgspec", "upbit_streams.exceptions", "jwt", "upbit_streams"])
def test_a_signal_while_the_package_is_imported_ends_it_at_once(module: str, number: signal.Signals) -> None:
    """Even that takes a moment, in which Python alone would show a traceback."""
    watch = Program("watch", "KRW-BTC", "--simulate", start=SCRIPT, python_options=("-X", "importtime"))
    watch.stderr.wait_for(rf"\| +{re.escape(module)}\n")
    watch.send(number)
    assert watch.end(10) in (0, 130)
    assert watch.stdout.text() == ""


def test_the_script_is_the_program() -> None:
    """The way through the entry point ends where ``python -m`` ends."""
    watch = Program("watch", "KRW-BTC", "--simulate", "--format", "json", "--count", "1", start=SCRIPT)
    assert watch.end() == 0
    assert len(watch.events()) == 1


@pytest.mark.parametrize(
    ("code", "moment", "number", "backend"),
    [
        ("KRW-BTC", r"connecting to ws://127\.0\.0\.1", signal.SIGINT, "asyncio"),
        ("KRW-BTC", r"connecting to ws://127\.0\.0\.1", signal.SIGTERM, "trio"),
        ("KRW-NONE", r"connected to .* 0 events", signal.SIGINT, "trio"),
        ("KRW-BTC", r"[1-9]\d* events", signal.SIGINT, "asyncio"),
        ("KRW-BTC", r"[1-9]\d* events", signal.SIGTERM, "trio"),
    ],
)
def test_a_signal_ends_the_table_with_its_summary(
    backend: str, code: str, moment: str, number: signal.Signals, silent_port: int, exchange: Exchange
) -> None:
    """At any moment: the terminal as it was, the summary on it, and status 0, since that is how one ends it."""
    url = f"ws://127.0.0.1:{silent_port}" if "connecting" in moment else exchange.url
    watch = Program("watch", code, "--url", url, "--backend", backend, terminal=True)
    watch.stdout.wait_for(moment)
    watch.send(number)
    assert watch.end(10) == 0
    screen = watch.stdout.text()
    assert re.search(r"all events\W+\d+\W", screen)
    assert screen.count("summary") == 1
    assert watch.stdout.shows_cursor()


@pytest.fixture
def flood(tmp_path: Path) -> tuple[str, ...]:
    """Arguments that bring several times what a pipe holds in one go, and then nothing."""
    trade = {
        "ty": "trade", "cd": "KRW-BTC", "tms": 1, "td": "2021-04-17", "ttm": "00:00:00", "ttms": 1, "tp": 1.0,
        "tv": 1.0, "ab": "BID", "pcp": 1.0, "c": "EVEN", "cp": 0.0, "st": "REALTIME",
    }  # fmt: skip
    path = tmp_path / "flood.ndjson"
    lines = (json.dumps({"recv": 1.0, "frame": json.dumps({**trade, "sid": number})}) for number in range(1000))
    path.write_text("\n".join(lines))
    return ("KRW-BTC", "--type", "trade", "--simulate", "--replay", str(path), "--speed", "max", "--format", "json")


def test_a_signal_cuts_no_line_in_half(backend: str, flood: tuple[str, ...]) -> None:
    """What the summary counts is what was printed: whole lines, of which the reader gets every one."""
    watch = Program("watch", *flood, "--backend", backend, read=False)
    watch.wait_stuck()
    watch.send(signal.SIGINT)
    watch.read_stdout()
    assert watch.end(10) == 130
    ids = [event["sequential_id"] for event in watch.events()]
    assert ids == list(range(len(ids)))
    assert 10 < len(ids) < 1000
    assert re.search(rf"all events\W+{len(ids)}\W", watch.stderr.text())


def test_a_signal_ends_it_although_nobody_reads(backend: str, flood: tuple[str, ...]) -> None:
    """A reader that has stopped reading for good cannot keep it from ending."""
    watch = Program("watch", *flood, "--backend", backend, read=False)
    watch.wait_stuck()
    watch.send(signal.SIGINT)
    watch.stderr.wait_for("all events")
    watch.wait(10)
    os.close(watch.stdout_descriptor)
    assert watch.end() == 130


def test_a_reader_that_pauses_loses_nothing(backend: str, flood: tuple[str, ...]) -> None:
    """More than a pipe holds waits in the program, and comes when it is read again."""
    watch = Program("watch", *flood, "--backend", backend, "--count", "1000", read=False)
    watch.wait_stuck()
    watch.read_stdout()
    assert watch.end() == 0
    assert [event["sequential_id"] for event in watch.events()] == list(range(1000))


@pytest.mark.parametrize(("form", "backend"), [("json", "asyncio"), ("json", "trio"), ("table", "asyncio")])
def test_a_reader_that_leaves_ends_it_quietly(backend: str, form: str, exchange: Exchange) -> None:
    """As in ``| head -1``: whoever reads has seen enough, which is nobody's error."""
    options = ("--backend", backend, "--format", form, "--duration", "1" if form == "table" else "60")
    watch = Program("watch", "KRW-BTC", "--url", exchange.url, *options, read=False)
    if form == "json":
        assert os.read(watch.stdout_descriptor, 1) == b"{"
    os.close(watch.stdout_descriptor)
    assert watch.end(10) == 0
    assert watch.stderr.text() == ""


def test_no_stdout_at_all_ends_it_quietly() -> None:
    """As with ``>&-``, which leaves a program without the descriptor."""
    closed = ("sh", "-c", 'exec "$@" >&-', "sh")
    watch = Program("watch", "KRW-BTC", "--simulate", "--format", "json", wrapper=closed)
    assert watch.end(10) == 0
    assert watch.stderr.text() == ""


@pytest.mark.parametrize(("form", "backend"), [("json", "asyncio"), ("table", "trio")])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk to write to")
def test_a_full_disk_gets_a_sentence(backend: str, form: str) -> None:
    """What cannot be written is an error, unlike what nobody wants to read."""
    full = ("sh", "-c", 'exec "$@" >/dev/full', "sh")
    options = ("--format", form, "--backend", backend, "--count", "1")
    watch = Program("watch", "KRW-BTC", "--simulate", *options, wrapper=full)
    assert watch.end(10) == 1
    assert watch.stderr.text() == "upbit-streams: input or output failed: No space left on device\n"
