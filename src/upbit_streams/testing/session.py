"""One client's connection to the simulated exchange, after its handshake: what it asks, and what it hears when.

Sans-IO: its front says what time it is and what came, and asks what is to be sent. Times are seconds since the Unix
epoch.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs
import msgspec

from ..model.events import AnnouncementEvent, Event
from ..model.kinds import Endpoint, Format
from ..wire.encode import encode
from .accounts import Account
from .keys import Key
from .limits import within
from .requests import RequestError, Subscription, listing, parse_request
from .services import SILENCE, Service

__all__ = ["Closing", "Login", "Session"]

_MESSAGES_PER_SECOND = 5
_MESSAGES_PER_MINUTE = 100
_IDLE_SECONDS = 60.0
_CLOSE_AFTER_ERROR = 0.15
_UP_INTERVAL = 10.0
_STALL_LOOK = 0.5
"""How often a stalled session looks whether it still is, in seconds."""


@attrs.frozen
class Closing:
    """The exchange ends a session: with a close frame of this code, or without one if it is None."""

    code: int | None
    at: float


@attrs.frozen
class Login:
    """Who a session is. ``account`` is None on the public endpoint, and where the login failed."""

    endpoint: Endpoint = Endpoint.PUBLIC
    account: Account | None = None
    key: Key | None = None
    failed: str = ""
    """Why the login failed, if that is told as an error frame only."""


class _Exchange(Protocol):
    """What a session asks of its exchange."""

    sessions: "set[Session]"
    breaches: list[str]
    stalled: set[Endpoint]


class Session:
    """One client's connection, after its handshake."""

    def __init__(self, exchange: _Exchange, now: float, service: Service, login: Login) -> None:
        self.endpoint = login.endpoint
        self.account = login.account
        self._exchange = exchange
        self._service = service
        self._login = login
        self._subscriptions: tuple[Subscription, ...] = ()
        self._format = Format.DEFAULT
        self._pending: list[bytes] = []
        self._unheard: list[tuple[float, str | bytes]] = []
        self._messages: deque[float] = deque(maxlen=_MESSAGES_PER_MINUTE + 1)
        self._last_traffic = now
        self._last_look = now
        self._next_up = float("inf")
        self._closing: Closing | None = None
        self.wake: Callable[[], None] = lambda: None
        """Called when the session has something to say out of turn. Its front sets it."""

    @property
    def stalled(self) -> bool:
        """The exchange sends nothing to this session and answers no ping; what it is sent it hears afterwards. An end
        of the session is an end of that too."""
        return self._closing is None and self.endpoint in self._exchange.stalled

    def receive(self, now: float, message: str | bytes) -> None:
        """The client has sent a message."""
        if self.stalled:
            self._unheard.append((now, message))
            return
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

    def hear(self, event: Event) -> None:
        """Something has happened that does not come from the market."""
        self._service.put(event)
        self.wake()

    def take(self, now: float) -> list[bytes]:
        """The frames that are due, in their order."""
        if self.stalled:
            self._last_look = now
            self.touch(now)  # or the exchange would drop it afterwards, for a silence of its own making
            return []
        unheard, self._unheard = self._unheard, []
        for at, message in unheard:
            self.receive(at, message)
        self._drop_if_idle(now)
        if self._closing is not None and self._closing.code is None:
            return []  # a socket that breaks takes with it what was not sent yet
        frames, self._pending = self._pending, []
        if self._closing is None:
            frames += self._realtime_frames(now)
            if now >= self._next_up:
                self._next_up += _UP_INTERVAL
                frames.append(b'{"status":"UP"}')
            if self._service.overflowed:
                self.end(now)
        if frames:
            self.touch(now)
        return frames

    def next_time(self) -> float:
        """When to ask again, if nothing happens before."""
        if self._closing is not None:
            return self._closing.at
        if self.stalled:
            return self._last_look + _STALL_LOOK
        return min(self._service.next_time(), self._next_up, self._last_traffic + _IDLE_SECONDS)

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
        self._service = SILENCE

    def _request(self, now: float, message: str | bytes) -> None:
        self._messages.append(now)
        try:
            if (
                within(self._messages, now, 1.0) > _MESSAGES_PER_SECOND
                or within(self._messages, now, 60.0) > _MESSAGES_PER_MINUTE
            ):
                self._exchange.breaches.append(f"too many messages on one connection at {now:.3f}")
                raise RequestError("TOO_MANY_REQUEST", "Too many requests.")
            if self._login.failed:
                raise RequestError("INVALID_AUTH", self._login.failed)
            request = parse_request(message, self.endpoint)
            self._check_scope(request.subscriptions or ())
        except RequestError as error:
            told = {"error": {"message": error.message, "name": error.name}}
            self._pending.append(msgspec.json.encode(told))
            self.end(now + _CLOSE_AFTER_ERROR, 1000)
            return
        if request.subscriptions is None:
            self._format = request.format
            answer = listing(self._subscriptions, request.ticket, self._format)
            self._pending.append(msgspec.json.encode([answer] if self._format.is_list else answer))
            return
        # What happened before this request is told as the last one asks: a subscription that stays misses nothing.
        self._pending += self._realtime_frames(now)
        self._format = request.format
        self._subscriptions = request.subscriptions
        self._pending += map(self._frame, self._service.start(now, request.subscriptions))

    def _check_scope(self, subscriptions: tuple[Subscription, ...]) -> None:
        key = self._login.key
        for one in subscriptions:
            if key is not None and (
                (one.type == "myOrder" and not key.can_view_orders)
                or (one.type == "myAsset" and not key.can_view_assets)
            ):
                raise RequestError("out_of_scope", f"The key is not for {one.type}.")

    def _drop_if_idle(self, now: float) -> None:
        if now >= self._last_traffic + _IDLE_SECONDS and not self.stalled:
            self.end(now)

    def _realtime_frames(self, now: float) -> list[bytes]:
        return [self._frame(event) for event in self._service.take(now)]

    def _frame(self, event: Event) -> bytes:
        if not isinstance(event, AnnouncementEvent) or any(one.include_body for one in self._subscriptions):
            return encode(event, self._format)
        # Null stands for a text that is too large; one that was not asked for is not there.
        return encode(event, self._format, ("body", "bd"))
