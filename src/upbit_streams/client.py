"""A component's scope: what it asked for lives as long as the scope."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, overload

from anyio.lowlevel import checkpoint

from .callbacks import Callback, OnError, Subscription
from .engine.account import Account
from .engine.backpressure import DropOldest, Fail, Policy
from .engine.connection import Connection
from .exceptions import UsageError
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
from .model.notices import EpochEnded, EpochStarted, Lagged, Notice, Stale
from .pull import Pull, wants_of_call
from .streams import EventStream

__all__ = ["Client"]

_ALL_NOTICES: tuple[type[Notice], ...] = (EpochStarted, EpochEnded, Lagged, Stale)

# Events that the exchange tells once: there is no snapshot that would bring back what was missed.
AnyOnce = MyOrderEvent | MyAssetEvent | AnnouncementEvent | IndicatorEvent | IndicatorSignalEvent
Once = TypeVar("Once", bound=AnyOnce)


class Client(Pull):
    """What one component wants and gets. Made by :meth:`Manager.open_client`, never directly."""

    def __init__(
        self,
        name: str,
        connections: Mapping[Endpoint, Connection],
        account: Account,
        start: Callable[[Callable[[], Awaitable[object]], str], None],
    ) -> None:
        super().__init__(name, connections, account)
        self._start = start
        self._streams: set[EventStream[Any]] = set()

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

        ``backpressure`` says what happens when the consumer is slow. The default is ``DropOldest(1024)``; for orders,
        balances, announcements and indicators, which are told once, it is ``Fail(1024)``.

        With ``notices=True`` facts about the feed stand between the events, in order: an :class:`EpochStarted` before
        the first event of each epoch and an :class:`EpochEnded` after the last, :class:`Lagged` where events are
        missing since they were not taken in time, and :class:`Stale` where a market has fallen silent. The default is
        :class:`EpochStarted` alone for what is told once, as after a reconnect some of it may be missing, and nothing
        for all else. A stream of both has no default: say which.

        The other arguments are those of :meth:`register_interest`, and so is what it raises.
        """
        self._check_open()
        wants = wants_of_call(
            types, codes, count, level, categories, include_body, indicators, snapshot=snapshot, realtime=realtime
        )
        told_once = {not want.type.has_snapshot for want in wants}
        if notices is None and len(told_once) == 2:
            raise UsageError(
                "some of these types are told once, so that a reconnect may lose some, and others are not; say with "
                "notices=True or notices=False whether the stream is to tell of reconnects"
            )
        return EventStream(
            self._parts(wants),
            backpressure or (Fail() if True in told_once else DropOldest()),
            self._enter_stream,
            self._streams.discard,
            notices=(EpochStarted,) * (True in told_once) if notices is None else _ALL_NOTICES * notices,
        )

    async def subscribe_ticker(
        self, codes: str | Iterable[str], callback: Callback[TickerEvent], *, on_error: OnError | None = None
    ) -> Subscription[TickerEvent]:
        """Have a function called with every ticker of these markets, in a task of this client's scope.

        The function may be asynchronous; it is called with one event after the other. What it raises ends this client's
        scope, and leaves it as it was raised, unless ``on_error`` takes it; no other client notices. Callbacks end with
        the scope, or by the returned :class:`Subscription`. Raises as :meth:`stream`. A cancelled call may have started
        it.
        """
        return await self._subscribe(self.stream(DataType.TICKER, codes), callback, on_error)

    async def subscribe_trade(
        self, codes: str | Iterable[str], callback: Callback[TradeEvent], *, on_error: OnError | None = None
    ) -> Subscription[TradeEvent]:
        """Have a function called with every trade of these markets. As :meth:`subscribe_ticker`."""
        return await self._subscribe(self.stream(DataType.TRADE, codes), callback, on_error)

    async def subscribe_orderbook(
        self,
        codes: str | Iterable[str],
        callback: Callback[OrderbookEvent],
        *,
        count: int = 30,
        level: float = 0,
        on_error: OnError | None = None,
    ) -> Subscription[OrderbookEvent]:
        """Have a function called with every order book of these markets. As :meth:`subscribe_ticker`; ``count`` and
        ``level`` as in :meth:`register_interest`."""
        stream = self.stream(DataType.ORDERBOOK, codes, count=count, level=level)
        return await self._subscribe(stream, callback, on_error)

    async def subscribe_candle(
        self,
        codes: str | Iterable[str],
        callback: Callback[CandleEvent],
        *,
        unit: int | str = 1,
        on_error: OnError | None = None,
    ) -> Subscription[CandleEvent]:
        """Have a function called with every candle of these markets; ``unit`` is minutes as a number, or ``"1s"``. As
        :meth:`subscribe_ticker`."""
        return await self._subscribe(self.stream(DataType.candle(unit), codes), callback, on_error)

    async def subscribe_my_order(
        self,
        codes: str | Iterable[str],
        callback: Callback[MyOrderEvent | EpochStarted],
        *,
        on_error: OnError | None = None,
    ) -> Subscription[MyOrderEvent | EpochStarted]:
        """Have a function called with every change of your orders in these markets, or in all if there are no codes.

        As :meth:`subscribe_ticker`; besides, it is called with an :class:`EpochStarted` once the exchange serves it,
        and after each reconnect, when changes may be missing.
        """
        return await self._subscribe(self.stream(DataType.MY_ORDER, codes), callback, on_error)

    async def subscribe_my_asset(
        self, callback: Callback[MyAssetEvent | EpochStarted], *, on_error: OnError | None = None
    ) -> Subscription[MyAssetEvent | EpochStarted]:
        """Have a function called with every change of your balances. As :meth:`subscribe_my_order`."""
        return await self._subscribe(self.stream(DataType.MY_ASSET), callback, on_error)

    async def subscribe_announcement(
        self,
        callback: Callback[AnnouncementEvent | EpochStarted],
        *,
        categories: Iterable[str] = (),
        include_body: bool = False,
        on_error: OnError | None = None,
    ) -> Subscription[AnnouncementEvent | EpochStarted]:
        """Have a function called with every announcement of these categories, or of all. As
        :meth:`subscribe_my_order`."""
        stream = self.stream(DataType.ANNOUNCEMENT, categories=categories, include_body=include_body)
        return await self._subscribe(stream, callback, on_error)

    async def subscribe_indicator(
        self,
        codes: str | Iterable[str],
        indicators: Indicator | Iterable[Indicator],
        callback: Callback[IndicatorEvent | EpochStarted],
        *,
        on_error: OnError | None = None,
    ) -> Subscription[IndicatorEvent | EpochStarted]:
        """Have a function called with every value of these indicators of these markets. As
        :meth:`subscribe_my_order`."""
        stream = self.stream(DataType.INDICATOR, codes, indicators=indicators)
        return await self._subscribe(stream, callback, on_error)

    async def subscribe_indicator_signal(
        self,
        codes: str | Iterable[str],
        signals: Indicator | Iterable[Indicator],
        callback: Callback[IndicatorSignalEvent | EpochStarted],
        *,
        on_error: OnError | None = None,
    ) -> Subscription[IndicatorSignalEvent | EpochStarted]:
        """Have a function called with each of these signals of these markets. As :meth:`subscribe_my_order`."""
        stream = self.stream(DataType.INDICATOR_SIGNAL, codes, indicators=signals)
        return await self._subscribe(stream, callback, on_error)

    async def _subscribe(
        self, stream: EventStream[Any], callback: Callback[Any], on_error: OnError | None
    ) -> Subscription[Any]:
        stream.check()
        subscription = Subscription[Any](stream, callback, on_error)
        self._start(subscription.run, f"{self.name} callback {getattr(callback, '__qualname__', '')}")
        await checkpoint()
        return subscription

    def _enter_stream(self, stream: EventStream[Any]) -> None:
        self._check_open()
        self._streams.add(stream)

    def _close(self) -> None:
        for stream in self._streams:
            stream.close()
        super()._close()
