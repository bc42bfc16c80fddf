"""A plugin of pytest: which lines of the library each test runs, and how long it takes; and the tests that were chosen,
in the order that was chosen.

It takes Python 3.12, which tells each line once for each test and costs next to nothing after that.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from types import CodeType
from typing import Any

import pytest

import upbit_streams

__all__ = ["CHOSEN", "RECORDS"]

RECORDS = "MUTANTS_RECORDS"
"""In the environment, the folder into which each worker writes what its tests have run."""
CHOSEN = "MUTANTS_CHOSEN"
"""In the environment, a file with the tests to be run, one a line."""

_MOST_SECONDS = 60
"""No test takes a tenth of it."""
_PACKAGE = str(Path(upbit_streams.__file__).parent) + os.sep
_monitoring: Any = vars(sys).get("monitoring")
_current: set[tuple[str, int]] = set()
_records: list[tuple[str, float, list[tuple[str, int]]]] = []


def pytest_configure() -> None:
    if RECORDS not in os.environ:
        return
    if _monitoring is None:
        raise pytest.UsageError("to note which lines a test runs takes Python 3.12 or newer")
    tool, events = _monitoring.PROFILER_ID, _monitoring.events

    def begun(code: CodeType, offset: int) -> object:
        if code.co_filename.startswith(_PACKAGE):
            _monitoring.set_local_events(tool, code, events.LINE)
        return _monitoring.DISABLE

    def run(code: CodeType, line: int) -> object:
        _current.add((code.co_filename.removeprefix(_PACKAGE), line))
        return _monitoring.DISABLE

    # It is given back at the end, as some of this is still called while the interpreter ends.
    _monitoring.use_tool_id(tool, "mutants")
    _monitoring.register_callback(tool, events.PY_START, begun)
    _monitoring.register_callback(tool, events.LINE, run)
    _monitoring.set_events(tool, events.PY_START)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if RECORDS not in os.environ:
        signal.alarm(_MOST_SECONDS)  # which ends the whole process: in virtual time an endless loop is never awaited
        yield
        signal.alarm(0)
        return
    _current.clear()
    _monitoring.restart_events()
    begun = perf_counter()
    yield
    _records.append((item.nodeid, perf_counter() - begun, sorted(_current)))


def pytest_sessionfinish() -> None:
    if RECORDS in os.environ:
        _monitoring.set_events(_monitoring.PROFILER_ID, 0)
        _monitoring.register_callback(_monitoring.PROFILER_ID, _monitoring.events.PY_START, None)
        _monitoring.free_tool_id(_monitoring.PROFILER_ID)
    if _records:
        Path(os.environ[RECORDS], f"{os.getpid()}.json").write_text(json.dumps(_records), "utf-8")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if CHOSEN in os.environ:
        order = {name: index for index, name in enumerate(Path(os.environ[CHOSEN]).read_text("utf-8").splitlines())}
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])
