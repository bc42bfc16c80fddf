"""Tables that fit a terminal: what there is no room for is left out whole, and named."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from rich import box
from rich.table import Table
from rich.text import Text

from upbit_streams import visible

__all__ = ["COLOURS", "fitted", "number", "plain", "share"]

# As Korean exchanges have it: red rises, blue falls.
COLOURS = {"RISE": "red", "FALL": "blue", "BID": "red", "ASK": "blue"}

_TEXTS = {"market", "side", "state", "type", "title", "category"}
_MOST = 200  # no terminal is wider by much, and nobody reads more
_GAP = 2  # between columns: a space of the padding, and one of the box


def fitted(columns: Mapping[str, Sequence[Text]], width: int) -> tuple[Table, list[str]]:
    """A table of the first columns, and the headings of those that there was no room for."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    shown: list[Sequence[Text]] = []
    room = width
    for heading, cells in columns.items():
        room -= max([len(heading), *(cell.cell_len for cell in cells)]) + _GAP
        if shown and room + _GAP < 0:
            break
        table.add_column(heading, justify="left" if not shown or heading in _TEXTS else "right", no_wrap=True)
        shown.append(cells)
    for texts in zip(*shown, strict=True):
        table.add_row(*texts)
    return table, list(columns)[len(shown) :]


def share(room: int, wanted: Sequence[int]) -> list[int]:
    """How many lines each of several gets: one at least, and then one after the other as long as there are any."""
    shares = [1] * len(wanted)
    room -= len(wanted)
    while room > 0 and (short := [place for place, want in enumerate(wanted) if shares[place] < want]):
        for place in short[:room]:
            shares[place] += 1
        room -= len(short)
    return shares


def number(value: float | Decimal | None) -> str:
    if value is None:
        return ""
    # Prices range from 1e-8 BTC to 1e8 KRW; neither likes an exponent.
    text = f"{value:,.8f}".rstrip("0").rstrip(".")
    return text or "0"


def plain(text: str, style: str = "") -> Text:
    """A text of the exchange's, as text: whatever it may hold, it does not steer the terminal."""
    return Text(visible(text[:_MOST]), style)
