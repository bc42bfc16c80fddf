"""A first strategy: how far each trade is from the volume-weighted price of the last twenty."""

from collections import deque

import anyio

from upbit_streams import Config, DataType, TradeEvent, current_manager, open_manager

WINDOW = 20
TRADES = 100


def vwap(trades: deque[TradeEvent]) -> float:
    volume = sum(trade.trade_volume for trade in trades)
    return sum(trade.trade_price * trade.trade_volume for trade in trades) / volume


async def strategy(code: str = "KRW-BTC") -> float:
    """Follow a market for ``TRADES`` trades. Returns the volume-weighted price of the last ones."""
    window: deque[TradeEvent] = deque(maxlen=WINDOW)
    left = TRADES
    async with current_manager().open_client("vwap") as client, client.stream(DataType.TRADE, code) as trades:
        async for trade in trades:
            if window and trade.epoch != window[-1].epoch:
                window.clear()  # the connection was lost in between, and with it we do not know how many trades
            window.append(trade)
            distance = trade.trade_price / vwap(window) - 1
            print(f"{trade.trade_price:>15,.0f}  {distance:+.4%} from the price of {len(window)} trades")
            left -= 1
            if not left:
                break
    return vwap(window)


async def main(config: Config | None = None) -> None:
    async with open_manager(config):
        print(f"{await strategy():>15,.0f}  is the volume-weighted price at the end")


if __name__ == "__main__":
    anyio.run(main)  # or anyio.run(main, backend="trio"), or trio.run(main)
