"""The page of the fields is what the table says, and a data type is added as the documentation says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from docs import generate
from upbit_streams import ConnectionState

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-data-type.md"

# What counts is what it finds, however busy the machine is.
_PATIENT = """
import hypothesis
checks = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=checks)
hypothesis.settings.load_profile("patient")
"""
_DIFF = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^--- (\S+)\n(.*?)(?=^--- |\Z)", re.MULTILINE | re.DOTALL)
_PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_of_the_fields_is_what_the_table_says() -> None:
    up_to_date = generate.PAGE.read_text(encoding="utf-8") == generate.tables()
    assert up_to_date, f"docs/fields.md is out of date; write it anew with: {generate.COMMAND}"


def test_the_picture_of_the_states_is_what_the_table_says() -> None:
    up_to_date = generate.STATES.read_text(encoding="utf-8") == generate.states()
    assert up_to_date, f"docs/states.txt is out of date; write it anew with: {generate.COMMAND}"
    assert all(state in generate.states() for state in ConnectionState)


def apply(changes: str, file: Path) -> None:
    """Apply the hunks of one file. What surrounds a change has to stand in the file exactly once."""
    text = file.read_text(encoding="utf-8")
    for hunk in re.split(r"^@@\n", changes, flags=re.MULTILINE)[1:]:
        lines = hunk.splitlines()
        before = "\n".join(line[1:] for line in lines if line[:1] != "+")
        after = "\n".join(line[1:] for line in lines if line[:1] != "-")
        assert text.count(f"\n{before}\n") == 1, f"{file.name} has no single place like\n{before}"
        text = text.replace(f"\n{before}\n", f"\n{after}\n")
    file.write_text(text, encoding="utf-8")


def test_a_data_type_is_added_as_the_page_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    page = PAGE.read_text(encoding="utf-8")
    changed = [change for fence in _DIFF.findall(page) for change in _FILE.findall(fence)]
    assert len(changed) == 4
    for file, changes in changed:
        apply(changes, tmp_path / file)
    [program] = _PROGRAM.findall(page)
    program += "\nfrom docs import generate\nassert '## liquidation' in generate.tables()\n"
    done = subprocess.run(  # noqa: S603 -- the documentation's own code
        [sys.executable, "-W", "error", "-c", _PATIENT + program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "src"), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "liquidation KRW-BTC ASK 116539000.0\n", done.stderr
