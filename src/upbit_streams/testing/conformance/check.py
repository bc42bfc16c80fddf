"""What a check is, and what it says when it fails."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import attrs

from ...exceptions import ConnectionLostError
from ...transport.interface import Transport
from .stage import Stage

__all__ = ["Check", "ConformanceError", "Told", "check", "expect", "lost", "messages", "until_lost"]

_SECONDS = 10.0

Told = Callable[[Stage], Awaitable[None]]


class ConformanceError(AssertionError):
    """A transport does not do what every transport must. ``check`` is the name of the check."""

    def __init__(self, check: str, told: str) -> None:
        super().__init__(f"{check}: {told}")
        self.check = check


@attrs.frozen
class Check:
    """One thing that every transport must do."""

    name: str
    must: str
    """The same as a sentence: what a transport must do."""
    over_bytes: bool
    """Whether it needs a stage whose other side is played byte by byte."""
    _run: Told = attrs.field(repr=False)

    async def __call__(self, stage: Stage) -> None:
        """Run it. Raises :class:`ConformanceError`. It takes some seconds at most. Cancelling it leaves nothing open,
        if the transport does not."""
        trouble: BaseException
        try:
            with anyio.fail_after(_SECONDS):
                await self._run(stage)
            return
        except Exception as why:  # noqa: BLE001 -- told below
            trouble = _first(why)
        if isinstance(trouble, _Failed):
            raise ConformanceError(self.name, f"{self.must} {trouble}") from None
        told = f"not done after {_SECONDS:g} s" if isinstance(trouble, TimeoutError) else repr(trouble)
        raise ConformanceError(self.name, f"{self.must} It ended with: {told}") from trouble

    def __str__(self) -> str:
        return self.name


class _Failed(Exception):  # noqa: N818 -- never leaves a check
    pass


def check(*, over_bytes: bool) -> Callable[[Told], Check]:
    """Make a check of a function. Its name is the function's, and what it says its docstring."""

    def made(run: Told) -> Check:
        return Check(run.__name__, " ".join((run.__doc__ or "").split()), over_bytes, run)

    return made


def expect(condition: object, otherwise: str) -> None:
    """Fail with a sentence unless a condition holds."""
    if not condition:
        raise _Failed(otherwise)


async def messages(transport: Transport, count: int) -> list[bytes]:
    """The next messages, at least so many of them."""
    received: list[bytes] = []
    while len(received) < count:
        batch = await transport.receive()
        expect(batch, "receive() returned nothing at all.")
        received += [_bytes(message) for message in batch]
    return received


async def until_lost(transport: Transport) -> tuple[list[bytes], ConnectionLostError]:
    """All that still comes, and how the connection ends."""
    received: list[bytes] = []
    while True:
        try:
            received += await messages(transport, 1)
        except ConnectionLostError as why:
            return received, why


async def lost(attempt: Callable[[], Awaitable[Any]], what: str) -> ConnectionLostError:
    """The ``ConnectionLostError`` that an attempt must raise, and at once."""
    with anyio.move_on_after(2.0):
        try:
            await attempt()
        except ConnectionLostError as why:
            return why
        raise _Failed(f"{what} raised no ConnectionLostError.")
    raise _Failed(f"{what} hung.")


def _bytes(message: bytes | str) -> bytes:
    return message.encode() if isinstance(message, str) else bytes(message)


def _first(why: BaseException) -> BaseException:
    while isinstance(why, BaseExceptionGroup):
        why = why.exceptions[0]
    return why
