"""L2: what happens to one connection changes nothing on another. On both backends, in virtual time."""

import os
from typing import Any

import anyio
import attrs
import pytest
from tests.support.private import credentials_of
from tests.support.world import NumberedSource, wall

from upbit_streams import Config, DataType, Endpoint, Event, Independence, Manager, open_manager
from upbit_streams.testing import Refusal, SimulatedExchange, memory_connector

# A day when there is time for it (nox -s soak), half an hour else.
HOURS = float(os.environ.get("UPBIT_STREAMS_SOAK_HOURS", "0.5"))
# Not in step with the twenty seconds from one stalled epoch to the next.
_TRADE_SECONDS, _TELL_SECONDS = 5.0, 17.0


@attrs.frozen
class Outcome:
    """What one connection brought, and when."""

    events: list[tuple[Any, float]]
    """The content of each event, and how long after it happened it was received, in seconds."""
    epochs: int
    independence: Independence


async def _tell(exchange: SimulatedExchange) -> None:
    """Something happens on the private endpoint, too."""
    number = 0
    while True:
        await anyio.sleep(_TELL_SECONDS)
        number += 1
        exchange.announce(wall(), title=str(number))


async def _make_trouble(exchange: SimulatedExchange, endpoint: Endpoint, trouble: str) -> None:
    match trouble:
        case "refused":
            exchange.refusals[endpoint] = Refusal(503, "maintenance")
            exchange.end_sessions(wall(), endpoint=endpoint)
        case "killed every second":
            while True:
                await anyio.sleep(1)
                exchange.end_sessions(wall(), endpoint=endpoint)
        case "stalled":
            exchange.stalled.add(endpoint)
        case "key revoked":
            exchange.accounts[0].revoke()
            exchange.end_sessions(wall(), endpoint=endpoint)
        case _:
            pass


async def _watch(manager: Manager, watched: Endpoint, seen: list[Event]) -> None:
    kind, codes = (DataType.TRADE, "KRW-BTC") if watched is Endpoint.PUBLIC else (DataType.ANNOUNCEMENT, ())
    async with manager.open_client("watched") as client:
        async with client.stream(kind, codes, notices=False) as stream:
            async for batch in stream.batches():
                seen += batch


async def _live(watched: Endpoint, trouble: str) -> Outcome:
    troubled = Endpoint.PRIVATE if watched is Endpoint.PUBLIC else Endpoint.PUBLIC
    exchange = SimulatedExchange(NumberedSource(interval=_TRADE_SECONDS, codes=("KRW-BTC",)))
    account = exchange.open_account()
    seen: list[Event] = []
    async with open_manager(
        Config(url="ws://localhost/v1"),
        credentials=credentials_of(account),
        connector=memory_connector(exchange, wall),
        wall=wall,
        draw=lambda: 0.5,
    ) as manager:
        async with anyio.create_task_group() as group, manager.open_client("troubled") as client:
            group.start_soon(_watch, manager, watched, seen)
            group.start_soon(_tell, exchange)
            await client.register_interest(DataType.TRADE, "KRW-BTC")
            await client.register_interest(DataType.ANNOUNCEMENT)
            await anyio.sleep(60)
            group.start_soon(_make_trouble, exchange, troubled, trouble)
            await anyio.sleep(HOURS * 3600)
            group.cancel_scope.cancel()
        assert not exchange.breaches
        status = manager.status(watched)
        assert status.epoch is not None
        assert status.errors == status.late == status.bad_frames == 0
        # Which session a trade is of depends on how many there were before; its number within the session does not.
        content = [getattr(event, "sequential_id", 0) % 1_000_000 or getattr(event, "title", "") for event in seen]
        lags = [event.received_at - event.timestamp / 1000 for event in seen]
        return Outcome(
            events=list(zip(content, lags, strict=True)),
            epochs=status.epoch.number,
            independence=manager.independence(),
        )


@pytest.mark.parametrize("watched", [Endpoint.PUBLIC, Endpoint.PRIVATE])
async def test_l2_one_connections_trouble_changes_nothing_on_another(watched: Endpoint) -> None:
    calm, rate = await _live(watched, "none"), 1 / (_TRADE_SECONDS if watched is Endpoint.PUBLIC else _TELL_SECONDS)
    assert calm.epochs == 1
    assert len(calm.events) >= HOURS * 3600 / _TELL_SECONDS - 1
    assert calm.independence.isolation is None
    troubles = ["refused", "killed every second", "stalled"]
    for trouble in [*troubles, "key revoked"] if watched is Endpoint.PUBLIC else troubles:
        troubled = await _live(watched, trouble)
        assert troubled.epochs == 1, trouble
        assert troubled.events == calm.events, trouble
        # And the report says so.
        other = "private" if watched is Endpoint.PUBLIC else "public"
        [influence] = [
            each for each in troubled.independence.influences if (each.source, each.target) == (other, watched)
        ]
        assert influence.troubles > 0
        assert (influence.coincided, influence.interference, troubled.independence.isolation) == (0, 0.0, 1.0)
        assert influence.during.seconds > HOURS * 700
        assert influence.during.epochs_lost == influence.during.errors == 0
        assert influence.during.event_rate == pytest.approx(rate, rel=0.1)
        assert influence.impact == pytest.approx(0.0, abs=1e-6)


async def test_the_report_sees_what_two_connections_suffer_together() -> None:
    exchange = SimulatedExchange(NumberedSource(interval=1.0))
    account = exchange.open_account()
    async with (
        open_manager(
            Config(url="ws://localhost/v1"),
            credentials=credentials_of(account),
            connector=memory_connector(exchange, wall),
            wall=wall,
            draw=lambda: 0.5,
        ) as manager,
        manager.open_client("strategy") as client,
    ):
        nothing = manager.independence()
        assert nothing.isolation is None
        assert {(each.source, each.target) for each in nothing.influences} == {
            (a.value, b.value) for a in Endpoint for b in Endpoint if a is not b
        }
        assert all(each.interference is each.impact is None for each in nothing.influences)
        await client.register_interest([DataType.TRADE], "KRW-BTC")
        await client.register_interest(DataType.MY_ORDER)
        for _ in range(4):
            await anyio.sleep(30)
            exchange.end_sessions(wall())
        await anyio.sleep(30)
        exchange.end_sessions(wall(), endpoint=Endpoint.PRIVATE)
        await anyio.sleep(30)
        report = manager.independence()
        found = {(each.source, each.target): each for each in report.influences}
        private, public = found["private", "public"], found["public", "private"]
        assert (private.troubles, public.troubles) == (5, 4)
        # In the same moment both lost their epochs, and one of them was the first.
        assert private.coincided + public.coincided == 4
        # A connection that is not in use has nothing to lose, and neither has the second that is lost.
        assert sum(each.exposed for each in report.influences) == 5
        assert all(each.exposed == 0 for each in report.influences if each.target == "info")
        assert report.isolation == pytest.approx(1 - 4 / 5)
        assert found["info", "public"].troubles == 0
        assert private.during.seconds + private.otherwise.seconds == pytest.approx(180, abs=1)
        assert private.during.events + private.otherwise.events == manager.status().events
        assert private.during.epochs_lost + private.otherwise.epochs_lost == 4
