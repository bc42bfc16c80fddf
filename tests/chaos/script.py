"""What goes wrong in a month: incidents drawn from a seed, of every kind that the simulated exchange knows."""

from collections.abc import Callable, Iterator, Mapping
from random import Random

import attrs

from upbit_streams import Endpoint
from upbit_streams.testing import (
    Ban,
    Close,
    Delay,
    Drop,
    Duplicate,
    ErrorFrame,
    Fault,
    Garbage,
    Late,
    Refuse,
    RefuseLogin,
    Reset,
    SilentAccept,
    Skew,
    SlowClose,
    Stall,
    TooManyConnects,
)

__all__ = ["KINDS", "WEIGHTS", "Incident", "incidents"]


@attrs.frozen
class Incident:
    """One thing that goes wrong: a fault, and where it needs one, the loss of the connections that makes it felt."""

    at: float
    """Seconds after the script began."""
    kind: str
    endpoint: Endpoint | None
    faults: tuple[Fault, ...]


def incidents(seed: int, seconds: float, pause: float) -> Iterator[Incident]:
    """Incidents for so many seconds, ``pause`` seconds apart on average, as independent accidents are. The same seed
    gives the same ones."""
    rng = Random(f"chaos:{seed}")
    at = 0.0
    while True:
        at += rng.expovariate(1 / pause)
        if at >= seconds:
            return
        kind = rng.choices(KINDS, weights=list(WEIGHTS.values()))[0]
        endpoint = rng.choice([None, Endpoint.PUBLIC, Endpoint.PRIVATE])
        if kind in (TooManyConnects, Ban):
            endpoint = None  # the exchange counts connects by address, not by endpoint
        elif kind is RefuseLogin:
            endpoint = Endpoint.PRIVATE  # nobody logs in anywhere else
        # Nobody sees the answer to a handshake who need not connect, and no goodbye is slow that nobody says.
        lost: tuple[Fault, ...] = (rng.choice(_LOSSES)(endpoint=endpoint),) if kind in _NEEDS_LOSS else ()
        yield Incident(at, kind.__name__, endpoint, (_MADE[kind](rng, endpoint), *lost))


# A month has every kind of fault often enough to see what it does; those that lose a connection, which is what networks
# and servers do most, come more often than the rare ones.
WEIGHTS: Mapping[type[Fault], int] = {
    Drop: 13,
    Reset: 11,
    Close: 12,
    ErrorFrame: 5,
    Garbage: 8,
    Duplicate: 8,
    Late: 6,
    Skew: 6,
    Delay: 8,
    SlowClose: 5,
    Stall: 6,
    Refuse: 3,
    TooManyConnects: 4,
    Ban: 2,
    RefuseLogin: 1,
    SilentAccept: 2,
}
KINDS = tuple(WEIGHTS)
_NEEDS_LOSS = (SlowClose, Refuse, TooManyConnects, Ban, RefuseLogin, SilentAccept)
_LOSSES = (Drop, Reset, Close)
_BODIES = (
    '{"error":{"name":"too_many_requests","message":"Blocked for {seconds} seconds."}}',
    '{"error":{"name":"too_many_requests","message":"{seconds}초 동안 요청이 제한됩니다."}}',
    '{"blocked_until":"{until}"}',
)


def _lasts(rng: Random) -> float:
    """Mostly seconds, sometimes a minute or two."""
    return float(min(rng.expovariate(1 / 20), 120.0))


_MADE: Mapping[type[Fault], Callable[[Random, Endpoint | None], Fault]] = {
    Drop: lambda rng, endpoint: Drop(endpoint=endpoint),
    Reset: lambda rng, endpoint: Reset(endpoint=endpoint),
    Close: lambda rng, endpoint: Close(endpoint=endpoint, code=rng.choice([1000, 1001, 1011])),
    ErrorFrame: lambda rng, endpoint: ErrorFrame(
        endpoint=endpoint, name=rng.choice(["WRONG_FORMAT", "TOO_MANY_REQUEST", "NEW_NAME"])
    ),
    Garbage: lambda rng, endpoint: Garbage(endpoint=endpoint, data=rng.choice([b"", b"{", b"\xff", b'{"type":7}'])),
    Duplicate: lambda rng, endpoint: Duplicate(endpoint=endpoint),
    Late: lambda rng, endpoint: Late(endpoint=endpoint, frames=rng.randint(1, 4)),
    Skew: lambda rng, endpoint: Skew(endpoint=endpoint, lasts=_lasts(rng), seconds=rng.uniform(-60.0, 60.0)),
    Delay: lambda rng, endpoint: Delay(endpoint=endpoint, lasts=_lasts(rng), seconds=rng.choice([0.05, 1.0, 10.0])),
    SlowClose: lambda rng, endpoint: SlowClose(endpoint=endpoint, lasts=_lasts(rng), seconds=rng.uniform(0.5, 5.0)),
    Stall: lambda rng, endpoint: Stall(endpoint=endpoint, lasts=_lasts(rng)),
    Refuse: lambda rng, endpoint: Refuse(endpoint=endpoint, lasts=_lasts(rng), status=rng.choice([500, 503])),
    TooManyConnects: lambda rng, endpoint: TooManyConnects(),
    Ban: lambda rng, endpoint: Ban(seconds=rng.choice([1.0, 10.0, 60.0]), body=rng.choice(_BODIES)),
    RefuseLogin: lambda rng, endpoint: RefuseLogin(endpoint=endpoint, lasts=_lasts(rng)),
    SilentAccept: lambda rng, endpoint: SilentAccept(endpoint=endpoint, lasts=_lasts(rng)),
}
