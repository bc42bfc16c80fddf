"""What one client has registered, and who serves it."""

from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .engine.channel import Channel
from .engine.connection import Connection
from .engine.hub import Hub
from .exceptions import NotReadyError, NotRegisteredError, ScopeError, UsageError
from .model.indicators import Indicator
from .model.kinds import DataType, Endpoint
from .model.subscriptions import Want, Wants

__all__ = ["Interests", "check_count"]

_MAX_HISTORY = 100_000


class Interests:
    """The interests of one client. Nothing here waits."""

    def __init__(self, name: str, connections: Mapping[Endpoint, Connection]) -> None:
        self._name = name
        self._connections = connections
        self._registered: set[Want] = set()
        self._by_topic: dict[Hashable, Want] = {}
        """What the registered wants of a topic come to."""
        self._bounds: dict[Hashable, int] = {}
        """How long a history was asked for."""
        self._watchers: set[Channel] = set()
        """Whoever is fed with everything that is registered."""
        self._is_open = True
        self.registered = 0
        """How often anything was registered."""
        self.reads = 0
        """How often anything was looked up."""

    def __len__(self) -> int:
        return len(self._by_topic)

    def __iter__(self) -> Iterator[Want]:
        return iter(self._by_topic.values())

    def register(self, asked: Wants, history: int | None) -> None:
        """Register all of these or, if it raises, none."""
        self.check_open()
        if history is not None:
            check_count("a history", history)
        new = frozenset(
            want for want in asked if (have := self._by_topic.get(want.topic)) is None or not have.covers(want)
        )
        for hub, wants in self.parts(asked).items():
            hub.check(wants)
        self.registered += 1
        for hub, wants in self._by_hub(new).items():
            hub.register(wants)
            self._registered |= wants
            for want in wants:
                have = self._by_topic.get(want.topic, want)
                self._by_topic[want.topic] = have.joined(want)
            for channel in self._watchers:
                hub.attach(wants, channel, watches=True)
        if history is not None:
            for want in asked:
                self._keep(want, history)

    def find(self, want: Want) -> Want:
        """What is registered of this topic. Raises :class:`NotRegisteredError` if nothing is, and
        :class:`SubscriptionError` if the exchange refuses it."""
        found = self._by_topic.get(want.topic)
        if found is None:
            self.check_open()
            raise self.not_registered(want.type, [want.code], want.level, want.indicator)
        self.reads += 1
        self.hub(found).check_refused(found)
        return found

    def find_all(self, wants: list[Want]) -> list[Want]:
        """What is registered of topics that differ by their market. Raises as :meth:`find`, but names all of which
        nothing is."""
        self.check_open()
        if missing := [want for want in wants if want.topic not in self._by_topic]:
            first = missing[0]
            raise self.not_registered(first.type, [want.code for want in missing], first.level, first.indicator)
        return [self.find(want) for want in wants]

    def bound(self, want: Want) -> int:
        """How long a history of this topic was asked for. Raises :class:`UsageError` if none was."""
        if want.topic not in self._bounds:
            what = f"{want.type.name} of {want.code}" if want.code else want.type.name
            raise UsageError(
                f"this client has registered {what} without a history; "
                f"say how many events to keep with 'await client.register_interest(..., history=200)'"
            )
        return self._bounds[want.topic]

    @contextmanager
    def watched(self, channel: Channel) -> Generator[None, None, None]:
        """Feed a channel with everything that is registered, and that will be.

        Raises :class:`SubscriptionError` if the exchange refuses some of it already; if it comes to that later, the
        channel raises it.
        """
        self.check_open()
        for want in self:
            self.hub(want).check_refused(want)
        for hub, wants in self._by_hub(self).items():
            hub.attach(wants, channel, watches=True)
        self._watchers.add(channel)
        try:
            yield
        finally:
            self._unwatch(channel)

    def hub(self, want: Want) -> Hub:
        return self.connection(want).hub

    def connection(self, want: Want) -> Connection:
        """Who serves it."""
        return self._connections[want.type.endpoint]

    @property
    def ping_timeout(self) -> float:
        """How long a pong may take at least, in seconds, on any connection."""
        return min(connection.ping_timeout for connection in self._connections.values())

    def parts(self, wants: Wants) -> dict[Hub, Wants]:
        """The wants by the connection that serves them. Raises :class:`UsageError` if a key is needed and missing."""
        for endpoint in {want.type.endpoint for want in wants}:
            self._connections[endpoint].check_login()
        return self._by_hub(wants)

    def not_ready(self, *wants: Want, waited: float | None = None) -> NotReadyError:
        """The error that names them all, for which somebody may have ``waited`` so many seconds."""
        missing = sorted((want.type.name, want.code) for want in wants)
        is_told = not any(want.type.has_snapshot for want in wants)
        spoiled = {(want.type.name, want.code): self.connection(want).why_spoiled(want) for want in wants}
        return NotReadyError(tuple(missing), self.state(wants[0]), is_told=is_told, spoiled=spoiled, waited=waited)

    def not_registered(
        self, kind: DataType[Any], codes: list[str], level: float, indicator: Indicator | None
    ) -> NotRegisteredError:
        """The error that names them all, and in which other way they are registered. No codes are all markets."""
        others = (want for want in self if want.type is kind and (want.code in codes or not codes))
        return NotRegisteredError(
            tuple((kind.name, code) for code in dict.fromkeys(codes or [""])),
            _way(level, indicator),
            " or ".join(dict.fromkeys(_way(want.level, want.indicator) for want in others)),
        )

    def not_told(self, kind: DataType[Any], what: str) -> NotReadyError:
        """The error for an order or a currency that nothing was told of."""
        return NotReadyError(((kind.name, what),), self.state(Want(kind)), is_told=True)

    def state(self, want: Want) -> str:
        """How the connection stands, and why."""
        status = self.connection(want).status()
        return f"the connection is {status.state.value}, {status.reason}"

    def check_open(self) -> None:
        if not self._is_open:
            raise ScopeError(f"the scope of client {self._name!r} has been left; open another one")

    def close(self) -> None:
        """Give everything back."""
        self._is_open = False
        for channel in list(self._watchers):
            self._unwatch(channel)
            channel.close()
        for topic, bound in self._bounds.items():
            want = self._by_topic[topic]
            self.hub(want).let_go(want, bound)
        for want in self._registered:
            self.hub(want).unregister([want])
        self._registered.clear()
        self._bounds.clear()
        self._by_topic.clear()

    def _keep(self, want: Want, bound: int) -> None:
        have = self._bounds.get(want.topic, 0)
        if bound > have:
            self.hub(want).keep(want, bound)
            if have:
                self.hub(want).let_go(want, have)
            self._bounds[want.topic] = bound

    def _unwatch(self, channel: Channel) -> None:
        if channel in self._watchers:
            self._watchers.remove(channel)
            for hub, wants in self._by_hub(self).items():
                hub.detach(wants, channel)

    def _by_hub(self, wants: Iterable[Want]) -> dict[Hub, Wants]:
        parts: dict[Hub, set[Want]] = {}
        for want in wants:
            parts.setdefault(self.hub(want), set()).add(want)
        return {hub: frozenset(mine) for hub, mine in parts.items()}


def _way(level: float, indicator: Indicator | None) -> str:
    """What tells a topic from others of its type and market, as one writes it."""
    if indicator is None:
        return f"level={level!r}"
    made_by, trigger = ("indicator_signal", (indicator.trigger,)) if indicator.trigger else ("indicator", ())
    given = [repr(value) for value in (indicator.type, indicator.timeframe, *trigger)]
    given += [f"{name}={value!r}" for name, value in (*indicator.params, *indicator.event_params)]
    return f"{made_by}({', '.join(given)})"


def check_count(what: str, count: object) -> None:
    """Raise :class:`UsageError` if this is no number of events."""
    if type(count) is not int or not 1 <= count <= _MAX_HISTORY:
        raise UsageError(f"{what} is a whole number of events from 1 to {_MAX_HISTORY:,}, not {count!r}")
