"""Both backends in every test that waits, in virtual time. Tests over real sockets bring their own clock."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import hypothesis
import pytest

from upbit_streams.engine import connects
from upbit_streams.testing import SimulatedExchange, run, virtual_backend

# An example here is a whole run of the library with its own event loop, so what counts is not how long one takes.
# The fixtures below hold no state that examples could share. The same examples each time, so that a commit that is
# green today is green in a year; the profile `long` looks for new ones.
hypothesis.settings.register_profile(
    "default",
    deadline=None,
    max_examples=6,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "quick",
    hypothesis.settings.get_profile("default"),
    max_examples=4,
    phases=[hypothesis.Phase.generate],
)
for _name, _examples in (("hundreds", 200), ("long", 1000)):
    hypothesis.settings.register_profile(
        _name, hypothesis.settings.get_profile("default"), max_examples=_examples, derandomize=False
    )
hypothesis.settings.load_profile("default")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The backend of an asynchronous test."""
    return virtual_backend(request.param)


@pytest.fixture
def virtual_run(anyio_backend: Any) -> Callable[..., Any]:
    """Runs an asynchronous function in an event loop and a virtual time of its own: once for each Hypothesis
    example."""
    return partial(run, backend=anyio_backend[0])


@pytest.fixture(autouse=True)
def breaches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In every test, no exchange may report that a limit was broken or a nonce used twice; but for those that break
    them on purpose, which are marked."""
    told: list[list[str]] = []
    make = SimulatedExchange.__init__

    def noted(exchange: SimulatedExchange, *arguments: Any, **named: Any) -> None:
        make(exchange, *arguments, **named)
        told.append(exchange.breaches)

    monkeypatch.setattr(SimulatedExchange, "__init__", noted)
    yield
    if request.node.get_closest_marker("breaches") is None:
        assert [breach for one in told for breach in one] == []


@pytest.fixture(autouse=True)
def own_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test that lives in real time is a process of its own to the exchange: none waits for what another did."""
    monkeypatch.setattr(connects, "of_process", connects.Connects(time.monotonic))  # noqa: TID251 -- as there
