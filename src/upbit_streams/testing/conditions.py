"""What is wrong with the simulated exchange for a while: conditions, and blocks of whoever connects too often.

Values only; :mod:`.faults` puts them in force, the exchange and its sessions obey. Times are seconds.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime

import attrs

from ..model.kinds import Endpoint

__all__ = ["Block", "Condition", "Conditions", "Refusal", "RefusedWant"]

# A handshake that was on its way when another one was blocked could not know.
_ON_ITS_WAY = 0.1


class Refusal(Exception):  # noqa: N818 -- no error but an answer, and one that a test sets up
    """A handshake that the exchange answers with an HTTP status."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


@attrs.frozen
class RefusedWant:
    """A type, of one market or of all if ``code`` is empty, and the error frame for every request that asks for it."""

    type: str
    code: str
    name: str
    message: str

    def matches(self, type_name: str, code: str) -> bool:
        return self.type == type_name and self.code in ("", code)


@attrs.frozen(eq=False, kw_only=True)
class Condition:
    """What is wrong as long as it is in force, on one endpoint, or on all. Each is itself: two equal ones are two."""

    endpoint: Endpoint | None = None
    stalled: bool = False
    silent: bool = False
    """Sessions that begin now never say anything."""
    delay: float = 0.0
    """Frames arrive so many seconds late."""
    slow_close: float = 0.0
    """The exchange's part of a goodbye takes so many seconds."""
    skew: float = 0.0
    """The exchange's clock is so many seconds ahead."""
    refusal: Refusal | None = None
    """The answer to every handshake."""
    refused: RefusedWant | None = None
    """What no request may ask for."""


class Conditions:
    """Those in force."""

    def __init__(self) -> None:
        self._all: list[Condition] = []

    def add(self, condition: Condition) -> None:
        self._all.append(condition)

    def remove(self, condition: Condition) -> None:
        self._all.remove(condition)

    def is_stalled(self, endpoint: Endpoint) -> bool:
        return any(one.stalled for one in self._on(endpoint))

    def is_silent(self, endpoint: Endpoint) -> bool:
        return any(one.silent for one in self._on(endpoint))

    def delay(self, endpoint: Endpoint) -> float:
        return max((one.delay for one in self._on(endpoint)), default=0.0)

    def slow_close(self, endpoint: Endpoint) -> float:
        return max((one.slow_close for one in self._on(endpoint)), default=0.0)

    def skew(self, endpoint: Endpoint) -> float:
        return sum(one.skew for one in self._on(endpoint))

    def refusal(self, endpoint: Endpoint) -> Refusal | None:
        """The latest one's answer to a handshake."""
        return next((one.refusal for one in reversed(self._all) if one.refusal and _covers(one, endpoint)), None)

    def refused_wants(self, endpoint: Endpoint) -> list[RefusedWant]:
        """What no request may ask for."""
        return [one.refused for one in self._on(endpoint) if one.refused is not None]

    def _on(self, endpoint: Endpoint) -> Iterable[Condition]:
        # Nearly always there is none, and every look at every session comes by here.
        return [one for one in self._all if _covers(one, endpoint)] if self._all else ()


@attrs.define(eq=False)
class Block:
    """The next handshake is refused, and from then on every other one until the time is over; to try is a breach."""

    status: int
    seconds: float
    body: str
    """The answer's text, with ``{seconds}`` or ``{until}`` where the time shall stand."""
    endpoint: Endpoint | None = None
    until: float | None = attrs.field(default=None, init=False)
    """In seconds since the Unix epoch; None before anybody was told."""
    _began: float = attrs.field(default=0.0, init=False)

    def covers(self, endpoint: Endpoint) -> bool:
        return _covers(self, endpoint)

    def is_over(self, now: float) -> bool:
        return self.until is not None and now >= self.until

    def is_known(self, now: float) -> bool:
        """Whether who connects now could have known."""
        return self.until is not None and now > self._began + _ON_ITS_WAY

    def refused(self, now: float) -> Refusal:
        """The answer to a handshake. The first begins the block."""
        if self.until is None:
            self._began, self.until = now, now + self.seconds
        until = datetime.fromtimestamp(math.ceil(self.until), UTC).isoformat()
        left = str(math.ceil(self.until - now))
        return Refusal(self.status, self.body.replace("{seconds}", left).replace("{until}", until))


def _covers(one: Condition | Block, endpoint: Endpoint) -> bool:
    return one.endpoint in (None, endpoint)
