"""One run: a manager with its connections, an exchange that suffers a script, and witnesses of all of it."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from io import TextIOBase
from random import Random

import anyio
import attrs
from tests.support.private import credentials_of
from tests.support.world import wall

from upbit_streams import Config, Endpoint, Manager, open_manager
from upbit_streams.testing import SimulatedExchange, memory_connector, play, run

from .consumers import CODES, KINDS, Losses, follow_account, follow_market, tell, visit
from .excuses import Excuses
from .journal import Journal
from .numbered import QuietMarket, Teller
from .schedule import in_one_order
from .script import incidents
from .spans import Span
from .witness import Witness

__all__ = ["DAY", "Connection", "Life", "live"]

DAY = 86_400.0
_PASSING = (" ping", " answer", " time-out")
_CALM = 600.0
"""Before the first incident, and after the last."""
_TRADE_SECONDS, _ACCOUNT_SECONDS = 10.0, 20.0
_LATE_SECONDS = 2.0
"""How late an event may be before its feed counts as silent."""


@attrs.frozen
class Connection:
    """What one connection went through."""

    name: str
    start: float
    """When it was of use for the first time."""
    outages: list[Span]
    excused: list[Span]
    epochs: list[float]
    """When each began."""
    delivered: int
    losses: Losses
    skipped_epochs: int


@attrs.frozen
class Life:
    """What was measured in a run. Times are seconds of the event loop."""

    backend: str
    seed: int
    end: float
    connections: list[Connection]
    incidents: list[tuple[float, str, str]]
    """When, what, and on which endpoint, or on both if that is empty."""
    faults: int
    breaches: list[str]
    tasks: tuple[int, int]
    """At the start, and at the end when all was calm again."""
    objects: tuple[int, int]
    """Of those that the garbage collector knows, those of the library's own classes."""
    all_objects: tuple[int, int]
    tasks_left: int
    """After the manager's block was left, beside those that were there before."""


def live(
    backend: str,
    seed: int,
    days: float,
    pause: float,
    file: TextIOBase,
    progress: Callable[[int], None] = lambda day: None,
) -> Life:
    """Run it in virtual time. ``pause`` is the mean time between two incidents, ``progress`` is told each day that is
    over."""
    with in_one_order(seed):
        return run(partial(_live, backend, seed, days, pause, file, progress), backend=backend)


async def _live(
    backend: str, seed: int, days: float, pause: float, file: TextIOBase, progress: Callable[[int], None]
) -> Life:
    journals = Journal(file), Journal(file)
    public, private = (
        Witness(endpoint.value, wanted, seconds + _LATE_SECONDS, journal)
        for endpoint, wanted, seconds, journal in zip(
            (Endpoint.PUBLIC, Endpoint.PRIVATE),
            (CODES, KINDS),
            (_TRADE_SECONDS, _ACCOUNT_SECONDS),
            journals,
            strict=True,
        )
    )
    losses = Losses(), Losses()
    exchange = SimulatedExchange(QuietMarket(_TRADE_SECONDS, (*CODES, "KRW-XRP")))
    account = exchange.open_account()
    teller = Teller(account)
    excuses, told = Excuses(), list[tuple[float, str, str]]()
    faults = 0
    draw = Random(f"draw:{seed}").random
    before = len(anyio.get_running_tasks())

    async def count_days() -> None:
        for day in range(1, int(days) + 1):
            await anyio.sleep_until(_CALM + day * DAY)
            progress(day)

    async with _open(exchange, excuses, draw) as manager:
        async with anyio.create_task_group() as group:

            def renew() -> None:
                manager.set_credentials(credentials_of(account))

            for witness in (public, private):
                group.start_soon(_watch, manager, witness)
            group.start_soon(follow_market, manager, public, losses[0], journals[0])
            group.start_soon(follow_account, manager, private, losses[1], journals[1], teller, renew)
            group.start_soon(tell, teller, _ACCOUNT_SECONDS)
            await anyio.sleep_until(_CALM / 2)
            start = _count()
            async with anyio.create_task_group() as trouble:
                trouble.start_soon(count_days)
                trouble.start_soon(visit, manager, Random(f"visitor:{seed}").random)
                for incident in incidents(seed, days * DAY, pause):
                    await anyio.sleep_until(_CALM + incident.at)
                    where = incident.endpoint.value if incident.endpoint else ""
                    journals[0].write(f"{where or 'both'}: {', '.join(map(repr, incident.faults))}")
                    told.append((_CALM + incident.at, incident.kind, where))
                    faults += len(incident.faults)
                    for fault in incident.faults:
                        excuses.add(fault, anyio.current_time())
                    trouble.start_soon(play, incident.faults, exchange, wall)
                await anyio.sleep_until(_CALM + days * DAY)
                trouble.cancel_scope.cancel()
            await anyio.sleep_until(days * DAY + 2 * _CALM)
            end = _count()
            now = anyio.current_time()
            for witness, journal in zip((public, private), journals, strict=True):
                witness.finish(now)
                journal.write_hash(witness.name)
            group.cancel_scope.cancel()
    connections = [
        Connection(
            name=witness.name,
            start=witness.first_up or 0.0,
            outages=witness.outages,
            excused=excuses.spans[Endpoint(witness.name)],
            epochs=witness.epochs,
            delivered=journal.delivered,
            losses=lost,
            skipped_epochs=witness.skipped,
        )
        for witness, journal, lost in zip((public, private), journals, losses, strict=True)
    ]
    tasks, objects, all_objects = zip(start, end, strict=True)
    return Life(
        backend=backend,
        seed=seed,
        end=now,
        connections=connections,
        incidents=told,
        faults=faults,
        breaches=exchange.breaches,
        tasks=tasks,
        objects=objects,
        all_objects=all_objects,
        tasks_left=len(anyio.get_running_tasks()) - before,
    )


@asynccontextmanager
async def _open(exchange: SimulatedExchange, excuses: Excuses, draw: Callable[[], float]) -> AsyncIterator[Manager]:
    async with open_manager(
        Config(url="ws://localhost/v1"),
        credentials=credentials_of(exchange.accounts[0]),
        connector=excuses.seen_by(memory_connector(exchange, wall), exchange),
        wall=wall,
        draw=draw,
    ) as manager:
        yield manager


async def _watch(manager: Manager, witness: Witness) -> None:
    while True:
        status = await manager.wait_status_changed(Endpoint(witness.name))
        witness.look(anyio.current_time(), status)


def _count() -> tuple[int, int, int]:
    """Tasks, objects of the library, objects at all. Tasks that wait for a pong or an answer come and go."""
    gc.collect()
    found = gc.get_objects()
    own = sum(type(one).__module__.startswith("upbit_streams") for one in found)
    tasks = [task for task in anyio.get_running_tasks() if not (task.name or "").endswith(_PASSING)]
    return len(tasks), own, len(found)
