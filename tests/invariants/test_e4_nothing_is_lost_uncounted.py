"""E4: within an epoch a stream's events are a subsequence of what the server sent, in its order; under a lossless
policy, all of it; and *delivered + dropped + coalesced + throttled + buffered = published to it*, exactly."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import Life, Reader, enough, lives, open_live_world, readers
from tests.support.market import Stamp, stamp_of_event
from tests.support.world import CODES

from upbit_streams import Block, Coalesce, DataType, DropNewest, DropOldest, Fail, Policy, Throttle

Run = Callable[..., Any]
KINDS = [DataType.TICKER, DataType.TRADE]
TOPICS = len(KINDS) * len(CODES)
SHARED: tuple[Callable[[int], Policy], ...] = (
    DropOldest,
    DropNewest,
    Fail,
    lambda room: Coalesce(TOPICS + room),
    lambda room: Throttle(1.3, TOPICS + room),
)
"""Policies of which none changes anything for the others."""
BLOCKING: tuple[Callable[[int], Policy], ...] = (*SHARED, lambda room: Block(room, 2.0))


def _policies(of: Sequence[Callable[[int], Policy]]) -> st.SearchStrategy[list[Policy]]:
    one = st.builds(lambda make, room: make(room), st.sampled_from(of), st.integers(1, 4))
    return st.lists(one, min_size=3, max_size=3)


LIVES = st.tuples(lives(), readers(3), _policies(SHARED) | _policies(BLOCKING))


@enough
@given(life=LIVES)
def test_e4_what_was_sent_is_delivered_in_its_order_or_counted(
    virtual_run: Run, life: tuple[Life, list[Reader], list[Policy]]
) -> None:
    script, several, policies = life

    async def main() -> None:
        async with open_live_world(script) as world, world.manager.open_client("strategy") as client:
            ledgers = await world.live_with(
                [
                    (client.stream(KINDS, CODES, backpressure=policy), reader)
                    for policy, reader in zip(policies, several, strict=False)
                ]
            )
            status = world.manager.status()
        sent = [one for talk in world.sent for one in talk]
        news = [one.stamp for one in sent if not one.is_repeated]
        assert status.events + status.late + status.repeated == len(sent), "not all that was read is counted"
        assert status.unwanted == 0
        for policy, reader, ledger in zip(policies, several, ledgers, strict=False):
            assert ledger.published + status.late == len(news), f"{len(news)} were sent, told is {ledger}"
            got = [stamp_of_event(event) for event in reader.events]
            lost = ledger.dropped + ledger.coalesced + ledger.throttled
            assert ledger.published == ledger.delivered + lost + ledger.buffered, f"{ledger}"
            assert ledger.delivered == len(got), f"{len(got)} came out, told is {ledger}"
            by_market = isinstance(policy, Coalesce | Throttle)
            for topic in {(one.kind, one.code) for one in news} if by_market else [None]:
                _check_subsequence([one for one in got if topic in (None, one[:2])], news)
            if status.late == 0:
                _check_losses(policy, reader, got, news, lost)

    virtual_run(main)


def _check_subsequence(got: Sequence[Stamp], news: Sequence[Stamp]) -> None:
    rest = iter(news)
    for one in got:
        assert one in rest, f"{one} was not sent, or before the one that came before it"


def _check_losses(policy: Policy, reader: Reader, got: list[Stamp], news: list[Stamp], lost: int) -> None:
    if isinstance(policy, Fail | Block):
        assert (not reader.failures) is (lost == 0), "lost in silence, or failed for nothing"
        if not lost:
            assert got == news
    if isinstance(policy, Coalesce):
        assert {one[:2]: one for one in got} == {one[:2]: one for one in news}
