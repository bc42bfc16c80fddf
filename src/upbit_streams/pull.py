"""The pull side of a client: what it is interested in, and the latest of that from memory."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, cast

import anyio
from anyio.lowlevel import checkpoint

from .engine.account import Account
from .engine.connection import Connection
from .engine.hub import Hub
from .exceptions import NotReadyError, NotRegisteredError, ScopeError, UsageError
from .model.events import (
    AnnouncementEvent,
    CandleEvent,
    IndicatorEvent,
    IndicatorSignalEvent,
    MyOrderEvent,
    OrderbookEvent,
    TickerEvent,
    TradeEvent,
)
from .model.indicators import Indicator
from .model.kinds import DataType, E, Endpoint
from .model.metrics import Balance
from .model.subscriptions import Want, Wants, normalise_code, wants_of

__all__ = ["Pull", "wants_of_call"]


class Pull:
    """Interests, and their latest data. Reading is plain memory: nothing here but ``register_interest`` and
    ``wait_ready`` waits."""

    def __init__(self, name: str, connections: Mapping[Endpoint, Connection], account: Account) -> None:
        self.name = name
        self._connections = connections
        self._account = account
        self._registered: set[Want] = set()
        self._interests: dict[Hashable, Want] = {}
        """By topic, what the registered wants of it come to."""
        self._open = True

    async def register_interest(
        self,
        types: DataType[E] | Iterable[DataType[E]],
        codes: str | Iterable[str] = (),
        *,
        count: int = 30,
        level: float = 0,
        categories: Iterable[str] = (),
        include_body: bool = False,
        indicators: Indicator | Iterable[Indicator] = (),
    ) -> None:
        """Ask for the latest data of every type for every market, to be read with the ``get_*`` methods.

        ``count`` and ``level`` are for order books: how many levels (1, 5, 15 or 30), and by what price in KRW they are
        grouped (0 for not at all; the markets' own ``supported_levels``). ``categories`` (none for all) and
        ``include_body`` are for announcements; ``indicators``, which :func:`indicator` and :func:`signal` make, for the
        indicator types. Orders need no codes: none are all markets. Other clients may ask for others; each gets what it
        asked for.

        It returns without waiting for data; :meth:`wait_ready` waits. Registering again what is registered changes
        nothing. Leaving the client's scope gives everything back. Raises :class:`InvalidCodeError` for a malformed
        code, :class:`MissingCredentialsError` for what needs an API key if there is none, :class:`InvalidConfigError`
        if a key would travel unencrypted, :class:`ConflictError` for more indicators than the exchange serves,
        :class:`SubscriptionError` for what the exchange refuses to those who have asked for it before,
        :class:`UsageError` for an empty request. A cancelled call, or one that raises, has registered nothing or all.
        """
        self._check_open()
        asked = wants_of_call(types, codes, count, level, categories, include_body, indicators)
        new = frozenset(
            want for want in asked if (have := self._interests.get(want.topic)) is None or not have.covers(want)
        )
        for hub, wants in self._parts(asked).items():
            hub.check(wants)
        parts = self._parts(new)
        for hub, wants in parts.items():
            hub.register(wants)
            self._registered |= wants
            for want in wants:
                have = self._interests.get(want.topic, want)
                self._interests[want.topic] = have.joined(want)
        await checkpoint()

    async def wait_ready(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 -- its error says what is missing
        """Wait until every interest of this client has had its first data.

        Orders, balances, announcements and indicators are told when something happens; with these it waits until the
        exchange serves them, so that nothing is missed from then on.

        Raises :class:`NotReadyError` after ``timeout`` seconds; it names what is missing and tells how the connection
        stands. Raises :class:`AuthenticationError` if the exchange refuses the key, :class:`SubscriptionError` if it
        refuses one of the interests. Cancelling it has no effect on anything.
        """
        self._check_open()
        wants = list(self._interests.values())
        with anyio.move_on_after(timeout):
            for want in wants:
                await self._hub(want).wait_ready(want, wants)
                self._check_open()
        self._check_open()
        if missing := [want for want in wants if not self._hub(want).is_ready(want)]:
            raise self._not_ready(*missing)

    def get_ticker(self, code: str) -> TickerEvent:
        """The latest ticker of a market, from memory.

        Raises :class:`NotRegisteredError` if this client has no interest in it, :class:`NotReadyError` if none has come
        yet, :class:`SubscriptionError` if the exchange refuses it.
        """
        return self._latest(DataType.TICKER, code)

    def get_trade(self, code: str) -> TradeEvent:
        """The latest trade of a market, from memory. Raises as :meth:`get_ticker`."""
        return self._latest(DataType.TRADE, code)

    def get_orderbook(self, code: str, level: float = 0) -> OrderbookEvent:
        """The latest order book of a market, from memory, grouped by ``level`` as registered. Raises as
        :meth:`get_ticker`."""
        return self._latest(DataType.ORDERBOOK, code, level=level)

    def get_candle(self, code: str, unit: int | str) -> CandleEvent:
        """The latest candle of a market, from memory; ``unit`` is minutes as a number, or ``"1s"``.

        Raises as :meth:`get_ticker`, and :class:`UsageError` for a unit that does not exist.
        """
        return self._latest(DataType.candle(unit), code)

    def get_indicator(self, code: str, indicator: Indicator) -> IndicatorEvent:
        """The latest value of an indicator of a market, from memory. Raises as :meth:`get_ticker`."""
        return self._latest(DataType.INDICATOR, code, indicator=indicator)

    def get_indicator_signal(self, code: str, signal: Indicator) -> IndicatorSignalEvent:
        """The latest signal of an indicator of a market, from memory. Raises as :meth:`get_ticker`."""
        return self._latest(DataType.INDICATOR_SIGNAL, code, indicator=signal)

    def get_my_order(self, uuid: str) -> MyOrderEvent:
        """The last that was told of one of your orders, from memory. ``epoch`` says how old that may be: what happened
        while nobody was connected was not told.

        Orders that are done are kept for a day, the last 1,000 of them. Raises :class:`NotRegisteredError` if this
        client has no interest in your orders, :class:`NotReadyError` if nothing was told of this one.
        """
        markets = self._order_markets()
        order = self._account.order(uuid)
        if order is None or not ("" in markets or order.code in markets):
            raise self._not_seen(DataType.MY_ORDER, uuid)
        return order

    def get_open_orders(self, code: str = "") -> list[MyOrderEvent]:
        """Your open orders that were told of, of one market or of all, from memory; the one that changed last at the
        end.

        An order that nobody has touched since the connection was made is not among them: ask the exchange's REST
        interface for those. Raises :class:`NotRegisteredError` as :meth:`get_my_order`.
        """
        wanted = normalise_code(code) if code else ""
        markets = self._order_markets()
        return [
            order
            for order in self._account.open_orders.values()
            if ("" in markets or order.code in markets) and wanted in ("", order.code)
        ]

    def get_my_asset(self, currency: str) -> Balance:
        """What you have of one currency, as it was last told, from memory.

        Raises :class:`NotRegisteredError` if this client has no interest in your assets, :class:`NotReadyError` if
        nothing was told of this one: the exchange tells changes only.
        """
        balance = self.get_my_assets().get(currency.strip().upper())
        if balance is None:
            raise self._not_seen(DataType.MY_ASSET, currency)
        return balance

    def get_my_assets(self) -> dict[str, Balance]:
        """What you have, by currency, as far as it was told, from memory. Raises :class:`NotRegisteredError` as
        :meth:`get_my_asset`."""
        self._interest(Want(DataType.MY_ASSET))
        return dict(self._account.balances)

    def get_announcements(self) -> list[AnnouncementEvent]:
        """The announcements that were told of, at most 100, the newest at the end; an update is in the place of what it
        updates. Raises :class:`NotRegisteredError` if this client has no interest in announcements."""
        want = self._interest(Want(DataType.ANNOUNCEMENT))
        seen = (want.view(event) for event in self._account.announcements.values())
        return [cast("AnnouncementEvent", event) for event in seen if event is not None]

    def _latest(self, kind: DataType[E], code: str, **topic: Any) -> E:
        want = self._interest(Want(kind, normalise_code(code), **topic))
        event = self._hub(want).latest(want)
        if event is None:
            raise self._not_ready(want)
        return cast("E", event)

    def _interest(self, want: Want) -> Want:
        """What is registered of this topic."""
        found = self._interests.get(want.topic)
        if found is None:
            self._check_open()
            raise NotRegisteredError(want.type.name, want.code)
        self._hub(found).check_refused(found)
        return found

    def _order_markets(self) -> set[str]:
        """The markets in whose orders this client has an interest; an empty text is all of them."""
        wants = [want for want in self._interests.values() if want.type is DataType.MY_ORDER]
        for want in wants or [Want(DataType.MY_ORDER)]:
            self._interest(want)
        return {want.code for want in wants}

    def _not_ready(self, *wants: Want) -> NotReadyError:
        missing = sorted((want.type.name, want.code) for want in wants)
        return NotReadyError(tuple(missing), self._connection_state(wants[0]))

    def _not_seen(self, kind: DataType[Any], what: str) -> NotReadyError:
        return NotReadyError(((kind.name, what),), self._connection_state(Want(kind)))

    def _connection_state(self, want: Want) -> str:
        status = self._connections[want.type.endpoint].status()
        return f"the connection is {status.state.value}, {status.reason}"

    def _hub(self, want: Want) -> Hub:
        return self._connections[want.type.endpoint].hub

    def _parts(self, wants: Wants) -> dict[Hub, Wants]:
        """The wants by the connection that serves them. Raises :class:`UsageError` if a key is needed and missing."""
        parts: dict[Hub, Wants] = {}
        for endpoint, connection in self._connections.items():
            if mine := frozenset(want for want in wants if want.type.endpoint is endpoint):
                connection.check_login()
                parts[connection.hub] = mine
        return parts

    def _check_open(self) -> None:
        if not self._open:
            raise ScopeError(f"the scope of client {self.name!r} has been left; open another one")

    def _close(self) -> None:
        self._open = False
        for want in self._registered:
            self._hub(want).unregister([want])
        self._registered.clear()
        self._interests.clear()


def wants_of_call(
    types: DataType[E] | Iterable[DataType[E]],
    codes: str | Iterable[str],
    count: int,
    level: float,
    categories: Iterable[str],
    include_body: bool,
    indicators: Indicator | Iterable[Indicator],
    **options: bool,
) -> Wants:
    """The wants of a call, whose other arguments are each for some of its types."""
    several = (types,) if isinstance(types, DataType | str) else tuple(types)
    markets = (codes,) if isinstance(codes, str) else tuple(codes)
    definitions = (indicators,) if isinstance(indicators, Indicator) else tuple(indicators)
    chosen = frozenset([categories] if isinstance(categories, str) else categories)
    books = [kind for kind in several if kind is DataType.ORDERBOOK]
    announcements = [kind for kind in several if kind is DataType.ANNOUNCEMENT]
    computed = [kind for kind in several if isinstance(kind, DataType) and kind.endpoint is Endpoint.INFO]
    others = [kind for kind in several if kind not in books and kind not in announcements and kind not in computed]
    if (count != 30 or level) and not books:
        raise UsageError("a count and a level are for order books, and none are asked for here")
    if (chosen or include_body) and not announcements:
        raise UsageError("categories and bodies are for announcements, and none are asked for here")
    if bool(definitions) is not bool(computed):
        raise UsageError(
            "indicators are asked for with DataType.INDICATOR and indicators=indicator(...), or with "
            "DataType.INDICATOR_SIGNAL and indicators=signal(...); here one of both is missing"
        )
    found: set[Want] = set()
    if books:
        found |= wants_of(books, markets, count=count, level=level, **options)
    if announcements:
        alone = len(several) == 1
        found |= wants_of(
            announcements, markets if alone else (), categories=chosen, include_body=include_body, **options
        )
    for kind in computed:
        fitting = [one for one in definitions if bool(one.trigger) is (kind is DataType.INDICATOR_SIGNAL)]
        # Where none fits, the error says what would.
        for definition in fitting or definitions[:1]:
            found |= wants_of(kind, markets, indicator=definition, **options)
    if others or not found:
        found |= wants_of(others, markets, **options)
    return frozenset(found)
