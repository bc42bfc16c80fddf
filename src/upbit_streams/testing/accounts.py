"""The accounts of the simulated exchange: balances, orders, keys, and what their owners hear of all that."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Protocol
from uuid import UUID

from ..exceptions import UsageError
from ..model.events import Asset, MyAssetEvent, MyOrderEvent, OrderbookEvent
from ..model.secret import Secret
from .amounts import FINE_PLACES, FUNDS_TO_FINE, VOLUME_TO_FINE, Amount, exact, whole_units
from .keys import Key
from .orders import Fill, InsufficientFundsError, InvalidOrderError, NoMarketError, Order, OrderNotFoundError
from .placing import Ticket

__all__ = ["Account", "Desk"]

KEPT_ORDERS = 1_000
"""How many orders that have ended an account remembers."""


class Desk(Protocol):
    """Where an account's orders go."""

    codes: Sequence[str]

    def place(self, now: float, account: "Account", code: str, ticket: Ticket) -> str: ...
    def cancel(self, now: float, order: Order) -> None: ...
    def book(self, now: float, code: str) -> OrderbookEvent: ...


class Account:
    """An account of the simulated exchange. :meth:`~upbit_streams.testing.SimulatedExchange.open_account` makes one.

    Times are seconds since the Unix epoch, as everywhere in the exchange. Amounts may be given as ``Decimal``, ``int``,
    text, or as the floats that public events have; they come back as ``Decimal``, exact to the last digit.
    """

    def __init__(
        self,
        balances: Mapping[str, Amount],
        add_key: Callable[[str | None, str | None], Key],
        tell: Callable[["Account", MyOrderEvent | MyAssetEvent], None],
        desk: Desk | None,
        keys: tuple[str | None, str | None] = (None, None),
    ) -> None:
        self._free = {currency: _fine(amount) for currency, amount in balances.items()}
        self._locked: dict[str, int] = dict.fromkeys(self._free, 0)
        self._changed: dict[str, None] = {}
        self._add_key = add_key
        self._tell = tell
        self.desk = desk
        """Where it trades; None if the exchange has no simulated market."""
        self._open: dict[str, Order] = {}
        self._latest: dict[str, MyOrderEvent] = {}
        self._ended: deque[str] = deque()
        self._identifiers: set[str] = set()
        self.keys: dict[str, Key] = {}
        """Every key, by its access key."""
        self.access_key, self.secret_key = self.new_key(*keys)
        """The first key."""
        self._rng = Random(self.access_key)  # noqa: S311 -- the ids of a test's orders
        self._asset_uuid = self._new_uuid()

    def __repr__(self) -> str:
        return f"<Account of {', '.join(self._free) or 'nothing'}, {len(self._open)} open orders>"

    # Keys

    def new_key(self, access_key: str | None = None, secret_key: str | None = None) -> tuple[str, Secret]:
        """Add a key: these texts, or new ones. ``account.keys[access_key]`` says what it may."""
        key = self._add_key(access_key, secret_key)
        self.keys[key.access_key] = key
        return key.access_key, key.secret_key

    def revoke(self, access_key: str | None = None) -> None:
        """Revoke a key, or all. Whoever has logged in with it stays connected; nobody can log in again."""
        for key in self.keys.values() if access_key is None else (self.keys[access_key],):
            key.revoked = True

    # What it has

    def balances(self) -> dict[str, Asset]:
        """Each currency that the account ever had: what is free, and what its orders hold."""
        return {currency: self._asset(currency) for currency in self._free}

    def orders(self) -> dict[str, MyOrderEvent]:
        """The state of every order, as the last event about it says; of those that have ended, the last 1,000."""
        return dict(self._latest)

    def open_orders(self) -> dict[str, MyOrderEvent]:
        """The same of those that are still open."""
        return {uuid: self._latest[uuid] for uuid in self._open}

    @property
    def has_open_orders(self) -> bool:
        return bool(self._open)

    def deposit(self, now: float, currency: str, amount: Amount) -> None:
        """Pay something in, from nowhere."""
        self._move(currency, _fine(amount), 0)
        self._tell_assets(int(now * 1000))

    # Trading

    def place(
        self,
        now: float,
        code: str,
        ask_bid: str,
        order_type: str = "limit",
        *,
        price: Amount | None = None,
        volume: Amount | None = None,
        time_in_force: str | None = None,
        identifier: str | None = None,
        smp_type: str | None = None,
    ) -> str:
        """Place an order and return its id::

            account.place(now, "KRW-BTC", "BID", price=110_000_000, volume="0.01")
            account.place(now, "KRW-BTC", "BID", "price", price=1_000_000)      # buy for a million, at any price
            account.place(now, "KRW-BTC", "ASK", "market", volume="0.01")       # sell, at any price
            account.place(now, "KRW-BTC", "ASK", "best", volume="0.01", time_in_force="ioc")

        When it returns, all that happens at once has happened, and connected clients have been told. What the order
        holds, fees included, is locked from then on. Each trade is one trade of the market too.

        Raises :class:`~upbit_streams.testing.OrderError`, of one class for each reason; then nothing has happened.
        """
        if identifier is not None and identifier in self._identifiers:
            raise InvalidOrderError(f"the identifier {identifier!r} was used before")
        ticket = Ticket(
            ask_bid=ask_bid,
            order_type=order_type,
            price=price,
            volume=volume,
            time_in_force=time_in_force,
            identifier=identifier,
            smp_type=smp_type,
        )
        return self._need_desk().place(now, self, code, ticket)

    def cancel(self, now: float, uuid: str) -> None:
        """Cancel what is left of an order.

        Raises :class:`~upbit_streams.testing.OrderNotFoundError` if it is not open; it may have been filled until now.
        """
        desk = self._need_desk()
        order = self._open.get(uuid)
        if order is None:
            raise OrderNotFoundError(f"there is no open order {uuid}")
        desk.cancel(now, order)

    def tell(self, event: MyOrderEvent | MyAssetEvent) -> None:
        """Send an event of your own making to this account's clients, where the market does not make it. An order is
        remembered as the event has it; balances are not touched."""
        if isinstance(event, MyOrderEvent):
            self._latest[event.uuid] = event
        self._tell(self, event)

    # For the market, which says what happens to the orders

    def opened(self, order: Order, now_ms: int) -> None:
        """A new order locks what it needs. Raises :class:`InsufficientFundsError`."""
        currency, need = _held_currency(order), order.locked
        free = self._free.get(currency, 0)
        if free < need:
            raise InsufficientFundsError(
                f"the order needs {exact(need, FINE_PLACES)} {currency}, fees included; "
                f"the account has {exact(free, FINE_PLACES)} that is free"
            )
        self._move(currency, -need, need)
        self._open[order.uuid] = order
        if order.identifier is not None:
            self._identifiers.add(order.identifier)
        self._tell_order(order, "wait", now_ms)

    def filled(self, order: Order, fill: Fill, now_ms: int) -> None:
        funds = fill.price * fill.volume
        fee = funds * order.fee_rate
        before = order.locked
        order.reduce(fill.volume, fill.price)
        order.executed += fill.volume
        order.executed_funds += funds
        order.trades += 1
        order.paid_fee += fee
        freed = before - order.locked
        quote, _, base = order.code.partition("-")
        if order.ask_bid == "BID":
            # What was locked for a worse price than that of the trade is free again.
            self._move(quote, freed - funds * FUNDS_TO_FINE - fee, -freed)
            self._move(base, fill.volume * VOLUME_TO_FINE, 0)
        else:
            self._move(base, 0, -freed)
            self._move(quote, funds * FUNDS_TO_FINE - fee, 0)
        self._tell_order(order, "trade", now_ms, fill)

    def prevented(self, order: Order, volume: int, price: int, now_ms: int) -> None:
        before = order.locked
        order.reduce(volume, price)
        freed = before - order.locked
        order.prevented_volume += volume
        order.prevented_locked += freed
        self._move(_held_currency(order), freed, -freed)
        self._tell_order(order, "prevented", now_ms)

    def ended(self, order: Order, state: str, now_ms: int) -> None:
        freed = order.locked
        order.is_open = False
        self._move(_held_currency(order), freed, -freed)
        del self._open[order.uuid]
        self._ended.append(order.uuid)
        self._tell_order(order, state, now_ms)
        if len(self._ended) > KEPT_ORDERS:
            forgotten = self._latest.pop(self._ended.popleft(), None)
            if forgotten is not None and forgotten.identifier is not None:
                self._identifiers.discard(forgotten.identifier)

    def new_order_uuid(self) -> str:
        return self._new_uuid()

    # The rest

    def _tell_order(self, order: Order, state: str, now_ms: int, fill: Fill | None = None) -> None:
        self.tell(order.event(state, now_ms, fill))
        self._tell_assets(now_ms)

    def _tell_assets(self, now_ms: int) -> None:
        """Say which balances have changed since the last time, if any."""
        if self._changed:
            assets = tuple(self._asset(currency) for currency in self._changed)
            self._changed.clear()
            self.tell(
                MyAssetEvent(
                    asset_uuid=self._asset_uuid,
                    assets=assets,
                    asset_timestamp=now_ms,
                    timestamp=now_ms,
                    stream_type="REALTIME",
                )
            )

    def _move(self, currency: str, free: int, locked: int) -> None:
        if free or locked:
            self._free[currency] = self._free.get(currency, 0) + free
            self._locked[currency] = self._locked.get(currency, 0) + locked
            self._changed[currency] = None

    def _asset(self, currency: str) -> Asset:
        return Asset(
            currency=currency,
            balance=exact(self._free[currency], FINE_PLACES),
            locked=exact(self._locked[currency], FINE_PLACES),
        )

    def _new_uuid(self) -> str:
        return str(UUID(int=self._rng.getrandbits(128), version=4))

    def _need_desk(self) -> Desk:
        if self.desk is None:
            raise NoMarketError(
                "nobody can trade on this exchange: it needs a MarketSource as its source. "
                "Where the market is a recording or your own, say with account.tell() what happens to orders"
            )
        return self.desk


def _held_currency(order: Order) -> str:
    """What an order locks: money if it buys, coins if it sells."""
    quote, _, base = order.code.partition("-")
    return quote if order.ask_bid == "BID" else base


def _fine(amount: Amount) -> int:
    try:
        return whole_units(amount, FINE_PLACES)
    except ValueError as why:
        raise UsageError(f"a balance: {why}") from None
