"""The simulated exchange, sans-IO: it is told the time and what clients send, and says what it answers and when.

It speaks the protocol as the fact sheet has it: a request replaces the one before, unknown codes meet silence, an
error frame is followed by a close with code 1000, a socket idle for 60 s is dropped without a word, the limits are
enforced. Its fronts, a real WebSocket server and an in-memory one, add nothing to that.

All times are seconds since the Unix epoch.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec

from ..model.events import Event, OrderbookEvent
from ..model.kinds import Format
from ..wire.encode import encode
from .grouping import shaped
from .requests import RequestError, Subscription, listing, parse_request
from .sources import Replay, Source

__all__ = ["Closing", "Refusal", "Session", "SimulatedExchange"]

_CONNECTS_PER_SECOND = 5
_MESSAGES_PER_SECOND = 5
_MESSAGES_PER_MINUTE = 100
_IDLE_SECONDS = 60.0
_CLOSE_AFTER_ERROR = 0.15
_UP_INTERVAL = 10.0
# What a session hears of the market once it is over.
_SILENCE = Replay(()).open()


class Refusal(Exception):  # noqa: N818 -- no error but an answer, and one that a test sets up
    """A handshake that the exchange answers with an HTTP status."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


@attrs.frozen
class Closing:
    """The exchange ends a session: with a close frame of this code, or without one if it is None."""

    code: int | None
    at: float


class SimulatedExchange:
    """One exchange, with as many sessions as clients open."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.sessions: set[Session] = set()
        self.connects: deque[float] = deque(maxlen=1000)
        """When clients tried to connect, the refused attempts included."""
        self.breaches: list[str] = []
        """Every time a client broke a limit, in words."""
        self.refusal: Refusal | None = None
        """Set it, and every handshake is refused with it."""

    def connect(self, now: float) -> "Session":
        """A client asks for a WebSocket. Raises :class:`Refusal`."""
        self.connects.append(now)
        if _within(self.connects, now, 1.0) > _CONNECTS_PER_SECOND:
            self.breaches.append(f"more than {_CONNECTS_PER_SECOND} connects within a second at {now:.3f}")
            raise Refusal(429, "Too many connection requests.")
        if self.refusal is not None:
            raise Refusal(self.refusal.status, self.refusal.body)
        session = Session(self, now)
        self.sessions.add(session)
        return session

    def end_sessions(self, now: float, code: int | None = None) -> None:
        """End every open session now: with a close frame of this code, or without any."""
        for session in tuple(self.sessions):
            session.end(now, code)

    def markets(self) -> list[dict[str, Any]]:
        """What ``GET /v1/market/all`` answers."""
        return [
            {"market": code, "korean_name": code.partition("-")[2], "english_name": code.partition("-")[2]}
            for code in self.source.codes
        ]


class Session:
    """One client's connection, after its handshake."""

    def __init__(self, exchange: SimulatedExchange, now: float) -> None:
        self._exchange = exchange
        self._feed = exchange.source.open()
        self._subscriptions: dict[tuple[str, str], list[Subscription]] = {}
        self._format = Format.DEFAULT
        self._pending: list[bytes] = []
        self._messages: deque[float] = deque(maxlen=_MESSAGES_PER_MINUTE + 1)
        self._last_traffic = now
        self._next_up = float("inf")
        self._closing: Closing | None = None
        self.wake: Callable[[], None] = lambda: None
        """Called when the session has something to say out of turn. Its front sets it."""

    def receive(self, now: float, message: str | bytes) -> None:
        """The client has sent a message."""
        self.touch(now)
        if self._closing is not None:
            return
        if message in ("PING", b"PING"):
            # One PING is enough for an answer at every tick of the server's clock, for the rest of the session's life.
            self._next_up = min(self._next_up, (now // _UP_INTERVAL + 1) * _UP_INTERVAL)
        else:
            self._request(now, message)
        self.wake()

    def touch(self, now: float) -> None:
        """The client has sent something, if only a ping."""
        self._last_traffic = max(self._last_traffic, now)

    def take(self, now: float) -> list[bytes]:
        """The frames that are due, in their order."""
        self._drop_if_idle(now)
        if self._closing is not None and self._closing.code is None:
            return []  # a socket that breaks takes with it what was not sent yet
        frames, self._pending = self._pending, []
        if self._closing is None:
            frames += self._realtime_frames(now)
            if now >= self._next_up:
                self._next_up += _UP_INTERVAL
                frames.append(b'{"status":"UP"}')
            if self._feed.overflowed:
                self.end(now)
        if frames:
            self.touch(now)
        return frames

    def next_time(self) -> float:
        """When to ask again, if nothing happens before."""
        if self._closing is not None:
            return self._closing.at
        return min(self._feed.next_time(), self._next_up, self._last_traffic + _IDLE_SECONDS)

    def ended(self, now: float) -> Closing | None:
        """How the exchange ends this session, once it is time."""
        self._drop_if_idle(now)
        closing = self._closing
        return closing if closing is not None and now >= closing.at else None

    def end(self, at: float, code: int | None = None) -> None:
        """Let the exchange end this session: with a close frame of this code, or without any."""
        if self._closing is None:
            self._closing = Closing(code, at)
            self.wake()

    def close(self) -> None:
        """The connection is gone. Nothing more is heard or said, however long somebody keeps this session."""
        self._exchange.sessions.discard(self)
        self._closing = Closing(None, float("-inf"))
        self._feed = _SILENCE

    def _request(self, now: float, message: str | bytes) -> None:
        self._messages.append(now)
        try:
            if (
                _within(self._messages, now, 1.0) > _MESSAGES_PER_SECOND
                or _within(self._messages, now, 60.0) > _MESSAGES_PER_MINUTE
            ):
                self._exchange.breaches.append(f"too many messages on one connection at {now:.3f}")
                raise RequestError("TOO_MANY_REQUEST", "Too many requests.")
            request = parse_request(message)
        except RequestError as error:
            told = {"error": {"message": error.message, "name": error.name}}
            self._pending.append(msgspec.json.encode(told))
            self.end(now + _CLOSE_AFTER_ERROR, 1000)
            return
        if request.subscriptions is None:
            self._format = request.format
            subscribed = [one for same in self._subscriptions.values() for one in same]
            answer = listing(subscribed, request.ticket, self._format)
            self._pending.append(msgspec.json.encode([answer] if self._format.is_list else answer))
            return
        # What happened before this request is told as the last one asks: a subscription that stays misses nothing.
        self._pending += self._realtime_frames(now)
        self._format = request.format
        self._subscriptions = {}
        for subscription in request.subscriptions:
            self._subscriptions.setdefault((subscription.type, subscription.code), []).append(subscription)
        self._feed.start(now, frozenset(self._subscriptions))
        for subscription in request.subscriptions:
            if subscription.snapshot and (event := self._feed.snapshot(now, subscription.type, subscription.code)):
                self._pending.append(self._encode(event, subscription))

    def _drop_if_idle(self, now: float) -> None:
        if now >= self._last_traffic + _IDLE_SECONDS:
            self.end(now)

    def _realtime_frames(self, now: float) -> list[bytes]:
        return [
            self._encode(event, subscription)
            for event in self._feed.take(now)
            for subscription in self._subscriptions.get((event.type, event.code), ())
            if subscription.realtime
        ]

    def _encode(self, event: Event, subscription: Subscription) -> bytes:
        if isinstance(event, OrderbookEvent) and (
            subscription.count < len(event.orderbook_units) or subscription.level
        ):
            event = shaped(event, subscription.count, subscription.level)
        return encode(event, self._format)


def _within(times: Sequence[float], now: float, seconds: float) -> int:
    """How many of the times lie in the window that ends now."""
    return sum(1 for time in times if time > now - seconds)
