"""The pull side of a client: what it is interested in, and the latest of that from memory."""

import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from .arguments import wants_of_call
from .engine.backpressure import DropOldest
from .engine.channel import Channel
from .engine.connection import Connection
from .exceptions import NotReadyError, StaleDataError, UsageError
from .interests import Interests
from .model.events import CandleEvent, OrderbookEvent, TickerEvent, TradeEvent
from .model.indicators import Indicator
from .model.kinds import DataType, E, Endpoint
from .pool import Pool, check_seconds
from .wire.encode import to_fields

__all__ = ["Pull"]

T = TypeVar("T")


class Pull:
    """Interests, and their latest data. Reading is plain memory: nothing here but ``register_interest``,
    ``wait_ready`` and ``wait_for`` waits."""

    def __init__(self, name: str, connections: Mapping[Endpoint, Connection]) -> None:
        self.name = name
        self._interests = Interests(name, connections)
        self._pool = Pool(self._interests)

    @property
    def pool(self) -> Pool:
        """What this client has registered, by data type and market. The ``get_*`` methods stand on it."""
        return self._pool

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
        history: int | None = None,
    ) -> None:
        """Ask for the latest data of every type for every market, to be read with the ``get_*`` methods.

        ``count`` and ``level`` are for order books: how many levels (1, 5, 15 or 30), and by what price in KRW they are
        grouped (0 for not at all; the markets' own ``supported_levels``). ``categories`` (none for all) and
        ``include_body`` are for announcements; ``indicators``, which :func:`indicator` and :func:`indicator_signal`
        make, for the indicator types. Orders need no codes: none are all markets. Other clients may ask for others;
        each gets what it asked for.

        ``history`` keeps the last so many events of each type and market, 1 to 100,000, for ``get_*_history`` and
        :meth:`Pool.history`; without, only the latest is kept. Registering again with more of it keeps more.

        It returns without waiting for data; :meth:`wait_ready` waits. Registering again what is registered changes
        nothing else. Registering an order book again with more levels does: it is not ready, not with fewer either,
        until the exchange has sent one with as many. Leaving the client's scope gives everything back. Raises
        :class:`InvalidCodeError` for a malformed code, :class:`MissingCredentialsError` for what needs an API key if
        there is none, :class:`InvalidConfigError` if a key would travel unencrypted, :class:`ConflictError` for more
        indicators than the exchange serves, :class:`SubscriptionError` for what the exchange refuses to those who have
        asked for it before, :class:`UsageError` for an empty request, or for a history that is no number of events. A
        cancelled call, or one that raises, has registered nothing or all.
        """
        self._interests.check_open()
        asked = wants_of_call(types, codes, count, level, categories, include_body, indicators)
        self._interests.register(asked, history)
        await checkpoint()

    async def wait_ready(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 -- its error says what is missing
        """Wait until every interest of this client has had its first data.

        Orders, balances, announcements and indicators are told when something happens; with these it waits until the
        exchange serves them, so that nothing is missed from then on.

        Raises :class:`NotReadyError` after ``timeout`` seconds; it names what is missing and tells how the connection
        stands. Raises :class:`AuthenticationError` if the exchange refuses the key, :class:`SubscriptionError` if it
        refuses one of the interests, :class:`UsageError` for a ``timeout`` that is no number of seconds. Cancelling it
        has no effect on anything.
        """
        self._interests.check_open()
        # What is left of a time that is over may be less than 0: it is not waited for.
        check_seconds("a timeout", timeout, least=-math.inf)
        wants = list(self._interests)
        with anyio.move_on_after(timeout):
            for want in wants:
                await self._interests.hub(want).wait_ready(want, wants)
                self._interests.check_open()
        self._interests.check_open()
        if missing := [want for want in wants if not self._interests.hub(want).is_ready(want)]:
            raise self._interests.not_ready(*missing, waited=timeout)

    async def wait_for(self, predicate: Callable[[], T | None]) -> T:
        """Wait until a function of no arguments gives something true, and return that::

            await client.wait_for(lambda: client.get_ticker("KRW-BTC").trade_price > 100_000_000)

        It is called at once, and again after each read that brought something this client has registered, also if that
        was registered meanwhile, and when the connection is lost that had brought some. So it sees the state after a
        read, or after a few that came together; for every event use a stream. :class:`NotReadyError` and
        :class:`StaleDataError` of the function count as not yet. Whatever else it raises leaves.

        Raises :class:`AuthenticationError` if the exchange refuses the key, :class:`SubscriptionError` if it refuses
        any of the interests, before or meanwhile, :class:`ScopeError` if the client's scope is left meanwhile,
        :class:`UsageError` for what is no function, or an asynchronous one. Cancelling it has no effect on anything.
        """
        if not callable(predicate):
            raise UsageError(f"wait_for() takes a plain function that looks at memory, not {predicate!r}")
        channel = Channel(DropOldest(1))
        await checkpoint()
        with self._interests.watched(channel):
            while not (found := _tried(predicate)):
                try:
                    await channel.receive_batch()
                except anyio.ClosedResourceError:
                    self._interests.check_open()
                    raise
        return found

    def get_ticker(self, code: str, *, within: float | None = None) -> TickerEvent:
        """The latest ticker of a market, from memory. With ``within``, one that was received at most so many seconds
        ago.

        Raises :class:`NotRegisteredError` if this client has no interest in it, :class:`NotReadyError` if none has come
        yet, :class:`StaleDataError` if it is older than ``within``, :class:`SubscriptionError` if the exchange refuses
        it.
        """
        return self.pool.latest(DataType.TICKER, code, within=within)

    def get_trade(self, code: str, *, within: float | None = None) -> TradeEvent:
        """The latest trade of a market, from memory. Raises as :meth:`get_ticker`."""
        return self.pool.latest(DataType.TRADE, code, within=within)

    def get_orderbook(self, code: str, level: float = 0, *, within: float | None = None) -> OrderbookEvent:
        """The latest order book of a market, from memory, grouped by ``level`` as registered. Raises as
        :meth:`get_ticker`."""
        return self.pool.latest(DataType.ORDERBOOK, code, within=within, level=level)

    def get_orderbook_data(self, code: str, level: float = 0, *, within: float | None = None) -> dict[str, Any]:
        """As :meth:`get_orderbook`, as the exchange's own fields: what :func:`to_fields` makes of it."""
        return to_fields(self.get_orderbook(code, level, within=within))

    def get_candle(self, code: str, unit: int | str, *, within: float | None = None) -> CandleEvent:
        """The latest candle of a market, from memory; ``unit`` is minutes as a number, or ``"1s"``.

        Raises as :meth:`get_ticker`, and :class:`UsageError` for a unit that does not exist.
        """
        return self.pool.latest(DataType.candle(unit), code, within=within)

    def get_multiple_tickers(
        self, codes: str | Iterable[str] | None = None, *, within: float | None = None
    ) -> dict[str, TickerEvent]:
        """The latest tickers of these markets, or of all that this client has registered, by code.

        Raises as :meth:`get_ticker`; a :class:`NotReadyError` names all of which none has come yet, a
        :class:`NotRegisteredError` all that are not registered.
        """
        return self.pool.multiple(DataType.TICKER, codes, within=within)

    def get_multiple_prices(
        self, codes: str | Iterable[str] | None = None, *, within: float | None = None
    ) -> dict[str, float]:
        """The price of the last trade by code, from the tickers. As :meth:`get_multiple_tickers`."""
        tickers = self.get_multiple_tickers(codes, within=within)
        return {code: ticker.trade_price for code, ticker in tickers.items()}

    def get_multiple_trades(
        self, codes: str | Iterable[str] | None = None, *, within: float | None = None
    ) -> dict[str, TradeEvent]:
        """The latest trades by code. As :meth:`get_multiple_tickers`."""
        return self.pool.multiple(DataType.TRADE, codes, within=within)

    def get_multiple_orderbooks(
        self, codes: str | Iterable[str] | None = None, level: float = 0, *, within: float | None = None
    ) -> dict[str, OrderbookEvent]:
        """The latest order books by code, grouped by ``level`` as registered. As :meth:`get_multiple_tickers`."""
        return self.pool.multiple(DataType.ORDERBOOK, codes, within=within, level=level)

    def get_multiple_candles(
        self, codes: str | Iterable[str] | None = None, unit: int | str = 1, *, within: float | None = None
    ) -> dict[str, CandleEvent]:
        """The latest candles by code; ``unit`` is minutes as a number, or ``"1s"``. As
        :meth:`get_multiple_tickers`."""
        return self.pool.multiple(DataType.candle(unit), codes, within=within)

    def get_ticker_history(self, code: str, limit: int | None = None) -> list[TickerEvent]:
        """The last tickers of a market, the newest at the end: at most ``limit``, and never more than were asked for
        with ``register_interest(..., history=200)``.

        Raises :class:`UsageError` if it was registered without a history, :class:`NotRegisteredError` if it was not
        registered, :class:`SubscriptionError` if the exchange refuses it.
        """
        return self.pool.history(DataType.TICKER, code, limit)

    def get_trade_history(self, code: str, limit: int | None = None) -> list[TradeEvent]:
        """The last trades of a market, each of them once. As :meth:`get_ticker_history`."""
        return self.pool.history(DataType.TRADE, code, limit)

    def get_orderbook_history(self, code: str, limit: int | None = None, *, level: float = 0) -> list[OrderbookEvent]:
        """The last order books of a market. As :meth:`get_ticker_history`; ``level`` as registered."""
        return self.pool.history(DataType.ORDERBOOK, code, limit, level=level)

    def get_candle_history(self, code: str, unit: int | str, limit: int | None = None) -> list[CandleEvent]:
        """The last candles of a market, one for each interval in its last state. As :meth:`get_ticker_history`."""
        return self.pool.history(DataType.candle(unit), code, limit)


def _tried(predicate: Callable[[], T | None]) -> T | None:
    """What it gives; None if something that it needs is not there yet."""
    try:
        found = predicate()
    except (NotReadyError, StaleDataError):
        return None
    if isinstance(found, Awaitable):
        if isinstance(found, Coroutine):
            found.close()
        raise UsageError("wait_for() takes a plain function that looks at memory, not an asynchronous one")
    return found
