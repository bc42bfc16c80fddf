"""Code that the user gave may raise anything and give anything: that is named, and never called our bug."""

import math
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import pytest
from tests.support.world import CODES, NumberedSource, wall

from upbit_streams import (
    Backoff,
    Config,
    ConnectionState,
    DataType,
    Event,
    Fifo,
    InvalidConfigError,
    Manager,
    Outcome,
    UpbitStreamsError,
    UsageError,
    open_manager,
)
from upbit_streams.testing import SimulatedExchange, memory_connector
from upbit_streams.transport.websocket import connect

pytestmark = pytest.mark.anyio

BACKOFF = Backoff(initial=0.1, maximum=0.2)


class ProxyError(Exception):
    """What a library for SOCKS raises."""


class Mute(Exception):  # noqa: N818 -- a user's own
    """What cannot be told."""

    def __str__(self) -> str:
        raise ProxyError


@asynccontextmanager
async def feed(connector: Any, **options: Any) -> AsyncGenerator[Manager, None]:
    config = Config(url="ws://127.0.0.1/websocket/v1", backoff=BACKOFF, ping_interval=5.0)
    settings = {"wall": wall, "draw": lambda: 0.5, **options}
    with anyio.fail_after(1000):
        async with open_manager(config, connector=connector, **settings) as manager:
            yield manager


def exchange_connector() -> Any:
    return memory_connector(SimulatedExchange(NumberedSource()), wall)


ERRORS = [ProxyError("SOCKS5 says \x1b[2J no\r\nno"), ValueError(), KeyError("x"), TypeError("x"), Mute()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_connector_that_raises_is_a_failed_attempt_that_is_named_and_tried_again(error: Exception) -> None:
    good, attempts = exchange_connector(), 0

    async def connector(*arguments: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise error
        return await good(*arguments)

    async with feed(connector) as manager, manager.open_client("c") as client:
        await client.register_interest(DataType.TRADE, CODES)
        while not manager.status().failed_attempts:
            await manager.wait_status_changed()
        assert f"the connector raised {type(error).__name__}" in manager.status().reason
        assert manager.status().reason.isprintable()
        await client.wait_ready()
    assert attempts == 4


async def test_a_dial_that_raises_is_named_too() -> None:
    async def dial(*_: object) -> Any:
        raise ERRORS[0]

    async with feed(partial(connect, dial=dial)) as manager, manager.open_client("c") as client:
        await client.register_interest(DataType.TRADE, CODES)
        while manager.status().failed_attempts < 3:
            await manager.wait_status_changed()
        assert r"your dial raised ProxyError: SOCKS5 says \x1b[2J no\r\nno" in manager.status().reason


async def test_settings_of_tls_that_verify_nobody_end_the_block_with_that() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(InvalidConfigError, match="does not verify who answers"):
        async with feed(partial(connect, ssl_context=context)) as manager, manager.open_client("c") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await anyio.sleep(60)


@pytest.mark.parametrize("given", [None, 3, object()], ids=["none", "number", "object"])
async def test_a_connector_that_gives_no_transport_ends_the_block_with_that(given: object) -> None:
    async def connector(*_: object) -> Any:
        return given

    with pytest.raises(InvalidConfigError, match=rf"gave a {type(given).__name__}, which has no receive\(\)"):
        async with feed(connector) as manager, manager.open_client("c") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await anyio.sleep(60)


class Awkward:
    """A transport that does something wrong, once."""

    def __init__(self, transport: Any, method: str, wrong: Callable[[], Any]) -> None:
        self.transport = transport
        self.method = method
        self.wrong = wrong

    def __getattr__(self, name: str) -> Any:
        return self._wrong if name == self.method else getattr(self.transport, name)

    async def _wrong(self, *_: object) -> Any:
        result = self.wrong()
        if self.method == "aclose":
            await self.transport.aclose()
        return result


def raising(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["receive", "send", "ping", "aclose"])
async def test_a_transport_that_raises_is_a_lost_connection(method: str, error: Exception) -> None:
    good, made = exchange_connector(), list[Any]()

    async def connector(*arguments: Any) -> Any:
        transport = await good(*arguments)
        made.append(transport)
        return Awkward(transport, method, raising(error)) if len(made) == 1 else transport

    async with feed(connector) as manager, manager.open_client("c") as client:
        await client.register_interest(DataType.TRADE, CODES)
        if method == "aclose":
            await client.wait_ready()
            return
        while len(made) < 2:
            await manager.wait_status_changed()
        while (epoch := manager.status().epoch) is None or epoch.number < 2:
            await manager.wait_status_changed()
        assert f"{method}() of its transport raised {type(error).__name__}" in epoch.reason
        while manager.status().state is not ConnectionState.ACTIVE:
            await manager.wait_status_changed()


@pytest.mark.parametrize("given", [None, 3, [3], [None]], ids=str)
async def test_what_a_transport_receives_must_be_messages(given: Any) -> None:
    good, made = exchange_connector(), list[Any]()

    async def connector(*arguments: Any) -> Any:
        transport = await good(*arguments)
        made.append(transport)
        return Awkward(transport, "receive", lambda: given) if len(made) == 1 else transport

    async with feed(connector) as manager, manager.open_client("c") as client:
        await client.register_interest(DataType.TRADE, CODES)
        while (epoch := manager.status().epoch) is None or epoch.number < 2:
            await manager.wait_status_changed()
        assert "gave something else than messages" in epoch.reason


def fail() -> float:
    raise ProxyError("no time")


BAD_NUMBERS: dict[str, Any] = {
    "nan": lambda: float("nan"),
    "negative": lambda: -1.0,
    "none": lambda: None,
    "milliseconds": lambda: 1.8e12,
    "text": lambda: "1",
    "raises": fail,
    "no function": 5,
}


@pytest.mark.parametrize("function", BAD_NUMBERS.values(), ids=BAD_NUMBERS)
@pytest.mark.parametrize("name", ["wall", "draw"])
async def test_a_clock_or_a_dice_that_gives_no_number_is_told(name: str, function: Any) -> None:
    async def connector(*_: object) -> Any:
        raise OSError("no")

    with pytest.raises(InvalidConfigError, match=name):
        async with feed(connector, **{name: function}) as manager, manager.open_client("c") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await anyio.sleep(60)


async def test_a_clock_that_breaks_later_ends_the_block_with_that() -> None:
    broken = False

    def clock() -> float:
        return -5.0 if broken else wall()

    with pytest.raises(InvalidConfigError, match=r"wall\(\) gave -5.0"):
        async with feed(exchange_connector(), wall=clock) as manager, manager.open_client("c") as client:
            await client.register_interest(DataType.TRADE, CODES)
            await client.wait_ready()
            broken = True
            await anyio.sleep(600)


async def test_a_connector_that_is_no_function_is_told_at_once() -> None:
    with pytest.raises(UpbitStreamsError, match="connector"):
        async with feed("wss://x"):
            pass


class Own(Fifo):
    """A buffer of the user's own that does something wrong in one of its methods, once ``is_wrong`` is set."""

    is_wrong = False

    def __init__(self, capacity: int, method: str, wrong: Callable[[], Any], patience: float | None = None) -> None:
        super().__init__(capacity)
        self.patience = patience
        good = getattr(self, method)

        def call(*arguments: Any) -> Any:
            return wrong() if self.is_wrong else good(*arguments)

        if method != "__len__":
            setattr(self, method, call)
        self.length = call if method == "__len__" else None

    def put(self, event: Event, place: int) -> Outcome | None:
        if len(self.events) >= self.capacity:
            self.events.popleft()
            self.events.append(event)
            return Outcome.DROPPED_OLDEST
        self.events.append(event)
        return None

    def __len__(self) -> int:
        return super().__len__() if not self.is_wrong or self.length is None else self.length()


class OwnPolicy:
    """A policy of the user's own."""

    capacity = 4

    def __init__(self, method: str, wrong: Callable[[], Any], patience: float | None = None) -> None:
        self.method = method
        self.wrong = wrong
        self.patience = patience
        self.made = list[Own]()

    def buffer(self) -> Own:
        self.made.append(Own(self.capacity, self.method, self.wrong, self.patience))
        return self.made[-1]


METHODS = ["put", "take", "take_all", "front", "places", "oldest", "next_time", "topics", "part", "clear", "__len__"]
_FOR_NOTICES = ("front", "places", "part")
NONSENSE: dict[str, list[Any]] = {
    "put": [True, "kept"],
    "take": [3, "x"],
    "take_all": [None, [3], [None]],
    "front": [None, "x", 1.5],
    "places": [None, 3, ["x"]],
    "oldest": [3],
    "next_time": [None, "x", -math.inf, math.nan, 0.0],
    "topics": [None, 3, [[]]],
    "__len__": [-1, None, 3.5, 10**9],
}
WRONGS: list[tuple[str, Callable[[], Any]]] = [
    *((method, raising(error)) for method in METHODS for error in (ERRORS[0], Mute())),
    *((method, lambda given=given: given) for method, several in NONSENSE.items() for given in several),
]


@pytest.mark.parametrize(("method", "wrong"), WRONGS, ids=lambda part: part if isinstance(part, str) else "")
@pytest.mark.parametrize("notices", [False, True])
@pytest.mark.parametrize("patience", [None, 0.5])
async def test_a_buffer_that_breaks_ends_its_stream_and_no_other(
    method: str, wrong: Callable[[], Any], notices: bool, patience: float | None
) -> None:
    """Whoever meets it: the reader, whoever receives, or whoever looks at the figures."""
    policy, exchange = OwnPolicy(method, wrong, patience), SimulatedExchange(NumberedSource())
    async with (
        feed(memory_connector(exchange, wall)) as manager,
        manager.open_client("c") as client,
        manager.open_client("other") as other,
        other.stream(DataType.TRADE, CODES) as neighbour,
    ):
        stream = client.stream(DataType.TRADE, CODES[:2], backpressure=policy, notices=notices)
        async with stream:
            await stream.receive()
            policy.made[-1].is_wrong = True
            manager.clients()
            manager.memory_bound()
            exchange.end_sessions(wall())
            failure: UsageError | None = None
            with anyio.move_on_after(20):
                for at in range(40):
                    await anyio.sleep(0.4)
                    stream.widen(CODES)
                    with suppress(anyio.WouldBlock):
                        while True:
                            try:
                                if at % 2:
                                    await stream.receive_batch()
                                else:
                                    await stream.receive()
                            except UsageError as why:
                                failure = why
                                break
                            if at % 3 == 0:
                                break
                    assert manager.clients()
                    assert manager.health().connections
                    assert manager.memory_bound().streams
                    if failure is not None:
                        break
            # Nobody asks for the order of events where there are no notices, nor for all at once where there are.
            is_asked = method != "clear" and not (method == "take_all" if notices else method in _FOR_NOTICES)
            if is_asked:
                assert failure is not None
                assert "the back-pressure policy of this stream is broken" in str(failure)
                assert str(failure).isprintable()
                with pytest.raises(UsageError, match="policy of this stream is broken"):
                    await stream.receive()
            ledger = stream.statistics()
            assert ledger.published == ledger.delivered + ledger.dropped + ledger.buffered
        ledger = stream.statistics()
        assert ledger.published == ledger.delivered + ledger.dropped + ledger.buffered
        before = neighbour.statistics().published
        await anyio.sleep(3)
        assert neighbour.statistics().published > before
        await neighbour.receive()


@pytest.mark.parametrize(
    ("buffer", "match"),
    [
        (raising(ERRORS[0]), r"buffer\(\) of the back-pressure policy .* raised ProxyError"),
        (raising(Mute()), r"raised Mute"),
        (lambda: None, "None, which is no Buffer"),
        (lambda: Own(0, "put", lambda: None), "has the capacity 0"),
        (lambda: Own(1, "put", lambda: None, math.nan), "has the patience nan"),
    ],
)
async def test_a_policy_that_makes_no_buffer_is_told_where_the_stream_is_made_or_entered(
    buffer: Callable[[], Any], match: str
) -> None:
    policy = OwnPolicy("put", lambda: None)
    async with (
        feed(exchange_connector()) as manager,
        manager.open_client("c") as client,
        client.stream(DataType.TRADE, CODES) as neighbour,
    ):
        made = client.stream(DataType.TRADE, CODES, backpressure=policy)
        policy.buffer = buffer  # type: ignore[method-assign]
        with pytest.raises(UsageError, match=match):
            await made.__aenter__()
        with pytest.raises(UsageError, match=match):
            client.stream(DataType.TRADE, CODES, backpressure=policy)
        await neighbour.receive()
