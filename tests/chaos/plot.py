"""The picture of a month: how available each connection was, how often it reconnected, how fast it came back."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .figures import Figures, figures, percentile
from .life import DAY, Connection, Life

__all__ = ["draw"]

# Legible on a light page and on a dark one.
_INK = "#808080"
_COLOURS = {"public": "#2f81c7", "private": "#d9822b"}
_STYLES = {"asyncio": "-", "trio": (0, (2, 1.5))}


def draw(lives: Sequence[Life], path: Path) -> None:
    """Write it as an SVG. The same measurements give the same file."""
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "chaos",
        "font.family": "sans-serif",
        "font.size": 9,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
    }
    with mpl.rc_context(settings):
        picture = Figure(figsize=(8, 7.5), layout="constrained")
        panels = picture.subplots(4, 1, sharex=True)
        titles = (
            "available, % of each day",
            "reconnects a day",
            "median time to recover, s",
            "99 % recovered within, s",
        )
        values: tuple[Callable[[Figures, int], float], ...] = (
            lambda day, _: 100 * day.available,
            lambda _, reconnects: reconnects,
            lambda day, _: day.median,
            lambda day, _: percentile(day.recoveries, 0.99),
        )
        for panel, title, value in zip(panels, titles, values, strict=True):
            panel.set_title(title, loc="left", fontsize=9)
            panel.grid(color=_INK, alpha=0.25, linewidth=0.5)
            panel.patch.set_alpha(0)
            for life in lives:
                for connection in life.connections:
                    days = _days(connection, life.end)
                    panel.plot(
                        range(1, len(days) + 1),
                        [value(*day) for day in days],
                        color=_COLOURS[connection.name],
                        linestyle=_STYLES[life.backend],
                        linewidth=1.3,
                        label=f"{connection.name}, {life.backend}",
                    )
        panels[3].set_yscale("symlog", linthresh=1.0)  # from moments to hours, and a day without any outage is 0
        for panel in panels[2:]:
            panel.set_ylim(bottom=0)
        panels[-1].set_xlabel("day")
        lines, labels = panels[0].get_legend_handles_labels()
        picture.legend(lines, labels, loc="outside upper center", ncols=4, frameon=False)
        picture.savefig(path, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


def _days(connection: Connection, end: float) -> list[tuple[Figures, int]]:
    """For each whole day what it came to, and how many epochs began in it."""
    found = []
    for day in range(int((end - connection.start) / DAY)):
        within = connection.start + day * DAY, connection.start + (day + 1) * DAY
        began = sum(within[0] <= at < within[1] for at in connection.epochs)
        found.append((figures(connection.outages, connection.excused, within), began))
    return found
