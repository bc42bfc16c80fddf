"""What the type checker must know. Checked by mypy and pyright, never run."""

from typing import assert_type

from upbit_streams import (
    CandleEvent,
    Client,
    DataType,
    EventStream,
    OrderbookEvent,
    TickerEvent,
    TradeEvent,
    current_manager,
)


async def streams_are_typed(client: Client) -> None:
    async with client.stream(DataType.TRADE, ["KRW-BTC"]) as trades:
        assert_type(trades, EventStream[TradeEvent])
        assert_type(await trades.receive(), TradeEvent)
        assert_type(trades.receive_nowait(), TradeEvent)
        async for trade in trades:
            assert_type(trade, TradeEvent)
            assert_type(trade.epoch.number, int)
        async for batch in trades.batches():
            assert_type(batch, list[TradeEvent])
    async with client.stream(DataType.TICKER, "KRW-BTC") as tickers:
        assert_type(await tickers.receive(), TickerEvent)
    async with client.stream([DataType.CANDLE_1M, DataType.CANDLE_5M], "KRW-BTC") as candles:
        assert_type(await candles.receive(), CandleEvent)
    async with client.stream(DataType.candle(15), "KRW-BTC") as quarters:
        assert_type(await quarters.receive(), CandleEvent)


async def pulls_are_typed(client: Client) -> None:
    await client.register_interest([DataType.TICKER, DataType.ORDERBOOK], ["KRW-BTC"])
    assert_type(client.get_ticker("KRW-BTC"), TickerEvent)
    assert_type(client.get_trade("KRW-BTC"), TradeEvent)
    assert_type(client.get_orderbook("KRW-BTC"), OrderbookEvent)
    assert_type(client.get_candle("KRW-BTC", 5), CandleEvent)


async def clients_are_typed() -> None:
    async with current_manager().open_client("typed") as client:
        assert_type(client, Client)
