"""A time-out that stands still while nobody could hear the answer."""

import math
from collections.abc import Generator
from contextlib import contextmanager

import anyio

__all__ = ["Patience"]


class Patience:
    """How long an answer is waited for, by one task, while another one may be kept from reading it."""

    def __init__(self) -> None:
        self._scope = anyio.CancelScope()
        self._seconds = math.inf
        """What is left of the time-out when the pause ends."""
        self._is_paused = False

    @contextmanager
    def of(self, seconds: float) -> Generator[anyio.CancelScope, None, None]:
        """Cancel what is in the block after so many seconds, pauses not counted."""
        self._seconds = seconds
        deadline = math.inf if self._is_paused else anyio.current_time() + seconds
        with anyio.CancelScope(deadline=deadline) as self._scope:
            yield self._scope

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """Within this block no time passes."""
        if self._scope.deadline < math.inf:
            self._seconds = self._scope.deadline - anyio.current_time()
        self._scope.deadline = math.inf
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False
            self._scope.deadline = anyio.current_time() + self._seconds
