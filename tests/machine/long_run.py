"""The machine for as long as there is time: both backends side by side, a process each.

Run it as ``python -m tests.machine.long_run``; ``nox -s machines`` does.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from tests.machine.feed_machine import FeedMachine, run_machine

BACKENDS = ("asyncio", "trio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 if an invariant was broken on any backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2000, help="on each backend")
    parser.add_argument("--steps", type=int, default=50, help="of each example")
    parser.add_argument("--every", type=int, default=100, help="examples between two lines of progress")
    parser.add_argument("--backend", choices=BACKENDS, help="this one only, in this process")
    told = parser.parse_args(arguments)
    if told.backend is not None:
        return _run(told)
    command = [sys.executable, "-m", __spec__.name, *(sys.argv[1:] if arguments is None else arguments)]
    processes = [subprocess.Popen([*command, "--backend", backend]) for backend in BACKENDS]
    return max(process.wait() for process in processes)


def _run(told: argparse.Namespace) -> int:
    logging.disable(logging.ERROR)
    began = time.perf_counter()

    class Machine(FeedMachine):
        backend = told.backend

        def teardown(self) -> None:
            super().teardown()
            if self.tally["examples"] % told.every == 0:
                _tell(told.backend, Machine.tally, time.perf_counter() - began)

    chosen = settings(
        max_examples=told.examples,
        stateful_step_count=told.steps,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_machine(Machine, chosen)
    finally:
        _tell(told.backend, Machine.tally, time.perf_counter() - began)
    print(f"{told.backend}: no invariant was broken", flush=True)
    return 0


def _tell(backend: str, tally: Counter[str], seconds: float) -> None:
    used = os.times()
    figures = ", ".join(
        f"{tally[name]:,} {name}" for name in ("examples", "steps", "faults", "epochs", "events", "notices")
    )
    print(f"{backend}: {figures}; {seconds:.0f} s, of CPU {used.user + used.system:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
