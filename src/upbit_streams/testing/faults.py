"""What can go wrong with an exchange, as data: a script of faults, and the player that lets them happen.

Both fronts of :class:`~.exchange.SimulatedExchange` obey the same script. Times are seconds; ``endpoint`` None is all
of them. A fault strikes the sessions that are open, or it is a condition that lasts.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from itertools import count

import anyio
import attrs

from ..exceptions import UsageError
from ..model.kinds import Endpoint
from .conditions import Block, Condition, Refusal, RefusedWant
from .exchange import SimulatedExchange
from .session import Session

__all__ = [
    "Ban",
    "Close",
    "Delay",
    "Drop",
    "Duplicate",
    "ErrorFrame",
    "Fault",
    "Forget",
    "Garbage",
    "Late",
    "Player",
    "Refuse",
    "RefuseLogin",
    "RefuseWant",
    "Reset",
    "SilentAccept",
    "Skew",
    "SlowClose",
    "Stall",
    "TooManyConnects",
    "play",
]


def _time(_: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    if not 0 <= value < math.inf:
        raise UsageError(f"{attribute.name} of a fault must be a number of seconds, not {value!r}")


@attrs.frozen(kw_only=True)
class Fault:
    """Something that goes wrong."""

    after: float = attrs.field(default=0.0, validator=_time)
    """Seconds after the fault before it in the script began, or after the script did."""
    endpoint: Endpoint | None = None
    """Where; None is everywhere."""

    def strike(self, exchange: SimulatedExchange, now: float) -> None:
        """Let it happen."""
        for session in exchange.sessions_of(self.endpoint):
            self._strike(session, now)

    def _strike(self, session: Session, now: float) -> None:
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class Lasting(Fault):
    """Something that is wrong for a while."""

    lasts: float = attrs.field(default=5.0, validator=_time)
    """For so many seconds."""

    def condition(self) -> Condition:
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class Drop(Fault):
    """The sockets end without a close frame."""

    def _strike(self, session: Session, now: float) -> None:
        session.end(now)


@attrs.frozen(kw_only=True)
class Reset(Fault):
    """The sockets are reset in the middle of a frame. In memory, where there are no halves of frames, it is a
    :class:`Drop`."""

    def _strike(self, session: Session, now: float) -> None:
        session.end(now, torn=True)


@attrs.frozen(kw_only=True)
class Close(Fault):
    """The exchange says goodbye."""

    code: int = 1000

    def _strike(self, session: Session, now: float) -> None:
        session.end(now, self.code)


@attrs.frozen(kw_only=True)
class ErrorFrame(Fault):
    """The exchange says that a request was wrong, and closes."""

    name: str = "WRONG_FORMAT"
    message: str = "Wrong format."

    def _strike(self, session: Session, now: float) -> None:
        session.refuse(now, self.name, self.message)


@attrs.frozen(kw_only=True)
class Garbage(Fault):
    """A frame that means nothing."""

    data: bytes = b"\xff\x00 garbage"

    def _strike(self, session: Session, now: float) -> None:
        session.say(self.data)


@attrs.frozen(kw_only=True)
class Duplicate(Fault):
    """The last frame comes once more."""

    def _strike(self, session: Session, now: float) -> None:
        session.repeat()


@attrs.frozen(kw_only=True)
class Forget(Fault):
    """The sessions' subscription to a type is lost, in one market or in all if there is no ``code``. Nobody is told."""

    type: str
    code: str = ""

    def _strike(self, session: Session, now: float) -> None:
        session.forget(now, self.type, self.code)


@attrs.frozen(kw_only=True)
class Late(Fault):
    """The next request takes effect late: so many frames of the one before still come, or it takes a second (protocol
    section 2.3). In a busy market there may be a few more."""

    frames: int = 2

    def _strike(self, session: Session, now: float) -> None:
        session.take_next_request_late(self.frames)


@attrs.frozen(kw_only=True)
class Stall(Lasting):
    """The sockets stay open, and nothing comes through, not even pongs."""

    def condition(self) -> Condition:
        return Condition(endpoint=self.endpoint, stalled=True)


@attrs.frozen(kw_only=True)
class Delay(Lasting):
    """Every frame takes longer. None overtakes another, so those after the end may be late too."""

    seconds: float = attrs.field(default=1.0, validator=_time)

    def condition(self) -> Condition:
        return Condition(endpoint=self.endpoint, delay=self.seconds)


@attrs.frozen(kw_only=True)
class SilentAccept(Lasting):
    """Who connects meanwhile is let in, has its pings answered, and never hears anything, as long as it stays."""

    def condition(self) -> Condition:
        return Condition(endpoint=self.endpoint, silent=True)


@attrs.frozen(kw_only=True)
class SlowClose(Lasting):
    """The exchange's part of every goodbye takes so many seconds."""

    seconds: float = attrs.field(default=2.0, validator=_time)

    def condition(self) -> Condition:
        return Condition(endpoint=self.endpoint, slow_close=self.seconds)


@attrs.frozen(kw_only=True)
class Skew(Lasting):
    """The exchange's clock is so many seconds ahead, or behind if negative: the time stamps of its events are, and keys
    expire by it. Nothing happens sooner or later for it."""

    seconds: float = 5.0

    def condition(self) -> Condition:
        return Condition(endpoint=self.endpoint, skew=self.seconds)


@attrs.frozen(kw_only=True)
class Refuse(Lasting):
    """Handshakes are answered with an HTTP status."""

    status: int = 503
    body: str = "maintenance"

    def condition(self) -> Condition:
        return Condition(endpoint=self.endpoint, refusal=Refusal(self.status, self.body))


@attrs.frozen(kw_only=True)
class RefuseLogin(Refuse):
    """Handshakes are answered as if the key were wrong."""

    status: int = 401
    body: str = '{"error":{"name":"jwt_verification","message":"The token could not be verified."}}'


@attrs.frozen(kw_only=True)
class RefuseWant(Lasting):
    """Every request that asks for a type, in one market or in any if there is no ``code``, is answered with an error
    frame and a close, whatever else it asks for."""

    type: str
    code: str = ""
    name: str = "INVALID_PARAM"
    message: str = "It is not supported."

    def condition(self) -> Condition:
        return Condition(endpoint=self.endpoint, refused=RefusedWant(self.type, self.code, self.name, self.message))


@attrs.frozen(kw_only=True)
class TooManyConnects(Fault):
    """The next handshake is answered with 429. Another one within a second is a breach of the limits."""

    status: int = 429
    seconds: float = attrs.field(default=1.0, validator=_time)
    body: str = "Too many connection requests."
    """With ``{seconds}`` or ``{until}``, an ISO time, where the answer says how long it takes."""

    def strike(self, exchange: SimulatedExchange, now: float) -> None:
        exchange.blocks.append(Block(self.status, self.seconds, self.body, self.endpoint))


@attrs.frozen(kw_only=True)
class Ban(TooManyConnects):
    """The next handshake is answered with 418, and so is every other one until the time is over. To try before is a
    breach of the limits."""

    status: int = 418
    seconds: float = attrs.field(default=30.0, validator=_time)
    body: str = '{"error":{"name":"too_many_requests","message":"Blocked for {seconds} seconds."}}'


class Player:
    """Plays a script on an exchange. Sans-IO: it is told the time, in seconds since the Unix epoch."""

    def __init__(self, script: Sequence[Fault], exchange: SimulatedExchange, now: float) -> None:
        self._exchange = exchange
        self._order = count()
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._in_force: list[Condition] = []
        for fault in script:
            now += fault.after
            self._plan(now, self._begin_of(fault))

    def advance(self, now: float) -> None:
        """Let happen what is due."""
        while self._due and self._due[0][0] <= now:
            at, _, happen = heapq.heappop(self._due)
            happen(at)
            for session in self._exchange.sessions_of(None):
                session.wake()

    def next_time(self) -> float:
        """When something happens next; infinity if nothing will any more."""
        return self._due[0][0] if self._due else math.inf

    def stop(self) -> None:
        """What has not happened yet, does not; what lasts, ends."""
        self._due.clear()
        for condition in self._in_force:
            self._exchange.conditions.remove(condition)
        self._in_force.clear()

    def _plan(self, at: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._due, (at, next(self._order), happen))

    def _begin_of(self, fault: Fault) -> Callable[[float], None]:
        if not isinstance(fault, Lasting):
            return lambda at: fault.strike(self._exchange, at)
        return lambda at: self._begin(fault.condition(), at + fault.lasts)

    def _begin(self, condition: Condition, until: float) -> None:
        self._exchange.conditions.add(condition)
        self._in_force.append(condition)
        self._plan(until, lambda _: self._end(condition))

    def _end(self, condition: Condition) -> None:
        self._exchange.conditions.remove(condition)
        self._in_force.remove(condition)


async def play(script: Sequence[Fault], exchange: SimulatedExchange, wall: Callable[[], float]) -> None:
    """Let the faults of a script happen, and return when all that lasts is over.

    ``wall`` tells seconds since the Unix epoch, as for :func:`memory_connector`. Cancelling it ends the script, and
    what lasts with it. A block of whoever connects stays as long as it was told.
    """
    player = Player(script, exchange, wall())
    try:
        while (due := player.next_time()) < math.inf:
            await anyio.sleep(max(due - wall(), 0.0))
            player.advance(wall())
    finally:
        player.stop()
