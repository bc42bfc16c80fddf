"""Ask for two markets, wait until they are there, look."""

import anyio

from upbit_streams import Config, DataType, open_manager

CODES = ["KRW-BTC", "KRW-ETH"]


async def main(config: Config | None = None) -> None:
    async with open_manager(config) as manager, manager.open_client("prices") as client:
        await client.register_interest(DataType.TICKER, CODES)
        await client.wait_ready()
        for code in CODES:
            ticker = client.get_ticker(code)
            print(code, ticker.trade_price, f"{ticker.signed_change_rate:+.2%}")


if __name__ == "__main__":
    anyio.run(main)
