"""Bugs to be put into the library, one at least for most invariants, to see that the machine finds them."""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import anyio
import pytest

from upbit_streams import Coalesce, Policy, Throttle
from upbit_streams.engine import connection as connection_module
from upbit_streams.engine.buffers import Latest, Outcome, Paced
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.connects import Connects
from upbit_streams.engine.hub import Hub
from upbit_streams.engine.notices import Notices
from upbit_streams.engine.reconciler import Reconciler
from upbit_streams.engine.topics import topic_of
from upbit_streams.model.epoch import Epoch
from upbit_streams.model.events import Event
from upbit_streams.wire.decode import Decoder

__all__ = ["BUGS", "BUGS_OF_POLICIES"]


def _epoch_numbers_leave_one_out(patch: pytest.MonkeyPatch) -> None:
    def skipping(*, number: int, **rest: Any) -> Epoch:
        return Epoch(number=number + (number > 1), **rest)

    patch.setattr(connection_module, "Epoch", skipping)


def _the_first_read_is_stamped_with_the_epoch_before(patch: pytest.MonkeyPatch) -> None:
    decode, epochs = Decoder.decode, WeakKeyDictionary[Decoder, Epoch]()

    def stale(decoder: Decoder, frames: Any, epoch: Epoch, received_at: float) -> Any:
        before = epochs.get(decoder, epoch)
        epochs[decoder] = epoch
        return decode(decoder, frames, before, received_at)

    patch.setattr(Decoder, "decode", stale)


def _the_last_change_of_an_epoch_comes_again_within_the_next(patch: pytest.MonkeyPatch) -> None:
    take, changes = Hub.accept, dict[Any, Event]()

    def late(hub: Hub, route: Any, event: Event) -> bool:
        is_news = take(hub, route, event)
        if event.stream_type == "REALTIME":
            old = changes.get(route, event)
            changes[route] = event
            for put in route.consumers.values() if old.epoch.number < event.epoch.number else ():
                put(old)
        return is_news

    patch.setattr(Hub, "accept", late)


def _what_finds_a_full_buffer_is_lost_and_not_counted(patch: pytest.MonkeyPatch) -> None:
    put = Channel.put

    def silently(channel: Channel, event: Event) -> None:
        ledger = channel.statistics()
        if ledger.buffered < ledger.capacity:
            put(channel, event)

    patch.setattr(Channel, "put", silently)


def _the_pool_returns_to_the_epoch_before(patch: pytest.MonkeyPatch) -> None:
    take, older = Hub.accept, dict[Any, Event]()

    def take_back(hub: Hub, route: Any, event: Event) -> bool:
        before = route.latest
        is_news = take(hub, route, event)
        if before is not None and before.epoch.number < event.epoch.number:
            older.setdefault(route, before)
        elif before is not None and route in older:
            route.latest = older[route]  # with the next event it is a newer one again
        return is_news

    patch.setattr(Hub, "accept", take_back)


def _nothing_is_asked_for_after_a_reconnect(patch: pytest.MonkeyPatch) -> None:
    run = Reconciler.run

    async def once(reconciler: Reconciler) -> None:
        if reconciler.epoch.number > 1:
            await anyio.sleep_forever()
        await run(reconciler)

    patch.setattr(Reconciler, "run", once)


def _a_notice_stands_behind_the_first_event(patch: pytest.MonkeyPatch) -> None:
    begin = Notices.begin

    def behind(notices: Notices, epoch: Epoch, at: float, place: int, waiting: Sequence[int]) -> None:
        begin(notices, epoch, at, place + 1, waiting)

    patch.setattr(Notices, "begin", behind)


def _the_trade_that_a_snapshot_repeats_is_not_recognised(patch: pytest.MonkeyPatch) -> None:
    take = Hub.accept

    def forgetful(hub: Hub, route: Any, event: Event) -> bool:
        if route.recent is not None:
            route.recent.clear()
        return take(hub, route, event)

    patch.setattr(Hub, "accept", forgetful)


def _who_is_told_to_stay_away_connects_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Connects, "block", lambda connects, seconds_after: None)


def _a_new_epoch_takes_the_place_of_the_old_one(patch: pytest.MonkeyPatch) -> None:
    put = Latest.put

    def keeping(buffer: Latest, event: Event, place: int) -> Outcome | None:
        topic = topic_of(event)
        if topic not in buffer.topics():
            return put(buffer, event, place)
        for at, earlier in list(zip(buffer.places(place), buffer.take_all(), strict=True)):
            put(buffer, event if topic_of(earlier) == topic else earlier, at)
        return Outcome.COALESCED

    patch.setattr(Latest, "put", keeping)


def _what_comes_before_its_time_never_does(patch: pytest.MonkeyPatch) -> None:
    put = Paced.put

    def impatient(buffer: Paced, event: Event, place: int) -> Outcome | None:
        is_alone = not len(buffer)
        outcome = put(buffer, event, place)
        if is_alone and buffer.next_time() > anyio.current_time():
            buffer.clear()
            return Outcome.THROTTLED
        return outcome

    patch.setattr(Paced, "put", impatient)


BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "E1": _epoch_numbers_leave_one_out,
    "E2": _the_first_read_is_stamped_with_the_epoch_before,
    "E3": _the_last_change_of_an_epoch_comes_again_within_the_next,
    "E4": _what_finds_a_full_buffer_is_lost_and_not_counted,
    "E5": _the_pool_returns_to_the_epoch_before,
    "E6": _nothing_is_asked_for_after_a_reconnect,
    "E7": _a_notice_stands_behind_the_first_event,
    "E8": _the_trade_that_a_snapshot_repeats_is_not_recognised,
    "L3": _who_is_told_to_stay_away_connects_again,
}
"""By the invariant that each breaks."""

BUGS_OF_POLICIES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Policy]] = {
    "E7": (_a_new_epoch_takes_the_place_of_the_old_one, Coalesce()),
    "E4": (_what_comes_before_its_time_never_does, Throttle(2.9)),
}
"""Of one policy, so that it takes longer to find them. By the invariant that each breaks."""
