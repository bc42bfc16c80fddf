"""The policies as users meet them: what they refuse, and that the guide's picture of them is right."""

import math
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import attrs
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.ledger import POLICIES
from tests.support.world import CODES, numbered_trade, open_world

import upbit_streams
from upbit_streams import (
    BackpressureError,
    Block,
    Buffer,
    Coalesce,
    DataType,
    DropNewest,
    DropOldest,
    Epoch,
    EpochEnded,
    EpochStarted,
    Event,
    Fail,
    Fifo,
    InvalidConfigError,
    Lagged,
    Notice,
    Policy,
    Stale,
    Throttle,
)
from upbit_streams.engine.channel import Channel

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "backpressure.md"
PUBLIC, PRIVATE = (Epoch(connection, 1, 0.0, 0.0, "test") for connection in ("public", "private"))


PUBLISHED = re.findall(r"^published((?: +[BE]\d)+)$", PAGE.read_text("utf-8"), re.MULTILINE)[0].split()


def _trade(code: str, number: int, epoch: Epoch = PUBLIC) -> Any:
    return msgspec.structs.replace(numbered_trade(code, 0, number), epoch=epoch)


def _picture() -> list[tuple[str, str, str]]:
    """The lines of the picture: the policy, what is delivered, and what is lost."""
    text = PAGE.read_text("utf-8")
    picture = text[text.index("```text\npublished") :].partition("```\n")[0]
    found = re.findall(r"^(\w+\(.*?\))((?: +(?:[BE]\d|BackpressureError))+) +(\d+ \w+)", picture, re.MULTILINE)
    return [(policy, delivered, lost) for policies, delivered, lost in found for policy in policies.split(", ")]


@pytest.mark.parametrize(("policy", "delivered", "lost"), _picture())
async def test_the_picture_in_the_guide_is_right(policy: str, delivered: str, lost: str) -> None:
    channel = Channel(eval(policy, vars(upbit_streams)))  # noqa: S307 -- the documentation's own code
    for event in PUBLISHED:
        channel.put(_trade(event[0], int(event[1:])))
    got = [f"{trade.code}{trade.sequential_id}" for trade in await channel.receive_batch()]
    amount, what = lost.split()
    if delivered.endswith("BackpressureError"):
        with pytest.raises(BackpressureError) as failed:
            channel.receive_nowait()
        assert failed.value.missed == int(amount)
        got.append("BackpressureError")
    assert got == delivered.split()
    assert getattr(channel.statistics(), what) == int(amount)
    channel.close()


def test_the_picture_has_every_policy() -> None:
    named = {policy.partition("(")[0] for policy, _, _ in _picture()}
    assert named == {"DropOldest", "DropNewest", "Coalesce", "Throttle", "Block", "Fail"}


nonsense: Any = st.one_of(st.sampled_from([0, -1, True, None, "8", 1.5, math.nan, math.inf]), st.integers(max_value=0))


@pytest.mark.parametrize("policy", [DropOldest, DropNewest, Coalesce, Block, Fail, lambda n: Throttle(1.0, n)])
@given(capacity=nonsense)
def test_a_capacity_is_a_whole_number_above_nothing(policy: Any, capacity: Any) -> None:
    with pytest.raises(InvalidConfigError, match="capacity must be a whole number of at least 1"):
        policy(capacity)


@pytest.mark.parametrize("policy", [Throttle, lambda seconds: Block(1, seconds)])
@pytest.mark.parametrize("seconds", [0, -1.0, True, None, "1", math.nan, math.inf])
def test_a_time_is_a_number_of_seconds_above_nothing(policy: Any, seconds: Any) -> None:
    with pytest.raises(InvalidConfigError, match="must be a number of seconds above 0"):
        policy(seconds)


def test_policies_are_values() -> None:
    policies: list[Policy] = [Throttle(0.5), Throttle(0.5), Coalesce(8), Coalesce(8), Block(3), DropNewest(3)]
    assert len({*policies}) == 4
    assert all(policy.buffer() is not policy.buffer() for policy in policies), "each stream has its own"


async def test_a_throttled_event_waits_for_no_notice_of_another_connection_and_no_notice_for_it() -> None:
    """A notice of one connection stands behind the events of it that wait, though others may be taken sooner."""
    channel = Channel(Throttle(1.0), notices=(EpochStarted, EpochEnded))
    channel.begin(PUBLIC, 0.0)
    channel.begin(PRIVATE, 0.0)
    channel.put(_trade("KRW-BTC", 1, PRIVATE))
    channel.put(_trade("KRW-XRP", 1, PUBLIC))
    assert len(await channel.receive_batch()) == 4
    channel.put(_trade("KRW-BTC", 2, PRIVATE))  # not before a second has passed
    channel.end(PRIVATE, "test", 0.0, 0.0)
    channel.put(_trade("KRW-ETH", 3, PUBLIC))  # at once, but for what stands before it
    with pytest.raises(anyio.WouldBlock):
        channel.receive_nowait()
    first, ended, last = await channel.receive(), await channel.receive(), await channel.receive()
    assert (first.sequential_id, type(ended), last.sequential_id) == (2, EpochEnded, 3)
    channel.close()


@pytest.mark.parametrize("policy", [Coalesce(8), Throttle(5.0, 8), DropNewest(4), DropOldest(4)])
@pytest.mark.parametrize("is_muted", [False, True])
async def test_b1_notices_do_not_grow_behind_a_consumer_that_never_reads(policy: Policy, is_muted: bool) -> None:
    """Nor where the event of one market waits for ever, and those of others go behind it again and again."""
    lengths = dict[int, int]()
    for lives in range(5, 60):
        channel = Channel(policy, notices=(EpochStarted, EpochEnded, Lagged, Stale))
        for number in range(1, lives + 1):
            epoch = Epoch("public", number, float(number), 0.0, "test")
            channel.begin(epoch, 0.0)
            for place, code in enumerate(("KRW-BTC", "KRW-ETH", "KRW-XRP")):
                if not (is_muted and place == 1 and number > 1):
                    channel.put(_trade(code, number, epoch))
                    channel.put(_trade(code, number, epoch))
            channel.tell(Stale(epoch, "trade", "KRW-BTC", 60.0, 1.0))
            channel.end(epoch, "test", 0.0, 0.0)
        buffered = channel.statistics().buffered
        got = await channel.receive_batch()
        lengths[lives] = len([item for item in got if isinstance(item, Notice)])
        assert lengths[lives] <= 4 * (buffered + 1)
        epochs = [item.epoch.number for item in got if not isinstance(item, Lagged)]
        assert epochs == sorted(epochs)
        assert sum(item.dropped for item in got if isinstance(item, Lagged)) == channel.statistics().dropped
        channel.close()
    assert max(lengths[lives] for lives in range(20, 60)) == max(lengths[lives] for lives in range(5, 20))


async def test_b1_what_throttle_remembers_is_bounded() -> None:
    """Of more markets than may wait, the last ones that were taken have to wait for their time."""
    buffer = Throttle(5.0, 8).buffer()
    for number in range(100):
        buffer.put(_trade(f"KRW-{number}", number), number)
        assert buffer.take() is not None
    for number in reversed(range(100)):
        buffer.put(_trade(f"KRW-{number}", number), 200 - number)
        is_known = buffer.take() is None
        assert is_known is (number >= 92)
        buffer.clear()


class _Broken(Fifo):
    def __init__(self, how: str) -> None:
        super().__init__(3)
        self._how = how

    def put(self, event: Event, place: int) -> Any:
        if len(self.events) >= 2 and self._how == "raises":
            raise ValueError(self._how)
        self.events.append(event)
        return True if len(self.events) > 2 and self._how == "returns" else None


@attrs.frozen
class _BrokenPolicy:
    how: str
    capacity: int = 3

    def buffer(self) -> Buffer:
        return _Broken(self.how)


@pytest.mark.parametrize(
    ("how", "match"), [("raises", "ValueError"), ("returns", "no Outcome"), ("grows", "in a buffer of 3")]
)
@pytest.mark.parametrize("has_notices", [False, True])
async def test_a_policy_that_is_broken_ends_its_stream_and_says_why(how: str, match: str, has_notices: bool) -> None:
    channel = Channel(_BrokenPolicy(how), notices=(EpochStarted,) if has_notices else ())
    channel.begin(PUBLIC, 0.0)
    for number in range(8):
        channel.put(_trade("KRW-BTC", number))
    got = list[Any]()
    with pytest.raises(upbit_streams.UsageError, match=match) as broken:
        while True:
            got.append(await channel.receive())
    assert (broken.value.__cause__ is not None) is (how == "raises")
    ledger = channel.statistics()
    assert ledger.published == ledger.delivered + ledger.dropped + ledger.buffered
    assert [trade.sequential_id for trade in got if not isinstance(trade, EpochStarted)] == list(
        range(ledger.delivered)
    )
    channel.close()


async def test_who_keeps_one_event_of_each_topic_needs_room_for_all() -> None:
    async with open_world() as world, world.manager.open_client("strategy") as client:
        for policy in (Coalesce(5), Throttle(1.0, 5)):
            with pytest.raises(InvalidConfigError, match="room for 5 types and markets, and this stream has 6"):
                client.stream(DataType.TRADE | DataType.TICKER, CODES, backpressure=policy)
            async with client.stream(DataType.TRADE | DataType.TICKER, CODES[:2], backpressure=policy) as stream:
                with pytest.raises(InvalidConfigError, match="at least 6"):
                    stream.widen(CODES)
                stream.widen(CODES[:2])


async def test_an_error_comes_after_what_is_throttled() -> None:
    """However long that has to wait."""
    channel = Channel(Throttle(5.0))
    for number in range(3):
        channel.put(_trade("KRW-BTC", number))
    assert (await channel.receive()).sequential_id == 2
    channel.put(_trade("KRW-BTC", 3))
    channel.refuse(lambda: upbit_streams.SubscriptionError("trade", "KRW-BTC", "NO", "no"))
    with anyio.fail_after(6):
        assert (await channel.receive()).sequential_id == 3
    with pytest.raises(upbit_streams.SubscriptionError):
        await channel.receive()
    channel.close()


@pytest.mark.parametrize("name", POLICIES)
@given(steps=st.lists(st.sampled_from([*CODES, "take", "sleep"]), max_size=40), capacity=st.integers(1, 5))
@example(steps=["KRW-BTC", "KRW-ETH", "sleep", "KRW-BTC"], capacity=2)
def test_the_lag_is_that_of_the_oldest_event_that_waits(
    virtual_run: Any, name: str, steps: list[str], capacity: int
) -> None:
    async def main() -> None:
        channel = Channel(POLICIES[name](capacity))
        for number, step in enumerate(steps):
            if step == "sleep":
                await anyio.sleep(0.7)
            elif step != "take":
                # What a stream is shown when it joins has come before others that wait already.
                at = anyio.current_time() - number * 37 % 5
                channel.put(msgspec.structs.replace(_trade(step, number), received_at=at))
            else:
                with suppress(anyio.WouldBlock, BackpressureError):
                    channel.receive_nowait()
        ledger, now = channel.statistics(), anyio.current_time()
        await anyio.sleep(10)
        waited = list[float]()
        with suppress(anyio.WouldBlock, BackpressureError):
            while True:
                waited.append(channel.receive_nowait().received_at)
        assert ledger.buffered == len(waited)
        assert ledger.lag_seconds == pytest.approx(now - min(waited, default=now))

    virtual_run(main)


async def test_a_throttled_market_of_a_new_epoch_has_its_place_behind_those_of_the_old_one() -> None:
    buffer, later = Throttle(5.0, 8).buffer(), attrs.evolve(PUBLIC, number=2)
    for place, event in enumerate((_trade("KRW-BTC", 1), _trade("KRW-ETH", 1), _trade("KRW-BTC", 2, later))):
        buffer.put(event, place)
    assert buffer.places(3) == [1, 2]


async def test_a_throttled_market_that_was_dropped_holds_nothing_of_the_next_epoch_up() -> None:
    buffer, later = Throttle(10.0, 1).buffer(), attrs.evolve(PUBLIC, number=2)
    buffer.put(_trade("KRW-BTC", 1), 0)
    assert buffer.take() is not None
    buffer.put(_trade("KRW-BTC", 2), 1)  # not before its time
    buffer.put(_trade("KRW-ETH", 1), 2)  # at once, in the place of the one before
    assert buffer.take() is not None
    buffer.put(_trade("KRW-XRP", 1, later), 3)
    assert buffer.take() is not None


async def test_e3_a_throttled_event_of_a_new_epoch_waits_for_those_of_the_old_one() -> None:
    buffer, later = Throttle(5.0, 8).buffer(), attrs.evolve(PUBLIC, number=2)
    buffer.put(_trade("KRW-BTC", 1), 0)
    assert buffer.take() is not None
    for place, event in enumerate((_trade("KRW-BTC", 2), _trade("KRW-ETH", 1, later)), 1):
        buffer.put(event, place)
    assert buffer.take() is None
    await anyio.sleep(5.0)
    assert [event.epoch.number for event in buffer.take_all()] == [1, 2]
