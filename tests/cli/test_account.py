"""``upbit-streams watch`` with orders, balances and announcements."""

import json
import re
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs
import pytest
from tests.cli.program import PATIENCE, Program, keys

from upbit_streams import Endpoint
from upbit_streams.testing import (
    Account,
    MarketSimulation,
    MarketSource,
    Refusal,
    SimulatedExchange,
    open_exchange,
)

pytestmark = pytest.mark.socket

ALL = ("--my-orders", "--my-assets", "--announcements")
JSON = ("--format", "json")
PRICE = 1_000_000  # so low that nothing is ever sold for it


def now() -> float:
    return time.time()  # noqa: TID251


@attrs.frozen
class Desk:
    """An exchange of the test's own, on which nothing happens that the test does not do."""

    exchange: SimulatedExchange
    account: Account
    url: str

    def watch(self, *arguments: str, access_key: str = "", **options: Any) -> Program:
        """Watch with the account's own key, or one of which a part is another."""
        key = keys(access_key or self.account.access_key, self.account.secret_key.reveal())
        return Program("watch", *arguments, "--url", self.url, environment=key, **options)

    def order(self, code: str = "KRW-BTC") -> str:
        return self.account.place(now(), code, "BID", price=PRICE, volume="0.01")

    def end_private(self) -> None:
        self.exchange.end_sessions(now(), 1000, Endpoint.PRIVATE)

    async def private_is_served(self) -> None:
        """Wait until a session has asked for orders: what happens from then on is told."""
        await self.until(lambda: any(session.account and session.subscriptions for session in self.exchange.sessions))

    async def until(self, is_so: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE):
            while not is_so():  # noqa: ASYNC110 -- the exchange tells nobody
                await anyio.sleep(0.02)


@asynccontextmanager
async def open_desk() -> AsyncGenerator[Desk, None]:
    codes = ("KRW-BTC", "KRW-ETH")
    exchange = SimulatedExchange(MarketSource(MarketSimulation(codes=codes, start_ms=int(now() * 1000))))
    account = exchange.open_account(balances={"KRW": 10_000_000})
    async with open_exchange(exchange) as url:
        yield Desk(exchange, account, url)


async def ended(program: Program) -> int:
    return await anyio.to_thread.run_sync(program.end)


async def shown(output: Any, pattern: str) -> "re.Match[str]":
    match: re.Match[str] = await anyio.to_thread.run_sync(output.wait_for, pattern)
    return match


async def has_events(program: Program, count: int, **fields: Any) -> list[dict[str, Any]]:
    return await anyio.to_thread.run_sync(partial(program.wait_events, count, **fields))


async def test_it_prints_what_is_told_of_the_account(backend: str) -> None:
    """The exchange's own field names, the epoch, and amounts as numbers that have all their digits."""
    async with open_desk() as desk:
        watch = desk.watch(*ALL, *JSON, "--count", "5", "--backend", backend)
        await desk.private_is_served()
        uuid = desk.order()
        desk.account.deposit(now(), "BTC", "123456789.12345678901234567891")
        desk.account.cancel(now(), uuid)
        desk.exchange.announce(now(), title="점검 안내", category="maintenance")
        assert await ended(watch) == 0
    # A change of balances follows the order that it comes from; the announcement would be the sixth.
    types = [event["type"] for event in watch.events()]
    assert types == ["myOrder", "myAsset", "myAsset", "myOrder", "myAsset"]
    assert {event["epoch"] for event in watch.events()} == {1}
    opened, _, deposit, cancelled, _ = watch.events()
    assert (opened["code"], opened["uuid"], opened["state"], opened["price"]) == ("KRW-BTC", uuid, "wait", PRICE)
    assert (cancelled["uuid"], cancelled["state"], cancelled["remaining_volume"]) == (uuid, "cancel", 0.01)
    assert deposit["assets"][0]["currency"] == "BTC"
    assert b'"balance":123456789.12345678901234567891,' in watch.stdout.data()
    assert abs(opened["received_at"] - now()) < PATIENCE
    told = watch.stderr.text()
    assert re.search(r"myOrder events\W+2\W(.*\n)*.*myAsset events\W+3\W(.*\n)*.*announcement events\W+0\W", told)
    assert re.search(r"all events\W+5\W(.*\n)*.*epochs of the private connection\W+1\W.*\n.*gaps\W+0\W", told)


async def test_it_prints_announcements(backend: str) -> None:
    """As they were told, without a market."""
    async with open_desk() as desk:
        watch = desk.watch("--announcements", *JSON, "--count", "1", "--backend", backend)
        await desk.private_is_served()
        desk.order()
        desk.exchange.announce(now(), title="점검 안내", category="maintenance")
        assert await ended(watch) == 0
    (event,) = watch.events()
    assert (event["type"], event["title"], event["category"]) == ("announcement", "점검 안내", "maintenance")


async def test_it_watches_markets_and_their_orders(backend: str) -> None:
    """Markets that are named limit the orders as well; without any, the orders of all markets come."""
    async with open_desk() as desk:
        both = desk.watch("krw-eth", "--type", "trade", "--my-orders", *JSON, "--backend", backend)
        everywhere = desk.watch("--my-orders", *JSON, "--backend", backend)
        await desk.until(lambda: sum(bool(session.subscriptions) for session in desk.exchange.sessions) == 3)
        orders = [desk.order("KRW-BTC"), desk.order("KRW-ETH")]
        events = await has_events(both, 1, type="myOrder")
        assert {event["code"] for event in events} == {"KRW-ETH"}
        events = await has_events(everywhere, 2)
        assert [event["uuid"] for event in events] == orders
        events = await has_events(both, 1, type="trade")
        assert {event["type"] for event in events} == {"myOrder", "trade"}
        for program in (both, everywhere):
            program.send(signal.SIGTERM)
            assert await ended(program) == 130
    told = both.stderr.text()
    assert re.search(r"epochs\W+1\W(.*\n)*.*epochs of the private connection\W+1\W(.*\n)*.*gaps\W+0\W", told)


async def test_a_gap_is_told(backend: str) -> None:
    """From when to when, and what may be missing; then it goes on with the next epoch."""
    before = now()
    async with open_desk() as desk:
        options = ("--my-orders", "--my-assets", "--backend", backend)
        lines, table = desk.watch(*options, *JSON), desk.watch(*options, terminal=True)
        await desk.until(lambda: sum(bool(session.subscriptions) for session in desk.exchange.sessions) == 2)
        desk.order()
        await has_events(lines, 1, type="myAsset", epoch=1)
        await shown(table.stdout, r"KRW-BTC +BID +wait ")
        desk.end_private()
        gap = await shown(
            lines.stderr, r"upbit-streams: gap from (\S+Z) to (\S+Z): orders and balances may be missing\n"
        )
        start, end = (datetime.fromisoformat(moment).timestamp() for moment in gap.groups())
        assert before < start < end < now()
        assert "upbit-streams: private connection: reconnecting: " in lines.stderr.text()
        assert "upbit-streams: private connection: connected again, epoch 2\n" in lines.stderr.text()
        await shown(table.stdout, r"gap from \S+Z to \S+Z: orders and balances may be missing")
        desk.order()
        await has_events(lines, 1, type="myOrder", epoch=2)
        await shown(table.stdout, r"KRW-BTC +BID +wait .*\n.* BID +wait\? ")
        for program in (lines, table):
            program.send(signal.SIGINT)
        assert await ended(lines) == 130
        assert await ended(table) == 0
    for told in (lines.stderr.text(), table.stdout.text()):
        assert re.search(r"epochs of the private connection\W+2\W.*\n.*gaps\W+1\W", told)
    assert lines.stderr.text().count("gap from") == 1


REFUSED = "refused the login 3 times .*no such access key.*: no such key; check the access key"


@pytest.mark.parametrize("arguments", [("--my-orders", *JSON), ("KRW-BTC", "--my-assets")], ids=["lines", "table"])
async def test_a_key_that_is_refused_ends_it(arguments: tuple[str, ...], backend: str) -> None:
    """One sentence: what the exchange said, and what to do. Markets do not go on as if nothing had been."""
    async with open_desk() as desk:
        watch = desk.watch(*arguments, "--backend", backend, access_key="AnotherKey" * 4)
        assert await ended(watch) == 1
    assert re.fullmatch(f"upbit-streams: {desk.url}/private {REFUSED}.*\n", watch.stderr.text(), re.IGNORECASE)
    assert "summary" not in watch.stdout.text()


async def test_a_key_that_is_refused_after_the_handshake_ends_it(backend: str) -> None:
    """The other way in which the exchange may say so."""
    async with open_desk() as desk:
        desk.exchange.login_errors_as_frames = True
        watch = desk.watch("--my-orders", *JSON, "--backend", backend, access_key="AnotherKey" * 4)
        assert await ended(watch) == 1
    assert re.search(r"refused the login 3 times \(INVALID_AUTH .*\): check that both keys", watch.stderr.text())


@pytest.mark.parametrize(("options", "backend"), [(JSON, "trio"), ((), "asyncio")], ids=["lines", "table"])
async def test_a_key_that_is_refused_later_ends_it(options: tuple[str, ...], backend: str) -> None:
    """A key that expires while somebody watches is missed at the next connect."""
    async with open_desk() as desk:
        watch = desk.watch("KRW-BTC", "--my-orders", *options, "--backend", backend, terminal=not options)
        await desk.private_is_served()
        await shown(watch.stdout, r'"ticker"' if options else r"connected to \S+/private ")
        desk.account.revoke()
        desk.end_private()
        assert await ended(watch) == 1
    *_, last = watch.stderr.text().splitlines()
    assert re.search(r"refused the login 3 times .*expired_access_key.* make a new one", last)
    if not options:
        assert watch.stdout.shows_cursor()


async def test_markets_go_on_while_the_private_connection_fails(backend: str) -> None:
    """A failure that is not about the key is told, and tried again, like any other."""
    async with open_desk() as desk:
        desk.exchange.refusals[Endpoint.PRIVATE] = Refusal(503, "back soon")
        watch = desk.watch("KRW-BTC", "--my-orders", *JSON, "--backend", backend)
        await shown(watch.stderr, r"upbit-streams: private connection: reconnecting: .*HTTP status 503: back soon\n")
        await has_events(watch, 3, type="ticker")
        desk.exchange.refusals.clear()
        await desk.private_is_served()
        desk.order()
        await has_events(watch, 1, type="myOrder")
        watch.send(signal.SIGTERM)
        assert await ended(watch) == 130


async def test_reading_too_slowly_is_told(backend: str) -> None:
    """Nothing that is told once is lost in silence."""
    small = "import upbit_streams.cli.feeds as feeds; feeds.CAPACITY = 5; from upbit_streams.cli import main; main()"
    async with open_desk() as desk:
        watch = desk.watch("--my-orders", *JSON, "--backend", backend, start=("-c", small), read=False)
        await desk.private_is_served()
        with anyio.fail_after(PATIENCE):
            while desk.exchange.sessions:
                desk.account.cancel(now(), desk.order())
                await anyio.lowlevel.checkpoint()
                if len(desk.account.orders()) == 500:
                    watch.read_stdout()
        assert await ended(watch) == 1
    told = r"upbit-streams: this output was read too slowly: \d+ changes of your orders .* are missing.*\n"
    assert re.fullmatch(told, watch.stderr.text())


def test_a_simulated_account_needs_no_key(backend: str) -> None:
    """Somebody trades on it, and something is announced."""
    watch = Program("watch", *ALL, "--simulate", *JSON, "--backend", backend)
    orders = watch.wait_events(5, type="myOrder")
    watch.wait_events(3, type="myAsset")
    watch.wait_events(1, type="announcement")
    assert {"wait"} <= {event["state"] for event in orders if event["type"] == "myOrder"}
    watch.send(signal.SIGTERM)
    assert watch.end() == 130
    assert not re.search("reconnecting|gap from", watch.stderr.text())


def test_the_simulated_account_trades_in_the_markets_that_are_watched() -> None:
    """``--count`` counts events of all kinds."""
    watch = Program("watch", "KRW-FOO", "--my-orders", "--simulate", *JSON, "--count", "40")
    assert watch.end() == 0
    assert len(watch.events()) == 40
    assert {(event["type"], event["code"]) for event in watch.events()} == {
        ("ticker", "KRW-FOO"), ("myOrder", "KRW-FOO"),
    }  # fmt: skip


def test_a_recording_with_an_account(tmp_path: Any) -> None:
    """There is no market, so nobody trades; announcements come."""
    trade = {"type": "trade", "code": "KRW-BTC", "timestamp": 1, "trade_date": "2021-04-17", "trade_time": "00:00:00",
             "trade_timestamp": 1, "trade_price": 1.0, "trade_volume": 1.0, "ask_bid": "BID", "prev_closing_price": 1.0,
             "change": "EVEN", "change_price": 0.0, "sequential_id": 1, "stream_type": "REALTIME"}  # fmt: skip
    path = tmp_path / "recording.ndjson"
    path.write_text(json.dumps({"recv": 1.0, "frame": json.dumps(trade)}) + "\n")
    watch = Program("watch", *ALL, "KRW-BTC", "--type", "trade", "--simulate", "--replay", str(path), *JSON,
                    "--count", "2")  # fmt: skip
    assert watch.end() == 0
    assert {event["type"] for event in watch.events()} == {"trade", "announcement"}


def test_the_table_has_a_section_for_each(backend: str) -> None:
    """Orders, balances and announcements below the markets, and how both connections stand."""
    watch = Program("watch", "KRW-BTC", *ALL, "--simulate", "--backend", backend, terminal=True)
    watch.stdout.wait_for(
        r"market +price +change +events *\n.*\nKRW-BTC +[\d,]+ (.*\n)+"
        r"order +market +side +state +price +volume +remaining +type *\n.*\n"
        r"[0-9a-f]{8} +KRW-BTC +(ASK|BID) +wait +[\d,]{10,} +[\d.]+ +[\d.]+ +limit *\n(.*\n)+"
        r"currency +balance +locked *\n.*\n(BTC|KRW) +[\d,.]+ +[\d.,]+ *\n(.*\n)+"
        r"announced +title +category *\n.*\n[\d-]{10} [\d:]{8} +This exchange is simulated.* notice *\n\s*\n"
        r"connected to ws://\S+/v1 · epoch 1 · [1-9]\d* events .*\n"
        r"connected to ws://\S+/v1/private · epoch 1 · [1-9]\d* events .* 0 lost"
    )
    watch.send(signal.SIGINT)
    assert watch.end() == 0
    assert watch.stdout.shows_cursor()


def test_the_table_has_no_section_that_was_not_asked_for() -> None:
    """Balances alone: one section, one connection."""
    watch = Program("watch", "--my-assets", "--simulate", terminal=True)
    watch.stdout.wait_for(r"KRW +[\d,.]+ +[\d,.]+ *\n(.*\n)*connected to ws://\S+/private · epoch 1 · [1-9]\d* events ")
    watch.send(signal.SIGINT)
    assert watch.end() == 0
    assert not re.search(r"order|market|announced|/v1 ", watch.stdout.text())


def test_the_table_fits_a_small_terminal() -> None:
    """What there is no room for is left out whole and named; the lines that say how it stands stay."""
    watch = Program("watch", "KRW-BTC", "KRW-ETH", *ALL, "--simulate", terminal=True, lines=18, columns=60)
    watch.stdout.wait_for(r"no room for announcements, currencies.* remaining, .*type")
    watch.stdout.wait_for(r"more orders")
    watch.stdout.wait_for(r"connected to ws://\S+/v1/private")
    assert "…" not in watch.stdout.text()
    picture_lines = max(len(picture.split(b"\n")) for picture in watch.stdout.data().split(b"\x1b[2K"))
    assert picture_lines <= 18
    watch.send(signal.SIGINT)
    assert watch.end() == 0
