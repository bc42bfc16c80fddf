"""The memory that all that is open may take: no event is larger than is said, and full buffers stay below the bound."""

import gc
import json
import re
import sys
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import cache, partial
from itertools import islice
from typing import Any

import anyio
import attrs
import msgspec
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from tests.support.noted import routes_of
from tests.support.shared import RECORDING, needs_shared
from tests.support.world import numbered_trade, wall

from upbit_streams import (
    AnnouncementEvent,
    Asset,
    Block,
    Coalesce,
    Config,
    DataType,
    DropNewest,
    DropOldest,
    Epoch,
    Event,
    EventStream,
    Fail,
    Format,
    MemoryBound,
    MyAssetEvent,
    OrderbookEvent,
    OrderbookUnit,
    Policy,
    Throttle,
    UnknownEvent,
    UsageError,
    event_bytes,
    open_manager,
)
from upbit_streams.engine.account import MOST_ANNOUNCEMENTS, MOST_DONE, MOST_ORDERS, Account
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.hub import Hub
from upbit_streams.engine.memory import memory_bound
from upbit_streams.model.subscriptions import Want
from upbit_streams.testing import MarketSimulation, strategies
from upbit_streams.wire.decode import Decoder
from upbit_streams.wire.encode import encode

Run = Callable[..., Any]
EPOCH = Epoch(connection="public", number=1, started_at=0.0, wall_offset=0.0, reason="test")
START_MS = 1_795_000_000_000
SIMULATED = (DataType.TICKER, DataType.TRADE, DataType.ORDERBOOK, DataType.CANDLE_1S)
POLICIES: tuple[Policy, ...] = (
    DropOldest(300),
    DropNewest(300),
    Coalesce(12),
    Throttle(3600.0, 12),
    Block(200),
    Fail(200),
)


def deep_bytes(value: Any, seen: set[int] | None = None) -> int:
    """What something takes with all that it refers to, as the allocator rounds it; whatever is there twice, once."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, Epoch):
        return 0
    seen.add(id(value))
    size = (sys.getsizeof(value) + 15) // 16 * 16
    if isinstance(value, msgspec.Struct):
        parts: Sequence[Any] = msgspec.structs.astuple(value)
    elif attrs.has(type(value)):
        parts = attrs.astuple(value, recurse=False)
    elif isinstance(value, dict):
        parts = [*value, *value.values()]
    else:
        parts = value if isinstance(value, tuple | list | deque) else ()
    return size + sum(deep_bytes(part, seen) for part in parts)


def decoded(frames: Sequence[bytes], spelling: Format = Format.DEFAULT) -> list[Event]:
    events, replies = Decoder(spelling).decode(frames, EPOCH, 1_795_000_000.5)
    assert not replies
    return events


@settings(max_examples=30)
@given(strategies.events())
def test_no_generated_event_is_larger_than_its_type_may_be(event: Event) -> None:
    (found,) = decoded([encode(event, Format.DEFAULT)])
    assert deep_bytes(found) <= event_bytes(DataType.from_name(event.type))


def test_what_a_market_brings_takes_at_least_a_quarter_of_the_bound() -> None:
    market, seen = MarketSimulation(codes=["KRW-BTC", "BTC-ETH"], seed=3, start_ms=START_MS), set[str]()
    for event in decoded([encode(event, Format.DEFAULT) for event in market.advance(START_MS + 10_000)]):
        bound = event_bytes(DataType.from_name(event.type))
        assert bound / 4 <= deep_bytes(event) <= bound
        seen.add(event.type)
    assert seen >= {kind.name for kind in SIMULATED}


@needs_shared
def test_no_recorded_event_is_larger_than_its_type_may_be() -> None:
    with RECORDING.open() as lines:
        frames = [json.loads(line)["frame"].encode() for line in islice(lines, 5000)]
    for event in decoded(frames, Format.SIMPLE):
        assert deep_bytes(event) <= event_bytes(DataType.from_name(event.type))


def test_a_change_of_many_balances_is_no_larger_than_it_may_be() -> None:
    (found,) = decoded([encode(_balances(range(16)), Format.DEFAULT)])
    assert deep_bytes(found) <= event_bytes(DataType.MY_ASSET)


def test_long_texts_may_be_as_long_as_the_longest_titles() -> None:
    (bare,) = _announcements([59])
    event = msgspec.structs.replace(bare, body=None, category="digital_asset", url="https://upbit.com/" + "a" * 300)
    assert deep_bytes(event) <= event_bytes(DataType.ANNOUNCEMENT)


def test_what_has_no_size_is_told() -> None:
    sizes: Any = event_bytes
    for kind in ("ticker", DataType.TICKER | DataType.TRADE, None, [DataType.TICKER]):
        with pytest.raises(UsageError, match=r"is not a data type; use one of the constants of DataType"):
            sizes(kind)
    impossible: list[Any] = [-4, 0, 2, 31, True, 5.0, "5", None, []]
    for levels in impossible:
        with pytest.raises(UsageError, match="order books have 1, 5, 15 or 30 levels, not "):
            sizes(DataType.ORDERBOOK, count=levels)
    for most in (-1, 0, True, 1e6, None):
        with pytest.raises(UsageError, match="a message has a whole number of bytes, at least 1; not "):
            sizes(DataType.UNKNOWN, max_message_size=most)


@pytest.mark.parametrize("letter", ["a", "한", "😀"])
def test_the_longest_body_is_as_large_as_a_message_in_the_widest_letters(letter: str) -> None:
    room = 40_000
    announcement = AnnouncementEvent(
        timestamp=START_MS,
        stream_type="REALTIME",
        event_type="CREATED",
        uuid="562593104",
        title="신규 거래 지원 안내 " * 15,
        category="trade",
        url="https://www.upbit.com/service_center/notice?id=562593104&view=share",
        first_listed_at="2026-11-18T16:16:40+09:00",
        listed_at="2026-11-18T16:16:40+09:00",
        body="😀" + letter * ((room - 1000) // len(letter.encode())),
    )
    frame = encode(announcement, Format.DEFAULT)
    assert room - 1200 < len(frame) <= room
    (found,) = decoded([frame])
    assert deep_bytes(found) <= event_bytes(DataType.ANNOUNCEMENT, include_body=True, max_message_size=room)


def test_an_event_of_an_unknown_type_is_as_large_as_a_message() -> None:
    frame = b'{"type":"liquidation","timestamp":1795000000000,"price":"' + b"1" * 30_000 + b'"}'
    (found,) = decoded([frame])
    assert isinstance(found, UnknownEvent)
    assert deep_bytes(found) <= event_bytes(DataType.UNKNOWN, max_message_size=len(frame))


class _Flood:
    """A connection that brings one batch of frames after the other as soon as something is asked for, and then falls
    silent."""

    def __init__(self, batches: Iterator[Sequence[bytes]]) -> None:
        self._batches = batches
        self._asked = anyio.Event()
        self.drained = anyio.Event()

    async def connect(self, url: str, config: Config, token: Any = None) -> "_Flood":
        await checkpoint()
        return self

    async def receive(self) -> Sequence[bytes | str]:
        await self._asked.wait()
        await checkpoint()
        if batch := next(self._batches, None):
            return batch
        self.drained.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, message: str) -> None:
        await checkpoint()
        self._asked.set()

    async def ping(self) -> None:
        await checkpoint()

    async def aclose(self) -> None:
        await checkpoint()


CODES = ("KRW-BTC", "KRW-ETH", "BTC-ETH")


@cache
def _reads(reads: int, size: int) -> Sequence[Sequence[bytes]]:
    """The present state of the markets, and then so many reads of their events."""
    market, now_ms, events = MarketSimulation(codes=CODES, seed=3, start_ms=START_MS), START_MS, list[Event]()
    names = [kind.name for kind in SIMULATED]
    first = [market.snapshot(name, code) for name in names for code in CODES]
    while len(events) < reads * size:
        now_ms += 1000
        events += [event for event in market.advance(now_ms) if event.type in names]
    frames = [encode(event, Format.DEFAULT) for event in events]
    snapshots = [encode(event, Format.DEFAULT) for event in first if event is not None]
    return [snapshots, *(frames[place * size : (place + 1) * size] for place in range(reads))]


def test_b1_full_buffers_stay_below_the_bound(virtual_run: Run) -> None:
    """Every buffer that a manager has is filled, and more comes. What that takes is measured, and so is the peak while
    a read is handed out."""
    config = Config(url="ws://memory", max_message_size=1 << 14)
    # Made before, so that what is measured is what the library keeps.
    reads = _reads(4, 350)

    async def fill() -> tuple[MemoryBound, int, int]:
        flood = _Flood(iter(reads))
        async with (
            open_manager(config, connector=flood.connect, wall=wall) as manager,
            manager.open_client("slow") as client,
            AsyncExitStack() as streams,
        ):
            opened: list[EventStream[Any]] = []
            gc.collect()
            tracemalloc.start()
            try:
                for policy in POLICIES:
                    for notices in (False, True):
                        made = client.stream(SIMULATED, CODES, backpressure=policy, notices=notices)
                        opened.append(await streams.enter_async_context(made))
                await client.register_interest(SIMULATED, CODES, history=300)
                bound = manager.memory_bound()
                await flood.drained.wait()
                gc.collect()
                grown, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert manager.memory_bound() == bound
            for stream in opened:
                statistics = stream.statistics()
                assert statistics.published > 1200
                assert statistics.buffered == statistics.capacity
        return bound, grown, peak

    bound, grown, peak = virtual_run(fill)
    assert grown <= bound.total - bound.reading
    assert peak - grown <= bound.reading
    # Many events are in several buffers and counted for each, so the bound is some way off; but not out of sight.
    assert grown >= bound.streams / 10


def test_the_bound_follows_what_is_open(virtual_run: Run) -> None:
    async def look() -> None:
        flood = _Flood(iter([]))
        config = Config(url="ws://memory")
        async with open_manager(config, connector=flood.connect, wall=wall) as manager:
            nothing = manager.memory_bound()
            assert nothing.total == 0
            async with manager.open_client("one") as client:
                books = client.stream(DataType.ORDERBOOK, "KRW-BTC", count=1, backpressure=DropOldest(1000))
                async with books:
                    small = manager.memory_bound()
                    level = event_bytes(DataType.ORDERBOOK, count=1)
                    assert 1000 * level <= small.streams < 2000 * level
                    assert small.reading > 0
                    # Another one asks for all levels of the same book. This one is still told of one.
                    async with client.stream(DataType.ORDERBOOK, "KRW-BTC", backpressure=Fail(10)):
                        both = manager.memory_bound()
                        assert both.streams >= small.streams + 10 * event_bytes(DataType.ORDERBOOK)
                    # What is left of it elsewhere may have all levels still; this buffer has not.
                    after = manager.memory_bound()
                    assert after.streams == small.streams
                    assert after.pool == both.pool > small.pool
                await client.register_interest(DataType.TRADE, "KRW-BTC")
                pulled = manager.memory_bound()
                assert pulled.streams == 0 < pulled.pool < small.total
            left = manager.memory_bound()
            assert left.total == left.pool <= 2 * 1024
            async with manager.open_client("two") as client:
                await client.register_interest(DataType.TRADE, "KRW-BTC", history=500)
                kept = manager.memory_bound().histories
                assert 500 * event_bytes(DataType.TRADE) <= kept < 1000 * event_bytes(DataType.TRADE)
            # What somebody who restarts would find again is there for a while.
            assert manager.memory_bound().histories >= kept
            await anyio.sleep(180.0)
            assert manager.memory_bound() == nothing

    virtual_run(look)


CONFIG = Config(url="ws://memory", max_message_size=1 << 14)
bound_of = partial(memory_bound, config=CONFIG)


def _balances(numbers: Iterable[int]) -> MyAssetEvent:
    return MyAssetEvent(
        timestamp=START_MS,
        stream_type="REALTIME",
        asset_uuid="e635f223-1609-4969-8fb6-4376937baad6",
        assets=tuple(
            Asset(currency=f"CUR{number}", balance=Decimal(f"{number}234567890.12345678"), locked=Decimal(number))
            for number in numbers
        ),
        asset_timestamp=START_MS,
        epoch=EPOCH,
    )


def _books(number: int, count: int) -> list[Event]:
    """So many of KRW-BTC, none of which shares anything with another."""
    return [
        OrderbookEvent(
            code="KRW-BTC",
            timestamp=START_MS + at,
            stream_type="REALTIME" if at else "SNAPSHOT",
            total_ask_size=at + 0.5,
            total_bid_size=at + 0.25,
            orderbook_units=tuple(
                OrderbookUnit(ask_price=rank + at, bid_price=at - rank, ask_size=at / rank, bid_size=rank * 0.3 + at)
                for rank in map(float, range(2, count + 2))
            ),
            epoch=EPOCH,
        )
        for at in range(number)
    ]


def _announcements(numbers: Iterable[int]) -> list[Event]:
    return [
        AnnouncementEvent(
            timestamp=START_MS + number,
            stream_type="REALTIME",
            event_type="CREATED",
            uuid=f"{number:036}",
            title=f"안내 {number} " + "가" * 190,
            category="trade",
            url=f"https://www.upbit.com/service_center/notice?id={number}",
            first_listed_at=f"2026-11-18T16:16:40+09:{number:02}",
            listed_at=f"2026-11-18T16:16:41+09:{number:02}",
            body=f"{number} " + "가" * 5000,
            epoch=EPOCH,
        )
        for number in numbers
    ]


def _trades(code: str, number: int) -> list[Event]:
    return [msgspec.structs.replace(numbered_trade(code, 10**9, at), epoch=EPOCH) for at in range(number)]


def _registered(*wants: Want, hub: Hub | None = None) -> Hub:
    hub = hub or Hub()
    hub.register(wants)
    return hub


def test_b1_what_others_wanted_is_counted_until_it_is_gone(virtual_run: Run) -> None:
    """A deep order book is wanted for a while beside a shallow one. Histories and the pool keep what came then."""

    async def look() -> None:
        shallow, deep = Want(DataType.ORDERBOOK, "KRW-BTC", count=1), Want(DataType.ORDERBOOK, "KRW-BTC")
        hub, channel = _registered(shallow), Channel(DropOldest(100))
        hub.keep(shallow, 100)
        hub.attach([shallow], channel)
        alone = bound_of([hub])
        hub.asked(hub.wants.union)
        hub.register([deep])
        hub.asked(hub.wants.union)
        hub.publish(_books(110, 30), EPOCH)
        both = bound_of([hub])
        hub.unregister([deep])
        hub.asked(hub.wants.union)
        (route,) = routes_of(hub)
        for _ in range(3):
            hub.clean()
            bound = bound_of([hub])
            assert deep_bytes(route.kept.history) <= bound.histories
            assert deep_bytes([route.latest, route.change, route.before]) <= bound.pool
            assert bound == both
        # What waits in the buffer was trimmed before.
        assert bound.streams == alone.streams >= deep_bytes(await channel.receive_batch()) > 0
        # Who has left leaves it to whoever comes back, for a while.
        hub.detach([shallow], channel)
        hub.let_go(shallow, 100)
        hub.unregister([shallow])
        assert deep_bytes(route.kept.history) <= bound_of([hub]).histories
        assert deep_bytes(route.kept) <= bound_of([hub]).pool
        # Of those who have left, everything is still on its way.
        hub.clean()
        hub.clean()
        assert bound_of([hub]).total == 0
        hub.register([shallow])
        assert bound_of([hub]).pool < both.pool
        hub.register([deep])
        hub.asked(hub.wants.union)
        hub.unregister([shallow, deep])
        hub.clean()
        hub.clean()
        hub.register([shallow])
        assert bound_of([hub]).pool == both.pool
        hub.unregister([shallow])
        hub.clean()
        hub.clean()
        hub.ended(EPOCH, "over", 0.0, 0.0)
        hub.register([shallow])
        assert bound_of([hub]).pool < both.pool

    virtual_run(look)


def test_b1_bodies_of_announcements_count_as_long_as_they_may_be_there(virtual_run: Run) -> None:
    async def look() -> None:
        bare, full = Want(DataType.ANNOUNCEMENT), Want(DataType.ANNOUNCEMENT, include_body=True)
        account = Account()
        hub = Hub(account, confirms=True)
        hub.register([bare])
        assert bound_of([hub]).account >= MOST_ANNOUNCEMENTS * event_bytes(DataType.ANNOUNCEMENT)
        hub.register([full])
        hub.keep(full, 100)
        hub.asked(hub.wants.union)
        hub.publish(_announcements(range(MOST_ANNOUNCEMENTS + 10)), EPOCH)
        (route,) = routes_of(hub)
        hub.let_go(full, 100)
        hub.unregister([full])
        assert len(account.announcements) == MOST_ANNOUNCEMENTS
        assert deep_bytes(account.announcements) <= bound_of([hub]).account
        assert deep_bytes(route.kept.history) <= bound_of([hub]).histories
        # The next one may be told with bodies until the exchange has taken another request.
        hub.unregister([bare])
        assert not account.announcements
        assert bound_of([hub]).account == 0
        hub.register([bare])
        hub.publish(_announcements(range(1)), EPOCH)
        assert deep_bytes(account.announcements) > event_bytes(DataType.ANNOUNCEMENT)
        assert deep_bytes(account.announcements) <= bound_of([hub]).account

    virtual_run(look)


def test_each_kind_of_account_data_has_its_share() -> None:
    account = Account()
    for start in range(0, 1000, 10):
        account.take(_balances(range(start, start + 10)))
    assert len(account.balances) == 1000
    balances = bound_of([_registered(Want(DataType.MY_ASSET))]).account
    assert deep_bytes(account.balances) <= balances
    orders = bound_of([_registered(Want(DataType.MY_ORDER))]).account
    assert orders >= (MOST_ORDERS + MOST_DONE) * event_bytes(DataType.MY_ORDER)
    several = Want(DataType.MY_ORDER, "KRW-BTC"), Want(DataType.MY_ORDER, "KRW-ETH"), Want(DataType.MY_ASSET)
    assert bound_of([_registered(*several)]).account == balances + orders
    assert bound_of([_registered(Want(DataType.TICKER, "KRW-BTC"))]).account == 0


def test_each_topic_has_its_share_of_the_pool(virtual_run: Run) -> None:
    async def look() -> None:
        trades = [Want(DataType.TRADE, code) for code in CODES]
        hub = _registered(*trades)
        assert bound_of([hub]).pool == 3 * bound_of([_registered(trades[0])]).pool
        hub.asked(hub.wants.union)
        for code in CODES:
            hub.publish(_trades(code, 1010), EPOCH)
        ids = deep_bytes([route.recent for route in routes_of(hub)])
        assert 3000 * 40 < ids <= bound_of([hub]).pool - 9 * event_bytes(DataType.TRADE)
        for want in (Want(DataType.TICKER, "KRW-BTC"), Want(DataType.ORDERBOOK, "KRW-BTC", count=15)):
            assert bound_of([_registered(want)]).pool >= 3 * event_bytes(want.type, count=want.count) + 1024

    virtual_run(look)


def _capacity_share(policy: Callable[[int], Policy]) -> tuple[int, int]:
    """What is counted for an empty stream of trades of one market, and for each place in it."""
    want, sizes = Want(DataType.TRADE, "KRW-BTC"), list[int]()
    for capacity in (1, 2):
        hub = _registered(want)
        hub.attach([want], Channel(policy(capacity)))
        sizes.append(bound_of([hub]).streams)
    place = sizes[1] - sizes[0]
    return sizes[0] - place, place - event_bytes(DataType.TRADE)


@pytest.mark.parametrize("policy", [DropOldest, DropNewest, Coalesce, partial(Throttle, 3600.0), Block, Fail])
def test_b1_places_in_a_buffer_are_counted(policy: Callable[[int], Policy], virtual_run: Run) -> None:
    """A buffer is filled twice, so that there is all that it remembers of what was taken."""

    async def fill() -> tuple[int, int]:
        number = 500
        frames = [numbered_trade(f"KRW-C{at}", 1, at) for at in range(2 * number)]
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            channel = Channel(policy(number))
            for event in frames[:number]:
                channel.put(event)
            for _ in range(number):
                channel.receive_nowait()
                if channel.statistics().buffered == 0:
                    break
            for event in frames[number:]:
                channel.put(event)
            return tracemalloc.get_traced_memory()[0] - before, channel.statistics().buffered
        finally:
            tracemalloc.stop()

    grown, buffered = virtual_run(fill)
    empty, place = _capacity_share(policy)
    assert buffered == 500
    assert place > 8
    assert grown <= empty + 500 * place


def test_b1_an_empty_stream_is_counted(virtual_run: Run) -> None:
    async def look() -> tuple[int, int]:
        flood = _Flood(iter([]))
        async with (
            open_manager(CONFIG, connector=flood.connect, wall=wall) as manager,
            manager.open_client("many") as client,
            AsyncExitStack() as streams,
        ):
            await streams.enter_async_context(client.stream(DataType.TRADE, "KRW-BTC"))
            await anyio.sleep(1.0)
            begun = manager.memory_bound().streams
            gc.collect()
            tracemalloc.start()
            try:
                for _ in range(50):
                    await streams.enter_async_context(client.stream(DataType.TRADE, "KRW-BTC", backpressure=Fail(1)))
                return tracemalloc.get_traced_memory()[0], manager.memory_bound().streams - begun
            finally:
                tracemalloc.stop()

    grown, bound = virtual_run(look)
    waiting = 50 * event_bytes(DataType.TRADE)
    assert 0 < grown <= bound - waiting


def test_an_event_in_a_stream_may_be_the_largest_of_its_types() -> None:
    book, order = Want(DataType.ORDERBOOK, "KRW-BTC"), Want(DataType.MY_ORDER)
    for market in (book, attrs.evolve(book, count=1)):
        public, private, channel = Hub(), Hub(Account(), confirms=True), Channel(Fail(1000))
        for hub, want in ((public, market), (private, order)):
            hub.register([want])
            hub.attach([want], channel)
        largest = max(event_bytes(DataType.ORDERBOOK, count=market.count), event_bytes(DataType.MY_ORDER))
        frames = 16 * (17 << 10)  # those that could not be read, and wait to be told
        assert 1000 * largest + frames <= bound_of([public, private]).streams < 1000 * (largest + 600) + frames
    # All of one connection, in whatever order.
    hub, channel = Hub(), Channel(Fail(1000))
    wants = {book, *(Want(kind, "KRW-BTC") for kind in DataType.all() if kind.name.startswith(("t", "candle")))}
    hub.register(wants)
    hub.attach(wants, channel)
    assert bound_of([hub]).streams >= 1000 * event_bytes(DataType.ORDERBOOK)
    # And in each market with as many levels as were asked for there.
    hub, channel = Hub(), Channel(Fail(1000))
    for number, (count, snapshot) in enumerate([(1, True), (15, False), (5, True)]):
        want = Want(DataType.ORDERBOOK, f"KRW-C{number}", count=count, snapshot=snapshot)
        hub.register([want])
        hub.attach([want], channel)
    assert bound_of([hub]).streams >= 1000 * event_bytes(DataType.ORDERBOOK, count=15)
    hub.register([Want(DataType.ORDERBOOK, "KRW-C1", count=1)])
    (deep,) = (route for route in hub.holders()[0] if route.want.code == "KRW-C1")
    assert deep.kept.want == Want(DataType.ORDERBOOK, "KRW-C1", count=15)


def test_b1_what_feeds_a_stream_of_many_markets_is_counted() -> None:
    hub = Hub()
    for snapshot in (True, False):
        wants = [Want(DataType.TRADE, f"KRW-C{number}", snapshot=snapshot) for number in range(200)]
        hub.register(wants)
        gc.collect()
        begun = bound_of([hub]).streams
        tracemalloc.start()
        try:
            channel = Channel(Fail(1))
            hub.attach(wants, channel)
            assert tracemalloc.get_traced_memory()[0] <= bound_of([hub]).streams - begun
        finally:
            tracemalloc.stop()


def test_connections_are_added_up() -> None:
    hubs = [_registered(Want(DataType.TICKER, code)) for code in CODES]
    one, several = bound_of(hubs[:1]), bound_of(hubs)
    assert (several.reading, several.pool, several.total) == (3 * one.reading, 3 * one.pool, 3 * one.total)
    assert bound_of([Hub()]).total == 0


def test_b1_what_a_stream_was_narrowed_by_is_counted(virtual_run: Run) -> None:
    async def look() -> None:
        hub, channel = Hub(), Channel(DropOldest(3))
        wants = [Want(DataType.TRADE, f"KRW-C{number}") for number in range(10)]
        book = Want(DataType.ORDERBOOK, "KRW-BTC")
        hub.register([*wants, book])
        hub.attach([*wants, book], channel)
        hub.asked(hub.wants.union)
        for want in wants:
            hub.publish(_trades(want.code, 120), EPOCH)
        hub.publish(_books(4, 30), EPOCH)
        hub.detach([*wants, book], channel, stays=True)
        hub.unregister([*wants, book])
        told = hub.holders()[2][channel].told
        assert {len(ids) for ids in told.values()} == {100}
        bound = bound_of([hub]).streams
        assert deep_bytes(await channel.receive_batch()) + deep_bytes(told) <= bound
        assert bound >= 3 * event_bytes(DataType.ORDERBOOK)
        hub.detach([], channel)
        assert bound_of([hub]).streams == 0

    virtual_run(look)


def test_b1_what_waits_for_room_outside_a_buffer_is_counted(virtual_run: Run) -> None:
    """Also when it was narrowed to other markets, and the pool has had newer events since."""

    async def look() -> None:
        hub, channel = Hub(), Channel(Block(1))
        books = [msgspec.structs.replace(book, code=f"KRW-C{at}") for at, book in enumerate(_books(40, 30))]
        wants = [Want(DataType.ORDERBOOK, book.code) for book in books]
        hub.register(wants)
        hub.asked(hub.wants.union)
        hub.publish(books, EPOCH)
        for few in (wants[:20], wants[20:]):
            hub.attach(few, channel)
            before = bound_of([hub]).streams
            hub.detach(few, channel, stays=True)
            assert deep_bytes(channel.unshown) <= bound_of([hub]).streams <= before
        assert len(channel.unshown) == 39

    virtual_run(look)


def test_b1_what_a_history_holds_is_counted_with_its_places() -> None:
    want = Want(DataType.TICKER, "KRW-BTC")
    hub = _registered(want)
    assert bound_of([hub]).histories == 0
    hub.keep(want, 500)
    assert bound_of([hub]).histories >= 500 * (event_bytes(DataType.TICKER) + 8)


@pytest.mark.parametrize("spelling", [Format.DEFAULT, Format.SIMPLE])
def test_b1_what_is_read_at_once_is_counted(spelling: Format) -> None:
    """The frames of a read and the events that are made of them, of order books with the shortest numbers."""
    frames = [re.sub(rb"\.[0-9]+", b"", encode(event, spelling)) for event in _books(50, 30)]
    size = sum(map(len, frames))
    taken = deep_bytes(frames) + deep_bytes(decoded(frames, spelling))
    (reading, at_once) = bound_of([_registered(Want(DataType.TICKER, "KRW-BTC"))]).reading, 16 * (1 << 16) + (1 << 14)
    assert 2 * size < taken <= size * reading / at_once
