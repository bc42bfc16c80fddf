"""The table of markets that updates in place, and the summary at the end."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import anyio
import attrs
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from upbit_streams import (
    CandleEvent,
    ConnectionState,
    ConnectionStatus,
    Event,
    EventStream,
    Manager,
    OrderbookEvent,
    StreamStatistics,
    TickerEvent,
    TradeEvent,
)

__all__ = ["MarketTable", "summary"]

# As Korean exchanges have it: red rises, blue falls.
_COLOURS = {"RISE": "red", "FALL": "blue", "BID": "red", "ASK": "blue"}
_RATE_SECONDS = 2.0


@attrs.define
class _Row:
    """What is known of one market."""

    price: float | None = None
    change: str = ""
    change_rate: float | None = None
    bid: float | None = None
    ask: float | None = None
    trade: tuple[str, float] | None = None
    candle: tuple[str, float, float, float, float] | None = None
    events: int = 0

    def take(self, event: Event) -> None:
        self.events += 1
        match event:
            case TickerEvent():
                self.price, self.change, self.change_rate = (
                    event.trade_price,
                    event.change,
                    event.signed_change_rate,
                )
            case TradeEvent():
                self.price, self.trade = event.trade_price, (event.ask_bid, event.trade_volume)
            case OrderbookEvent():
                self.ask = next((price for price, _ in event.asks), None)
                self.bid = next((price for price, _ in event.bids), None)
            case CandleEvent():
                self.candle = (
                    event.type.removeprefix("candle."),
                    event.opening_price,
                    event.high_price,
                    event.low_price,
                    event.trade_price,
                )
            case _:
                pass


class MarketTable:
    """The state of all watched markets, drawn anew as often as somebody looks."""

    def __init__(self, codes: Iterable[str], manager: Manager, stream: EventStream[Any]) -> None:
        self._rows = {code.strip().upper(): _Row() for code in codes}
        self._manager = manager
        self._stream = stream
        self._events = 0
        self._rate = _Rate()

    def take(self, events: Sequence[Event]) -> None:
        """Take in what has come."""
        self._events += len(events)
        for event in events:
            self._rows[event.code].take(event)

    def render(self) -> RenderableType:
        table = Table(expand=False, pad_edge=False)
        for heading in ("price", "change", "best bid", "best ask", "last trade", "candle o/h/l/c", "events"):
            if not table.columns:
                table.add_column("market")
            table.add_column(heading, justify="right")
        for code, row in self._rows.items():
            colour = _COLOURS.get(row.change, "")
            table.add_row(
                code,
                Text(_number(row.price), style=colour),
                Text(f"{row.change_rate:+.2%}" if row.change_rate is not None else "", style=colour),
                _number(row.bid),
                _number(row.ask),
                Text(f"{row.trade[0]} {row.trade[1]:.8f}", style=_COLOURS.get(row.trade[0], "")) if row.trade else "",
                f"{row.candle[0]} {' '.join(_number(price) for price in row.candle[1:])}" if row.candle else "",
                str(row.events),
            )
        return Group(table, self._status_line())

    def _status_line(self) -> Text:
        status, lost = self._manager.status(), self._stream.statistics().dropped
        epoch = status.epoch.number if status.epoch else 0
        rate = self._rate.of(self._events, anyio.current_time())
        facts = f"epoch {epoch} · {self._events} events · {rate:.0f} a second · {lost} lost"
        if status.state is ConnectionState.CONNECTED:
            return Text.assemble(("connected", "green"), f" to {status.url} · {facts}")
        return Text.assemble((f"{status.state.value}: {status.reason}", "yellow"), f" · {facts}")


class _Rate:
    """Events a second, over the last seconds."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int]] = []

    def of(self, count: int, now: float) -> float:
        self._marks.append((now, count))
        while self._marks[0][0] < now - _RATE_SECONDS:
            self._marks.pop(0)
        then, before = self._marks[0]
        return (count - before) / (now - then) if now > then else 0.0


def summary(
    counts: Counter[str], status: ConnectionStatus, statistics: StreamStatistics, seconds: float
) -> RenderableType:
    """What was seen, and what was not."""
    table = Table(title="summary", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for type_name, count in sorted(counts.items()):
        table.add_row(f"{type_name} events", str(count))
    total = counts.total()
    table.add_row("all events", str(total))
    table.add_row("rate", f"{total / seconds:.1f} a second over {seconds:.1f} s" if seconds else "")
    table.add_row("epochs", str(status.epoch.number if status.epoch else 0))
    table.add_row("lost in this program (too slow)", str(statistics.dropped))
    table.add_row("frames not understood", str(status.bad_frames))
    table.add_row("trades repeated by the exchange, left out", str(status.repeated))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    # Prices range from 1e-8 BTC to 1e8 KRW; neither likes an exponent.
    text = f"{value:,.8f}".rstrip("0").rstrip(".")
    return text or "0"
