"""What becomes of a manager when the exchange's process is killed, or paused: over real sockets, in real time.

The exchange is a process of its own, as users run it. Nothing here waits for a time to pass, but for what it looks for.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest
from tests.cli.program import PATIENCE, Exchange, Program

from upbit_streams import (
    Backoff,
    Config,
    ConnectionState,
    ConnectionStatus,
    DataType,
    EpochStarted,
    Lagged,
    Manager,
    Notice,
    TradeEvent,
    open_manager,
)

pytestmark = [pytest.mark.socket, pytest.mark.anyio]

PING_TIMEOUT = 1.0
CONNECT_TIMEOUT = 0.8


@pytest.fixture(autouse=True)
def programs() -> Iterator[None]:
    with Program.ended_with():
        yield


@attrs.define
class Seen:
    """What a consumer of trades was told, in order."""

    manager: Manager
    items: list[TradeEvent | Notice] = attrs.field(factory=list)
    states: list[ConnectionStatus] = attrs.field(factory=list)

    async def wait_for(self, what: Callable[[], Any]) -> None:
        """Wait until it is so."""
        with anyio.fail_after(PATIENCE):
            while not what():  # noqa: ASYNC110 -- it may come from a stream, a state or a process
                await anyio.sleep(0.02)

    def trades(self, epoch: int) -> int:
        return sum(isinstance(item, TradeEvent) and item.epoch.number == epoch for item in self.items)

    def notices(self) -> list[EpochStarted]:
        return [item for item in self.items if isinstance(item, EpochStarted)]

    def reasons(self) -> list[str]:
        """Why the feed was down, the same one after another once."""
        told = [status.reason for status in self.states if status.state is ConnectionState.RECONNECTING]
        return [reason for n, reason in enumerate(told) if n == 0 or told[n - 1] != reason]

    def check_order(self) -> None:
        """Epochs never go back, and each is announced before its first trade."""
        items = [item for item in self.items if not isinstance(item, Lagged)]
        epochs = [item.epoch.number for item in items]
        assert epochs == sorted(epochs)
        assert [notice.epoch.number for notice in self.notices()] == list(dict.fromkeys(epochs))
        firsts = [item for item, before in zip(items, [0, *epochs], strict=False) if item.epoch.number != before]
        assert all(isinstance(item, EpochStarted) for item in firsts)


@asynccontextmanager
async def watching(url: str, **settings: Any) -> AsyncIterator[Seen]:
    """A manager, a consumer of its trades, and somebody who notes every change of state."""
    config = Config(url=url, close_timeout=0.3, backoff=Backoff(initial=0.4, maximum=0.8), **settings)
    async with open_manager(config) as manager, manager.open_client("test") as client:
        seen = Seen(manager)

        async def consume() -> None:
            async with client.stream(DataType.TRADE, ["KRW-BTC", "KRW-ETH"], notices=True) as trades:
                async for item in trades:
                    seen.items.append(item)

        async def note() -> None:
            while True:
                seen.states.append(manager.status())
                await anyio.sleep(0.01)

        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            group.start_soon(note)
            yield seen
            group.cancel_scope.cancel()


async def start(**named: Any) -> Exchange:
    """An exchange in a process of its own, with a lively market."""
    return await anyio.to_thread.run_sync(partial(Exchange, "--rate", "300", **named))


def check_quiet(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Nothing was printed, and the log has facts only, each in one line. Returns them."""
    assert capfd.readouterr() == ("", "")
    ours = [record for record in caplog.records if record.name.startswith("upbit_streams")]
    assert all(record.levelno == logging.INFO and record.exc_info is None for record in ours), caplog.text
    lines = [record.getMessage() for record in ours]
    assert not any("\n" in line for line in lines)
    return lines


async def test_a_killed_exchange_comes_back_on_its_port(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The consumer hears of epoch 2 and why it was needed, and goes on."""
    caplog.set_level(logging.INFO)
    exchange = await start()
    async with watching(exchange.url) as seen:
        await seen.wait_for(lambda: seen.trades(1) >= 5)
        await anyio.to_thread.run_sync(exchange.kill)
        await seen.wait_for(lambda: any("connection refused" in reason for reason in seen.reasons()))
        assert not seen.manager.status().state.is_open
        await start(port=exchange.port)
        await seen.wait_for(lambda: seen.trades(2) >= 5)
        assert seen.manager.status().state is ConnectionState.ACTIVE
    seen.check_order()
    first, second = seen.notices()
    assert (first.epoch.reason, first.missing_from) == ("first connect", None)
    assert "connection refused" in second.epoch.reason
    assert second.missing_from is not None
    assert second.missing_from < second.missing_to
    lines = check_quiet(caplog, capfd)
    assert lines[0] == "public: connected, epoch 1 (first connect)"
    # The first pause may be so short that the status has changed twice when it is looked at. The log has both reasons.
    lost, _, rest = lines[1].removeprefix("public: ").partition("; ")
    assert lost.startswith(("the socket ended without a close frame", "nothing can be sent any more"))
    assert rest.startswith("next attempt in ")
    assert all(reason == lost or "connection refused" in reason for reason in seen.reasons())
    assert "connection refused" in lines[2]
    assert lines[-1] == f"public: connected, epoch 2 ({second.epoch.reason})"


async def test_a_paused_exchange_is_left_and_found_again(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its kernel goes on to accept connections: only the missing pong tells that it hears nothing, and then the missing
    answer to the handshake."""
    caplog.set_level(logging.INFO)
    exchange = await start()
    no_pong, no_answer = f"no pong within {PING_TIMEOUT:g} s", f"no answer within {CONNECT_TIMEOUT:g} s"
    times = {"ping_interval": 0.3, "ping_timeout": PING_TIMEOUT, "connect_timeout": CONNECT_TIMEOUT}
    async with watching(exchange.url, **times) as seen:
        await seen.wait_for(lambda: seen.trades(1) >= 5)
        exchange.send(SIGSTOP)
        await seen.wait_for(lambda: no_pong in seen.reasons())
        await seen.wait_for(lambda: seen.manager.status().failed_attempts >= 2)
        exchange.send(SIGCONT)
        await seen.wait_for(lambda: seen.manager.status().state is ConnectionState.ACTIVE)
        last = seen.manager.status().epoch
        assert last is not None
        await seen.wait_for(lambda: seen.trades(last.number) >= 5)
    # It finds connections that were given up long ago, and makes no fuss about them.
    exchange.send(SIGTERM)
    await anyio.to_thread.run_sync(exchange.end)
    assert exchange.stderr.text() == ""
    seen.check_order()
    first, second = seen.notices()[:2]
    assert first.epoch.number == 1
    assert no_answer in second.epoch.reason
    lines = check_quiet(caplog, capfd)
    assert lines[1].startswith(f"public: {no_pong}; next attempt in ")
    assert lines[2].startswith(f"public: cannot connect to {exchange.url}: {no_answer}; next attempt in ")
    assert f"public: connected, epoch 2 ({second.epoch.reason})" in lines
