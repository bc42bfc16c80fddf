"""Pull: say what is of interest, wait until it is there, and look at it whenever you like."""

import anyio

from upbit_streams import Client, Config, DataType, open_manager

CODES = ["KRW-BTC", "KRW-ETH"]
ROUNDS = 5


async def look(client: Client) -> None:
    """Look at memory once a second. Nothing here asks the exchange, so a look costs next to nothing."""
    await client.register_interest([DataType.TICKER, DataType.ORDERBOOK], CODES, history=200)
    await client.wait_ready()
    for _ in range(ROUNDS):
        ticker = client.get_ticker("KRW-BTC")
        book = client.get_orderbook("KRW-BTC")
        prices = client.get_multiple_prices()
        print(f"{ticker.trade_price:,.0f} within {book.bids[0][0]:,.0f} and {book.asks[0][0]:,.0f}", prices)

        history = client.get_ticker_history("KRW-BTC", limit=20)
        change = history[-1].trade_price / history[0].trade_price - 1
        print(f"{change:+.3%} over the last {len(history)} tickers")
        await anyio.sleep(1)


async def main(config: Config | None = None) -> None:
    async with open_manager(config) as manager, manager.open_client("pull") as client:
        await look(client)


if __name__ == "__main__":
    anyio.run(main)  # or anyio.run(main, backend="trio"), or trio.run(main)
