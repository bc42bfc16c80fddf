"""The command line is run as users run it: in processes of its own, in real time."""

import socket
from collections.abc import Generator

import pytest
from tests.cli.program import Exchange, Program


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def backend(anyio_backend: str) -> str:
    """The value of ``--backend``, and where a test runs something itself also what that runs on."""
    return anyio_backend


@pytest.fixture(autouse=True)
def programs() -> Generator[None, None, None]:
    with Program.ended_with():
        yield


@pytest.fixture(scope="session")
def exchange() -> Generator[Exchange, None, None]:
    """One that is there all the time. A test that needs to kill one starts its own."""
    with Program.ended_with():
        yield Exchange("--rate", "500")


@pytest.fixture
def silent_port() -> Generator[int, None, None]:
    """A port of this machine that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
