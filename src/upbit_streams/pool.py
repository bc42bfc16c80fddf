"""The pool as one client sees it: the latest of what it has registered, from memory."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, cast

from .exceptions import NotRegisteredError, StaleDataError, UsageError
from .interests import Interests, check_count
from .model.events import Event
from .model.indicators import Indicator
from .model.kinds import DataType, E, Endpoint
from .model.metrics import ConnectionState
from .model.pool import Cut, Entry
from .model.subscriptions import Want, check_type, kinds_of, list_of, normalise_code, wants_of

__all__ = ["Pool", "check_seconds"]


class Pool:
    """What a client has registered, by data type and market. Made by its client: ``client.pool``.

    Everything here is plain memory. What the exchange sends in one read is seen whole or not at all; but while
    somebody's :class:`Block` makes the reader wait, the first part of a read may be seen. A type that is not asked for
    by market, or was registered for all of them, is read without a code. ``level`` and ``indicator`` are for order
    books and indicators that were registered with one.
    """

    def __init__(self, interests: Interests) -> None:
        self._interests = interests

    def latest(
        self,
        kind: DataType[E],
        code: str = "",
        *,
        within: float | None = None,
        level: float = 0,
        indicator: Indicator | None = None,
    ) -> E:
        """The latest event. With ``within``, one that was received at most so many seconds ago.

        Raises :class:`NotRegisteredError` if this client has no interest in it, :class:`NotReadyError` if none has come
        yet, :class:`StaleDataError` if it is older than ``within``, :class:`SubscriptionError` if the exchange refuses
        it, :class:`UsageError` for a ``within`` that is no number of seconds.
        """
        check_seconds("within", within)
        want = self._find(kind, code, level, indicator)
        ((_, event),) = self._found([want])
        self._check_age(want, event, within)
        return cast("E", event)

    def entry(
        self, kind: DataType[E], code: str = "", *, level: float = 0, indicator: Indicator | None = None
    ) -> Entry[E]:
        """The latest event with its epoch, its age, the number of updates, and whether it is stale: it stays when its
        epoch is over. Raises as :meth:`latest`."""
        want = self._find(kind, code, level, indicator)
        event = self.latest(kind, code, level=level, indicator=indicator)
        return Entry(
            event=event,
            epoch=event.epoch,
            age=self._age(want, event),
            updates=self._interests.hub(want).updates(want),
            is_stale=not self._is_alive(want, event),
        )

    def history(
        self,
        kind: DataType[E],
        code: str = "",
        limit: int | None = None,
        *,
        level: float = 0,
        indicator: Indicator | None = None,
    ) -> list[E]:
        """The last events, the newest at the end: at most ``limit``, and never more than were asked for with
        ``register_interest(..., history=200)``.

        They are those that a stream would have brought, whatever the epoch. Of a candle, which is sent again with each
        change, there is the last state only. An order book that came before this client asked for it may have fewer
        levels, if nobody had asked for as many.

        Raises :class:`UsageError` if it was registered without a history, or for a limit that is no number of events;
        and otherwise as :meth:`latest`, but for what has not come yet: that is an empty list.
        """
        if limit is not None:
            check_count("a limit", limit)
        want = self._find(kind, code, level, indicator)
        bound = self._interests.bound(want)
        found = self._interests.hub(want).history(want, bound if limit is None else min(limit, bound))
        return cast("list[E]", found)

    def cut(self, codes: str | Iterable[str], types: DataType[Any] | Iterable[DataType[Any]] | None = None) -> Cut:
        """The latest of several markets and types at one point of one epoch: after one read of the connection, and
        before the next; or within one, where somebody's :class:`Block` makes the reader wait.
        ``types`` are all that this client has registered of each market, unless you say which.

        Raises :class:`NotRegisteredError`, which names all that this client has no interest in, :class:`NotReadyError`,
        which names all of which none has come yet, :class:`StaleDataError` for what is of an epoch that is over,
        :class:`SubscriptionError` for what the exchange refuses; :class:`UsageError` if they are not all of one
        connection, or if one has several groupings or indicators, so that it is not clear which is meant.
        """
        wants = self._wants_of_cut(codes, types)
        found = self._found(wants)
        epoch = self._interests.connection(wants[0]).open_epoch
        for want, event in found:
            if epoch is None or event.epoch != epoch:
                age = self._age(want, event)
                raise StaleDataError(want.type.name, want.code, age, None, self._why_old(want, event))
        assert epoch is not None  # noqa: S101 -- for the type checker
        return Cut(
            epoch=epoch,
            taken_at=self._interests.connection(wants[0]).clocks.now(epoch),
            events={(want.type, want.code): event for want, event in found},
        )

    def multiple(
        self,
        kind: DataType[E],
        codes: str | Iterable[str] | None = None,
        *,
        within: float | None = None,
        level: float = 0,
    ) -> dict[str, E]:
        """The latest of these markets, or of all that this client has registered of this type, by code.

        Raises as :meth:`latest`; a :class:`NotReadyError` names all of which none has come yet, a
        :class:`NotRegisteredError` all that are not registered. :class:`UsageError` for codes of an indicator type, or
        if several indicators of a market are registered, so that it is not clear which is meant.
        """
        check_seconds("within", within)
        check_type(kind)
        if codes is None:
            mine = [want for want in self._interests if want.type is kind and want.level == level]
            wants = sorted(self._interests.find_all(mine), key=lambda want: want.code)
            if not wants:
                raise self._interests.not_registered(kind, [], level, None)
            for code, times in Counter(want.code for want in wants).items():
                if times > 1:
                    raise _ambiguous(kind, code, times)
        else:
            if kind.endpoint is Endpoint.INFO:
                raise UsageError(
                    f"a market may have several of type {kind.name}: read one after the other with "
                    f"pool.latest(DataType.{kind.name.upper()}, code, indicator=...), or all of them without codes"
                )
            asked = [self._asked(kind, code, level, None) for code in list_of("codes", codes)]
            wants = self._interests.find_all(asked)
        found = self._found(wants)
        for want, event in found:
            self._check_age(want, event, within)
        return {want.code: cast("E", event) for want, event in found}

    def _find(self, kind: DataType[Any], code: str, level: float, indicator: Indicator | None) -> Want:
        """What is registered of this topic. Raises as :meth:`latest`."""
        check_type(kind)
        return self._interests.find(self._asked(kind, code, level, indicator))

    def _asked(self, kind: DataType[Any], code: str, level: float, indicator: Indicator | None) -> Want:
        (asked,) = wants_of(kind, normalise_code(code) if code else (), level=level, indicator=indicator)
        return asked

    def _wants_of_cut(
        self, codes: str | Iterable[str], types: DataType[Any] | Iterable[DataType[Any]] | None
    ) -> list[Want]:
        kinds = None if types is None else kinds_of(types)
        topics: dict[tuple[str, DataType[Any]], list[Want]] = defaultdict(list)
        for want in self._interests:
            topics[want.code, want.type].append(want)
        self._interests.check_open()
        chosen: dict[tuple[str, DataType[Any]], None] = {}
        missing: list[tuple[str, str]] = []
        for code in dict.fromkeys(normalise_code(code) for code in list_of("codes", codes)):
            registered = sorted((kind for each, kind in topics if each == code), key=lambda kind: kind.name)
            if kinds is None and not registered:
                missing.append(("anything", code))
            chosen |= dict.fromkeys((code, kind) for kind in (registered if kinds is None else kinds))
        if missing := missing + [(kind.name, code) for code, kind in chosen if (code, kind) not in topics]:
            raise NotRegisteredError(tuple(missing))
        if len({kind.endpoint for _, kind in chosen}) != 1:
            names = ", ".join(sorted({kind.name for _, kind in chosen})) or "nothing"
            which = "; say with types=... which are meant" if kinds is None and chosen else ""
            raise UsageError(
                f"a cut is of one connection, at least one market and one type; asked for is {names}{which}"
            )
        for code, kind in chosen:
            if (times := len(topics[code, kind])) > 1:
                raise _ambiguous(kind, code, times)
        return [self._interests.find(topics[topic][0]) for topic in chosen]

    def _found(self, wants: list[Want]) -> list[tuple[Want, Event]]:
        """The latest of each, or the error that names all that are missing."""
        seen = [(want, self._interests.hub(want).latest(want)) for want in wants]
        if missing := [want for want, event in seen if event is None]:
            raise self._interests.not_ready(*missing)
        return [(want, event) for want, event in seen if event is not None]

    def _check_age(self, want: Want, event: Event, within: float | None) -> None:
        if within is not None and (age := self._age(want, event)) > within:
            raise StaleDataError(want.type.name, want.code, age, within, self._why_old(want, event))

    def _why_old(self, want: Want, event: Event) -> str:
        if self._interests.connection(want).status().state is not ConnectionState.ACTIVE:
            return self._interests.state(want)
        if why := self._interests.connection(want).clocks.why_jumped():
            return why
        if self._is_alive(want, event):
            return "nothing has changed since; the connection is active"
        return "nothing has come since the connection was made anew"

    def _is_alive(self, want: Want, event: Event) -> bool:
        return self._interests.connection(want).open_epoch == event.epoch

    def _age(self, want: Want, event: Event) -> float:
        """Seconds since it was received, by the event loop's clock or the wall's: by the one that says more."""
        return self._interests.connection(want).clocks.now(event.epoch) - event.received_at


def check_seconds(what: str, seconds: object, least: float = 0) -> None:
    """Raise :class:`UsageError` if this is no number of seconds, or less than the least that is taken."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= least:
        raise UsageError(f"{what} is a number of seconds, 0 or more, not {seconds!r}")


def _ambiguous(kind: DataType[Any], code: str, times: int) -> UsageError:
    return UsageError(
        f"this client has registered {kind.name} of {code} in {times} ways, and there is place for one here; "
        f"register the one that is meant with a client of its own"
    )
