"""What the type checker must know. Checked by mypy and pyright, never run."""

from typing import assert_never, assert_type

from upbit_streams import (
    AnnouncementEvent,
    Balance,
    CandleEvent,
    Client,
    DataType,
    DataTypes,
    EpochStarted,
    EventStream,
    IndicatorEvent,
    IndicatorSignalEvent,
    MyAssetEvent,
    MyOrderEvent,
    Notice,
    OrderbookEvent,
    Subscription,
    TickerEvent,
    TradeEvent,
    current_manager,
    indicator,
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


async def what_is_told_once_comes_with_notices(client: Client) -> None:
    async with client.stream(DataType.MY_ORDER) as orders:
        assert_type(orders, EventStream[MyOrderEvent | EpochStarted])
        async for order in orders:
            assert_type(order, MyOrderEvent | EpochStarted)
    async with client.stream([DataType.MY_ASSET]) as assets:
        assert_type(await assets.receive(), MyAssetEvent | EpochStarted)
    async with client.stream([DataType.MY_ORDER, DataType.MY_ASSET]) as both:
        async for change in both:
            if not isinstance(change, EpochStarted):
                assert_type(change.epoch.number, int)
    async with client.stream(DataType.ANNOUNCEMENT, notices=True) as announcements:
        assert_type(await announcements.receive(), AnnouncementEvent | Notice)
    async with client.stream(DataType.MY_ORDER, notices=False) as bare:
        assert_type(await bare.receive(), MyOrderEvent)
    async with client.stream(DataType.TRADE, "KRW-BTC", notices=True) as trades:
        assert_type(await trades.receive(), TradeEvent | Notice)
    rsi = indicator("rsi", "5m", period=14)
    async with client.stream(DataType.INDICATOR, "KRW-BTC", indicators=rsi) as values:
        assert_type(await values.receive_batch(), list[IndicatorEvent | EpochStarted])


async def unions_are_typed(client: Client) -> None:
    assert_type(DataType.TRADE | DataType.TICKER, DataTypes[TradeEvent | TickerEvent])
    async with client.stream(DataType.TRADE | DataType.TICKER, ["KRW-BTC"]) as events:
        assert_type(events, EventStream[TradeEvent | TickerEvent])
        async for event in events:
            match event:
                case TradeEvent():
                    assert_type(event.sequential_id, int)
                case TickerEvent():
                    assert_type(event.acc_trade_price_24h, float)
                case _:
                    assert_never(event)
    three = DataType.TRADE | DataType.TICKER | DataType.ORDERBOOK
    async with client.stream(three, ["KRW-BTC"], count=5) as books:
        assert_type(await books.receive(), TradeEvent | TickerEvent | OrderbookEvent)
    async with client.stream(DataType.TRADE | (DataType.TICKER | DataType.candle(5)), "KRW-BTC") as candles:
        assert_type(await candles.receive_batch(), list[TradeEvent | TickerEvent | CandleEvent])
    async with client.stream(three, "KRW-BTC", notices=True) as noticed:
        assert_type(await noticed.receive(), TradeEvent | TickerEvent | OrderbookEvent | Notice)
    async with client.stream(DataType.MY_ORDER | DataType.MY_ASSET) as told_once:
        assert_type(told_once, EventStream[MyOrderEvent | MyAssetEvent | EpochStarted])
        async for change in told_once:
            match change:
                case MyOrderEvent() | MyAssetEvent() | EpochStarted():
                    pass
                case _:
                    assert_never(change)
    computed = DataType.INDICATOR | DataType.INDICATOR_SIGNAL | DataType.ANNOUNCEMENT
    async with client.stream(computed, "KRW-BTC", indicators=indicator("rsi", "5m", period=14)) as values:
        assert_type(await values.receive(), IndicatorEvent | IndicatorSignalEvent | AnnouncementEvent | EpochStarted)
    async with client.stream(DataType.MY_ORDER | DataType.TRADE, "KRW-BTC", notices=False) as mixed:
        assert_type(await mixed.receive(), MyOrderEvent | TradeEvent)
    await client.register_interest(DataType.TRADE | DataType.MY_ORDER, "KRW-BTC")


async def callbacks_are_typed(client: Client) -> None:
    def on_order(order: MyOrderEvent | EpochStarted) -> None: ...

    async def on_ticker(ticker: TickerEvent) -> None: ...

    assert_type(await client.subscribe_my_order((), on_order), Subscription[MyOrderEvent | EpochStarted])
    assert_type(await client.subscribe_ticker("KRW-BTC", on_ticker), Subscription[TickerEvent])


async def pulls_are_typed(client: Client) -> None:
    await client.register_interest([DataType.TICKER, DataType.ORDERBOOK], ["KRW-BTC"])
    assert_type(client.get_ticker("KRW-BTC"), TickerEvent)
    assert_type(client.get_trade("KRW-BTC"), TradeEvent)
    assert_type(client.get_orderbook("KRW-BTC"), OrderbookEvent)
    assert_type(client.get_candle("KRW-BTC", 5), CandleEvent)
    assert_type(client.get_my_order("uuid"), MyOrderEvent)
    assert_type(client.get_open_orders(), list[MyOrderEvent])
    assert_type(client.get_my_asset("KRW"), Balance)


async def clients_are_typed() -> None:
    async with current_manager().open_client("typed") as client:
        assert_type(client, Client)
