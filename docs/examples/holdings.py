"""What an account holds: its open orders and its balances, right again after every reconnect."""

from collections.abc import Awaitable, Callable

from upbit_streams import Asset, Client, DataType, EpochStarted, MyAssetEvent, MyOrderEvent

ENDED = ("done", "cancel")

Present = Callable[[], Awaitable[tuple[dict[str, MyOrderEvent], dict[str, Asset]]]]
"""Asks the exchange for the present state: the open orders by uuid, and the balances by currency."""


class Holdings:
    """Open orders and balances, as far as the stream was read."""

    def __init__(self, ask: Present) -> None:
        self.ask = ask
        self.orders: dict[str, MyOrderEvent] = {}
        self.assets: dict[str, Asset] = {}
        self.reconciled = 0

    async def keep(self, client: Client) -> None:
        """Keep both right, until it is cancelled."""
        async with client.stream([DataType.MY_ORDER, DataType.MY_ASSET]) as changes:
            async for change in changes:
                match change:
                    case EpochStarted():
                        self.orders, self.assets = await self.ask()
                        self.reconciled += 1
                    case MyOrderEvent() if change.state in ENDED:
                        self.orders.pop(change.uuid, None)
                    case MyOrderEvent():
                        self.orders[change.uuid] = change
                    case MyAssetEvent():
                        self.assets.update((asset.currency, asset) for asset in change.assets)
