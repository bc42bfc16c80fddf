"""Makes what the documentation shows of the tables that the library itself goes by.

``python docs/generate.py`` writes ``docs/fields.md``, from the table that the decoder and the encoder are made from,
and ``docs/states.txt``, from the one that connections walk. A test fails when one of them is out of date.
"""

from collections.abc import Iterable
from pathlib import Path

from upbit_streams import CandleEvent, DataType, Event
from upbit_streams.rules import lifecycle
from upbit_streams.wire.fields import TABLE, Field, Kind

__all__ = ["COMMAND", "PAGE", "STATES", "states", "tables"]

PAGE = Path(__file__).parent / "fields.md"
STATES = Path(__file__).parent / "states.txt"
COMMAND = "python docs/generate.py"

_HEAD = f"""# Fields

<!-- Made by `{COMMAND}`. A change by hand is lost. -->

Every field of every data type, as the table in `wire/fields.py` has it. The decoder, the encoder and the Hypothesis
strategies are made from the same table. An event's attributes have the long names. The SIMPLE formats send the short
ones.

*Of it*: what the event is of. Without it, or if it cannot be understood, there is no event but a bad frame. Any other
field that is missing, `null` where that is not usual, or no value of its type costs no event: it is `nan` for `float`,
`-1` for `int` and an empty text for `str`, or `None` where it may be absent, and is counted as
[drift](guide/data-types.md#what-the-library-does-not-know). What is of it and may be absent has to be understood if it
is sent. *May be absent*: some hosts or some years do not send it. *May be null*: it may be sent as `null`. The event
has `None` in either case. *Known values* are those that the exchange is known to send; others are delivered as well,
and counted as [drift](guide/data-types.md#what-the-library-does-not-know).
"""
_COLUMNS = ("name", "SIMPLE", "type", "of it", "may be absent", "may be null", "known values")
_LEFT = lifecycle.Step.LEFT
_CODES = {
    "required": "asked for by market",
    "optional": "asked for by market, or for all markets",
    "none": "not asked for by market",
}


def tables() -> str:
    """The whole page."""
    parts = [_HEAD]
    nested: dict[str, Kind] = {}
    for title, types in _headings().items():
        kind = TABLE[types[0].name]
        parts.append(f"## {title}\n\n{_about(types)}\n\n{_table(kind.fields, types)}")
        _collect(kind, nested)
    parts.append("## Objects within events\n\nThey stand in the fields above that have their type.\n")
    parts += [f"### {name}\n\n{_class(name)}\n\n{_table(kind.fields)}" for name, kind in nested.items()]
    return "\n".join(parts)


def _headings() -> dict[str, list[DataType[Event]]]:
    """The data types by heading. The candles have one together, since they have the same fields."""
    found: dict[str, list[DataType[Event]]] = {}
    for kind in DataType.all():
        found.setdefault("candle" if issubclass(kind.event, CandleEvent) else kind.name, []).append(kind)
    return found


def _about(types: list[DataType[Event]]) -> str:
    event = CandleEvent if len(types) > 1 else types[0].event
    constants = ", ".join(f"`DataType.{_constant(kind)}`" for kind in types)
    served = f"{types[0].endpoint.capitalize()} endpoint, {_CODES[types[0].codes]}."
    return f"{constants}. Events are {_class(event.__name__)}. {served}"


def _constant(kind: DataType[Event]) -> str:
    return next(name for name, content in vars(DataType).items() if content is kind)


def _class(name: str) -> str:
    return f"{{class}}`~upbit_streams.{name}`"


def _collect(kind: Kind, nested: dict[str, Kind]) -> None:
    for field in kind.fields:
        if isinstance(field.type, Kind):
            nested[field.type.event.__name__] = field.type
            _collect(field.type, nested)


def _table(fields: Iterable[Field], types: Iterable[DataType[Event]] = ()) -> str:
    rows: list[tuple[str, ...]] = [_COLUMNS, ("---",) * len(_COLUMNS)]
    if names := [kind.name for kind in types]:
        rows.append(("`type`", "`ty`", "`str`", "yes", "", "", _listed(names)))
    rows += [
        (
            f"`{field.name}`",
            f"`{field.simple}`",
            _type(field),
            "yes" if field.of else "",
            "yes" if field.optional else "",
            "yes" if field.null else "",
            _listed(field.values),
        )
        for field in fields
    ]
    return "".join(f"| {' | '.join(row)} |\n".replace("|  |", "| |").replace("|  |", "| |") for row in rows)


def _type(field: Field) -> str:
    if isinstance(field.type, Kind):
        name = field.type.event.__name__
        link = f"[{name}](#{name.lower()})"
        return f"array of {link}" if field.array else link
    name = getattr(field.type, "__name__", str(field.type))
    return "any JSON" if name == "Any" else f"`{name}`"


def _listed(values: Iterable[str]) -> str:
    return " ".join(f"`{value}`" for value in values)


def states() -> str:
    """The picture of a connection's states: below each the steps that can happen in it, and where they lead.

    To leave the manager is possible in every state, and stands at the end.
    """
    steps = {
        state: {step: to for step, to in row.items() if step is not _LEFT} for state, row in lifecycle.TABLE.items()
    }
    width = max(len(step) for row in steps.values() for step in row) + 2
    lines: list[str] = []
    for state, row in steps.items():
        lines.append(str(state))
        for step, to in row.items():
            corner = "└" if step is list(row)[-1] else "├"
            lines.append(f" {corner}─ {f'{step} ':─<{width}}▶ {to}")
        lines.append("")
    [ends] = {row[_LEFT] for row in lifecycle.TABLE.values()}
    return "\n".join([*lines, "each of them", f" └─ {f'{_LEFT} ':─<{width}}▶ {ends}", ""])


if __name__ == "__main__":
    PAGE.write_text(tables(), encoding="utf-8")
    STATES.write_text(states(), encoding="utf-8")
    print(f"wrote {PAGE.name} and {STATES.name}")
