"""What an exchange has really sent and received, connection by connection: what a property compares a consumer with."""

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import attrs
from tests.support.market import Stamp, StampedMarket, stamp_of_frame

from upbit_streams import Endpoint
from upbit_streams.testing import SimulatedExchange
from upbit_streams.testing.session import Session

__all__ = ["Sent", "Talk", "Telling", "topics_of"]

Topic = tuple[str, str]


@attrs.frozen
class Sent:
    """One event that the exchange has sent."""

    stamp: Stamp
    is_snapshot: bool
    at: float
    """In seconds since the Unix epoch."""
    is_repeated: bool
    """Whether it is the snapshot of a trade that an earlier connection, or this one, has sent before."""

    @property
    def topic(self) -> Topic:
        return self.stamp.kind, self.stamp.code


@attrs.define(eq=False)
class Talk:
    """One connection, as the exchange knows it. Times are seconds since the Unix epoch."""

    endpoint: Endpoint
    begun_at: float
    sent: list[Sent] = attrs.field(factory=list)
    """All events, in their order."""
    requests: list[tuple[float, Any]] = attrs.field(factory=list)
    """All requests that arrived, without the questions what is subscribed."""


class Telling(SimulatedExchange):
    """An exchange that notes what it sends and receives, where this leaves and reaches it."""

    def __init__(self, market: StampedMarket | None = None) -> None:
        self.market = market or StampedMarket()
        super().__init__(self.market)
        self.talks: list[Talk] = []
        """All connections, in their order."""
        self.last: dict[Topic, Sent] = {}
        """By topic, what was sent last."""
        self._trades: set[tuple[str, int]] = set()

    def connect(self, now: float, endpoint: Endpoint = Endpoint.PUBLIC, token: str | None = None) -> Session:
        session = super().connect(now, endpoint, token)
        talk = Talk(endpoint, now)
        self.talks.append(talk)
        take, receive = session.take, session.receive

        def noted_take(now: float) -> list[bytes]:
            frames = take(now)
            for frame in frames:
                with suppress(ValueError):  # a fault may be a frame that means nothing
                    self._note(talk, json.loads(frame), now)
            return frames

        def noted_receive(now: float, message: str | bytes) -> None:
            if not session.is_ending and message not in ("PING", b"PING"):
                request = json.loads(message)
                if not any("method" in part for part in request):
                    talk.requests.append((now, request))
            receive(now, message)

        session.take = noted_take  # type: ignore[method-assign]
        session.receive = noted_receive  # type: ignore[method-assign]
        return session

    def sent(self, wanted: Collection[str], endpoint: Endpoint = Endpoint.PUBLIC) -> list[list[Sent]]:
        """What each connection of an endpoint was sent of these types, in their order."""
        return [
            [one for one in talk.sent if one.stamp.kind in wanted] for talk in self.talks if talk.endpoint is endpoint
        ]

    def _note(self, talk: Talk, frame: Any, now: float) -> None:
        stamp = stamp_of_frame(frame)
        if stamp is None:
            return
        is_snapshot = frame["stream_type"] == "SNAPSHOT"
        is_repeated = is_snapshot and stamp.kind == "trade" and (stamp.code, stamp.serial) in self._trades
        if stamp.kind == "trade":
            self._trades.add((stamp.code, stamp.serial))
        one = Sent(stamp, is_snapshot, now, is_repeated)
        talk.sent.append(one)
        self.last[one.topic] = one


def topics_of(request: Sequence[Any]) -> frozenset[Topic]:
    """The types and markets that a request asks for."""
    return frozenset((part["type"], code) for part in request if "type" in part for code in part.get("codes", [""]))
