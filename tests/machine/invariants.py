"""The invariants of the architecture page, checked against what went over the wire."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import attrs
from tests.machine.consumers import Asked, Away, Consumer, joined
from tests.machine.live import LiveWorld, Request, Sent, Transcript
from tests.support.market import stamp_of_event
from tests.support.noted import routes_of

from upbit_streams import (
    Block,
    Coalesce,
    Endpoint,
    EpochEnded,
    EpochStarted,
    Event,
    Fail,
    Lagged,
    NotReadyError,
    StreamStatistics,
    Throttle,
)
from upbit_streams.testing import Close, Delay, Drop, ErrorFrame, Reset, SilentAccept, Stall

__all__ = ["Invariants"]

_BREAKING = (Close, Delay, Drop, ErrorFrame, Reset, SilentAccept, Stall)
"""Faults that may end an epoch. The others are no reason to."""
# How long a connection may be busy with something else before it sends what is wanted now: a question that is not
# answered ends the epoch after that.
_BUSY_SECONDS = 6.0
_SEARCH_SECONDS = 120.0
"""How long what was refused by chance may be searched for what is wrong with it."""
_CATCH_UP_SECONDS = 30.0
"""How long after a fault something may still be late: no frame overtakes another."""
_MESSAGES = ((5, 1.1), (100, 60.5))
"""How many messages in how many seconds a connection sends at most."""
_MOST_RECENT = 1000
_ROUNDING = 0.001
"""Seconds. The exchange counts from the Unix epoch, so its times are less exact than the loop's."""

Told = Sequence[tuple[Consumer, Any]]


@attrs.define
class _Seen:
    """What is known of one consumer."""

    places: dict[tuple[str, int, str, str], int] = attrs.field(factory=dict)
    """By connection, epoch and topic, which of the events that were sent it got last."""
    changes: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    """By connection, the epoch and the place of the last change that it got."""
    trades: Counter[tuple[str, int]] = attrs.field(factory=Counter)
    epochs: dict[str, int] = attrs.field(factory=dict)
    """By connection, the epoch of the last event."""
    begun: dict[str, int] = attrs.field(factory=dict)
    """By connection, the epoch of which it was told last that it began."""
    ended: dict[str, int] = attrs.field(factory=dict)
    missing: int = 0
    """Events that were sent between two that it got, and that it did not get."""
    missing_before: list[int] = attrs.field(factory=list)
    """How many were missing before each of the events whose notices were not looked at yet."""
    lagged: int = 0
    """Of how many missing events it was told."""


class Invariants:
    """What was checked up to now, so that each step looks at what is new only."""

    def __init__(self, world: LiveWorld) -> None:
        self._world = world
        self._seen: dict[int, _Seen] = {}
        self._pool: dict[tuple[str, str], tuple[int, int]] = {}
        self._ended: dict[Endpoint, int] = dict.fromkeys(Endpoint, 0)

    def check(self, now: float) -> tuple[int, int]:
        """Check all but L1, which is about the end. Returns how many events and how many notices were looked at."""
        world = self._world
        told, requests = world.told[:], world.requests[:]
        world.told.clear()
        world.requests.clear()
        events = [(consumer, item) for consumer, item in told if isinstance(item, Event)]
        self.e1_epoch_numbers_grow_by_one(events)
        self.e2_events_carry_the_epoch_of_their_socket(events)
        self.e3_epochs_never_go_back(events)
        self.e4_nothing_is_missing_but_what_is_counted(events)
        self.e5_the_pool_never_goes_back()
        self.e6_the_last_request_equals_the_wants(requests, now)
        self.e7_notices_stand_where_they_belong(told)
        self.e8_no_trade_is_delivered_twice(events)
        self.b1_memory_is_bounded()
        self.l2_trouble_stays_where_it_is()
        self.l3_no_limit_is_broken()
        return len(events), len(told) - len(events)

    def e1_epoch_numbers_grow_by_one(self, events: Told) -> None:
        """Epoch numbers of a connection grow by exactly one at each successful connect, and never repeat."""
        assert self._world.manager is not None
        for endpoint, lives in self._world.tap.lives.items():
            epoch = self._world.manager.status(endpoint).epoch
            number = epoch.number if epoch is not None else 0
            assert number == len(lives), f"E1: {endpoint} is in epoch {number} after {len(lives)} connects"
        for _, event in events:
            lives = self._world.tap.lives[Endpoint(event.epoch.connection)]
            assert 1 <= event.epoch.number <= len(lives), f"E1: an event of an epoch that never was: {event}"

    def e2_events_carry_the_epoch_of_their_socket(self, events: Told) -> None:
        """Every event carries the epoch on whose socket it arrived."""
        for _, event in events:
            stamp = stamp_of_event(event)
            assert stamp in self._transcript(event).stamps, f"E2: {stamp} did not arrive in {event.epoch}"
            assert stamp.session in (0, event.epoch.number), f"E2: {stamp} is of another socket than {event.epoch}"

    def e3_epochs_never_go_back(self, events: Told) -> None:
        """In every stream and every callback, epochs never go back."""
        for consumer, event in events:
            epochs, epoch = self._of(consumer).epochs, event.epoch
            last = epochs.get(epoch.connection, 0)
            assert epoch.number >= last, f"E3: an event of epoch {epoch.number} after one of epoch {last}"
            epochs[epoch.connection] = epoch.number

    def e4_nothing_is_missing_but_what_is_counted(self, events: Told) -> None:
        """Within an epoch a stream's events are a subsequence of what the server sent, in its order, or in that of each
        topic if only the newest of it waits; under a lossless policy, all of it. For every stream *delivered + dropped
        + coalesced + throttled + buffered = published to it*, exactly. Every event that was read is counted once."""
        for consumer, event in events:
            self._place(consumer, event)
        for endpoint in Endpoint:
            self._check_counts(endpoint)
        for consumer in self._world.consumers():
            ledger = consumer.statistics()
            if ledger is None or not consumer.is_open:
                continue
            seen, policy = self._of(consumer), consumer.asked.effective
            assert ledger.published == ledger.delivered + _lost(ledger) + ledger.buffered, f"E4: {ledger}"
            assert ledger.delivered == consumer.events, f"E4: {ledger}, but {consumer.events} events came out"
            assert seen.missing <= _lost(ledger), f"E4: {seen.missing} events are missing, and told is {ledger}"
            assert not ledger.coalesced or isinstance(policy, Coalesce), f"E4: {ledger} of {policy}"
            assert not ledger.throttled or isinstance(policy, Throttle), f"E4: {ledger} of {policy}"
            sent = consumer.earlier + sum(self._world.heard[topic] - since for topic, since in consumer.since.items())
            assert ledger.published <= sent, f"E4: {sent} events were sent at most, and told is {ledger}"
            for missed, then in consumer.failures:
                assert missed == then.dropped, f"E4: {missed} were said to be missed, and told was {then}"
                assert not then.buffered, f"E4: it has failed before all was taken: {then}"
            consumer.failures.clear()
            if consumer.drained_at is not None:
                if not ledger.dropped:
                    self._check_newest(consumer, consumer.drained_at)
                consumer.drained_at = None

    def e5_the_pool_never_goes_back(self) -> None:
        """The pool never goes back: an older epoch never overwrites a newer one."""
        for component in self._world.components:
            for asked in component.interests if component.is_open else ():
                for kind, code in asked.topics() if asked.endpoint is Endpoint.PUBLIC else ():
                    try:
                        event = getattr(component.client, f"get_{kind}")(code)
                    except NotReadyError:
                        continue
                    now = event.epoch.number, stamp_of_event(event).serial
                    last = self._pool.get((kind, code), now)
                    assert now >= last, f"E5: the latest {kind} of {code} was {last} and is {now}: epoch and serial"
                    self._pool[kind, code] = now

    def e6_the_last_request_equals_the_wants(self, requests: Sequence[Request], now: float) -> None:
        """At the start of an epoch the request on the wire equals the union of all wants at that moment; every later
        change of wants reaches the wire within that epoch as soon as the limits allow, and the last request sent always
        equals the wants once they rest."""
        for request in requests:
            if self._may_search(request.life.endpoint, request.at):
                assert _covers(request.most, request.asked), f"E6: {request.asked} is more than {request.most}"
            elif request.least == request.most:
                assert request.asked == request.least, f"E6: {request.asked} was asked for, not {request.least}"
            else:
                assert _covers(request.asked, request.least), f"E6: {request.asked} leaves out some of {request.least}"
                assert _covers(request.most, request.asked), f"E6: {request.asked} is more than {request.most}"
        for endpoint, lives in self._world.tap.lives.items():
            wanted = joined(self._world.wanted(endpoint))
            if not lives or lives[-1].ended_at is not None or not wanted or self._world.changing:
                continue
            if self._may_search(endpoint, now):
                continue
            sent = [at for at, _ in lives[-1].requests]
            # Who lets the reader wait, lets everybody wait for answers.
            busy_until = self._world.held_at[endpoint]
            due = max(lives[-1].begun_at, self._world.changed_at, busy_until) + self._world.config.gather
            for count, seconds in _MESSAGES:
                if len(sent) >= count:
                    due = max(due, sent[-count] + seconds)
            if now > due + _BUSY_SECONDS:
                last = self._world.last_request(lives[-1])
                assert last == wanted, f"E6: {endpoint} has rested since {due}, {last} is asked for, {wanted} wanted"

    def _may_search(self, endpoint: Endpoint, now: float) -> bool:
        """Whether a want may be under suspicion since the exchange has answered a request with an error: such wants are
        asked for in parts, while all else is served."""
        return any(
            isinstance(trouble.fault, ErrorFrame)
            and trouble.fault.endpoint in (None, endpoint)
            and trouble.begins <= now <= trouble.ends + _SEARCH_SECONDS
            for trouble in self._world.troubles
        )

    def e7_notices_stand_where_they_belong(self, told: Told) -> None:
        """A notice stands exactly where it belongs: ``EpochStarted(n)`` before the first event of *n*; ``Lagged(k)``
        where the *k* events were dropped."""
        for consumer, item in told:
            seen, has_notices = self._of(consumer), consumer.asked.has_notices
            if isinstance(item, Event):
                epoch, missing = item.epoch, seen.missing_before.pop(0)
                if has_notices:
                    # Who has not asked for notices may have those of epochs by default, and no others.
                    ledger = consumer.statistics()
                    assert ledger is not None
                    told_of = seen.lagged + ledger.coalesced + ledger.throttled
                    is_told = consumer.asked.notices is not True or missing <= told_of
                    assert is_told, f"E7: {missing} are missing before {item}, told was of {told_of}"
                    begun = seen.begun.get(epoch.connection)
                    assert begun == epoch.number, f"E7: an event of epoch {epoch.number}, told was of {begun}"
                ended = seen.ended.get(epoch.connection, 0)
                assert epoch.number > ended, f"E7: an event of epoch {epoch.number} after the end of {ended}"
                continue
            assert has_notices, f"E7: nobody has asked for {item}"
            if isinstance(item, EpochStarted):
                connection, number = item.epoch.connection, item.epoch.number
                assert number > seen.begun.get(connection, 0), f"E7: told again, or too late: {item}"
                assert item.missing_from is None or item.missing_from <= item.missing_to, f"E7: {item}"
                seen.begun[connection] = number
            elif isinstance(item, EpochEnded):
                number, life = item.epoch.number, self._transcript(item).life
                assert life.ended_at is not None, f"E7: it has not ended: {item}"
                assert number > seen.ended.get(item.epoch.connection, 0), f"E7: told again, or too late: {item}"
                seen.ended[item.epoch.connection] = number
            elif isinstance(item, Lagged):
                assert item.dropped > 0, f"E7: {item}"
                ledger = consumer.statistics()
                seen.lagged += item.dropped
                assert ledger is not None
                assert seen.lagged <= ledger.dropped, f"E7: told of {seen.lagged} missing events, {ledger}"

    def e8_no_trade_is_delivered_twice(self, events: Told) -> None:
        """No trade is delivered twice. The snapshot after a reconnect or a changed request repeats the last trade."""
        for consumer, event in events:
            if event.type == "trade":
                trade = event.code, event.sequential_id
                trades = self._of(consumer).trades
                trades[trade] += 1
                # The exchange itself may tell a change twice, which is for the consumer to see.
                most = max(1, self._world.realtime_trades[trade])
                assert trades[trade] <= most, f"E8: the trade {trade} was delivered {trades[trade]} times"

    def b1_memory_is_bounded(self) -> None:
        """Memory is bounded: every buffer has a capacity, and the sum is known from the configuration."""
        wanted = set[tuple[str, str]]()
        for consumer in self._world.consumers():
            ledger = consumer.statistics()
            if consumer.is_open and ledger is not None:
                capacity = consumer.asked.effective.capacity
                assert ledger.capacity == capacity
                # What stands behind a loss that was told waits beside the buffer.
                most = capacity + (consumer.asked.notices is True)
                assert ledger.buffered <= most, f"B1: {ledger} of a buffer of {capacity}"
                assert len(consumer.channels) == 1
                # Between two events there is one place, with a few notices at most.
                notices = consumer.channels[0].waiting_notices
                most = (4 + consumer.most_topics) * (capacity + 1)
                assert notices <= most, f"B1: {notices} notices wait before {ledger}"
        for endpoint in Endpoint:
            wanted |= {topic for asked in self._world.wanted(endpoint) for topic in asked.topics()}
        assert self._world.manager is not None
        hubs = [self._world.hub(endpoint) for endpoint in Endpoint]
        routes = [route for hub in hubs for route in routes_of(hub)]
        assert len(routes) == len(wanted), f"B1: {len(routes)} routes are kept for {wanted}"
        assert all(route.recent is None or len(route.recent) <= _MOST_RECENT for route in routes), "B1: trades pile up"

    def l2_trouble_stays_where_it_is(self) -> None:
        """One connection's trouble changes nothing on another: not its epoch, not its events, nor when they come."""
        for life, happened_at, read_at in self._world.late:
            has_reason = any(
                trouble.fault.endpoint in (None, life.endpoint)
                and trouble.begins - _ROUNDING <= read_at
                and trouble.ends + _CATCH_UP_SECONDS >= happened_at
                for trouble in self._world.troubles
            )
            assert has_reason, f"L2: what happened on {life.endpoint} at {happened_at} was read at {read_at}"
        self._world.late.clear()
        for endpoint, lives in self._world.tap.lives.items():
            ended = [life for life in lives[self._ended[endpoint] :] if life.ended_at is not None]
            self._ended[endpoint] += len(ended)
            for life in ended:
                assert life.ended_at is not None
                has_reason = not self._world.transcript(life).was_wanted_at_end or any(
                    trouble.fault.endpoint in (None, endpoint)
                    and isinstance(trouble.fault, _BREAKING)
                    and trouble.begins - _ROUNDING <= life.ended_at
                    and trouble.ends + _ROUNDING >= life.begun_at
                    for trouble in self._world.troubles
                )
                assert has_reason, f"L2: epoch {life.number} of {endpoint} ended at {life.ended_at} for no reason"

    def l3_no_limit_is_broken(self) -> None:
        """No request ever breaks the exchange's limits."""
        assert not self._world.exchange.breaches, f"L3: {self._world.exchange.breaches}"

    def l1_nothing_is_left_of_the_manager(self) -> None:
        """After ``async with open_manager()`` is left, however it is left, no task, socket, channel or timer of ours
        exists."""
        after = self._world.aftermath
        assert after is not None, "L1: the manager was not left"
        assert after.sessions == 0, f"L1: {after.sessions} connections are still open"
        assert not after.tasks, f"L1: tasks are still running: {after.tasks}"
        assert not after.is_wanted, "L1: something is still wanted"
        assert after.routes == 0, f"L1: there are {after.routes} routes left"
        limit = self._world.config.close_timeout
        assert after.seconds <= limit + _ROUNDING, f"L1: to leave took {after.seconds} s, and may take {limit}"
        for consumer in self._world.consumers():
            assert all(channel.is_closed for channel in consumer.channels), "L1: a channel is still open"

    def _of(self, consumer: Consumer) -> _Seen:
        return self._seen.setdefault(consumer.number, _Seen())

    def _transcript(self, item: Any) -> Transcript:
        endpoint = Endpoint(item.epoch.connection)
        return self._world.transcript(self._world.tap.lives[endpoint][item.epoch.number - 1])

    def _place(self, consumer: Consumer, event: Event) -> None:
        """Find the event among those that were sent, after the last one of its topic that the consumer got; and count
        what is missing between the two."""
        seen, asked, stamp = self._of(consumer), consumer.asked, stamp_of_event(event)
        sent, policy = self._transcript(event).topics[event.type, event.code], asked.effective
        away, read_at = self._away(consumer, event), event.received_at - event.epoch.wall_offset
        key = event.epoch.connection, event.epoch.number, event.type, event.code
        last, is_snapshot = seen.places.get(key), event.stream_type == "SNAPSHOT"
        assert asked.snapshot if is_snapshot else asked.realtime, f"E4: nobody has asked for {event}"
        is_first = last is None or away is not None
        assert is_first or asked.realtime, f"E4: a second snapshot within an epoch: {event}"
        # Who comes late, or again, is shown the latest event as a snapshot, whatever it was.
        is_shown = is_snapshot and is_first
        place = 0 if last is None else last + (not is_shown)
        while place < len(sent) and (sent[place][1] != stamp or (sent[place][2] is not is_snapshot and not is_shown)):
            place += 1
        assert place < len(sent), f"E4: it was not sent, or before the one that came before: {event}"
        if last is not None and (away is None or read_at < away.missing_from - _ROUNDING):
            seen.missing += len(_news(asked, sent[last:place]))
            ledger = consumer.statistics()
            most = 0 if isinstance(policy, Block | Fail) else _lost(ledger) if ledger is not None else seen.missing
            assert seen.missing <= most, f"E4: {seen.missing} events are missing, {ledger}"
        if away is not None and read_at > away.back_at + _ROUNDING:
            consumer.away = {topic: one for topic, one in consumer.away.items() if one is not away}
        seen.places[key] = place
        seen.missing_before.append(seen.missing)
        if not is_snapshot and not isinstance(policy, Coalesce | Throttle):
            change = event.epoch.number, sent[place][0]
            before = seen.changes.get(event.epoch.connection, (0, 0))
            assert change > before, f"E4: {event} was sent before the change that came before it"
            seen.changes[event.epoch.connection] = change

    def _away(self, consumer: Consumer, event: Event) -> Away | None:
        """If the consumer did not have the event's topic for a while, and what came then may be missing."""
        away = consumer.away.get((event.type, event.code))
        if away is not None and math.isinf(away.back_at):
            read_at = event.received_at - event.epoch.wall_offset
            assert read_at <= away.left_at + _ROUNDING, f"E4: it was read after {consumer.number} was narrowed: {event}"
        return away

    def _check_newest(self, consumer: Consumer, drained_at: float) -> None:
        """Of each topic of which something has come, the newest has, as soon as it was time for it. Nothing must have
        been dropped."""
        asked, endpoint = consumer.asked, consumer.asked.endpoint
        lives = self._world.tap.lives[endpoint]
        if not lives or lives[-1].ended_at is not None or self._world.held_at[endpoint] >= drained_at:
            return
        interval = asked.effective.interval if isinstance(asked.effective, Throttle) else 0.0
        for (kind, code), sent in self._world.transcript(lives[-1]).topics.items():
            last = self._of(consumer).places.get((str(endpoint), lives[-1].number, kind, code))
            if last is None or (kind, code) in consumer.away:
                continue
            if consumer.taken_at[kind, code] >= drained_at - interval and interval:
                continue  # it is not time yet
            left = [stamp for _, stamp, _, at in _news(asked, sent[last:]) if at < drained_at - interval - _ROUNDING]
            assert not left, f"E4: nothing waits for {asked} at {drained_at}, and {left[-1]} has not come"

    def _check_counts(self, endpoint: Endpoint) -> None:
        assert self._world.manager is not None
        status, read = self._world.manager.status(endpoint), self._world.events_read[endpoint]
        counted = status.events + status.late + status.unwanted + status.repeated
        least = read
        if self._world.held_at[endpoint] == math.inf:  # some of the last read were not handed out yet
            last = self._world.last_read[endpoint][1]
            least -= sum(count for (kind, code), count in last.items() if code or kind == "myAsset")
        assert least <= counted <= read, f"E4: of {read} events that were read, {counted} were counted: {status}"


def _lost(ledger: StreamStatistics) -> int:
    return ledger.dropped + ledger.coalesced + ledger.throttled


def _news(asked: Asked, sent: Sequence[Sent]) -> list[Sent]:
    """Those after the first of these that somebody is told who has had that."""
    return [
        one
        for one in sent[1:]
        # Snapshots may repeat what was told before; who wants nothing else wants one.
        if asked.realtime
        and one[1].serial != sent[0][1].serial
        and (not one[2] or (asked.snapshot and one[1].kind != "trade"))
    ]


def _covers(more: Collection[tuple[str, str]], fewer: Collection[tuple[str, str]]) -> bool:
    """Whether all topics are among the others; what is asked for of all markets is asked for of each."""
    return all(topic in more or (topic[0], "") in more for topic in fewer)
