"""Everything that is checked, measured or shown, one session each; ``nox -l`` lists them.

``nox`` alone runs what must pass before a change lands; ``nox -s full`` runs what continuous integration runs beside
the tests.

What is installed is pinned: ``constraints.txt`` for what this project needs, a file for each of the other clients in
``tests/peers/constraints``. ``nox -s relock`` compiles them anew. What Autobahn's suite needs on Python 2.7 is pinned
in ``tests/autobahn``, by hand.
"""

import json
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
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = False
nox.options.stop_on_first_error = True
nox.options.sessions = ["lint", "types", "tests", "docs"]

# What `full` runs, with the arguments that make a session short.
FULL: dict[str, list[str]] = {
    "lint": [],
    "types": [],
    "docs": [],
    "pythons": [],
    "coverage": ["--hypothesis-profile=quick"],
    "bench": [],
    "fuzz": [],
    "peers": [],
    "autobahn": ["--short"],
    "soak": ["6"],
    "machines": ["--examples", "100"],
    "long": ["--hypothesis-profile=hundreds"],
    "mutants": ["--sample", "30"],
}

# Containers like to set this. Here it would have each of hundreds of programs compile the same modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PROJECT = nox.project.load_toml("pyproject.toml")
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
SUPPORTED = ("3.11", "3.12", "3.13")
PINS = "constraints.txt"
PEER_PINS = Path("tests/peers/constraints")
AUTOBAHN_PINS = "tests/autobahn/constraints.txt"


def _works(python: str | None) -> bool:
    """Version managers put stand-ins on the path that only say which version they lack."""
    return python is not None and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def _folders_of_pyenv(version: str) -> list[Path]:
    """Where pyenv has a Python of that version, the newest first."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return sorted(pyenv.glob(f"{version}.*/bin"), reverse=True)


def _found_pythons() -> list[str]:
    """The supported Pythons of this machine, those of pyenv included, and the one that runs nox."""
    found = []
    for version in SUPPORTED:
        name = f"python{version}"
        for folder in _folders_of_pyenv(version):
            if not _works(shutil.which(name)) and _works(str(folder / name)):
                os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        if version == HERE or _works(shutil.which(name)):
            found.append(version)
    return found if HERE in SUPPORTED else [*found, HERE]


PYTHONS = _found_pythons()
OTHERS = [version for version in PYTHONS if version != HERE]


def _uv() -> str:
    """Where uv is: beside nox, or on the path."""
    found = shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    assert found is not None, "install it: pip install -c constraints.txt uv"  # noqa: S101
    return found


def _install(
    session: nox.Session, *groups: str, extras: str = "cli,testing", editable: bool = True, pins: str | None = PINS
) -> None:
    """Install the project with its extras and some of its dependency groups. What builds it is pinned, too."""
    pinned = ("-c", pins, "-b", pins) if pins else ()
    needed = nox.project.dependency_groups(PROJECT, *groups)
    session.install("-q", *pinned, *(("-e",) if editable else ()), f".[{extras}]", *needed)


def _pytest(session: nox.Session, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run tests. More workers than there may be cores: much of what tests of sockets and programs take is waiting."""
    session.run("pytest", "-q", "-n3", "--dist=worksteal", *arguments, env={"COLUMNS": "120", **(env or {})})


@nox.session
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
    session.run("lint-imports", "--no-cache", "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy in strict mode and pyright, the public names' inferred types included."""
    _install(session, "types", "bench", "nox")
    session.run("mypy")
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests against the built package, not the source tree. Arguments after ``--`` go to pytest."""
    _install(session, "tests", editable=False)
    _pytest(session, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error. Its examples run among the tests."""
    _install(session, "docs")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session(venv_backend="none")
def full(session: nox.Session) -> None:
    """Run the sessions that take longer, in short forms. The first that fails ends it."""
    for name, arguments in FULL.items():
        versions = [f"-{version}" for version in OTHERS] if name == "pythons" else [""]
        for version in versions:
            session.notify(f"{name}{version}", arguments)


# The tests that can tell one Python from another: those of tasks, clocks and sockets.
TELLING = [
    *(f"tests/unit/test_{name}.py" for name in ("channel", "ledger", "policies")),
    *(f"tests/live/test_{name}.py" for name in ("scopes", "callbacks", "watchdog", "block")),
    "tests/invariants",
    "tests/socket",
]


@nox.session(python=OTHERS)
def pythons(session: nox.Session) -> None:
    """On the other Pythons, run the tests that can tell a difference. Arguments after ``--`` choose other tests."""
    _install(session, "tests", editable=False)
    _pytest(session, "--hypothesis-profile=quick", *(session.posargs or TELLING))


@nox.session(python=PYTHONS[-1])
def coverage(session: nox.Session) -> None:
    """Measure how much of each package's branches the tests take, and compare with the floors in pyproject.toml.

    It takes twice the time of the tests; ``--hypothesis-profile=quick`` after ``--`` draws fewer examples.
    """
    _install(session, "tests", "coverage")
    session.run("coverage", "erase")
    pytest = ("pytest", "-q", "-n3", "--dist=worksteal", *session.posargs)
    session.run("coverage", "run", "-m", *pytest, env={"COLUMNS": "120"})
    session.run("coverage", "combine", "-q")
    report = Path(session.create_tmp()) / "coverage.json"
    session.run("coverage", "json", "-q", "-o", str(report))
    below = _told_by_package(json.loads(report.read_text("utf-8"))["files"])
    if below:
        session.error(f"below the floor: {', '.join(below)}")


def _told_by_package(files: dict[str, dict[str, dict[str, int]]]) -> list[str]:
    """Print a table of the packages. Returns those that are below their floor."""
    floors: dict[str, float] = PROJECT["tool"]["upbit-streams"]["branch-coverage"]
    root = Path("src/upbit_streams")
    totals = {name: [0, 0, 0, 0] for name in floors}
    for file, measured in files.items():
        path = Path(file)
        package = path.relative_to(root).parts[0].removesuffix(".py") if path.is_relative_to(root) else ""
        name = package if package in floors else "client"
        for place, figure in enumerate(("covered_lines", "num_statements", "covered_branches", "num_branches")):
            totals[name][place] += measured["summary"][figure]
    print(f"{'package':<12} {'statements':>17} {'branches':>17} {'floor':>6}")
    below = []
    for name, (lines, of_lines, branches, of_branches) in totals.items():
        share, floor = 100 * branches / max(of_branches, 1), floors[name]
        statements = f"{lines} of {of_lines}"
        print(f"{name:<12} {statements:>17} {f'{branches} of {of_branches}':>17} {floor:>6} {share:6.1f}")
        if share < floor:
            below.append(name)
    return below


@nox.session(reuse_venv=False)
def latest(session: nox.Session) -> None:
    """Check style, types and tests with the newest of everything, without the pins: what will break next."""
    _install(session, "tests", "lint", "types", "bench", "nox", pins=None)
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("pyright")
    _pytest(session, *session.posargs)


@nox.session(python=PYTHONS[0], reuse_venv=False)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows: are its floors true?"""
    groups = [f"--group={name}" for name in ("tests", "bench")]
    session.install("-q", "--resolution=lowest-direct", "-b", PINS, "-r", "pyproject.toml", "--all-extras", *groups)
    session.install("-q", "--no-deps", "-b", PINS, "-e", ".")
    _pytest(session, *session.posargs)


@nox.session(venv_backend="none")
def relock(session: nox.Session) -> None:
    """Compile the pins anew, with the newest versions that pyproject.toml allows."""
    groups = PROJECT["dependency-groups"]
    ours = [f"--group={name}" for name in groups if not name.startswith("peer-")]
    _compile(session, PINS, "pyproject.toml", "--all-extras", "--only-binary=atheris", *ours)
    for name in PEERS:
        _compile(session, str(PEER_PINS / f"{name}.txt"), f"--group=peer-{name}")


def _compile(session: nox.Session, pins: str, *sources: str) -> None:
    """Pin what the sources need and all that comes with it, for every supported Python and every system."""
    how = ("--universal", f"--python-version={SUPPORTED[0]}", "--custom-compile-command=nox -s relock")
    session.run(_uv(), "pip", "compile", "-q", "-U", *how, *sources, "-o", pins, external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the path of a frame beside a bare loop, decoding beside untyped parsers, and what another stream costs.

    ``--full`` after ``--`` takes longer and varies less.
    """
    _install(session, "bench")
    for name in ("whole_path", "decode", "fanout"):
        session.run("python", "-m", f"benchmarks.{name}", *session.posargs)
    session.run("python", "-m", "benchmarks.memory", "--messages", "100000", "--backend", "asyncio")


@nox.session
def memory(session: nox.Session) -> None:
    """Flood slow consumers with five million messages, and see that memory stays flat. It takes some minutes."""
    _install(session, "bench")
    session.run("python", "-m", "benchmarks.memory", *session.posargs)


@nox.session
def neighbours(session: nox.Session) -> None:
    """Measure what a good consumer notices of a bad one on its connection, in real time. ``--full`` takes longer."""
    _install(session, "bench")
    session.run("python", "-m", "benchmarks.neighbours", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Let one connection suffer for a virtual day, and look at the others. It takes some minutes.

    A number after ``--`` is how many hours, instead of 24.
    """
    _install(session, "tests", editable=False)
    hours = session.posargs[0] if session.posargs else "24"
    _pytest(session, "tests/live/test_independence.py", env={"UPBIT_STREAMS_SOAK_HOURS": hours})


@nox.session
def long(session: nox.Session) -> None:
    """Look for a life that breaks an invariant, a thousand of them for each. It takes some minutes.

    Arguments after ``--`` go to pytest: ``--hypothesis-profile=hundreds`` is a short form.
    """
    _install(session, "tests", editable=False)
    _pytest(session, "--hypothesis-profile=long", *session.posargs, "tests/invariants")


@nox.session
def machines(session: nox.Session) -> None:
    """Drive a live manager through thousands of random lives, on both backends side by side. It takes some minutes.

    ``--examples 100`` after ``--`` is a short one, ``--backend trio`` one backend only.
    """
    _install(session, "tests")
    session.run("python", "-m", "tests.machine.long_run", *session.posargs)


# On the newest Python: to note which lines a test runs takes 3.12.
@nox.session(python=PYTHONS[-1])
def mutants(session: nox.Session) -> None:
    """Change the library in small ways, one at a time, and print how many of the changes a test notices.

    It takes 200 of some thousands, drawn with a seed, and some minutes; ``--sample 30`` after ``--`` is a short one.
    """
    if session.python == "3.11":
        session.skip("it needs Python 3.12 or newer, and this machine has none")
    _install(session, "tests")
    session.run("python", "-m", "tests.mutants.run", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Let both backends live through a month of faults, and write what came of it into the docs. It takes some minutes.

    Then live through a day twice, and compare the two byte for byte. ``-- --days 3 --seed 7`` does what is said there,
    and leaves the docs alone.
    """
    _install(session, "chaos", editable=False)
    folder = str(session.cache_dir / "chaos")
    for arguments in [session.posargs] if session.posargs else [["--docs", "docs"], ["--days", "1", "--check"]]:
        session.run("python", "-m", "tests.chaos.month", "--out", folder, *arguments)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the wire for a short while, guided by coverage. ``--seconds 600`` after ``--`` looks for longer."""
    try:
        # Compiling it takes clang's sources, so there has to be a wheel.
        session.install("-q", "-c", PINS, "--only-binary=atheris", *nox.project.dependency_groups(PROJECT, "fuzz"))
    except CommandFailed:
        session.skip(f"atheris has no wheel for this machine and Python {HERE}")
    _install(session, "fuzz")
    findings = str(session.cache_dir / "findings")
    session.run("python", "tests/fuzz/fuzz_wire.py", "--findings", findings, *session.posargs)


# Other people's clients, and the checks that use them, by the names of their files.
PEERS = {
    "upbit-sdk": ("upbit_sdk", "upbit_sdk_private", "upbit_sdk_models"),
    "pyupbit": ("pyupbit",),
    "ccxt": ("ccxt", "ccxt_private"),
    "cryptofeed": ("cryptofeed",),
}


# On the newest Python: for an older one cryptofeed would have to be compiled.
@nox.session(python=PYTHONS[-1])
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
        pythons = {name: _environment_of_peer(session, name) for name in PEERS}
        for name, checks in PEERS.items():
            for check in checks:
                read = frames if check == "upbit_sdk_models" else url
                session.run(pythons[name], f"tests/peers/check_{check}.py", read, env=key, external=True)
    finally:
        exchange.terminate()
        exchange.wait()
    clients = [f"{name.replace('-', '_')}={python}" for name, python in pythons.items()]
    session.run("python", "tests/peers/storm.py", *session.posargs, str(results / "storm.json"), *clients)


def _environment_of_peer(session: nox.Session, name: str) -> str:
    """An environment for that client alone: they disagree on versions. Returns its Python."""
    home = Path(session.virtualenv.location) / f"peer-{name}"
    python = str(home / ("Scripts" if os.name == "nt" else "bin") / "python")
    if not Path(python).exists():
        session.run(_uv(), "venv", "-q", "--python", str(Path(session.bin) / "python"), str(home), external=True)
    needed = nox.project.dependency_groups(PROJECT, f"peer-{name}")
    pins = str(PEER_PINS / f"{name}.txt")
    session.run(_uv(), "pip", "install", "-q", "--python", python, "-c", pins, *needed, external=True)
    return python


@nox.session(python=PYTHONS[-1])
def autobahn(session: nox.Session) -> None:
    """Let the default transport echo what Autobahn's test suite sends, beside plain websockets, on both backends.

    ``--short`` after ``--`` leaves out the cases of compression, which take nearly all the time; ``--only 12.1 7.1.5``
    chooses groups, parts of groups and cases. The suite needs a Python 2.7.
    """
    candidates = [shutil.which("python2.7"), *(str(folder / "python2.7") for folder in _folders_of_pyenv("2.7"))]
    python = next((path for path in candidates if path is not None and _works(path)), None)
    if python is None:
        session.skip("Autobahn's test suite needs a Python 2.7, and this machine has none")
    _install(session)
    # uv knows no Python 2.7, and neither does the virtualenv that nox needs.
    session.install("-q", "-c", AUTOBAHN_PINS, "virtualenv")
    home = Path(session.virtualenv.location) / "suite"
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    if not (programs / "python").exists():
        session.run("virtualenv", "-q", "-p", python, str(home))
    # Twice quiet, as pip would warn of how old all this is.
    needed = ("-qq", "--disable-pip-version-check", "-c", AUTOBAHN_PINS, "autobahntestsuite")
    try:
        session.run(str(programs / "python"), "-m", "pip", "install", *needed, external=True)
    except CommandFailed:
        # Parts of it have to be compiled where there is no wheel of that age.
        session.skip("Autobahn's test suite cannot be installed on this machine; what pip says is above")
    session.run("python", "tests/autobahn/run_cases.py", str(programs / "wstest"), *session.posargs)
