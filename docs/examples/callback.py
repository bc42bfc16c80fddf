"""Callbacks: a function for each kind of event, asynchronous or not, and one for what they raise."""

import anyio

from upbit_streams import CandleEvent, Client, Config, OrderbookEvent, TickerEvent, open_manager

CODES = ["KRW-BTC", "KRW-ETH"]
SECONDS = 10


async def tell(text: str) -> None:
    """What takes its time: a message to somebody, a line in a database."""
    await anyio.sleep(0.05)
    print(text)


def on_ticker(ticker: TickerEvent) -> None:
    """Everything waits for a function that is not asynchronous, so it is short."""
    print(f"{ticker.code} {ticker.trade_price:,.0f}")


async def on_orderbook(book: OrderbookEvent) -> None:
    """An asynchronous one may take its time. The next book waits until it has returned, and nothing else does."""
    ask, bid = book.asks[0][0], book.bids[0][0]
    await tell(f"{book.code} spread {ask / bid - 1:.3%}")


async def on_candle(candle: CandleEvent) -> None:
    await tell(f"{candle.code} {candle.type} from {candle.opening_price:,.0f} to {candle.trade_price:,.0f}")


def on_error(error: Exception) -> None:
    """Called instead of ending the client. The callback goes on with the next event."""
    print(f"a callback failed: {error!r}")


async def listen(client: Client) -> None:
    """Start the callbacks. They run until the client's block is left."""
    await client.subscribe_ticker(CODES, on_ticker)
    await client.subscribe_orderbook(CODES, on_orderbook, on_error=on_error)
    await client.subscribe_candle(CODES, on_candle, unit=5, on_error=on_error)


async def main(config: Config | None = None) -> None:
    async with open_manager(config) as manager, manager.open_client("callback") as client:
        await listen(client)
        await anyio.sleep(SECONDS)


if __name__ == "__main__":
    anyio.run(main)  # or anyio.run(main, backend="trio"), or trio.run(main)
