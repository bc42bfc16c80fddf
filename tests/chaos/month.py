"""A month of chaos: ``python -m tests.chaos.month`` lives through it on both backends, and tells how it was.

Each backend runs in a process of its own, and writes a journal: the same seed writes the same one, byte for byte.
``--check`` looks at that: it runs everything twice, with other seeds for Python's own hashes.
"""

import argparse
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from .life import Life, live
from .report import problems, report

_BACKENDS = ("asyncio", "trio")
_PAUSE = 360.0
_AVAILABLE = 0.999


def main() -> int:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.backend:
        _live_one(options, options.backend)
        return 0
    names = [f"{backend}{again}" for backend in _BACKENDS for again in ("", "-again")[: 1 + options.check]]
    running = [subprocess.Popen(_command(options, name)) for name in names]
    if sum(process.wait() for process in running):  # of all of them, also after one has failed
        return 1
    lives = [msgspec.json.decode((options.out / f"{backend}.json").read_bytes(), type=Life) for backend in _BACKENDS]
    text = report(lives)
    print(text)
    # A month is long enough to be judged; a day has a bad hour.
    wrong = problems(lives, _AVAILABLE if options.days >= 30 else 0.0)
    for backend in _BACKENDS if options.check else ():
        wrong += _difference(options.out, backend)
    if options.docs:
        from .plot import draw  # what it needs is needed here only

        (options.docs / "chaos.txt").write_text(text, "utf-8")
        draw(lives, options.docs / "chaos.svg")
    print("\n".join(wrong) or "all of that is as it should be")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=30.0, help="of virtual time")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="run all of it twice, and compare the journals")
    parser.add_argument("--out", type=Path, default=Path(".nox/.cache/chaos"), help="where journals go")
    parser.add_argument("--docs", type=Path, help="write chaos.txt and chaos.svg to this folder")
    parser.add_argument("--backend", help=argparse.SUPPRESS)
    return parser.parse_args()


def _command(options: argparse.Namespace, name: str) -> Sequence[str]:
    told = [f"--days={options.days}", f"--seed={options.seed}", f"--out={options.out}", f"--backend={name}"]
    return [sys.executable, "-m", "tests.chaos.month", *told]


def _live_one(options: argparse.Namespace, name: str) -> None:
    # Refused logins and garbage are what the script is made of, and the journal has them.
    logging.getLogger("upbit_streams").setLevel(logging.CRITICAL)

    def progress(day: int) -> None:
        print(f"{name}: day {day} of {options.days:g}", flush=True)

    with (options.out / f"{name}.journal").open("w", encoding="utf-8") as file:
        life = live(name.removesuffix("-again"), options.seed, options.days, _PAUSE, file, progress)
    (options.out / f"{name}.json").write_bytes(msgspec.json.encode(life))


def _difference(folder: Path, backend: str) -> list[str]:
    """What two runs of the same seed did not do alike: nothing."""
    one, other = ((folder / f"{backend}{again}.journal").read_bytes().splitlines() for again in ("", "-again"))
    for number, (line, another) in enumerate(zip(one, other, strict=False), 1):
        if line != another:
            return [f"{backend}: line {number} of the journal is {line!r} in one run, {another!r} in the other"]
    return [] if len(one) == len(other) else [f"{backend}: one journal is longer than the other"]


if __name__ == "__main__":
    sys.exit(main())
