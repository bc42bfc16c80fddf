"""Some hours of the month that ``nox -s chaos`` lives through, and that the same seed gives the same ones."""

import subprocess
import sys
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.figures import figures
from tests.chaos.life import live
from tests.chaos.report import problems, report
from tests.chaos.script import KINDS, incidents
from tests.chaos.spans import Span, length, merged, without

from upbit_streams import Endpoint
from upbit_streams.testing import SilentAccept

_HOURS = 2 / 24
_DENSE = 60.0
# An incident every minute is far more than a month's mark is for.
_AVAILABLE = 0.9

_SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda two: (float(min(two)), float(max(two)))))


def test_hours_of_chaos_lose_nothing_outside_outages(anyio_backend: Any) -> None:
    life = live(anyio_backend[0], 1, _HOURS, _DENSE, StringIO())
    assert problems([life], _AVAILABLE) == []
    for connection in life.connections:
        assert connection.delivered > 500
        assert len(connection.epochs) > 30
        assert len(connection.outages) > 30
    # What is kept does not grow with what has happened; a few last errors, epochs and facts are kept.
    assert life.objects[1] - life.objects[0] < 50
    assert "SilentAccept" in report([life])


def test_problems_are_told() -> None:
    life = live("asyncio", 1, 0.5 / 24, _DENSE, StringIO())
    public, private = life.connections
    wrong = attrs.evolve(
        life,
        connections=[
            attrs.evolve(public, outages=[(1000.0, 2000.0)], losses=attrs.evolve(public.losses, lost=1, strangers=1)),
            attrs.evolve(private, skipped_epochs=1),
        ],
        breaches=["a breach"],
        tasks=(1, 2),
    )
    assert len(problems([wrong], 0.9)) == 6


def test_the_same_seed_gives_the_same_run_byte_for_byte(tmp_path: Path, anyio_backend: Any) -> None:
    """In two processes with other hashes and other addresses, not only twice in this one."""
    program = (
        "import sys; from tests.chaos.life import live; "
        f"live({anyio_backend[0]!r}, 3, {_HOURS / 2}, {_DENSE}, open(sys.argv[1], 'w', encoding='utf-8'))"
    )
    journals = [tmp_path / "one", tmp_path / "other"]
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(journal)], stderr=subprocess.DEVNULL)
        for journal in journals
    ]
    assert [process.wait() for process in running] == [0, 0]
    one, other = (journal.read_bytes() for journal in journals)
    assert len(one.splitlines()) > 300
    assert one == other


def test_another_seed_gives_another_run() -> None:
    one, other = StringIO(), StringIO()
    live("asyncio", 1, 0.5 / 24, _DENSE, one)
    live("asyncio", 2, 0.5 / 24, _DENSE, other)
    assert one.getvalue() != other.getvalue()


def test_the_script_has_every_kind_and_keeps_its_pace() -> None:
    script = list(incidents(1, 30 * 86_400, 300))
    assert {incident.kind for incident in script} == {kind.__name__ for kind in KINDS}
    assert len(script) == pytest.approx(30 * 86_400 / 300, rel=0.05)
    assert [incident.at for incident in script] == sorted(incident.at for incident in script)
    assert script == list(incidents(1, 30 * 86_400, 300))
    assert all(fault.after == 0.0 for incident in script for fault in incident.faults)
    silent = [incident for incident in script if isinstance(incident.faults[0], SilentAccept)]
    assert {incident.endpoint for incident in silent} == {None, Endpoint.PUBLIC, Endpoint.PRIVATE}


@given(spans=_SPANS, start=st.integers(0, 40), size=st.integers(1, 20))
def test_what_is_left_of_a_span_is_what_no_other_covers(spans: list[Span], start: int, size: int) -> None:
    span, left_out = (float(start), float(start + size)), merged(spans)
    assert all(before[1] < after[0] for before, after in pairwise(left_out))
    left = without(span, left_out)

    def covers(some: list[Span], moment: float) -> bool:
        return any(first <= moment < last for first, last in some)

    moments = [start + step + 0.5 for step in range(size)]
    assert [covers(left, moment) for moment in moments] == [not covers(spans, moment) for moment in moments]
    assert length(left) == sum(not covers(spans, moment) for moment in moments)


def test_time_that_the_exchange_could_not_serve_is_left_out_and_the_recovery_counts() -> None:
    # Refused from 10 to 20 after a loss at 9, back at 22; then silent for 5 of its own making, from 50 to 55.
    found = figures([(9.0, 22.0), (50.0, 55.0), (70.0, 71.0)], [(10.0, 20.0), (50.0, 60.0)], (0.0, 100.0))
    assert found.recoveries == [1.0, 3.0]
    assert found.available == 1 - 4 / 80
    assert found.available_at_all == 1 - 19 / 100
    assert found.median == 2.0
