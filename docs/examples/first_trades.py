"""Ten trades, one after the other."""

import anyio

from upbit_streams import Config, DataType, open_manager


async def main(config: Config | None = None) -> None:
    async with (
        open_manager(config) as manager,
        manager.open_client("trades") as client,
        client.stream(DataType.TRADE, "KRW-BTC") as trades,
    ):
        for _ in range(10):
            trade = await trades.receive()
            print(trade.code, trade.ask_bid, trade.trade_price, trade.trade_volume)


if __name__ == "__main__":
    anyio.run(main)
