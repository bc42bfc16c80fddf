"""The code of the README and of the documentation, executed as it stands there, and lists that must be whole."""

import ast
import inspect
import math
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import anyio
import pytest
import trio
from anyio.from_thread import start_blocking_portal

import upbit_streams
import upbit_streams.testing
from upbit_streams import Config, Credentials, TradeEvent, exceptions, open_manager
from upbit_streams.testing import (
    MarketSimulation,
    MarketSource,
    Recorded,
    Replay,
    SimulatedExchange,
    memory_connector,
    open_exchange,
    run,
)

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
RUN_AS_PROGRAMS = ("first_prices", "first_trades", "strategy")
RUN_BY_PYTEST = ("conftest", "test_strategy", "holdings", "test_holdings", "pull", "callback", "advanced", "test_usage")
CODES = ["KRW-BTC", "KRW-ETH"]
START = 1_795_000_000

_FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Main = Callable[[Config], Any]

runners: dict[str, Callable[[Main, Config], Any]] = {
    "anyio.run": anyio.run,
    "anyio.run on trio": lambda main, config: anyio.run(main, config, backend="trio"),
    "trio.run": trio.run,
}


@pytest.fixture(params=runners)
def runner(request: pytest.FixtureRequest) -> Callable[[Main, Config], Any]:
    """A way to run a program that does not care about its backend."""
    return runners[request.param]


def fences(page: Path) -> list[CodeType]:
    """The Python fences of a page, compiled so that a traceback has the page's own lines."""
    text = page.read_text(encoding="utf-8")
    return [
        compile(
            "\n" * text.count("\n", 0, found.start(1)) + found[1],
            str(page),
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        for found in _FENCE.finditer(text)
    ]


def awaits(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_COROUTINE)


def program(code: CodeType) -> dict[str, Any]:
    """What a program defines. Its ``if __name__ == "__main__"`` is not entered."""
    namespace: dict[str, Any] = {"__name__": "documentation"}
    exec(code, namespace)  # noqa: S102 -- the documentation's own code
    return namespace


PAGES = {
    str(page.relative_to(DOCS)): codes
    for page in sorted(DOCS.rglob("*.md"))
    if "_build" not in page.parts and (codes := fences(page))
}
GUIDES = [name for name, codes in PAGES.items() if any(map(awaits, codes))]
CHANGES_THE_LIBRARY = "adding-a-data-type.md"  # runs against a changed copy, in test_fields.py
PROGRAMS = [name for name in PAGES if name not in GUIDES and name != CHANGES_THE_LIBRARY]


@pytest.mark.parametrize("page", GUIDES)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_guides_examples_run_within_a_manager_and_a_client(page: str, backend: str) -> None:
    """In virtual time, and the exchange drops every connection every 30 seconds."""

    def wall() -> float:
        return START + anyio.current_time()

    exchange = SimulatedExchange(MarketSource(MarketSimulation(codes=CODES, rate=20, start_ms=START * 1000)))
    account = exchange.open_account(balances={"KRW": 1_000_000_000, "BTC": 2})
    credentials = Credentials(account.access_key, account.secret_key.reveal())
    connector = memory_connector(exchange, wall)

    async def lose_connections() -> None:
        while True:
            await anyio.sleep(30)
            exchange.end_sessions(wall(), 1000)

    async def main() -> None:
        async with (
            open_manager(credentials=credentials, connector=connector, wall=wall, draw=lambda: 0.5) as manager,
            manager.open_client("guide") as client,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(lose_connections)
            namespace = {
                "manager": manager,
                "client": client,
                "exchange": exchange,
                "account": account,
                "connector": connector,
                "wall": wall,
            }
            with anyio.fail_after(3600):
                for code in PAGES[page]:
                    ran = eval(code, namespace)  # noqa: S307 -- the documentation's own code
                    if awaits(code):
                        await ran
            tasks.cancel_scope.cancel()
        assert exchange.breaches == []

    run(main, backend=backend)


@pytest.mark.socket
@pytest.mark.parametrize("page", PROGRAMS)
def test_a_pages_program_runs(page: str) -> None:
    namespace: dict[str, Any] = {"__name__": "documentation"}
    for code in PAGES[page]:
        exec(code, namespace)  # noqa: S102 -- the documentation's own code


@contextmanager
def served(exchange: SimulatedExchange) -> Iterator[Config]:
    """Serve an exchange on loopback, in a thread and an event loop of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_exchange(exchange)) as url:
        yield Config(url=url)


@contextmanager
def served_market() -> Iterator[tuple[Config, Callable[[], list[TradeEvent]]]]:
    """Serve a market that moves. Comes with its trades of KRW-BTC so far, as a twin of the market has them, and the one
    before the start first."""
    start_ms = int(time.time() * 1000)  # noqa: TID251 -- sockets live in real time

    def market() -> MarketSimulation:
        return MarketSimulation(codes=CODES, rate=1000, start_ms=start_ms)

    source = MarketSource(market())

    def trades() -> list[TradeEvent]:
        twin = market()
        events = [twin.snapshot("trade", "KRW-BTC"), *twin.advance(int(source.next_time() * 1000))]
        return [event for event in events if isinstance(event, TradeEvent) and event.code == "KRW-BTC"]

    with served(SimulatedExchange(source)) as config:
        yield config, trades


def follow_each_other(told: list[str], happened: list[str]) -> bool:
    """What was told is a part of what happened, without a gap."""
    return any(happened[at : at + len(told)] == told for at in range(len(happened)))


@pytest.mark.socket
def test_the_readme_shows_what_the_exchange_sends(
    runner: Callable[[Main, Config], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = fences(ROOT / "README.md")
    with served_market() as (config, trades):
        runner(program(code)["main"], config)
        happened = trades()
    ticker, book, *told, lost = capsys.readouterr().out.splitlines()
    assert float(ticker.removeprefix("ticker ")) in {trade.trade_price for trade in happened}
    assert re.fullmatch(r"book \([\d.]+, [\d.]+\)", book)
    assert len(told) == 10
    assert follow_each_other(told, [f"trade 1 {trade.trade_price} {trade.trade_volume}" for trade in happened])
    assert lost == "lost here 0"


@pytest.mark.socket
def test_the_first_prices_are_those_of_the_exchange(
    runner: Callable[[Main, Config], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with served_market() as (config, trades):
        runner(program(example("first_prices"))["main"], config)
        happened = trades()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == CODES
    assert float(lines[0][1]) in {trade.trade_price for trade in happened}


@pytest.mark.socket
def test_the_first_trades_are_those_of_the_exchange(
    runner: Callable[[Main, Config], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with served_market() as (config, trades):
        runner(program(example("first_trades"))["main"], config)
        happened = trades()
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 10
    assert follow_each_other(
        told, [f"{trade.code} {trade.ask_bid} {trade.trade_price} {trade.trade_volume}" for trade in happened]
    )


@pytest.mark.socket
def test_the_strategy_computes_the_weighted_price_of_the_last_trades(
    runner: Callable[[Main, Config], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Unchanged on all three, over a recording, so that the result is known."""
    strategy = program(example("strategy"))
    market = MarketSimulation(codes=CODES, rate=1000, start_ms=START * 1000)
    events = [Recorded(event.timestamp / 1000, event) for event in market.advance((START + 5) * 1000)]
    with served(SimulatedExchange(Replay(events, math.inf))) as config:
        runner(strategy["main"], config)
    trades = [one.event for one in events if isinstance(one.event, TradeEvent) and one.event.code == "KRW-BTC"]
    last = trades[strategy["TRADES"] - strategy["WINDOW"] : strategy["TRADES"]]
    volume = math.fsum(trade.trade_volume for trade in last)
    price = math.fsum(trade.trade_price * trade.trade_volume for trade in last) / volume
    *lines, result = capsys.readouterr().out.splitlines()
    assert len(lines) == strategy["TRADES"]
    assert float(result.split()[0].replace(",", "")) == pytest.approx(price, abs=1)
    assert len({round(trade.trade_price) for trade in last}) > 1, "with a single price, any average would do"


def example(name: str) -> CodeType:
    assert name in RUN_AS_PROGRAMS
    file = EXAMPLES / f"{name}.py"
    return compile(file.read_text(encoding="utf-8"), str(file), "exec", dont_inherit=True)


def test_the_example_tests_pass_as_a_users_own(tmp_path: Path) -> None:
    """Away from this project and its settings, with warnings as errors."""
    for name in (*RUN_BY_PYTEST, "strategy"):
        shutil.copy(EXAMPLES / f"{name}.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "18 passed" in done.stdout, done.stdout + done.stderr


def test_every_example_is_run_by_one_of_these_tests() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == {*RUN_AS_PROGRAMS, *RUN_BY_PYTEST}


def test_every_page_with_code_is_run() -> None:
    """A fence that is spelled in another way would be shown and not run."""
    for page in DOCS.rglob("*.md"):
        spelled = re.findall(r"^ *[`~:]{3,} *\{?(?:py|code|ipython)", page.read_text(encoding="utf-8"), re.MULTILINE)
        if "_build" not in page.parts:
            assert len(spelled) == len(PAGES.get(str(page.relative_to(DOCS)), [])), page


def test_the_reference_has_every_public_name() -> None:
    documented = set(
        re.findall(r"^\.\. (?:auto|py:)\w+:: (\w+)", (DOCS / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert {*upbit_streams.__all__, *upbit_streams.testing.__all__} <= documented


def test_the_page_on_errors_has_every_error() -> None:
    rows = set(re.findall(r"^\| `(\w+)`", (DOCS / "guide/errors.md").read_text(encoding="utf-8"), re.MULTILINE))
    # The root and two of the branches have no row: they are there to be caught.
    assert rows == {*exceptions.__all__} - {"UpbitStreamsError", "ExchangeError", "FeedError"}


@pytest.mark.parametrize("command", ["watch", "exchange"])
def test_the_page_on_the_command_line_has_every_option(command: str) -> None:
    page = (DOCS / "guide/command-line.md").read_text(encoding="utf-8")
    section = page.partition(f"## {command}\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `(--[a-z]+)", section, re.MULTILINE))
    shown = subprocess.run(  # noqa: S603 -- our own command
        [sys.executable, "-m", "upbit_streams.cli", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told == set(re.findall(r"^  (?:-\w, )?(--[a-z]+)", shown.stdout, re.MULTILINE))


def test_the_architecture_page_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_[a-z]\d_)…`", (DOCS / "architecture.md").read_text(encoding="utf-8")))
    tests = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py")]
    assert named == {name for text in tests for name in re.findall(r"def (test_[a-z]\d_)", text)}
