"""Lets clients read from exchanges that go wrong, ours beside other people's, and prints who does what.

Usage: ``python storm.py [--full] RESULT.json CLIENT=PYTHON ...``, with the clients' names as in ``storm_client.py``,
and for each the Python that has it

For every client and scenario: the connects made in three seconds, how it ended for the user, what the user saw, and the
seconds of CPU. The file gets the same as JSON. Ours must keep to the exchange's limit of five connects a second, back
off, and go on; of the others it is told what they do. With ``--full`` they get six seconds, and those who storm get
them one after the other, so that their figures can be compared.
"""

# Runs in the environment that has this project, and prints its result.

import json
import os
import platform
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table
from storm_exchange import SCENARIOS

HERE = Path(__file__).parent
SECONDS, FULL = 3, 6
PATIENCE = 60.0
OURS = ("asyncio", "trio")
QUIET = {*OURS, "upbit_sdk"}
"""These leave the processor to one another, so they run side by side. So do the others after them, as what they do is
not judged; for figures they run one after the other."""
PER_SECOND = 5
IN_ALL = 12
"""Waits that are drawn up to 0.5, 1, 2, 4, 8, 16 and 30 s add up to six seconds in five connects on average, and in ten
or more in none of a million runs. Whoever only keeps to the limit makes fifteen in three seconds."""


class Exchanges:
    """The exchanges: one for each client and scenario."""

    def __init__(self, clients: Iterable[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "storm_exchange.py"), *clients], stdout=subprocess.PIPE, text=True
        )
        self.urls = self._line()

    def connects(self) -> dict:
        """When each client tried to connect in each scenario. It ends the exchanges."""
        self._process.terminate()
        return self._line()

    def kill(self) -> None:
        """End them, whatever they do."""
        self._process.kill()
        self._process.wait()

    def _line(self) -> dict:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


class Client:
    """A client that is ready to begin."""

    def __init__(self, name: str, python: str, seconds: int, urls: dict) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [python, str(HERE / "storm_client.py"), name, str(seconds), json.dumps(urls)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self) -> None:
        """Let it watch."""
        assert self._process.stdin is not None
        self._process.stdin.write("begin\n")
        self._process.stdin.flush()

    def told(self) -> dict:
        """Wait for its end. Returns what it has told."""
        written, _ = self._process.communicate(timeout=PATIENCE)
        if self._process.returncode:
            sys.exit(f"storm: {self.name} could not be run")
        return json.loads(written)

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()


def most_in_a_second(times: list) -> int:
    """The largest number of connects within any second."""
    times = sorted(times)
    return max((bisect_left(times, begin + 1.0) - number for number, begin in enumerate(times)), default=0)


def measure(pythons: dict, *, full: bool) -> dict:
    """Run them all."""
    seconds = FULL if full else SECONDS
    with ExitStack() as stack:
        exchanges = Exchanges(pythons)
        stack.callback(exchanges.kill)
        clients = [Client(name, python, seconds, exchanges.urls[name]) for name, python in pythons.items()]
        for client in clients:
            stack.callback(client.kill)
        noisy = [client for client in clients if client.name not in QUIET]
        rounds = [[client for client in clients if client.name in QUIET]]
        rounds += [[client] for client in noisy] if full else [noisy]
        told = {}
        for together in rounds:
            for client in together:
                client.begin()
            told |= {client.name: client.told() for client in together}
        for name, scenarios in exchanges.connects().items():
            for scenario, times in scenarios.items():
                told[name]["scenarios"][scenario] |= {"connects": len(times), "in_a_second": most_in_a_second(times)}
    return {name: told[name] for name in pythons}


def show(clients: dict, *, seconds: int) -> None:
    """Print the table."""
    table = Table(title=f"Connects in {seconds} s (most in a second), what the user sees, and seconds of CPU")
    for column in ("client", *SCENARIOS):
        table.add_column(column, overflow="fold")
    for client, result in clients.items():
        which = f"upbit-streams\n{client}" if client in OURS else f"{client}\n{result['version']}"
        table.add_row(which, *map(cell, result["scenarios"].values()), end_section=True)
    Console(width=max(Console().width, 120)).print(table)


def cell(one: dict) -> str:
    """What a client did in a scenario, in four lines."""
    connects = f"[bold]{one['connects']:,}[/] ({one['in_a_second']})"
    return "\n".join([connects, one["outcome"], one["saw"], f"{one['cpu']:.2f} s"])


def check(client: str, result: dict) -> None:
    """Check that our own client has done what it promises."""
    for scenario, one in result["scenarios"].items():
        where = f"upbit-streams on {client}, {scenario}: {one}"
        if one["in_a_second"] > PER_SECOND:
            sys.exit(f"{where}: more than {PER_SECOND} connects within a second")
        if not 1 <= one["connects"] <= IN_ALL:
            sys.exit(f"{where}: it does not back off")
        if one["outcome"] != ("raises AuthenticationError" if scenario == "401" else "goes on"):
            sys.exit(f"{where}: its user should have seen something else")


def main() -> None:
    """Run the clients of the command line."""
    full = sys.argv[1:2] == ["--full"]
    file, *others = sys.argv[1 + full :] or [""]
    if not others:
        sys.exit(f"usage: {sys.argv[0]} [--full] RESULT.json CLIENT=PYTHON ...")
    pythons = dict.fromkeys(OURS, sys.executable) | dict(one.split("=", 1) for one in others)
    measured = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),  # of the minute before: who storms, storms as fast as the machine lets it
        "seconds": FULL if full else SECONDS,
    }
    clients = measure(pythons, full=full)
    Path(file).write_text(json.dumps(measured | {"clients": clients}, indent=1), "utf-8")
    show(clients, seconds=measured["seconds"])
    for client in OURS:
        check(client, clients[client])
    print(f"storm: ours keeps to the limit and backs off, the figures are in {file}, ok")


if __name__ == "__main__":
    main()
