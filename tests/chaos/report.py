"""What a run showed, as text."""

from collections.abc import Iterable, Sequence

from .figures import by_kind, figures, figures_of_both, percentile
from .life import DAY, Life

__all__ = ["problems", "report"]

_WIDTH = 17


def report(lives: Sequence[Life]) -> str:
    """The tables: one column for each connection of each backend, and one line for each kind of fault."""
    first = lives[0]
    days = round((first.end - first.connections[0].start) / DAY, 1)
    lines = [
        f"{days:g} days of virtual time, seed {first.seed}",
        f"{len(first.incidents):,} incidents, one every {_apart(first, len(first.incidents))}",
        f"{first.faults:,} faults in them, one every {_apart(first, first.faults)}",
        "",
        _line("", (life.backend for life in lives for _ in life.connections)),
        _line("", (connection.name for life in lives for connection in life.connections)),
    ]
    columns = [
        (life, connection, figures(connection.outages, connection.excused, (connection.start, life.end)))
        for life in lives
        for connection in life.connections
    ]
    rows = {
        "available": [_share(each.available) for _, _, each in columns],
        "  exchange's outages included": [_share(each.available_at_all) for _, _, each in columns],
        "reconnects": [f"{len(connection.epochs) - 1:,}" for _, connection, _ in columns],
        "time to recover, median": [_seconds(each.median) for _, _, each in columns],
        "  99 % within": [_seconds(percentile(each.recoveries, 0.99)) for _, _, each in columns],
        "  longest": [_seconds(max(each.recoveries, default=0.0)) for _, _, each in columns],
        "events delivered": [f"{connection.delivered:,}" for _, connection, _ in columns],
        "  lost outside outages": [f"{connection.losses.lost:,}" for _, connection, _ in columns],
        "  lost in outages, as told": [
            "-" if connection.name == "public" else f"{connection.losses.lost_in_outages:,}"
            for _, connection, _ in columns
        ],
        "  of a wrong epoch": [f"{connection.losses.strangers:,}" for _, connection, _ in columns],
    }
    lines += [_line(name, cells) for name, cells in rows.items()]
    lines += ["", _line("", (life.backend for life in lives))]
    both = [figures_of_both(life.connections, (life.connections[0].start, life.end)) for life in lives]
    rows = {
        "both connections available": [_share(each.available) for each in both],
        "limit breaches": [f"{len(life.breaches):,}" for life in lives],
        "tasks, start and end": [_pair(life.tasks) for life in lives],
        "objects of the library": [_pair(life.objects) for life in lives],
        "objects at all": [_pair(life.all_objects) for life in lives],
        "tasks left after the manager": [f"{life.tasks_left:,}" for life in lives],
    }
    lines += [_line(name, cells) for name, cells in rows.items()]
    lines += ["", "Time to recover by the kind of incident, over all of the connections above:", ""]
    lines += [_line("", ("hit", "with outage", "median", "99 % within", "longest", "share of all"))]
    kinds = by_kind(lives)
    total = sum(sum(seconds) for seconds in kinds.values()) or 1.0
    for kind, every in sorted(kinds.items(), key=lambda item: -sum(item[1])):
        lost = sorted(seconds for seconds in every if seconds > 0)
        middle = percentile(lost, 0.5)
        cells = [_seconds(value) for value in (middle, percentile(lost, 0.99), max(lost, default=0.0))]
        lines.append(_line(kind, (f"{len(every):,}", f"{len(lost):,}", *cells, f"{100 * sum(lost) / total:.1f} %")))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def problems(lives: Sequence[Life], available: float) -> list[str]:
    """Everything that should not be, in words. ``available`` is the least share of the time for each connection."""
    found = []
    for life in lives:
        for connection in life.connections:
            who = f"{connection.name} on {life.backend}"
            share = figures(connection.outages, connection.excused, (connection.start, life.end)).available
            if share < available:
                found.append(f"{who}: available {_share(share)} of the time, less than {_share(available)}")
            if connection.losses.lost:
                found.append(f"{who}: {connection.losses.lost} events were lost outside outages")
            if connection.losses.strangers:
                found.append(f"{who}: {connection.losses.strangers} events carried a wrong epoch")
            if connection.skipped_epochs:
                found.append(f"{who}: the epoch's number did not grow by one, {connection.skipped_epochs} times")
        found += [f"{life.backend}: {breach}" for breach in life.breaches]
        if life.tasks[0] != life.tasks[1] or life.tasks_left:
            found.append(f"{life.backend}: {_pair(life.tasks)} tasks, {life.tasks_left} after the manager was left")
    return found


def _line(name: str, cells: Iterable[str]) -> str:
    return f"{name:<30}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)


def _apart(life: Life, count: int) -> str:
    return f"{life.end / max(count, 1) / 60:.1f} minutes"


def _share(share: float) -> str:
    return f"{100 * share:.4f} %"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _pair(pair: tuple[int, int]) -> str:
    return f"{pair[0]:,} / {pair[1]:,}"
