"""The table of markets that updates in place."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import islice

import anyio
import attrs
from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from upbit_streams import (
    CandleEvent,
    ConnectionState,
    Event,
    EventStream,
    Manager,
    OrderbookEvent,
    TickerEvent,
    TradeEvent,
)

from .output import TerminalConsole, wait_writable
from .tally import QUIET_SECONDS, Tally

__all__ = ["MarketTable"]

_REFRESH_SECONDS = 0.1
_RATE_SECONDS = 2.0
# The lines of the screen that are not markets: the heading, and what is told below.
_OTHER_LINES = 10
_GAP = 2  # between columns: a space of the padding, and one of the box

# As Korean exchanges have it: red rises, blue falls.
_COLOURS = {"RISE": "red", "FALL": "blue", "BID": "red", "ASK": "blue"}


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


class MarketTable:
    """The state of all watched markets, drawn anew several times a second."""

    def __init__(self, tally: Tally, manager: Manager, stream: EventStream[Event]) -> None:
        self.console = TerminalConsole(highlight=False)
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        # In a file or a pipe nothing can be updated in place.
        self.screen: AbstractContextManager[object] = self._live if self.console.is_terminal else nullcontext()
        self._tally = tally
        self._manager = manager
        self._stream = stream
        self._rows = {code: _Row(code) for code in tally.codes}
        self._columns = _columns({kind.name for kind in tally.types})
        self._rate = _Rate()
        self._connected_at: float | None = None

    async def wait(self) -> None:
        if self.console.is_terminal:
            await wait_writable(self.console.file.fileno())
            self._live.update(self._picture(), refresh=True)
        await anyio.sleep(_REFRESH_SECONDS)

    async def show(self, most: int) -> int:
        events: list[Event] = []
        with suppress(anyio.WouldBlock):
            while len(events) < most:
                events.append(self._stream.receive_nowait())
        for event in events:
            self._rows[event.code].take(event)
        self._tally.add(events)
        if len(events) < most:
            await self.wait()
        return len(events)

    def finish(self) -> None:
        self.console.print(self._table(len(self._rows))[0])
        self.console.line()

    def _table(self, most_rows: int) -> tuple[Table, list[str]]:
        """The first rows, and the headings of the columns that there was no room for."""
        rows = list(islice(self._rows.values(), most_rows))
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        columns: list[list[Text]] = []
        room = self.console.width
        for heading, cell in self._columns.items():
            cells = [cell(row) for row in rows]
            room -= max(len(heading), *map(len, cells)) + _GAP
            if columns and room + _GAP < 0:
                break
            table.add_column(heading, justify="right" if columns else "left", no_wrap=True)
            columns.append(cells)
        for texts in zip(*columns, strict=True):
            table.add_row(*texts)
        return table, list(self._columns)[len(columns) :]

    def _picture(self) -> RenderableType:
        if self._connected_at is None and self._manager.status().epoch:
            self._connected_at = anyio.current_time()
        rows = max(self.console.height - _OTHER_LINES, 1)
        table, left_out = self._table(rows)
        if len(self._rows) > rows:
            left_out.append(f"{len(self._rows) - rows} more markets")
        notes = [f"no room for {', '.join(left_out)}"] if left_out else []
        quiet = self._connected_at is not None and anyio.current_time() > self._connected_at + QUIET_SECONDS
        if quiet and (missing := self._tally.missing()):
            notes.append(f"no data yet: {missing}; a market that the exchange does not list never gets any")
        return Group(table, "", self._status_line(), *(Text(note, "dim") for note in notes))

    def _status_line(self) -> Text:
        status, total = self._manager.status(), self._tally.total()
        if status.epoch is None:
            why = f", {status.reason}" if status.failed_attempts else ""
            return Text.assemble(("connecting", "yellow"), f" to {status.url}{why}")
        rate, lost = self._rate.of(total, anyio.current_time()), self._stream.statistics().dropped
        facts = f" · epoch {status.epoch.number} · {total} events · {rate:.0f} a second · {lost} lost"
        if status.state is ConnectionState.CONNECTED:
            return Text.assemble(("connected", "green"), f" to {status.url}{facts}")
        return Text.assemble((f"{status.state.value}: {status.reason}", "yellow"), facts)


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


def _columns(names: set[str]) -> dict[str, Callable[[_Row], Text]]:
    """The headings and cells for these types, the most important first: a narrow terminal has no room for the last."""
    columns: dict[str, Callable[[_Row], Text]] = {"market": lambda row: Text(row.code)}
    if names & {"ticker", "trade"}:
        columns["price"] = lambda row: Text(_number(row.price), _COLOURS.get(row.change, ""))
    if "ticker" in names:
        columns["change"] = _change
    if "orderbook" in names:
        columns["best bid"] = lambda row: Text(_number(row.bid))
        columns["best ask"] = lambda row: Text(_number(row.ask))
    columns["events"] = lambda row: Text(str(row.events))
    if "trade" in names:
        columns["last trade"] = _trade
    for name in sorted(name for name in names if name.startswith("candle.")):
        columns[f"{name} o/h/l/c"] = partial(_candle, name)
    return columns


def _change(row: _Row) -> Text:
    if row.change_rate is None:
        return Text()
    return Text(f"{row.change_rate:+.2%}", _COLOURS.get(row.change, ""))


def _trade(row: _Row) -> Text:
    if row.trade is None:
        return Text()
    side, volume = row.trade
    decimals = max(9 - len(f"{volume:.0f}"), 0)
    return Text(f"{side} {volume:,.{decimals}f}", _COLOURS.get(side, ""))


def _candle(name: str, row: _Row) -> Text:
    candle = row.candles.get(name)
    if candle is None:
        return Text()
    prices = (candle.opening_price, candle.high_price, candle.low_price, candle.trade_price)
    return Text(" ".join(map(_number, prices)))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    # Prices range from 1e-8 BTC to 1e8 KRW; neither likes an exponent.
    text = f"{value:,.8f}".rstrip("0").rstrip(".")
    return text or "0"
