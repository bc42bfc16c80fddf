"""Several components beside one another: each with a client of its own, all on the connections of one manager."""

import anyio

from upbit_streams import (
    Coalesce,
    Config,
    DataType,
    EpochEnded,
    EpochStarted,
    Fail,
    HealthStatus,
    Lagged,
    MyOrderEvent,
    StaleDataError,
    TickerEvent,
    current_manager,
    open_manager,
)

CODES = ["KRW-BTC", "KRW-ETH"]
SECONDS = 60


async def decide() -> None:
    """Pull: looks once a second, and acts on nothing that is older than two."""
    async with current_manager().open_client("decide") as client:
        await client.register_interest(DataType.TICKER, CODES)
        await client.wait_ready()
        while True:
            try:
                ticker = client.get_ticker("KRW-BTC", within=2.0)
            except StaleDataError as error:
                print(f"decide: waits, the last price is {error.age:.1f} s old, as {error.reason}")
            else:
                print(f"decide: {ticker.trade_price:,.0f}")
            await anyio.sleep(1)


async def show() -> None:
    """Stream: the newest state of each market. It may be slow, since it skips what is no longer true."""
    async with (
        current_manager().open_client("show") as client,
        client.stream(DataType.TICKER | DataType.ORDERBOOK, CODES, backpressure=Coalesce(), notices=True) as stream,
    ):
        async for item in stream:
            match item:
                case EpochStarted() | EpochEnded():
                    print(f"show: {type(item).__name__} {item.epoch.number}")
                case Lagged():
                    print(f"show: {item.dropped} events are missing")
                case TickerEvent():
                    print(f"show: {item.code} {item.trade_price:,.0f}")
            await anyio.sleep(0.2)  # as a slow screen


async def keep_orders(orders: dict[str, MyOrderEvent]) -> None:
    """Stream: your own orders. Not one may be missed, so the stream fails rather than drop any."""
    async with (
        current_manager().open_client("orders") as client,
        client.stream(DataType.MY_ORDER, backpressure=Fail(4096)) as changes,
    ):
        async for change in changes:
            if isinstance(change, EpochStarted):
                orders.clear()  # then ask the exchange's REST interface for those that are open
            else:
                orders[change.uuid] = change


async def report() -> None:
    """How all of this fares."""
    manager = current_manager()
    while True:
        await anyio.sleep(10)
        health, metrics = manager.health(), manager.metrics()
        if health.status is not HealthStatus.HEALTHY:
            print("report:", health.status, *(reason for each in health.connections for reason in each.reasons))
        print(f"report: {metrics.messages_per_second:.1f} frames a second for {metrics.subscriptions} subscriptions")
        for client in manager.clients():
            print(f"report: {client.name} has taken {client.delivered} events and dropped {client.dropped}")


async def run_all() -> None:
    """Run them together. An error of one of them ends all."""
    async with anyio.create_task_group() as tasks:
        for component in (decide, show, report):
            tasks.start_soon(component)
        tasks.start_soon(keep_orders, {})
        await anyio.sleep(SECONDS)
        tasks.cancel_scope.cancel()


async def main(config: Config | None = None) -> None:
    async with open_manager(config):  # with UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY in the environment
        await run_all()


if __name__ == "__main__":
    anyio.run(main)  # or anyio.run(main, backend="trio"), or trio.run(main)
