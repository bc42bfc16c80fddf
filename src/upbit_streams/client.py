"""A component's scope: what it asked for lives as long as the scope."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial, reduce
from typing import Any, Literal, TypeVar, overload

from .arguments import wants_of_call
from .callbacks import Callback, OnError, Subscription
from .engine.account import Account
from .engine.backpressure import DropOldest, Fail, Policy
from .engine.connection import Connection
from .engine.guarded import buffer_of
from .engine.hub import Hub
from .engine.idleness import Idleness
from .exceptions import InvalidConfigError, UsageError
from .model.clients import ClientStatistics, Sums
from .model.events import (
    AnnouncementEvent,
    CandleEvent,
    IndicatorEvent,
    IndicatorSignalEvent,
    MyAssetEvent,
    MyOrderEvent,
    OrderbookEvent,
    TickerEvent,
    TradeEvent,
)
from .model.indicators import Indicator
from .model.kinds import DataType, E, Endpoint
from .model.metrics import StreamStatistics
from .model.notices import EpochEnded, EpochStarted, FrameLost, Lagged, Notice, Stale
from .model.subscriptions import Wants, list_of
from .private import PrivatePull
from .streams import EventStream

__all__ = ["Client"]

_ALL_NOTICES: tuple[type[Notice], ...] = (EpochStarted, EpochEnded, Lagged, Stale, FrameLost)

# Events that the exchange tells once: there is no snapshot that would bring back what was missed.
AnyOnce = MyOrderEvent | MyAssetEvent | AnnouncementEvent | IndicatorEvent | IndicatorSignalEvent
Once = TypeVar("Once", bound=AnyOnce)


class Client(PrivatePull):
    """What one component wants and gets. Made by :meth:`Manager.open_client`, never directly."""

    def __init__(
        self,
        name: str,
        connections: Mapping[Endpoint, Connection],
        account: Account,
        start: Callable[[Callable[[], Awaitable[object]], str], None],
        opened_at: float,
    ) -> None:
        super().__init__(name, connections, account)
        self._start = start
        self._opened_at = opened_at
        self._streams: set[EventStream[Any]] = set()
        """Those that are open, and those of callbacks."""
        self._asked = 0
        """How often a stream was opened, or widened."""
        self._callbacks = 0
        self._past = Sums()
        """What became of the events of those that are closed."""
        self._idleness = Idleness()

    @overload
    def stream(  # type: ignore[overload-overlap] # pyright: ignore[reportOverlappingOverload]
        self,
        types: DataType[Once] | Iterable[DataType[Once]],
        codes: str | Iterable[str] = (),
        *,
        backpressure: Policy | None = None,
        notices: None = None,
        categories: Iterable[str] = (),
        include_body: bool = False,
        indicators: Indicator | Iterable[Indicator] = (),
    ) -> EventStream[Once | EpochStarted]: ...

    @overload
    def stream(  # type: ignore[overload-cannot-match, overload-overlap] # pyright: ignore[reportOverlappingOverload]
        self,
        types: Iterable[DataType[AnyOnce]],
        codes: str | Iterable[str] = (),
        *,
        backpressure: Policy | None = None,
        notices: None = None,
        categories: Iterable[str] = (),
        include_body: bool = False,
        indicators: Indicator | Iterable[Indicator] = (),
    ) -> EventStream[AnyOnce | EpochStarted]: ...

    @overload
    def stream(
        self,
        types: DataType[E] | Iterable[DataType[E]],
        codes: str | Iterable[str] = (),
        *,
        backpressure: Policy | None = None,
        notices: Literal[True],
        count: int = 30,
        level: float = 0,
        snapshot: bool = True,
        realtime: bool = True,
        categories: Iterable[str] = (),
        include_body: bool = False,
        indicators: Indicator | Iterable[Indicator] = (),
    ) -> EventStream[E | Notice]: ...

    @overload
    def stream(
        self,
        types: DataType[E] | Iterable[DataType[E]],
        codes: str | Iterable[str] = (),
        *,
        backpressure: Policy | None = None,
        notices: Literal[False] | None = None,
        count: int = 30,
        level: float = 0,
        snapshot: bool = True,
        realtime: bool = True,
        categories: Iterable[str] = (),
        include_body: bool = False,
        indicators: Indicator | Iterable[Indicator] = (),
    ) -> EventStream[E]: ...

    @overload
    def stream(
        self,
        types: DataType[E] | Iterable[DataType[E]],
        codes: str | Iterable[str] = (),
        *,
        backpressure: Policy | None = None,
        notices: bool,
        count: int = 30,
        level: float = 0,
        snapshot: bool = True,
        realtime: bool = True,
        categories: Iterable[str] = (),
        include_body: bool = False,
        indicators: Indicator | Iterable[Indicator] = (),
    ) -> EventStream[E | Notice]: ...

    def stream(
        self,
        types: DataType[Any] | Iterable[DataType[Any]],
        codes: str | Iterable[str] = (),
        *,
        backpressure: Policy | None = None,
        notices: bool | None = None,
        count: int = 30,
        level: float = 0,
        snapshot: bool = True,
        realtime: bool = True,
        categories: Iterable[str] = (),
        include_body: bool = False,
        indicators: Indicator | Iterable[Indicator] = (),
    ) -> EventStream[Any]:
        """A stream of every type for every market, to be entered with ``async with``.

        Its events are asked for by entering it; no interest has to be registered for it. The first event of a market is
        its present state, a ``SNAPSHOT``; ``snapshot=False`` leaves that out, ``realtime=False`` gives nothing else.

        ``backpressure`` says what happens when the consumer is slow: :class:`DropOldest`, :class:`DropNewest`,
        :class:`Coalesce`, :class:`Throttle`, :class:`Block`, :class:`Fail`, or a policy of your own. The default is
        ``DropOldest(1024)``; for orders, balances, announcements and indicators, which are told once, it is
        ``Fail(1024)``.

        With ``notices=True`` facts about the feed stand between the events, in order: an :class:`EpochStarted` before
        the first event of each epoch and an :class:`EpochEnded` after the last, :class:`Lagged` where events are
        missing since they were not taken in time, and :class:`Stale` where a market has fallen silent. The default is
        :class:`EpochStarted` alone for what is told once, as after a reconnect some of it may be missing, and nothing
        for all else. A stream of both has no default: say which.

        The other arguments are those of :meth:`register_interest`, and so is what it raises.
        """
        self._interests.check_open()
        # Iterated once here, and again whenever the stream is widened.
        kinds = list_of("types", types)
        several = list_of("indicators", indicators)
        chosen = list_of("categories", categories)

        def wants_for(codes: str | Iterable[str]) -> Wants:
            return wants_of_call(
                kinds, codes, count, level, chosen, include_body, several, snapshot=snapshot, realtime=realtime
            )

        def more(codes: Iterable[str]) -> dict[Hub, Wants]:
            parts = self._interests.parts(wants_for(codes))
            self._asked += 1
            return parts

        wants = wants_for(codes)
        told_once = {not want.type.has_snapshot for want in wants}
        if notices is None and len(told_once) == 2:
            raise UsageError(
                "some of these types are told once, so that a reconnect may lose some, and others are not; say with "
                "notices=True or notices=False whether the stream is to tell of reconnects"
            )
        if not isinstance(notices, bool | None):
            raise UsageError(f"notices are True, False or None for the default of these types; not {notices!r}")
        policy = backpressure
        if policy is None:
            policy = Fail() if True in told_once else DropOldest()
        self._check_policy(policy)
        return EventStream(
            self._interests.parts(wants),
            more,
            policy,
            self._enter_stream,
            self._leave_stream,
            notices=(EpochStarted,) * (True in told_once) if notices is None else _ALL_NOTICES * notices,
        )

    def statistics(self) -> ClientStatistics:
        """What this client has open, and has taken since it was opened. Cheap, any time, also after its block was
        left."""
        events = self._events()
        return ClientStatistics(
            name=self.name,
            opened_at=self._opened_at,
            interests=len(self._interests),
            streams=len(self._streams) - self._callbacks,
            callbacks=self._callbacks,
            reads=self._interests.reads,
            published=events.published,
            delivered=events.delivered,
            dropped=events.dropped,
            coalesced=events.coalesced,
            throttled=events.throttled,
            buffered=events.buffered,
            idle_seconds=self._idleness.seconds(self._activity() + events.delivered),
        )

    def _activity(self) -> int:
        """How often it has asked for anything or looked anything up."""
        return self._asked + self._interests.registered + self._interests.reads

    def _look_whether_idle(self) -> None:
        """Note whether the client has taken anything since the last look. A task of the manager does this."""
        delivered = self._past.delivered + sum(stream.delivered for stream in self._streams)
        self._idleness.look(self._activity() + delivered)

    async def subscribe_ticker(
        self,
        codes: str | Iterable[str],
        callback: Callback[TickerEvent],
        *,
        backpressure: Policy | None = None,
        on_error: OnError | None = None,
    ) -> Subscription[TickerEvent]:
        """Have a function called with every ticker of these markets, in a task of this client's scope.

        The function may be asynchronous; it is called with one event after the other. What it raises ends this client's
        scope, and leaves it as it was raised, unless ``on_error`` takes it; no other client notices. Callbacks end with
        the scope, or by the returned :class:`Subscription`. ``backpressure`` says what happens when the function is
        slow, and has the defaults of :meth:`stream`. Raises as that does. A cancelled call may have started it.
        """
        return await self._subscribe(self.stream(DataType.TICKER, codes, backpressure=backpressure), callback, on_error)

    async def subscribe_trade(
        self,
        codes: str | Iterable[str],
        callback: Callback[TradeEvent],
        *,
        backpressure: Policy | None = None,
        on_error: OnError | None = None,
    ) -> Subscription[TradeEvent]:
        """Have a function called with every trade of these markets. As :meth:`subscribe_ticker`."""
        return await self._subscribe(self.stream(DataType.TRADE, codes, backpressure=backpressure), callback, on_error)

    async def subscribe_orderbook(
        self,
        codes: str | Iterable[str],
        callback: Callback[OrderbookEvent],
        *,
        count: int = 30,
        level: float = 0,
        backpressure: Policy | None = None,
        on_error: OnError | None = None,
    ) -> Subscription[OrderbookEvent]:
        """Have a function called with every order book of these markets. As :meth:`subscribe_ticker`; ``count`` and
        ``level`` as in :meth:`register_interest`."""
        stream = self.stream(DataType.ORDERBOOK, codes, count=count, level=level, backpressure=backpressure)
        return await self._subscribe(stream, callback, on_error)

    async def subscribe_candle(
        self,
        codes: str | Iterable[str],
        callback: Callback[CandleEvent],
        *,
        unit: int | str = 1,
        backpressure: Policy | None = None,
        on_error: OnError | None = None,
    ) -> Subscription[CandleEvent]:
        """Have a function called with every candle of these markets; ``unit`` is minutes as a number, or ``"1s"``. As
        :meth:`subscribe_ticker`."""
        return await self._subscribe(
            self.stream(DataType.candle(unit), codes, backpressure=backpressure), callback, on_error
        )

    async def subscribe_my_order(
        self,
        codes: str | Iterable[str],
        callback: Callback[MyOrderEvent | EpochStarted],
        *,
        backpressure: Policy | None = None,
        on_error: OnError | None = None,
    ) -> Subscription[MyOrderEvent | EpochStarted]:
        """Have a function called with every change of your orders in these markets, or in all if there are no codes.

        As :meth:`subscribe_ticker`; besides, it is called with an :class:`EpochStarted` once the exchange serves it,
        and after each reconnect, when changes may be missing.
        """
        return await self._subscribe(
            self.stream(DataType.MY_ORDER, codes, backpressure=backpressure), callback, on_error
        )

    async def subscribe_my_asset(
        self,
        callback: Callback[MyAssetEvent | EpochStarted],
        *,
        backpressure: Policy | None = None,
        on_error: OnError | None = None,
    ) -> Subscription[MyAssetEvent | EpochStarted]:
        """Have a function called with every change of your balances. As :meth:`subscribe_my_order`."""
        return await self._subscribe(self.stream(DataType.MY_ASSET, backpressure=backpressure), callback, on_error)

    async def subscribe_announcement(
        self,
        callback: Callback[AnnouncementEvent | EpochStarted],
        *,
        categories: Iterable[str] = (),
        include_body: bool = False,
        backpressure: Policy | None = None,
        on_error: OnError | None = None,
    ) -> Subscription[AnnouncementEvent | EpochStarted]:
        """Have a function called with every announcement of these categories, or of all. As
        :meth:`subscribe_my_order`."""
        stream = self.stream(
            DataType.ANNOUNCEMENT, categories=categories, include_body=include_body, backpressure=backpressure
        )
        return await self._subscribe(stream, callback, on_error)

    async def subscribe_indicator(
        self,
        codes: str | Iterable[str],
        indicators: Indicator | Iterable[Indicator],
        callback: Callback[IndicatorEvent | EpochStarted],
        *,
        backpressure: Policy | None = None,
        on_error: OnError | None = None,
    ) -> Subscription[IndicatorEvent | EpochStarted]:
        """Have a function called with every value of these indicators of these markets. As
        :meth:`subscribe_my_order`."""
        stream = self.stream(DataType.INDICATOR, codes, indicators=indicators, backpressure=backpressure)
        return await self._subscribe(stream, callback, on_error)

    async def subscribe_indicator_signal(
        self,
        codes: str | Iterable[str],
        signals: Indicator | Iterable[Indicator],
        callback: Callback[IndicatorSignalEvent | EpochStarted],
        *,
        backpressure: Policy | None = None,
        on_error: OnError | None = None,
    ) -> Subscription[IndicatorSignalEvent | EpochStarted]:
        """Have a function called with each of these signals of these markets. As :meth:`subscribe_my_order`."""
        stream = self.stream(DataType.INDICATOR_SIGNAL, codes, indicators=signals, backpressure=backpressure)
        return await self._subscribe(stream, callback, on_error)

    async def _subscribe(
        self, stream: EventStream[Any], callback: Callback[Any], on_error: OnError | None
    ) -> Subscription[Any]:
        stream.check()
        subscription = Subscription[Any](stream, callback, on_error)
        name = f"{self.name} callback {getattr(callback, '__qualname__', '')}"
        self._start(partial(self._run_callback, subscription), name)
        await subscription.wait_begun()
        return subscription

    async def _run_callback(self, subscription: Subscription[Any]) -> None:
        self._callbacks += 1
        try:
            await subscription.run()
        finally:
            self._callbacks -= 1

    def _check_policy(self, policy: Policy) -> None:
        if isinstance(policy, type) or not callable(getattr(policy, "buffer", None)):
            raise UsageError(f"{policy!r} is no back-pressure policy; a policy is, for example, DropOldest(1024)")
        patience = buffer_of(policy).patience
        limit = self._interests.ping_timeout
        if patience is not None and patience >= limit:
            raise InvalidConfigError(
                f"{policy} could keep the connection's reader waiting for {patience:g} s, and a pong has to be read "
                f"within {limit:g} s; choose a deadline below Config.ping_timeout"
            )

    def _enter_stream(self, stream: EventStream[Any]) -> None:
        self._interests.check_open()
        self._streams.add(stream)
        self._asked += 1

    def _leave_stream(self, stream: EventStream[Any], events: StreamStatistics) -> None:
        self._streams.discard(stream)
        self._past = self._past.plus(events)

    def _events(self) -> Sums:
        """What became of the events of all its streams since it was opened."""
        return reduce(Sums.plus, (stream.statistics() for stream in self._streams), self._past)

    def _close(self) -> None:
        for stream in [*self._streams]:
            stream.close()
        self._interests.close()
        self._idleness.stop()
