"""The machine's world: an exchange, a live manager and its clients, and hands to do something with each."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import anyio
import attrs
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint
from tests.machine.consumers import Asked, Away, Component, Consumer, Topic, joined
from tests.support.market import Stamp, StampedMarket, asset_event, order_event, stamp_of_frame
from tests.support.noted import hub_of, noted, opened, routes_of
from tests.support.private import credentials_of
from tests.support.stepping import Handover
from tests.support.tap import Life, Tap
from tests.support.world import wall

from upbit_streams import Backoff, Config, DataType, Endpoint, Manager, ScopeError, open_manager
from upbit_streams.engine.channel import Channel
from upbit_streams.engine.connection import Connection
from upbit_streams.engine.hub import Hub
from upbit_streams.testing import Account, Fault, SimulatedExchange, memory_connector, play, settle
from upbit_streams.testing.faults import Lasting

__all__ = ["Aftermath", "LeaveBy", "LiveWorld", "Sent", "Transcript", "Trouble"]

Sent = tuple[int, Stamp, bool, float]
"""Where in the whole an event stood, its stamp, whether it was a snapshot, and when it was read."""
LeaveBy = Literal["closing all", "returning", "raising", "cancelling"]
IDLE_SECONDS = 15.0
_AT_ONCE = 0.01
"""Seconds. Where nothing is wrong, what happens is read in the same moment; the exchange tells milliseconds."""


@attrs.define(eq=False)
class Transcript:
    """What one connection told, by topic."""

    life: Life
    topics: dict[Topic, list[Sent]] = attrs.field(factory=dict)
    stamps: set[Stamp] = attrs.field(factory=set)
    was_wanted_at_end: bool = True


@attrs.frozen
class Trouble:
    """A fault, where it strikes, and from when to when. Times are the event loop's."""

    fault: Fault
    begins: float
    ends: float


@attrs.frozen
class Request:
    """What was asked for, and the least and the most that was wanted at that moment: they differ only while somebody
    is leaving or entering."""

    life: Life
    at: float
    asked: dict[tuple[str, str], tuple[int, bool, bool]]
    least: dict[tuple[str, str], tuple[int, bool, bool]]
    most: dict[tuple[str, str], tuple[int, bool, bool]]


@attrs.frozen
class Aftermath:
    """What there is of the manager after it was left."""

    seconds: float
    """That leaving took."""
    sessions: int
    tasks: list[str]
    routes: int
    is_wanted: bool


class _UserError(Exception):
    pass


class LiveWorld:
    """Everything here but :meth:`live` is called within the loop, one at a time."""

    def __init__(self, leave_by: LeaveBy, draw: float) -> None:
        self.market = StampedMarket()
        self.exchange = SimulatedExchange(self.market)
        self.account: Account = self.exchange.open_account()
        self.config = Config(
            url="ws://localhost/v1", backoff=Backoff(initial=0.5, maximum=4.0), idle_timeout=IDLE_SECONDS
        )
        self.tap = Tap(heard=self._note_frame, asked=self._note_request, ended=self._note_end)
        self.manager: Manager | None = None
        self.components: list[Component] = []
        self.changing: list[Asked] = []
        """What is on its way in or out, so that both with and without it is right."""
        self.changed_at = 0.0
        """When the wants did so last."""
        self.told: list[tuple[Consumer, Any]] = []
        """What consumers got and nobody has checked yet."""
        self.requests: list[Request] = []
        """That nobody has checked yet."""
        self.transcripts: dict[Endpoint, list[Transcript]] = {endpoint: [] for endpoint in Endpoint}
        self.heard: Counter[Topic] = Counter()
        """How many events came, by topic."""
        self.last_read: dict[Endpoint, tuple[float, Counter[Topic]]] = {
            endpoint: (0.0, Counter()) for endpoint in Endpoint
        }
        """When each connection read something last, and what."""
        self.events_read: Counter[Endpoint] = Counter()
        """How many events each connection has read."""
        self.late: list[tuple[Life, float, float]] = []
        """Changes that were read late, and no consumer was waited for on the same connection: when they happened, and
        when they were read. Nobody has checked them yet."""
        self.realtime_trades: Counter[tuple[str, int]] = Counter()
        """How often each trade was told as a change."""
        self.troubles: list[Trouble] = []
        self.aftermath: Aftermath | None = None
        self.is_leaving = False
        self.held_at = dict.fromkeys(Endpoint, -math.inf)
        """When each reader last waited for a consumer, in the event loop's time; infinite while it does."""
        self._connections: list[Connection] = []
        self._clients: dict[int, Component] = {}
        """Those that are open."""
        self._leave_by = leave_by
        self._draw = draw
        self._serial = 0

    async def live(self, handover: Handover) -> None:
        """Open the manager, let the steps happen, and leave it."""
        before = {task.id for task in anyio.get_running_tasks()}
        async with anyio.create_task_group() as self._group:
            with anyio.CancelScope() as scope:
                try:
                    opening = open_manager(
                        self.config,
                        credentials=credentials_of(self.account),
                        connector=self.tap.connector(memory_connector(self.exchange, wall)),
                        wall=wall,
                        draw=lambda: self._draw,
                    )
                    async with opened(opening) as (self.manager, self._connections):
                        for endpoint in Endpoint:
                            self._note_holds(endpoint)
                        await handover.serve()
                        self.is_leaving = True
                        left_at = anyio.current_time()
                        if self._leave_by == "closing all":
                            await self._leave_all()
                        elif self._leave_by == "raising":
                            raise _UserError
                        elif self._leave_by == "cancelling":
                            scope.cancel()
                            await checkpoint()
                except _UserError:
                    assert self._leave_by == "raising"
            seconds, sessions = anyio.current_time() - left_at, len(self.exchange.sessions)
            await self._leave_all()
            self._group.cancel_scope.cancel()
        assert self.manager is not None
        hubs = [connection.hub for connection in self._connections]
        self.aftermath = Aftermath(
            seconds=seconds,
            sessions=sessions,
            tasks=[str(task.name) for task in anyio.get_running_tasks() if task.id not in before],
            routes=sum(len(routes_of(hub)) for hub in hubs),
            is_wanted=any(hub.wants.union for hub in hubs),
        )

    # Clients and what they ask for

    async def leave(self, which: int) -> None:
        """Let a client leave its scope, if it is open."""
        if which in self._clients:
            await self._leave(self._clients.pop(which))

    async def register(self, which: int, asked: Asked) -> None:
        component = await self._client(which)
        component.interests.append(asked)
        self._note_change()
        await component.client.register_interest(
            [DataType.from_name(kind) for kind in asked.kinds], asked.codes, count=asked.count
        )

    async def open_stream(self, which: int, asked: Asked) -> None:
        component = await self._client(which)
        stream = component.client.stream(
            [DataType.from_name(kind) for kind in asked.kinds],
            asked.codes,
            backpressure=asked.policy,
            notices=asked.notices,
            count=asked.count,
            snapshot=asked.snapshot,
            realtime=asked.realtime,
        )
        consumer = self._consumer(component, asked)
        consumer.stream = stream
        self._note_change()
        with noted(Channel) as consumer.channels:
            await consumer.stack.enter_async_context(stream)

    async def subscribe(self, which: int, asked: Asked) -> None:
        """Have a function called with what is asked for."""
        component = await self._client(which)
        self.changing = [asked]
        consumer = self._consumer(component, asked)
        subscribe = getattr(component.client, f"subscribe_{asked.kinds[0].replace('myO', 'my_o')}")
        callback = consumer.call if asked.callback_takes else consumer.take
        with noted(Channel) as consumer.channels:
            consumer.subscription = await subscribe(
                asked.codes, callback, on_error=consumer.errors.append, backpressure=asked.policy
            )
        await self._settle()

    async def read(self, which: int, how: str, amount: int, patience: float) -> None:
        """Let one of those that are open take something, if there is one."""
        consumers = [consumer for consumer in self.consumers() if consumer.stream is not None and consumer.is_open]
        if consumers:
            await consumers[which % len(consumers)].read(how, amount, patience)

    async def change_markets(self, which: int, codes: Sequence[str], is_more: bool) -> None:
        """Widen one of the open streams that are by market, or narrow it by those of these that it has."""
        consumers = [
            each for each in self.consumers() if each.stream is not None and each.is_open and each.asked.is_by_market
        ]
        if not consumers:
            return
        consumer = consumers[which % len(consumers)]
        before, stream = consumer.asked, consumer.stream
        assert stream is not None
        if is_more:
            stream.widen(codes)
            after = [*before.codes, *(code for code in codes if code not in before.codes)]
        else:
            stream.narrow([code for code in codes if code in before.codes])
            after = [code for code in before.codes if code not in codes]
        consumer.asked = attrs.evolve(before, codes=tuple(after))
        self._note_topics(consumer)
        self._note_change()

    async def read_all(self) -> None:
        """Let everybody take what is there."""
        for consumer in self.consumers():
            await consumer.read("nowait", 10_000, 0.0)

    async def close(self, which: int) -> None:
        """Let one of those that are open end, if there is one."""
        consumers = [consumer for consumer in self.consumers() if consumer.is_open]
        if consumers:
            self.changing = [consumers[which % len(consumers)].asked]
            await self._close(consumers[which % len(consumers)])
            await self._settle()

    def wanted(self, endpoint: Endpoint) -> list[Asked]:
        """What is asked for of an endpoint, but for what is changing."""
        return [
            asked
            for component in self.components
            for asked in self._asked_of(component)
            if asked.endpoint is endpoint and not any(asked is one for one in self.changing)
        ]

    def consumers(self) -> list[Consumer]:
        return [consumer for component in self.components for consumer in component.consumers]

    # What happens outside

    async def wait(self) -> None:
        """Nothing, but for the time that passes after every step."""

    async def burst(self, code: str, count: int) -> None:
        self.market.burst(wall(), code, count)
        for session in self.exchange.sessions_of(None):
            session.wake()

    async def trade(self, what: str, code: str) -> None:
        """Something happens to the account."""
        self._serial += 1
        event = order_event(code, self._serial, wall()) if what == "order" else asset_event(self._serial, wall())
        self.account.tell(event)

    async def revoke_key(self) -> None:
        """Whoever has logged in stays so; nobody can any more."""
        self.account.revoke()

    async def replace_key(self) -> None:
        """Log in with a new key from now on."""
        assert self.manager is not None
        self.account.access_key, self.account.secret_key = self.account.new_key()
        self.manager.set_credentials(credentials_of(self.account))

    async def suffer(self, script: Sequence[Fault]) -> None:
        at = anyio.current_time()
        for fault in script:
            at += fault.after
            lasts = fault.lasts if isinstance(fault, Lasting) else 0.0
            self.troubles.append(Trouble(fault, at, at + lasts))
        self._group.start_soon(play, script, self.exchange, wall)

    # The rest

    async def _host(self, component: Component, *, task_status: TaskStatus[None]) -> None:
        assert self.manager is not None
        try:
            async with self.manager.open_client(component.name) as component.client:
                task_status.started()
                await component.leave.wait()
        except ScopeError:
            assert self.is_leaving, "a client's scope was closed though its manager is open"
        finally:
            component.leave.set()
            component.has_left.set()

    async def _client(self, which: int) -> Component:
        if which not in self._clients:
            component = self._clients[which] = Component(f"client {len(self.components)}")
            self.components.append(component)
            await self._group.start(self._host, component)
        return self._clients[which]

    async def _leave(self, component: Component) -> None:
        self.changing = self._asked_of(component)
        component.leave.set()
        await component.has_left.wait()
        for consumer in component.consumers:
            await self._close(consumer)
        component.interests.clear()
        await self._settle()

    async def _leave_all(self) -> None:
        while self._clients:
            await self._leave(self._clients.popitem()[1])

    def _consumer(self, component: Component, asked: Asked) -> Consumer:
        consumer = Consumer(len(self.consumers()), asked, self.told)
        self._note_topics(consumer)
        component.consumers.append(consumer)
        return consumer

    def _note_topics(self, consumer: Consumer) -> None:
        """What a consumer asks for has changed."""
        now, topics = anyio.current_time(), consumer.asked.topics()
        read_at, read = self.last_read[consumer.asked.endpoint]
        consumer.most_topics = max(consumer.most_topics, len(topics))
        for topic in topics:
            if topic not in consumer.since:
                # Of the last read it may get what was not handed out yet, and beside that the latest from before.
                consumer.since[topic] = self.heard[topic] - read[topic]
                consumer.earlier += 1
                if topic in consumer.away:
                    consumer.away[topic].back_at = now
        for topic in [topic for topic in consumer.since if topic not in topics]:
            consumer.earlier += self.heard[topic] - consumer.since.pop(topic)
            # What was read before is handed out, but what was read last may not be.
            missing_from = min(read_at, consumer.away[topic].missing_from if topic in consumer.away else read_at)
            consumer.away[topic] = Away(now, missing_from)

    async def _close(self, consumer: Consumer) -> None:
        consumer.is_open = False
        if consumer.subscription is not None:
            consumer.subscription.cancel()
        await consumer.stack.aclose()
        self._note_change()

    async def _settle(self) -> None:
        """Wait until what is changing has changed."""
        await settle()
        self.changing = []
        self._note_change()

    def _note_change(self) -> None:
        self.changed_at = anyio.current_time()

    def _asked_of(self, component: Component) -> list[Asked]:
        return [*component.interests, *(consumer.asked for consumer in component.consumers if consumer.is_open)]

    def _note_frame(self, life: Life, frame: Any) -> None:
        stamp = stamp_of_frame(frame)
        if stamp is None:
            return
        transcript = self.transcript(life)
        topic = stamp.kind, stamp.code
        is_snapshot = frame["stream_type"] == "SNAPSHOT"
        now = anyio.current_time()
        transcript.topics.setdefault(topic, []).append((len(life.frames), stamp, is_snapshot, now))
        transcript.stamps.add(stamp)
        if self.last_read[life.endpoint][0] < now:
            self.last_read[life.endpoint] = now, Counter()
        for topics in (self.heard, self.last_read[life.endpoint][1]):
            topics[topic] += 1
            if stamp.code:
                topics[stamp.kind, ""] += 1
        self.events_read[life.endpoint] += 1
        if is_snapshot:
            return
        if stamp.kind == "trade":
            self.realtime_trades[stamp.code, frame["sequential_id"]] += 1
        happened_at = now - (wall() - frame["timestamp"] / 1000)
        if now > happened_at + _AT_ONCE and self.held_at[life.endpoint] < happened_at:
            self.late.append((life, happened_at, now))

    def _note_request(self, life: Life, request: Any) -> None:
        asked = _topics_of(request)
        if asked is not None:
            certain = self.wanted(life.endpoint)
            maybe = [one for one in self.changing if one.endpoint is life.endpoint]
            self.requests.append(
                Request(life, anyio.current_time(), asked, joined(certain), joined([*certain, *maybe]))
            )

    def _note_end(self, life: Life) -> None:
        # Who comes in the same moment may have come after it was decided.
        was_wanted = anyio.current_time() > self.changed_at and bool(joined(self.wanted(life.endpoint)))
        self.transcript(life).was_wanted_at_end = was_wanted

    def _note_holds(self, endpoint: Endpoint) -> None:
        holds = self.hub(endpoint).holds
        wait = holds.wait

        async def noting() -> None:
            self.held_at[endpoint] = math.inf
            try:
                await wait()
            finally:
                self.held_at[endpoint] = anyio.current_time()

        setattr(holds, "wait", noting)  # noqa: B010 -- as a plain assignment it is an error to the type checker

    def hub(self, endpoint: Endpoint) -> Hub:
        assert self.manager is not None
        return hub_of(self._connections, endpoint)

    def last_request(self, life: Life) -> dict[tuple[str, str], tuple[int, bool, bool]] | None:
        """What a connection was asked for last; None before the first time."""
        return next((asked for _, each in reversed(life.requests) if (asked := _topics_of(each)) is not None), None)

    def transcript(self, life: Life) -> Transcript:
        transcripts = self.transcripts[life.endpoint]
        for begun in self.tap.lives[life.endpoint][len(transcripts) :]:
            transcripts.append(Transcript(begun))
        return transcripts[life.number - 1]


def _topics_of(request: Any) -> dict[tuple[str, str], tuple[int, bool, bool]] | None:
    """What a request asks for; None if it asks for nothing but what is subscribed."""
    topics: dict[tuple[str, str], tuple[int, bool, bool]] = {}
    if any("method" in part for part in request):
        return None
    for part in request:
        if "type" in part:
            for text in part.get("codes", [""]):
                code, _, count = text.partition(".")
                how = int(count or 30), not part.get("is_only_realtime"), not part.get("is_only_snapshot")
                topics[part["type"], code] = how
    return topics
