"""What the type checker must know of the pool. Checked by mypy and pyright, never run."""

from typing import Any, assert_type

from upbit_streams import (
    CandleEvent,
    Client,
    Cut,
    DataType,
    Entry,
    Epoch,
    IndicatorEvent,
    MyOrderEvent,
    OrderbookEvent,
    Pool,
    TickerEvent,
    TradeEvent,
    indicator,
)


async def the_pool_is_typed(client: Client) -> None:
    await client.register_interest([DataType.TICKER, DataType.TRADE], ["KRW-BTC"], history=200)
    assert_type(client.pool, Pool)
    assert_type(client.pool.latest(DataType.TICKER, "KRW-BTC", within=0.5), TickerEvent)
    assert_type(client.pool.latest(DataType.ORDERBOOK, "KRW-BTC", level=1000), OrderbookEvent)
    assert_type(client.pool.latest(DataType.MY_ORDER), MyOrderEvent)
    rsi = indicator("rsi", "5m", period=14)
    assert_type(client.pool.latest(DataType.INDICATOR, "KRW-BTC", indicator=rsi), IndicatorEvent)
    assert_type(client.pool.multiple(DataType.TRADE), dict[str, TradeEvent])
    assert_type(client.pool.history(DataType.candle(5), "KRW-BTC", 10), list[CandleEvent])
    entry = client.pool.entry(DataType.TRADE, "KRW-BTC")
    assert_type(entry, Entry[TradeEvent])
    assert_type(entry.event, TradeEvent)
    assert_type(entry.epoch, Epoch)


def a_cut_is_typed_by_its_keys(client: Client) -> None:
    cut = client.pool.cut(["KRW-BTC", "KRW-ETH"], [DataType.TICKER, DataType.ORDERBOOK])
    assert_type(cut, Cut)
    assert_type(cut[DataType.TICKER, "KRW-BTC"], TickerEvent)
    assert_type(cut[DataType.ORDERBOOK, "KRW-ETH"], OrderbookEvent)
    assert_type(cut.age(DataType.TICKER, "KRW-BTC"), float)


def the_verbs_are_typed(client: Client) -> None:
    assert_type(client.get_ticker("KRW-BTC", within=0.5), TickerEvent)
    assert_type(client.get_multiple_tickers(), dict[str, TickerEvent])
    assert_type(client.get_multiple_trades(["KRW-BTC"]), dict[str, TradeEvent])
    assert_type(client.get_multiple_orderbooks("KRW-BTC", 1000), dict[str, OrderbookEvent])
    assert_type(client.get_multiple_candles(None, "1s"), dict[str, CandleEvent])
    assert_type(client.get_multiple_prices(), dict[str, float])
    assert_type(client.get_orderbook_data("KRW-BTC"), dict[str, Any])
    assert_type(client.get_ticker_history("KRW-BTC"), list[TickerEvent])
    assert_type(client.get_trade_history("KRW-BTC", 5), list[TradeEvent])
    assert_type(client.get_orderbook_history("KRW-BTC", level=1000), list[OrderbookEvent])
    assert_type(client.get_candle_history("KRW-BTC", 5, limit=10), list[CandleEvent])


async def what_is_waited_for_is_typed(client: Client) -> None:
    assert_type(await client.wait_for(lambda: client.get_ticker("KRW-BTC").trade_price > 1e8), bool)
    assert_type(await client.wait_for(lambda: client.get_trade("KRW-BTC")), TradeEvent)
