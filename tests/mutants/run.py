"""Change the library in small ways, one at a time, and see whether a test notices.

What is changed is found in the syntax tree of the sources below, all of it by rule, and sampled with a seed. The tests
are taken once as they are, and noted which lines each of them runs; a mutant is then given to those that run its line,
the quickest first, and is killed by the first that fails or does not end. All of this is done in copies of the tree.

``--sample 30`` takes two minutes on two cores, ``--sample 0`` takes all of them and hours. ``--list`` shows them, and
``--only`` takes those in whose line of that list an expression is found.
"""

import argparse
import ast
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate, count
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

import attrs
from tests.mutants.mutations import Mutant, mutants_of
from tests.mutants.touched import CHOSEN, RECORDS

ROOT = Path(__file__).parents[2]
PACKAGE = Path("src", "upbit_streams")
SOURCES = ("engine", "rules", "streams.py", "pool.py", "interests.py")
"""What is changed: files and folders of the package."""
TESTS = ("tests/unit", "tests/live")
"""What is to notice it."""
COPIED = ("src", "tests", "docs", "pyproject.toml")
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
WORKERS = 2
_NO_TESTS = 5
"""With this code pytest says that it has run none, which tells nothing about a mutant."""
PYTEST = ("-m", "pytest", "-p", "tests.mutants.touched", "-p", "no:cacheprovider", "-q", "--hypothesis-profile=quick",
          "--hypothesis-seed=1", "-o", "faulthandler_timeout=0")  # fmt: skip


@attrs.define(eq=False)
class Suite:
    """The tests, as they are without a change."""

    seconds: dict[str, float] = attrs.field(factory=dict)
    """Of each test, by its name."""
    _by_line: defaultdict[tuple[str, int], set[str]] = attrs.field(factory=lambda: defaultdict(set))

    def add(self, name: str, seconds: float, lines: Iterable[tuple[str, int]]) -> None:
        self.seconds[name] = seconds
        for file, line in lines:
            self._by_line[file, line].add(name)

    def running(self, lines: Iterable[tuple[str, int]], budget: float) -> list[str]:
        """The tests that run any of these lines, the quickest first, as many as take so many seconds."""
        found = {name for line in lines for name in self._by_line.get(line, ())}
        ordered = sorted(found, key=lambda name: (self.seconds[name], name))
        so_far = accumulate(self.seconds[name] for name in ordered)
        return [name for name, seconds in zip(ordered, so_far, strict=True) if seconds <= budget]


@attrs.frozen
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    is_killed: bool
    how: str


def main() -> None:
    options = _options()
    mutants = find_mutants()
    proven = proven_equivalent(mutants)
    chosen = [each for each in mutants if each not in proven and re.search(options.only, str(each))]
    if 0 < options.sample < len(chosen):
        chosen = sorted(random.Random(options.seed).sample(chosen, options.sample), key=lambda each: each.start)
        random.Random(options.seed).shuffle(chosen)  # so that what is known so far is fair as well
    if options.list:
        print(*chosen, sep="\n")
        return
    begun = monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [_copy(Path(folder, f"copy-{number}")) for number in range(WORKERS)]
        suite = measure(copies[0], Path(folder), options.tests)
        print(f"{len(suite.seconds)} tests pass without a change ({monotonic() - begun:.0f} s)", flush=True)
        outcomes = list(kill_all(chosen, suite, copies, options.budget))
    survivors = sorted((each for each in outcomes if not each.is_killed), key=lambda each: str(each.mutant))
    print(f"\nsurvived, of {len(outcomes)}:" if survivors else "")
    for each in survivors:
        print(f"  {each.mutant} ({each.how})")
    killed = len(outcomes) - len(survivors)
    score = 100 * killed / max(len(outcomes), 1)
    files = len({each.file for each in mutants})
    print(
        f"\n{len(mutants)} mutants in {files} files, {len(proven)} of them proven equivalent\n"
        f"taken: {len(outcomes)}, with seed {options.seed}\n"
        f"killed: {killed} of {len(outcomes)}, {score:.1f} % ({monotonic() - begun:.0f} s)"
    )
    if score < options.least:
        sys.exit(
            f"that is less than {options.least:g} %: write tests that the survivors fail, or prove them equivalent"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=200, help="how many mutants, drawn at random; 0 takes all")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument(
        "--budget", type=float, default=math.inf, help="seconds of tests that a mutant is given at most"
    )
    parser.add_argument(
        "--tests", nargs="+", default=TESTS, help="files and folders of tests; unit and live by default"
    )
    parser.add_argument("--only", default="", help="take only those in whose line this expression is found")
    parser.add_argument("--least", type=float, default=0.0, help="fail if fewer are killed, in per cent")
    parser.add_argument("--list", action="store_true", help="show the mutants, and run nothing")
    return parser.parse_args()


def find_mutants() -> list[Mutant]:
    """Everything that can be changed in the sources, in their order."""
    files: list[Path] = []
    for source in SOURCES:
        path = ROOT / PACKAGE / source
        found = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        if not found or not found[0].exists():
            sys.exit(f"there is no {path}: say in SOURCES of {Path(__file__).name} what is to be changed instead")
        files += found
    every: dict[tuple[str, int, int, str], Mutant] = {}
    for path in files:
        source, file = path.read_text("utf-8"), path.relative_to(ROOT / PACKAGE).as_posix()
        for mutant in mutants_of(file, source):
            try:
                compile(mutant.applied_to(source), file, "exec")
            except SyntaxError:
                continue
            every.setdefault((file, mutant.start, mutant.end, mutant.text), mutant)
    return list(every.values())


def proven_equivalent(mutants: Sequence[Mutant]) -> set[Mutant]:
    """The mutants that no test can kill, as somebody has shown."""
    by_change: defaultdict[tuple[str, str], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        by_change[mutant.where, mutant.change].append(mutant)
    proven: set[Mutant] = set()
    for entry in tomllib.loads(EQUIVALENT.read_text("utf-8"))["equivalent"]:
        where, change = entry["where"], entry["change"]
        assert entry["because"], entry
        if (where, change) not in by_change:
            sys.exit(
                f"{EQUIVALENT.name} has what is not in the code any more: {change!r} in {where}. If the code now says "
                f"the same in other words, look whether the proof still holds, and write it as --list shows it; "
                f"otherwise delete it."
            )
        if len(by_change[where, change]) > 1:
            sys.exit(f"{change!r} stands in {where} more than once, and a proof is of one: make them differ")
        proven.update(by_change[where, change])
    return proven


def _copy(folder: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def measure(copy: Path, folder: Path, tests: Sequence[str]) -> Suite:
    """Take all tests as they are. A mutant that is killed by a test that fails anyway would say nothing."""
    records = folder / "records"
    records.mkdir()
    output, code = _run(copy, [f"-n{WORKERS}", *tests], {RECORDS: str(records)}, 1200.0)
    if code != 0:
        sys.exit(f"{output}\nthe tests fail without a change (exit code {code}): mend that first")
    suite = Suite()
    for path in records.iterdir():
        for name, seconds, lines in json.loads(path.read_text("utf-8")):
            suite.add(name, seconds, [(file, line) for file, line in lines])
    return suite


def kill_all(mutants: Sequence[Mutant], suite: Suite, copies: Sequence[Path], budget: float) -> Iterator[Outcome]:
    """What becomes of each, several at a time."""
    uses = _uses_of_names(mutants)
    free: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def kill(mutant: Mutant) -> Outcome:
        lines = [(mutant.file, line) for line in mutant.lines] + uses[mutant.name]
        tests = suite.running(lines, budget)
        copy = free.get()
        try:
            return _kill(mutant, tests, sum(suite.seconds[name] for name in tests), copy)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        for number, outcome in enumerate(pool.map(kill, mutants), start=1):
            became = "killed" if outcome.is_killed else "SURVIVED"
            print(f"{number}/{len(mutants)} {became} {outcome.mutant} ({outcome.how})", flush=True)
            yield outcome


def _uses_of_names(mutants: Sequence[Mutant]) -> defaultdict[str, list[tuple[str, int]]]:
    """Where the constants are used that are changed: a test that runs none of these lines cannot notice it."""
    names, uses = {mutant.name for mutant in mutants} - {""}, defaultdict[str, list[tuple[str, int]]](list)
    for path in (ROOT / PACKAGE).rglob("*.py") if names else ():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            if name in names and isinstance(node, ast.expr):
                uses[name].append((path.relative_to(ROOT / PACKAGE).as_posix(), node.lineno))
    return uses


def _kill(mutant: Mutant, tests: Sequence[str], seconds: float, copy: Path) -> Outcome:
    if not tests:
        return Outcome(mutant, is_killed=False, how="no test runs this line")
    chosen = copy / "chosen"
    chosen.write_text("\n".join(tests), "utf-8")
    path = copy / PACKAGE / mutant.file
    source = path.read_text("utf-8")
    begun = monotonic()
    try:
        _write(path, mutant.applied_to(source))
        files = list(dict.fromkeys(name.partition("::")[0] for name in tests))
        _, code = _run(copy, ["-x", *files], {CHOSEN: str(chosen)}, 30 + 4 * seconds)
    finally:
        _write(path, source)
    took = f"{len(tests)} tests run this line, {monotonic() - begun:.0f} s"
    return Outcome(mutant, is_noticed(code), took if code is not None else f"time-out, {took}")


def is_noticed(code: int | None) -> bool:
    """Whether tests that ended so have noticed a change; None is that they did not end."""
    return code not in (0, _NO_TESTS)


_stamps = count(1_000_000_000)


def _write(path: Path, source: str) -> None:
    """Write a source so that Python does not take what it has compiled of the last one for it: that is told by the size
    and by the second."""
    path.write_text(source, "utf-8")
    stamp = next(_stamps)
    os.utime(path, (stamp, stamp))


def _run(copy: Path, arguments: Sequence[str], more: dict[str, str], seconds: float) -> tuple[str, int | None]:
    """Run tests in a copy of the tree. Returns what was said, and the exit code; None for a time-out."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "COLUMNS": "120", **more}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with subprocess.Popen(
        [sys.executable, *PYTEST, *arguments],
        cwd=copy,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return "", None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return output, process.returncode


if __name__ == "__main__":
    main()
