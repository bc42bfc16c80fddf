"""The verbs for what a key may see: orders, balances, announcements and indicators, from memory."""

from collections.abc import Mapping
from typing import cast

from .engine.account import Account
from .engine.connection import Connection
from .exceptions import NotRegisteredError, UsageError
from .model.events import AnnouncementEvent, IndicatorEvent, IndicatorSignalEvent, MyOrderEvent
from .model.indicators import Indicator
from .model.kinds import DataType, Endpoint
from .model.metrics import Balance
from .model.subscriptions import Want, normalise_code
from .pull import Pull

__all__ = ["PrivatePull"]


class PrivatePull(Pull):
    """Reading what needs a key."""

    def __init__(self, name: str, connections: Mapping[Endpoint, Connection], account: Account) -> None:
        super().__init__(name, connections)
        self._account = account

    def get_indicator(self, code: str, indicator: Indicator, *, within: float | None = None) -> IndicatorEvent:
        """The latest value of an indicator of a market, from memory. Raises as :meth:`get_ticker`."""
        return self.pool.latest(DataType.INDICATOR, code, within=within, indicator=indicator)

    def get_indicator_signal(
        self, code: str, signal: Indicator, *, within: float | None = None
    ) -> IndicatorSignalEvent:
        """The latest signal of an indicator of a market, from memory. Raises as :meth:`get_ticker`."""
        return self.pool.latest(DataType.INDICATOR_SIGNAL, code, within=within, indicator=signal)

    def get_my_order(self, uuid: str) -> MyOrderEvent:
        """The last that was told of one of your orders, from memory. ``epoch`` says how old that may be: what happened
        while nobody was connected was not told.

        Orders that are done are kept for a day, the last 1,000 of them. Raises :class:`NotRegisteredError` if this
        client has no interest in your orders, or none in those of its market, :class:`NotReadyError` if nothing was
        told of this one.
        """
        _check_text("an order's uuid", uuid)
        markets = self._order_markets()
        order = self._account.order(uuid)
        if order is None:
            raise self._interests.not_told(DataType.MY_ORDER, uuid)
        if not ("" in markets or order.code in markets):
            raise NotRegisteredError(((DataType.MY_ORDER.name, order.code),))
        return order

    def get_open_orders(self, code: str = "") -> list[MyOrderEvent]:
        """Your open orders that were told of, of one market or of all, from memory; the one that changed last at the
        end.

        An order that nobody has touched since the connection was made is not among them: ask the exchange's REST
        interface for those. Raises :class:`NotRegisteredError` if this client has no interest in your orders, or none
        in those of this market.
        """
        wanted = normalise_code(code) if code else ""
        markets = self._order_markets()
        if wanted and not ("" in markets or wanted in markets):
            raise NotRegisteredError(((DataType.MY_ORDER.name, wanted),))
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
        _check_text("a currency", currency)
        balance = self.get_my_assets().get(currency.strip().upper())
        if balance is None:
            raise self._interests.not_told(DataType.MY_ASSET, currency)
        return balance

    def get_my_assets(self) -> dict[str, Balance]:
        """What you have, by currency, as far as it was told, from memory. Raises :class:`NotRegisteredError` as
        :meth:`get_my_asset`."""
        self._interests.find(Want(DataType.MY_ASSET))
        return dict(self._account.balances)

    def get_announcements(self) -> list[AnnouncementEvent]:
        """The announcements that were told of, at most 100, the newest at the end; an update is in the place of what it
        updates. Raises :class:`NotRegisteredError` if this client has no interest in announcements."""
        want = self._interests.find(Want(DataType.ANNOUNCEMENT))
        seen = (want.view(event) for event in self._account.announcements.values())
        return [cast("AnnouncementEvent", event) for event in seen if event is not None]

    def _order_markets(self) -> set[str]:
        """The markets in whose orders this client has an interest; an empty text is all of them."""
        wants = [want for want in self._interests if want.type is DataType.MY_ORDER]
        for want in wants or [Want(DataType.MY_ORDER)]:
            self._interests.find(want)
        return {want.code for want in wants}


def _check_text(what: str, given: object) -> None:
    if not isinstance(given, str):
        raise UsageError(f"{what} is a text, not {given!r}")
