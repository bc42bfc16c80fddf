"""Lets one client read from exchanges that go wrong, as its manual says, and tells what its user gets to see.

Usage: ``python storm_client.py CLIENT SECONDS '{"polite close": "ws://...", ...}'``, and then a line to begin

All exchanges at once, each read by a process of its own. Prints as JSON what the user saw of each, in words, and the
seconds of CPU that it took. What it takes to import the client is not counted.
"""

# Runs in the client's own environment, without this project but for our own client, and prints its result.
# ruff: noqa: BLE001

import asyncio
import json
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import ClassVar

CODE = "KRW-BTC"
KEYS = ("AccessKeyOfNobody" * 2, "SecretKeyOfNobody" * 3)
# A client that does not end when its time is over, hangs; this long it may take to say goodbye on a busy machine.
GRACE = 15.0


class User:
    """What the user of a client gets to see."""

    def __init__(self, url: str, scenario: str, seconds: float) -> None:
        self.url = url
        self.rest = "http" + url.removesuffix("/websocket/v1").removeprefix("ws")
        self.logs_in = scenario == "401"
        """Whoever has private data asks for that when logins are refused; the others' public handshake is refused."""
        self.seconds = seconds
        self.trades = 0
        self.told: Counter = Counter()
        """What else came, by its name."""

    def saw(self) -> str:
        """All of it, in words."""
        told = [f"{count:,} {name}" for name, count in self.told.most_common()]
        return ", ".join([f"{self.trades:,} trades" if self.trades else "no data", *told])


def prepare_upbit_streams(backend: str) -> Callable[[User], str]:
    """Our own client, with its defaults."""
    import anyio
    import trio  # noqa: F401 -- here, since what a run imports is counted

    from upbit_streams import Config, Credentials, DataType, EpochStarted, open_manager

    async def watch(user: User) -> str:
        config, credentials = Config(url=user.url), Credentials(*KEYS)
        async with open_manager(config, credentials=credentials) as manager, manager.open_client("storm") as client:
            kind, codes = (DataType.MY_ASSET, ()) if user.logs_in else (DataType.TRADE, CODE)
            async with client.stream(kind, codes, notices=True) as stream:
                with anyio.move_on_after(user.seconds):
                    async for item in stream:
                        if isinstance(item, DataType.TRADE.event):
                            user.trades += 1
                        elif isinstance(item, EpochStarted):
                            user.told["EpochStarted"] += 1
                        else:
                            user.told[type(item).__name__] += 1
                    return "ends without an error"
        return "goes on"

    return lambda user: anyio.run(partial(watch, user), backend=backend)


def prepare_upbit_sdk() -> Callable[[User], str]:
    """Upbit's own."""
    from upbit import AsyncUpbit

    async def watch(user: User) -> str:
        base, keys = user.url.removesuffix("/websocket/v1"), dict(zip(("access_key", "secret_key"), KEYS, strict=True))
        async with AsyncUpbit(base_url=user.rest, websocket_base_url=base, **keys) as client:
            ask = client.ws_stream
            opened = ask.subscribe_private(my_asset=True) if user.logs_in else ask.subscribe(trade=[CODE])
            try:
                async with asyncio.timeout(user.seconds):
                    async with opened as stream:
                        async for _ in stream:
                            user.trades += 1
            except TimeoutError:
                return "goes on"
        return "ends without an error"

    return lambda user: asyncio.run(watch(user))


def prepare_ccxt() -> Callable[[User], str]:
    """The loop of its manual: an exception is shown, and the next round asks again."""
    import ccxt.pro

    async def watch(user: User) -> str:
        urls = {"public": user.rest, "private": user.rest, "ws": user.url}
        keys = dict(zip(("apiKey", "secret"), KEYS, strict=True)) if user.logs_in else {}
        exchange = ccxt.pro.upbit({"urls": {"api": urls}, "newUpdates": True, **keys})
        try:
            async with asyncio.timeout(user.seconds):
                while True:
                    try:
                        if user.logs_in:
                            await exchange.watch_balance()
                        else:
                            user.trades += len(await exchange.watch_trades("BTC/KRW"))
                    except Exception as error:
                        user.told[type(error).__name__] += 1
        except TimeoutError:
            return "goes on"
        finally:
            await exchange.close()

    return lambda user: asyncio.run(watch(user))


def prepare_pyupbit() -> Callable[[User], str]:
    """Its ``WebSocketManager``, asked for ever."""
    import pyupbit
    from check_pyupbit import set_url

    def watch(user: User) -> str:
        set_url(user.url)
        manager = pyupbit.WebSocketManager("trade", [CODE])

        def ask() -> None:
            while True:
                got = manager.get()
                if isinstance(got, dict):
                    user.trades += 1
                else:
                    user.told[str(got)] += 1

        threading.Thread(target=ask, daemon=True).start()
        time.sleep(user.seconds)
        alive = manager.is_alive()
        manager.terminate()
        manager.join()
        return "goes on" if alive else "hangs: its process has died, and get() waits for ever"

    multiprocessing.set_start_method("fork")  # the child of a manager must have the changed URL
    return watch


def prepare_cryptofeed() -> Callable[[User], str]:
    """Its feed handler with one feed."""
    from cryptofeed import FeedHandler
    from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
    from cryptofeed.defines import TRADES
    from cryptofeed.exchanges import Upbit

    async def watch(user: User) -> str:
        plain = {"ssl": False, "server_hostname": None, "proxy": None}

        class LocalUpbit(Upbit):
            """Upbit at the URLs of a simulated exchange; it insists on ``wss://``, the options switch TLS off."""

            websocket_endpoints: ClassVar = [WebsocketEndpoint("wss" + user.url.removeprefix("ws"), options=plain)]
            rest_endpoints: ClassVar = [RestEndpoint(user.rest, routes=Routes("/v1/market/all"))]

        async def called(item: object, received: float) -> None:
            user.trades += 1

        class Warnings(logging.Handler):
            """Counts what it logs."""

            def emit(self, record: logging.LogRecord) -> None:
                user.told["warning in its log"] += 1

        logging.getLogger("cryptofeed").addHandler(Warnings(logging.WARNING))
        handler = FeedHandler(config={"log": {"disabled": True}, "uvloop": False})
        handler.add_feed(LocalUpbit(symbols=["BTC-KRW"], channels=[TRADES], callbacks={TRADES: called}))
        running = asyncio.create_task(handler.run_async(install_signal_handlers=False))
        done, _ = await asyncio.wait([running], timeout=user.seconds)
        if not done:
            handler.request_stop()
            return "goes on"
        running.result()
        return "ends without an error"

    def run(user: User) -> str:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache  # cryptofeed 3 keeps the list of markets there
            return asyncio.run(watch(user))

    return run


CLIENTS = {
    "asyncio": ("upbit-streams", lambda: prepare_upbit_streams("asyncio")),
    "trio": ("upbit-streams", lambda: prepare_upbit_streams("trio")),
    "upbit_sdk": ("upbit-sdk", prepare_upbit_sdk),
    "pyupbit": ("pyupbit", prepare_pyupbit),
    "ccxt": ("ccxt", prepare_ccxt),
    "cryptofeed": ("cryptofeed", prepare_cryptofeed),
}


def outcome(watch: Callable[[User], str], user: User) -> str:
    """Let the user watch, and say how that ended."""
    try:
        return watch(user)
    except BaseException as error:
        return f"raises {type(error).__name__}"


def watch_alone(results: int, watch: Callable[[User], str], user: User) -> None:
    """In a process of its own: watch, and write what was seen."""
    # A group of its own: what hangs is ended together with what it has started. The alarm rings whatever hangs.
    os.setpgid(0, 0)
    signal.alarm(int(user.seconds + GRACE))
    # Tracebacks that nobody can catch are some clients' way to tell; here they would hide the table.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    how = outcome(watch, user)
    os.write(results, json.dumps({"outcome": how, "saw": user.saw()}).encode())
    os._exit(0)


def main() -> None:
    """Watch all exchanges of the command line."""
    name, seconds, urls = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    distribution, prepare = CLIENTS[name]
    watch = prepare()
    sys.stdin.readline()
    running = []
    for scenario, url in urls.items():
        results, its_results = os.pipe()
        process = os.fork()
        if not process:
            watch_alone(its_results, watch, User(url, scenario, seconds))
        os.close(its_results)
        running.append((scenario, process, results))
    told = {}
    for scenario, process, results in running:
        _, _, used = os.wait4(process, 0)
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        written = os.read(results, 1 << 16) or b'{"outcome": "hangs, and never gets to its end", "saw": ""}'
        told[scenario] = json.loads(written) | {"cpu": round(used.ru_utime + used.ru_stime, 2)}
    print(json.dumps({"version": version(distribution), "scenarios": told}))


if __name__ == "__main__":
    main()
