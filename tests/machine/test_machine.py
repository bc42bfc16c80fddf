"""Everything at once, in any order, on both backends, in virtual time; and every invariant after every step."""

from typing import Any

from hypothesis import settings
from tests.machine.feed_machine import FeedMachine, run_machine


def test_the_invariants_hold_whatever_clients_and_the_exchange_do(anyio_backend: Any) -> None:
    class Machine(FeedMachine):
        backend = anyio_backend[0]

    run_machine(Machine, settings(max_examples=20, stateful_step_count=50))
