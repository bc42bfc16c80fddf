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
from .conditions import Conditions
from .keys import Key
from .limits import within
from .line import Line
from .requests import RequestError, Subscription, listing, parse_request
from .services import SILENCE, Service
from .skew import shifted

__all__ = ["Closing", "Login", "Session"]

_MESSAGES_PER_SECOND = 5
_MESSAGES_PER_MINUTE = 100
IDLE_SECONDS = 60.0
CLOSE_AFTER_ERROR = 0.15
UP_INTERVAL = 10.0
_STALL_LOOK = 0.5
"""How often a stalled session looks whether it still is, in seconds."""
_LATE_SECONDS = 1.0
"""How long the request before stays in force at most when a new one takes effect late."""


@attrs.frozen
class Closing:
    """The exchange ends a session: with a close frame of this code, or without one if it is None."""

    code: int | None
    at: float
    torn: bool = False
    """The socket is reset in the middle of a frame. In memory that is like any end without a close frame."""


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
    conditions: Conditions

    def is_stalled(self, endpoint: Endpoint) -> bool: ...


class Session:
    """One client's connection, after its handshake."""

    def __init__(
        self, exchange: _Exchange, now: float, service: Service, login: Login, *, is_silent: bool = False
    ) -> None:
        self.endpoint = login.endpoint
        self.account = login.account
        self.number = 0
        """How many there were up to this one. Its exchange sets it."""
        self._exchange = exchange
        self._service = service
        self._login = login
        self._subscriptions: tuple[Subscription, ...] = ()
        self._format = Format.DEFAULT
        self._pending: list[bytes] = []
        self._line = Line()
        self.is_silent = is_silent
        """Whether it sends nothing, except pongs."""
        self._unheard: list[tuple[float, str | bytes]] = []
        self._late_frames = 0
        self._held: list[tuple[float, str | bytes]] = []
        self._held_until = float("inf")
        self._messages: deque[float] = deque(maxlen=_MESSAGES_PER_MINUTE + 1)
        self._last_traffic = now
        self._last_look = now
        self._next_up = float("inf")
        self._closing: Closing | None = None
        self.wake: Callable[[], None] = lambda: None
        """Called when the session has something to say out of turn. Its front sets it."""

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """What the client is told of since its last request."""
        return self._subscriptions

    @property
    def stalled(self) -> bool:
        """The exchange sends nothing to this session and answers no ping; what it is sent it hears afterwards. An end
        of the session is an end of that too."""
        return self._closing is None and self._exchange.is_stalled(self.endpoint)

    @property
    def is_ending(self) -> bool:
        """The exchange is about to end this session. It tells of nothing that happens now, so it hears no request and
        answers no ping either: who has the answer would believe that all before it was told."""
        return self._closing is not None

    @property
    def close_seconds(self) -> float:
        """How long the exchange takes to answer a client's goodbye."""
        return self._exchange.conditions.slow_close(self.endpoint) if self._closing is None else 0.0

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
            self._next_up = min(self._next_up, (now // UP_INTERVAL + 1) * UP_INTERVAL)
        elif self._held or (self._late_frames and self._subscriptions):
            if not self._held:
                self._held_until = now + _LATE_SECONDS
            self._held.append((now, message))
        else:
            self._request(now, message, now)
        self.wake()

    def touch(self, now: float) -> None:
        """The client has sent something, if only a ping."""
        self._last_traffic = max(self._last_traffic, now)

    def pong_at(self, now: float) -> float:
        """When the answer to a ping of now arrives, if the session is neither stalled nor about to end: it overtakes no
        frame, so whoever has it has had all that was sent before."""
        return self._line.free_at(now)

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
        frames = self._due_frames(now)
        if frames:
            self.touch(now)
        return frames

    def next_time(self) -> float:
        """When to ask again, if nothing happens before."""
        if self._closing is not None:
            return self._line.next_time() if self._is_owed() else self._closing.at
        if self.stalled:
            return self._last_look + _STALL_LOOK
        idle_at = self._last_traffic + IDLE_SECONDS
        return min(self._service.next_time(), self._next_up, idle_at, self._line.next_time(), self._held_until)

    def ended(self, now: float) -> Closing | None:
        """How the exchange ends this session, once it is time."""
        self._drop_if_idle(now)
        closing = self._closing
        return closing if closing is not None and now >= closing.at and not self._is_owed() else None

    def end(self, at: float, code: int | None = None, *, torn: bool = False) -> None:
        """Let the exchange end this session: with a close frame of this code, or without any; ``torn`` then resets the
        socket in the middle of a frame."""
        if self._closing is None:
            self._closing = Closing(code, at + (self.close_seconds if code is not None else 0.0), torn)
            self.wake()

    def say(self, frame: bytes) -> None:
        """Send a frame, whatever it is."""
        if self._closing is None:
            self._pending.append(frame)
            self.wake()

    def repeat(self) -> None:
        """Send the last frame once more, if there was one."""
        last = self._pending[-1] if self._pending else self._line.last
        if last is not None:
            self.say(last)

    def refuse(self, now: float, name: str, message: str) -> None:
        """Send an error frame, and close soon after (protocol section 6.2)."""
        self.say(msgspec.json.encode({"error": {"message": message, "name": name}}))
        self.end(now + CLOSE_AFTER_ERROR, 1000)

    def take_next_request_late(self, frames: int) -> None:
        """The next request but the first takes effect only after so many more frames of the one before, or after a
        second."""
        self._late_frames = frames

    def forget(self, now: float, type_name: str, code: str) -> None:
        """Serve a type no more, of one market or of all if the code is empty, as if it had not been asked for."""
        kept = tuple(one for one in self._subscriptions if one.type != type_name or (code and code != one.code))
        if kept != self._subscriptions:
            self._pending += self._realtime_frames(now)
            self._subscriptions = kept
            self._service.start(now, kept)

    def close(self) -> None:
        """The connection is gone. Nothing more is heard or said, however long somebody keeps this session."""
        self._exchange.sessions.discard(self)
        self._closing = Closing(None, float("-inf"))
        self._service = SILENCE

    def _due_frames(self, now: float) -> list[bytes]:
        """What arrives now."""
        if self._closing is None:
            self._pending += self._realtime_frames(now)
            self._take_held(now)
            if now >= self._next_up:
                self._next_up += UP_INTERVAL
                self._pending.append(b'{"status":"UP"}')
            if self._service.overflowed:
                self.end(now)
        frames, self._pending = self._pending, []
        if self.is_silent:
            return []
        return self._line.carry(now, frames, self._exchange.conditions.delay(self.endpoint))

    def _is_owed(self) -> bool:
        """Whether a polite end waits for frames that are on their way."""
        return self._closing is not None and self._closing.code is not None and not self._line.is_empty

    def _take_held(self, now: float) -> None:
        if self._held and (self._late_frames <= 0 or now >= self._held_until):
            held, self._held = self._held, []
            self._late_frames, self._held_until = 0, float("inf")
            for at, message in held:
                if self._closing is None:
                    self._request(now, message, at)

    def _request(self, now: float, message: str | bytes, arrived_at: float) -> None:
        self._messages.append(arrived_at)
        try:
            if (
                within(self._messages, arrived_at, 1.0) > _MESSAGES_PER_SECOND
                or within(self._messages, arrived_at, 60.0) > _MESSAGES_PER_MINUTE
            ):
                self._exchange.breaches.append(f"too many messages on one connection at {arrived_at:.3f}")
                raise RequestError("TOO_MANY_REQUEST", "Too many requests.")
            if self._login.failed:
                raise RequestError("INVALID_AUTH", self._login.failed)
            request = parse_request(message, self.endpoint)
            self._check_scope(request.subscriptions or ())
            self._check_refused(request.subscriptions or ())
        except RequestError as error:
            self.refuse(now, error.name, error.message)
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
        self._pending += self._encoded(self._service.start(now, request.subscriptions))

    def _check_scope(self, subscriptions: tuple[Subscription, ...]) -> None:
        key = self._login.key
        for one in subscriptions:
            if key is not None and (
                (one.type == "myOrder" and not key.can_view_orders)
                or (one.type == "myAsset" and not key.can_view_assets)
            ):
                raise RequestError("out_of_scope", f"The key is not for {one.type}.")

    def _check_refused(self, subscriptions: tuple[Subscription, ...]) -> None:
        for refused in self._exchange.conditions.refused_wants(self.endpoint):
            if any(refused.matches(one.type, one.code) for one in subscriptions):
                raise RequestError(refused.name, refused.message)

    def _drop_if_idle(self, now: float) -> None:
        if now >= self._last_traffic + IDLE_SECONDS and not self.stalled:
            self.end(now)

    def _realtime_frames(self, now: float) -> list[bytes]:
        frames = self._encoded(self._service.take(now))
        if self._held:
            self._late_frames -= len(frames)
        return frames

    def _encoded(self, events: list[Event]) -> list[bytes]:
        skew = self._exchange.conditions.skew(self.endpoint)
        if skew:
            events = [shifted(event, skew) for event in events]
        return [self._frame(event) for event in events]

    def _frame(self, event: Event) -> bytes:
        if not isinstance(event, AnnouncementEvent) or any(one.include_body for one in self._subscriptions):
            return encode(event, self._format)
        # Null stands for a text that is too large; one that was not asked for is not there.
        return encode(event, self._format, ("body", "bd"))
