"""The section of the table that has the markets, a line each."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

import attrs
from rich.text import Text

from upbit_streams import CandleEvent, DataType, Event, OrderbookEvent, TickerEvent, TradeEvent

from .columns import COLOURS, number, plain
from .feeds import Item

__all__ = ["Markets"]


@attrs.define
class _Row:
    """What is known of one market."""

    code: str
    events: int = 0
    price: float | None = None
    change: str = ""
    change_rate: float | None = None
    bid: float | None = None
    ask: float | None = None
    trade: tuple[str, float] | None = None
    candles: dict[str, CandleEvent] = attrs.field(factory=dict)

    def take(self, event: Event) -> None:
        self.events += 1
        match event:
            case TickerEvent():
                self.price, self.change, self.change_rate = event.trade_price, event.change, event.signed_change_rate
            case TradeEvent():
                self.price, self.trade = event.trade_price, (event.ask_bid, event.trade_volume)
            case OrderbookEvent(orderbook_units=(best, *_)):
                self.bid, self.ask = best.bid_price, best.ask_price
            case CandleEvent():
                self.candles[event.type] = event
            case _:
                pass


class Markets:
    """The state of all watched markets."""

    name = "markets"

    def __init__(self, types: Sequence[DataType[Event]], codes: Sequence[str]) -> None:
        self._rows = {code: _Row(code) for code in codes}
        self._columns = _columns({kind.name for kind in types})

    def take(self, item: Item) -> None:
        if isinstance(item, Event):
            self._rows[item.code].take(item)

    def size(self) -> int:
        return len(self._rows)

    def columns(self, most: int) -> dict[str, list[Text]]:
        rows = list(islice(self._rows.values(), most))
        return {heading: [cell(row) for row in rows] for heading, cell in self._columns.items()}


def _columns(names: set[str]) -> dict[str, Callable[[_Row], Text]]:
    """The headings and cells for these types, the most important first: a narrow terminal has no room for the last."""
    columns: dict[str, Callable[[_Row], Text]] = {"market": lambda row: Text(row.code)}
    if names & {"ticker", "trade"}:
        columns["price"] = lambda row: Text(number(row.price), COLOURS.get(row.change, ""))
    if "ticker" in names:
        columns["change"] = _change
    if "orderbook" in names:
        columns["best bid"] = lambda row: Text(number(row.bid))
        columns["best ask"] = lambda row: Text(number(row.ask))
    columns["events"] = lambda row: Text(str(row.events))
    if "trade" in names:
        columns["last trade"] = _trade
    for name in sorted(name for name in names if name.startswith("candle.")):
        columns[f"{name} o/h/l/c"] = partial(_candle, name)
    return columns


def _change(row: _Row) -> Text:
    if row.change_rate is None:
        return Text()
    return Text(f"{row.change_rate:+.2%}", COLOURS.get(row.change, ""))


def _trade(row: _Row) -> Text:
    if row.trade is None:
        return Text()
    side, volume = row.trade
    decimals = max(9 - len(f"{volume:.0f}"), 0)
    return plain(f"{side} {volume:,.{decimals}f}", COLOURS.get(side, ""))


def _candle(name: str, row: _Row) -> Text:
    candle = row.candles.get(name)
    if candle is None:
        return Text()
    prices = (candle.opening_price, candle.high_price, candle.low_price, candle.trade_price)
    return Text(" ".join(map(number, prices)))
