"""The machine: whatever clients, their consumers, the exchange and chance may do to a live manager, in any order."""

from collections import Counter
from typing import Any, ClassVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.machine.consumers import Asked
from tests.machine.drive import Drive, Step, Way, shrunk
from tests.machine.live import LeaveBy
from tests.support.world import CODES

from upbit_streams import Block, Coalesce, DropNewest, DropOldest, Endpoint, Fail, Policy, Throttle
from upbit_streams.testing import Fault, strategies

__all__ = ["FeedMachine", "run_machine"]

_CODES = st.lists(st.sampled_from(CODES), min_size=1, max_size=2, unique=True).map(tuple)
_KINDS = st.lists(st.sampled_from(["trade", "ticker", "orderbook"]), min_size=1, max_size=3, unique=True).map(tuple)
# The deadlines are far below the time-out of a ping.
_EACH_POLICY: list[Policy | None] = [
    None,
    DropOldest(1),
    DropOldest(3),
    DropNewest(2),
    Coalesce(),
    Throttle(0.5),
    Throttle(2.0),
    Block(1, deadline=0.5),
    Block(3, deadline=2.0),
    Fail(2),
    Fail(1024),
]
_POLICIES = st.sampled_from(_EACH_POLICY)
_PUBLIC_STREAMS = st.builds(
    lambda kinds, codes, policy, notices, parts, count: Asked(
        kinds=kinds,
        codes=codes,
        policy=policy,
        notices=notices,
        snapshot=parts != "realtime",
        realtime=parts != "snapshot",
        count=count if "orderbook" in kinds else 30,
    ),
    _KINDS,
    _CODES,
    _POLICIES,
    st.booleans(),
    st.sampled_from(["all", "all", "all", "snapshot", "realtime"]),
    st.sampled_from([30, 1, 5]),
)
_PRIVATE_TOPICS = st.sampled_from(
    [
        (("myOrder",), ()),
        (("myOrder",), CODES[:1]),
        (("myAsset",), ()),
        (("myAsset", "myOrder"), CODES[:2]),
    ]
)
_PRIVATE_STREAMS = st.builds(
    lambda topics, policy: Asked(kinds=topics[0], codes=topics[1], policy=policy), _PRIVATE_TOPICS, _POLICIES
)
_CALLBACKS = st.builds(
    lambda kind, codes, policy, takes: Asked(kinds=(kind,), codes=codes, policy=policy, callback_takes=takes),
    st.sampled_from(["trade", "ticker", "orderbook", "myOrder"]),
    _CODES,
    # With one that fails, a callback ends of itself.
    st.sampled_from([None, DropNewest(2), Coalesce(), Throttle(0.5)]),
    st.sampled_from([0.0, 0.0, 0.3, 5.0]),
)
_INTERESTS = _PRIVATE_TOPICS.map(lambda topics: Asked(kinds=topics[0], codes=topics[1])) | st.builds(
    lambda kinds, codes: Asked(kinds=kinds, codes=codes), _KINDS, _CODES
)
_FAULTS = st.one_of(
    [
        strategies.faults(endpoint=endpoint, min_size=1, max_size=2)
        for endpoint in (Endpoint.PUBLIC, Endpoint.PRIVATE, None)
    ]
)
_PAUSES = st.sampled_from([0.0, 0.05, 1.0, 0.0, 2.5])
_WAITS = st.sampled_from([1.0, 0.05, 0.3, 3.0, 10.0, 30.0, 120.0])
# Few enough for things to happen to the same one.
_WHICH_CLIENT = st.integers(0, 2)
_WHICH_CONSUMER = st.integers(0, 5)


class FeedMachine(RuleBasedStateMachine):
    """Each example is one life of a manager, in a virtual time of its own. After every step, all invariants hold.

    Chance leaves out some rules in each example, so all but a few let some time pass and no rule is needed for another
    one to do something: a client is opened when it is first asked for something.
    """

    backend: ClassVar[str] = "asyncio"
    tally: ClassVar[Counter[str]]
    """What all examples together have seen."""
    failed: ClassVar[list[Drive]]
    """Those in which something was wrong."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.tally, cls.failed = Counter(), []

    def __init__(self) -> None:
        super().__init__()
        self.drive: Drive | None = None

    @initialize(
        leave_by=st.sampled_from(["closing all", "returning", "raising", "cancelling"]),
        draw=st.sampled_from([0.5, 0.05, 1.0]),
        script=st.just([]) | _FAULTS,
        streams=st.lists(_PUBLIC_STREAMS | _PRIVATE_STREAMS, min_size=1, max_size=3),
        interests=st.lists(_INTERESTS, max_size=1),
    )
    def open_manager(
        self, leave_by: LeaveBy, draw: float, script: list[Fault], streams: list[Asked], interests: list[Asked]
    ) -> None:
        self.drive = Drive(Way(self.backend, leave_by, draw))
        if script:
            self.suffer(script, 0.0)
        for asked in streams:
            self._do("open_stream", 0, asked)
        for asked in interests:
            self._do("register", 0, asked)

    @rule(client=_WHICH_CLIENT, asked=_INTERESTS, pause=_PAUSES)
    def register_interest(self, client: int, asked: Asked, pause: float) -> None:
        self._do("register", client, asked, pause=pause)

    @rule(client=_WHICH_CLIENT, asked=_PUBLIC_STREAMS, pause=_PAUSES)
    def open_public_stream(self, client: int, asked: Asked, pause: float) -> None:
        self._do("open_stream", client, asked, pause=pause)

    @rule(client=_WHICH_CLIENT, asked=_PRIVATE_STREAMS, pause=_PAUSES)
    def open_private_stream(self, client: int, asked: Asked, pause: float) -> None:
        self._do("open_stream", client, asked, pause=pause)

    @rule(client=_WHICH_CLIENT, asked=_CALLBACKS, pause=_PAUSES)
    def subscribe(self, client: int, asked: Asked, pause: float) -> None:
        self._do("subscribe", client, asked, pause=pause)

    @rule(client=_WHICH_CLIENT, pause=_PAUSES)
    def leave_client(self, client: int, pause: float) -> None:
        self._do("leave", client, pause=pause)

    @rule(consumer=_WHICH_CONSUMER, pause=_PAUSES)
    def close(self, consumer: int, pause: float) -> None:
        self._do("close", consumer, pause=pause)

    @rule(
        consumer=_WHICH_CONSUMER,
        how=st.sampled_from(["nowait", "receive", "batch"]),
        amount=st.sampled_from([1, 2, 1000]),
        patience=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    )
    def read(self, consumer: int, how: str, amount: int, patience: float) -> None:
        self._do("read", consumer, how, amount, patience)

    @rule(consumer=_WHICH_CONSUMER, codes=_CODES, is_more=st.booleans(), pause=_PAUSES)
    def change_markets(self, consumer: int, codes: tuple[str, ...], is_more: bool, pause: float) -> None:
        self._do("change_markets", consumer, codes, is_more, pause=pause)

    @rule(seconds=_WAITS)
    def wait(self, seconds: float) -> None:
        self._do("wait", pause=seconds)

    @rule()
    def read_all(self) -> None:
        self._do("read_all")

    @rule(code=st.sampled_from(CODES), count=st.sampled_from([2, 5, 30]), pause=_PAUSES)
    def burst(self, code: str, count: int, pause: float) -> None:
        self._do("burst", code, count, pause=pause)

    @rule(what=st.sampled_from(["order", "asset"]), code=st.sampled_from(CODES), pause=_PAUSES)
    def trade(self, what: str, code: str, pause: float) -> None:
        self._do("trade", what, code, pause=pause)

    @rule(revoke=st.booleans(), pause=_PAUSES)
    def change_key(self, revoke: bool, pause: float) -> None:
        self._do("revoke_key" if revoke else "replace_key", pause=pause)

    @rule(script=_FAULTS, pause=_PAUSES)
    def suffer(self, script: list[Fault], pause: float) -> None:
        self.tally["faults"] += len(script)
        self._do("suffer", script, pause=pause)

    def teardown(self) -> None:
        if self.drive is not None:
            try:
                self.drive.end()
            finally:
                self.tally.update(self.drive.tally)
                if self.drive.failure is not None:
                    self.failed.append(self.drive)

    def _do(self, what: str, *arguments: Any, pause: float = 0.0) -> None:
        assert self.drive is not None
        self.drive.do(Step(what, arguments, pause))


def run_machine(machine: type[FeedMachine], chosen: settings) -> None:
    """Let Hypothesis look for steps that break an invariant. What it finds is raised, with a note of the fewest steps.

    Hypothesis itself does not shrink: it would take many minutes, as it looks for the smallest of every number, too.
    """
    phases = [phase for phase in chosen.phases if phase not in (Phase.shrink, Phase.explain)]
    try:
        run_state_machine_as_test(machine, settings=settings(chosen, phases=phases, report_multiple_bugs=False))
    except Exception as why:
        if machine.failed:
            drive = machine.failed[0]
            steps = shrunk(drive.way, drive.steps, str(drive.failure).partition(":")[0])
            why.add_note("\n    ".join([f"Few steps are enough, {drive.way}:", *map(str, steps)]))
        raise
