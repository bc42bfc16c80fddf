"""What a run of ``watch`` has shown, and the summary of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs
from rich.console import RenderableType
from rich.table import Table

from upbit_streams import ConnectionStatus, DataType, Endpoint, Event

from .gaps import Gaps

__all__ = ["QUIET_SECONDS", "Tally", "summary"]

QUIET_SECONDS = 3.0
"""By now every market that the exchange lists has sent its snapshot."""


_NAMED = 5


@attrs.frozen
class Tally:
    """Counts the events that were shown."""

    public: Sequence[DataType[Event]]
    private: Sequence[DataType[Event]]
    codes: Sequence[str]
    gaps: Gaps = attrs.field(default=attrs.Factory(lambda self: Gaps(self.private), takes_self=True), init=False)
    _counts: Counter[tuple[str, str]] = attrs.field(factory=Counter, init=False)

    def add(self, events: Iterable[Event]) -> None:
        """These have been shown now."""
        self._counts.update((event.type, event.code) for event in events)

    def by_type(self, endpoint: Endpoint | None = None) -> dict[str, int]:
        """How many there were of each type, of one endpoint or of all."""
        counts = {kind.name: 0 for kind in (*self.public, *self.private) if endpoint in (None, kind.endpoint)}
        for (name, _), count in self._counts.items():
            if name in counts:
                counts[name] += count
        return counts

    def total(self) -> int:
        return self._counts.total()

    def missing(self) -> str:
        """Which market data there was nothing of, in words; empty if there was something of all."""
        names = [
            f"{kind.name} of {code}" for kind in self.public for code in self.codes if not self._counts[kind.name, code]
        ]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + more


def summary(
    tally: Tally, connections: Mapping[Endpoint, ConnectionStatus], dropped: int, seconds: float
) -> RenderableType:
    """What was seen, and what was not."""
    table = Table(title="summary", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for type_name, count in tally.by_type().items():
        table.add_row(f"{type_name} events", str(count))
    table.add_row("all events", str(tally.total()))
    table.add_row("rate", f"{tally.total() / seconds:.1f} a second over {seconds:.1f} s" if seconds else "")
    for endpoint, status in connections.items():
        of_which = "" if endpoint is Endpoint.PUBLIC else f" of the {endpoint} connection"
        table.add_row(f"epochs{of_which}", str(status.epoch.number if status.epoch else 0))
    if tally.private:
        table.add_row("gaps", str(tally.gaps.count))
    table.add_row("lost in this program (too slow)", str(dropped))
    table.add_row("frames not understood", str(sum(status.bad_frames for status in connections.values())))
    if Endpoint.PUBLIC in connections:
        table.add_row("trades repeated by the exchange, left out", str(connections[Endpoint.PUBLIC].repeated))
    if missing := tally.missing():
        table.add_row("nothing came of", missing)
    return table
