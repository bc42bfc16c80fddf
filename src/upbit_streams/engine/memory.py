"""What everything that is open may take in memory, from how it is configured."""

from collections import defaultdict
from collections.abc import Hashable, Iterable

from ..model.config import Config
from ..model.events import Event
from ..model.kinds import DataType
from ..model.memory import MemoryBound, event_bytes
from ..model.subscriptions import Want
from .account import MOST_ANNOUNCEMENTS, MOST_DONE, MOST_ORDERS
from .channel import Channel
from .hub import Hub
from .kept import Kept
from .notices import MOST_FRAMES
from .topics import key_of

__all__ = ["memory_bound"]

# Beside an event, a buffer has its place, its index among the events, and maybe a notice that stands before it.
_PLACE_BYTES = 512
_STREAM_BYTES = 1 << 14
"""An empty stream."""
_FRAME_BYTES = 17 << 10
"""A lost frame, of which a decoder keeps the first 16 KiB."""
_FED_BYTES = 512
"""That a stream is fed with a topic."""
_TOPIC_BYTES = 4096
"""A topic of which nothing has come yet."""
_LEFTOVER_BYTES = 1024
"""What is left of a topic that nobody wants any more, without its history."""
# The latest; the last change, where a snapshot has come since; and what was the latest when it was last asked for.
_KEPT_EVENTS = 3
_TRADE_ID_BYTES = 64
_CURRENCY_BYTES = 1024
_MOST_CURRENCIES = 1000
"""The exchange lists some three hundred."""

# The transports read no more at once.
_READ_BYTES = 1 << 16
# What the exchange sends is deflated to a tenth at best.
_INFLATION = 16
# A byte of JSON is there as the message, and as its part of an event with all that the event refers to.
_BYTES_A_BYTE = 12


def memory_bound(hubs: Iterable[Hub], config: Config) -> MemoryBound:
    """The bound of all that these connections feed.

    Events stay as they came until they are pushed out, so what counts is not what is wanted now, but the most that was
    wanted since something began to keep them.
    """

    def size(want: Want) -> int:
        return event_bytes(
            want.type,
            count=want.count,
            include_body=want.include_body,
            max_message_size=config.max_message_size,
        )

    def history(kept: Kept, want: Want) -> int:
        return 0 if kept.history is None else (kept.history.maxlen or 0) * (size(want) + _PLACE_BYTES)

    largest: defaultdict[Channel, int] = defaultdict(int)
    """Of all events that each stream was ever fed with."""
    outside: defaultdict[Channel, set[Hashable]] = defaultdict(set)
    """The topics whose present state may wait until there is room in a stream."""
    account: dict[DataType[Event], int] = {}
    fed = histories = pool = reading = 0
    for hub in hubs:
        routes, leftovers, consumers = hub.holders()
        if routes:
            reading += _BYTES_A_BYTE * (_INFLATION * _READ_BYTES + config.max_message_size)
        for route in routes:
            want = route.kept.want or route.want
            pool += _TOPIC_BYTES + _KEPT_EVENTS * size(want)
            if route.recent is not None:
                pool += (route.recent.maxlen or 0) * _TRADE_ID_BYTES
            fed += _FED_BYTES * len(route.channels())
            histories += history(route.kept, want)
            account[want.type] = _account_bytes(want.type, size(want))
        # Whoever comes back soon finds what was kept, so it is there for a while.
        for kept in leftovers:
            pool += _LEFTOVER_BYTES
            histories += 0 if kept.want is None else history(kept, kept.want)
        for channel, consumer in consumers.items():
            fed += sum(_FED_BYTES + _TRADE_ID_BYTES * (told.maxlen or 0) for told in consumer.told.values())
            largest[channel] = max([largest[channel], *map(size, consumer.most.values())])
            if any(not want.type.has_snapshot for want in consumer.wants):
                fed += MOST_FRAMES * _FRAME_BYTES
            if channel.patience is not None:
                outside[channel].update(channel.unshown, ((want.type.name, key_of(want)) for want in consumer.wants))
    streams = sum(
        _STREAM_BYTES + (channel.capacity + channel.has_notices + len(outside[channel])) * (event + _PLACE_BYTES)
        for channel, event in largest.items()
    )
    return MemoryBound(
        streams=streams + fed, histories=histories, pool=pool, account=sum(account.values()), reading=reading
    )


def _account_bytes(kind: DataType[Event], event: int) -> int:
    """What is kept of the account, where somebody wants a type."""
    if kind is DataType.MY_ORDER:
        return (MOST_ORDERS + MOST_DONE) * (event + _PLACE_BYTES)
    if kind is DataType.ANNOUNCEMENT:
        return MOST_ANNOUNCEMENTS * (event + _PLACE_BYTES)
    return _MOST_CURRENCIES * _CURRENCY_BYTES if kind is DataType.MY_ASSET else 0
