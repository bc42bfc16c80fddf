"""Programs that use the library as it is meant, and look at every event."""

from collections.abc import Callable

import anyio
import attrs
from tests.support.world import wall

from upbit_streams import (
    AuthenticationError,
    DataType,
    EpochStarted,
    Fail,
    FrameLostError,
    Manager,
    MyAssetEvent,
    MyOrderEvent,
)

from .journal import Journal
from .numbered import SESSION, Teller
from .witness import Witness

__all__ = ["CODES", "KINDS", "Losses", "follow_account", "follow_market", "tell", "visit"]

CODES = ("KRW-BTC", "KRW-ETH")
KINDS = ("myOrder", "myAsset")
_VISITED = "KRW-XRP"
_LOSSLESS = Fail(100_000)
_CLOCK_STEP = 1e-3  # a time of day is as exact as a float that large
_OPERATOR_SECONDS = 5.0


@attrs.define
class Losses:
    """What did not come, and what came twice."""

    lost: int = 0
    """Events of a running epoch that never came, or of a time that the stream said it had covered."""
    lost_in_outages: int = 0
    """Private events of a time of which the stream said that some may be missing."""
    strangers: int = 0
    """Events that did not carry the epoch on whose socket they were sent (E2)."""
    repeated: int = 0


async def follow_market(manager: Manager, witness: Witness, losses: Losses, journal: Journal) -> None:
    """Read all trades. In each epoch they are numbered from 1, so that none can be missing unseen."""
    last: dict[str, tuple[int, int]] = {}
    async with (
        manager.open_client("market") as client,
        client.stream(DataType.TRADE, CODES, backpressure=_LOSSLESS) as trades,
    ):
        async for batch in trades.batches():
            now = anyio.current_time()
            for trade in batch:
                session, number = divmod(trade.sequential_id, SESSION)
                losses.strangers += session != trade.epoch.number
                before, newest = last.get(trade.code, (0, 0))
                if session != before:
                    newest = 0
                losses.repeated += number <= newest
                losses.lost += max(number - newest - 1, 0)
                if number > newest + 1:
                    journal.write(f"{witness.name}: LOST {trade.code} {newest + 1} to {number - 1} of epoch {session}")
                last[trade.code] = session, max(number, newest)
                witness.hear(now, trade.code, trade.epoch.number)
                journal.hear(f"{trade.epoch.number} {trade.code} {trade.sequential_id} {trade.timestamp} {now!r};")


async def follow_account(
    manager: Manager, witness: Witness, losses: Losses, journal: Journal, teller: Teller, renew: Callable[[], None]
) -> None:
    """Read all changes of orders and balances, and hold the stream to what it says about those that may be missing.

    When the key is refused, somebody looks at it and hands it in once more with ``renew``.
    """
    last = dict.fromkeys(KINDS, 0)
    gaps: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}

    def take(event: MyOrderEvent | MyAssetEvent) -> None:
        number = event.trades_count if isinstance(event, MyOrderEvent) else int(event.asset_uuid)
        losses.repeated += number <= last[event.type]
        for missing in range(last[event.type] + 1, number):
            at = teller.told_at(missing)
            if any(start - _CLOCK_STEP <= at <= end + _CLOCK_STEP for start, end in gaps[event.type]):
                losses.lost_in_outages += 1
            else:
                losses.lost += 1
                journal.write(f"{witness.name}: LOST {event.type} {missing}, though nothing may be missing then")
        last[event.type] = max(number, last[event.type])
        gaps[event.type].clear()
        witness.hear(anyio.current_time(), event.type, event.epoch.number)
        journal.hear(f"{event.epoch.number} {event.type} {number} {event.timestamp} {anyio.current_time()!r};")

    async with (
        manager.open_client("account") as client,
        client.stream([DataType.MY_ORDER, DataType.MY_ASSET], backpressure=_LOSSLESS) as changes,
    ):
        while True:
            try:
                batch = await changes.receive_batch()
            except AuthenticationError as refused:
                journal.write(f"{witness.name}: the key is refused ({refused.name})")
                await anyio.sleep(_OPERATOR_SECONDS)
                renew()
                continue
            except FrameLostError as lost:
                # It was garbage and no event, which nobody but the exchange can know: no event may be missing for it.
                journal.write(f"{witness.name}: a frame could not be read ({lost.why})")
                continue
            for item in batch:
                if isinstance(item, EpochStarted):
                    start = 0.0 if item.missing_from is None else item.missing_from
                    journal.write(
                        f"{witness.name}: epoch {item.epoch.number} serves; events may be missing "
                        f"from {start:.6f} to {item.missing_to:.6f}"
                    )
                    for kind in KINDS:
                        gaps[kind].append((start, item.missing_to))
                        witness.hear(anyio.current_time(), kind, item.epoch.number)
                elif isinstance(item, MyOrderEvent | MyAssetEvent):
                    take(item)


async def visit(manager: Manager, draw: Callable[[], float]) -> None:
    """Come and go, so that there are requests that replace others."""
    while True:
        await anyio.sleep(1200 * draw())
        async with manager.open_client("visitor") as client:
            await client.register_interest(DataType.TRADE, _VISITED)
            await anyio.sleep(200 * draw())


async def tell(teller: Teller, pause: float) -> None:
    """Let something happen on the account, steadily."""
    while True:
        await anyio.sleep(pause)
        teller.tell(wall())
