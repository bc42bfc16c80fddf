"""Everything that is checked, measured or shown, one session each; ``nox -l`` lists them.

``nox`` alone runs what must pass before a change lands.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from string import ascii_letters, digits

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
# uv makes environments in a fraction of the time that pip takes; without it, pip does.
nox.options.default_venv_backend = "uv|venv"
nox.options.download_python = "never"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = False
nox.options.stop_on_first_error = True
nox.options.sessions = ["lint", "types", "tests", "docs", "bench", "fuzz", "peers"]

# Containers like to set this. Here it would have each of hundreds of programs compile the same modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = ("3.11", "3.12", "3.13")


def _works(python: str | None) -> bool:
    """Version managers put stand-ins on the path that only say which version they lack."""
    return python is not None and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def _found_pythons() -> list[str]:
    """The supported Pythons of this machine, those of a version manager included."""
    found = []
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in SUPPORTED:
        name = f"python{version}"
        if not _works(shutil.which(name)):
            for folder in sorted(pyenv.glob(f"{version}.*/bin"), reverse=True):
                if _works(str(folder / name)):
                    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
                    break
        if _works(shutil.which(name)) or version == f"{sys.version_info[0]}.{sys.version_info[1]}":
            found.append(version)
    return found


PYTHONS = _found_pythons()
NEWEST = PYTHONS[-1]


TELLING = [
    *(f"tests/unit/test_{name}.py" for name in ("channel", "ledger", "policies")),
    *(f"tests/live/test_{name}.py" for name in ("invariants", "scopes", "callbacks", "watchdog", "block")),
    "tests/socket",
]


def _install(session: nox.Session, *groups: str, extras: str = "cli,testing", editable: bool = True) -> None:
    """Install the project with its extras and some of its dependency groups."""
    needed = nox.project.dependency_groups(PROJECT, *groups) if groups else ()
    session.install("-q", *(("-e",) if editable else ()), f".[{extras}]", *needed)


@nox.session(python=NEWEST)
def demo(session: nox.Session) -> None:
    """Show a simulated exchange's live data for a short while. Ctrl-C ends it sooner."""
    _install(session, extras="cli")
    arguments = session.posargs or ["--duration", "20"]
    session.run(
        "upbit-streams", "watch", "KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL", "BTC-ETH", "USDT-BTC",
        "--type", "ticker", "--type", "trade", "--type", "orderbook", "--type", "candle.1s",
        "--simulate", *arguments,
        interrupt_timeout=10.0, terminate_timeout=5.0, success_codes=[0, 130],
    )  # fmt: skip


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests against the built package, not the source tree. Arguments after ``--`` go to pytest."""
    _install(session, "tests", editable=False)
    # All of them run on one Python. On the others those run that could tell a difference: of tasks, clocks and sockets.
    newest = session.python == NEWEST
    chosen = session.posargs or ([] if newest else TELLING)
    profile = "default" if newest else "quick"
    # More workers than there may be cores: much of what the tests of sockets and programs take is waiting.
    session.run("pytest", "-n3", "--dist=worksteal", f"--hypothesis-profile={profile}", *chosen, env={"COLUMNS": "120"})


@nox.session(python=NEWEST)
def lint(session: nox.Session) -> None:
    """Style, asynchronous pitfalls, and the floors."""
    _install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    # Not the tests: they do on purpose what this warns of. And it takes its time, also where it has nothing to look at.
    modules = [
        str(path)
        for folder in ("src", "benchmarks")
        for path in Path(folder).rglob("*.py")
        if re.search(r"\basync\b|anyio", path.read_text("utf-8"))
    ]
    session.run("flake8-async", "--enable=ASYNC", *modules)
    session.run("lint-imports", "--no-cache")


@nox.session(python=NEWEST)
def types(session: nox.Session) -> None:
    """Mypy in strict mode and pyright, the public names' inferred types included."""
    _install(session, "types", "bench")
    session.install("-q", "nox")
    session.run("mypy")
    session.run("pyright")


@nox.session(python=NEWEST)
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error. Its examples run among the tests."""
    _install(session, "docs")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session(python=NEWEST)
def bench(session: nox.Session) -> None:
    """Measure the path of a frame beside a bare loop, decoding beside untyped parsers, and what another stream costs.

    ``--full`` after ``--`` takes longer and varies less.
    """
    _install(session, "bench")
    for name in ("whole_path", "decode", "fanout"):
        session.run("python", "-m", f"benchmarks.{name}", *session.posargs)
    session.run("python", "-m", "benchmarks.memory", "--messages", "100000", "--backend", "asyncio")


@nox.session(python=NEWEST)
def memory(session: nox.Session) -> None:
    """Flood slow consumers with five million messages, and see that memory stays flat. It takes some minutes."""
    _install(session, "bench")
    session.run("python", "-m", "benchmarks.memory", *session.posargs)


@nox.session(python=NEWEST)
def neighbours(session: nox.Session) -> None:
    """Measure what a good consumer notices of a bad one on its connection, in real time. ``--full`` takes longer."""
    _install(session, "bench")
    session.run("python", "-m", "benchmarks.neighbours", *session.posargs)


@nox.session(python=NEWEST)
def soak(session: nox.Session) -> None:
    """Let one connection suffer for a virtual day, and look at the others. It takes some minutes."""
    _install(session, "tests", editable=False)
    hours = {"UPBIT_STREAMS_SOAK_HOURS": "24"}
    session.run("pytest", "-n2", "--dist=load", "tests/live/test_independence.py", *session.posargs, env=hours)


@nox.session(python=NEWEST)
def machines(session: nox.Session) -> None:
    """Drive a live manager through thousands of random lives, on both backends side by side. It takes some minutes.

    ``--examples 100`` after ``--`` is a short one, ``--backend trio`` one backend only.
    """
    _install(session, "tests")
    session.run("python", "-m", "tests.machine.long_run", *session.posargs)


@nox.session(python=NEWEST)
def mutants(session: nox.Session) -> None:
    """Change the library in small ways, one at a time, and print how many of the changes a test notices.

    It takes 200 of some thousands, drawn with a seed, and some minutes; ``--sample 30`` after ``--`` is a short one.
    """
    _install(session, "tests")
    session.run("python", "-m", "tests.mutants.run", *session.posargs)


@nox.session(python=NEWEST)
def chaos(session: nox.Session) -> None:
    """Let both backends live through a month of faults, and write what came of it into the docs. It takes some minutes.

    Then live through a day twice, and compare the two byte for byte. ``-- --days 3 --seed 7`` does what is said there,
    and leaves the docs alone.
    """
    _install(session, "chaos", editable=False)
    folder = str(session.cache_dir / "chaos")
    for arguments in [session.posargs] if session.posargs else [["--docs", "docs"], ["--days", "1", "--check"]]:
        session.run("python", "-m", "tests.chaos.month", "--out", folder, *arguments)


def _uv() -> str | None:
    """Where uv is: beside nox, or on the path."""
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return shutil.which("uv", path=beside)


def _environment(session: nox.Session, home: Path, base: str) -> str:
    """Make an environment with that Python, if it is not there yet. Returns its Python."""
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        uv = _uv()
        # With pip, so that it can be used when uv is gone.
        make = (uv, "venv", "-q", "--seed", "--python", base) if uv else (base, "-m", "venv")
        session.run(*make, str(home), external=True)
    return str(python)


def _install_in(session: nox.Session, python: str, *arguments: str) -> None:
    """Install something in the environment of that Python."""
    uv = _uv()
    install = (uv, "pip", "install", "--python", python) if uv else (python, "-m", "pip", "install")
    session.run(*install, "-q", *arguments, external=True)


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Fuzz the wire for a short while, guided by coverage. ``--seconds 600`` after ``--`` looks for longer."""
    for version in reversed(PYTHONS):
        base = shutil.which(f"python{version}") or sys.executable
        python = _environment(session, session.cache_dir / f"fuzz-{version}", base)
        try:
            # Compiling it takes clang's sources, so there has to be a wheel.
            _install_in(session, python, "--only-binary", "atheris", "atheris")
        except CommandFailed:
            session.log(f"there is no atheris for Python {version} here")
            continue
        _install_in(session, python, "-e", ".")
        findings = str(session.cache_dir / "findings")
        session.run(python, "tests/fuzz/fuzz_wire.py", "--findings", findings, *session.posargs, external=True)
        return
    session.skip(f"atheris has no wheel for this machine and any of its Pythons ({', '.join(PYTHONS)})")


# Other people's clients: what to install, and the checks that use it, by the names of their files. Each client gets an
# environment of its own: they disagree on versions.
PEERS = {
    "upbit_sdk": ("upbit-sdk>=1.1,<2", "upbit_sdk", "upbit_sdk_private", "upbit_sdk_models"),
    "pyupbit": ("pyupbit>=0.2.34,<0.3", "pyupbit"),
    "ccxt": ("ccxt>=4.5,<5", "ccxt", "ccxt_private"),
    "cryptofeed": ("cryptofeed>=2.4,<4", "cryptofeed"),
}


@nox.session(python=NEWEST)
def peers(session: nox.Session) -> None:
    """Let other people's clients read from the simulated exchange, unchanged but for their URL and key; then let them
    and ours read from exchanges that go wrong, and print who storms.

    ``--full`` after ``--`` gives each client more time, and those who storm the machine to themselves: for figures.
    """
    _install(session, extras="cli")
    # The exchange opens an account for this key, and the clients log in with it.
    key = {
        name: "".join(secrets.choice(ascii_letters + digits) for _ in range(40))
        for name in ("UPBIT_ACCESS_KEY", "UPBIT_SECRET_KEY")
    }
    results = Path(session.create_tmp())
    frames = str(results / "frames.jsonl")
    session.run("python", "tests/peers/make_frames.py", frames)
    exchange = subprocess.Popen(
        [str(Path(session.bin) / "upbit-streams"), "exchange", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | key,
    )
    try:
        assert exchange.stdout is not None  # noqa: S101 -- it is a pipe, as asked for above
        url = exchange.stdout.readline().removeprefix("listening on ").strip()
        session.run("python", "tests/peers/check_nonce.py", url, env=key)
        pythons = {}
        for name, (requirement, *checks) in PEERS.items():
            base = str(Path(session.bin) / "python")
            python = pythons[name] = _environment(session, Path(session.virtualenv.location) / f"peer-{name}", base)
            _install_in(session, python, requirement)
            for check in checks:
                read = frames if check == "upbit_sdk_models" else url
                session.run(python, f"tests/peers/check_{check}.py", read, env=key, external=True)
    finally:
        exchange.terminate()
        exchange.wait()
    clients = [f"{name}={python}" for name, python in pythons.items()]
    session.run("python", "tests/peers/storm.py", *session.posargs, str(results / "storm.json"), *clients)
