"""Somebody who trades for an account, so that there is something to see: for demos, and for clients under test."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random

from ..exceptions import UsageError
from .accounts import Account
from .orders import OrderError

__all__ = ["Trader"]

_LONGEST_PAUSE = 1.0
_MOST_OPEN = 10
_LEVELS = 5
_WORTHS = {"KRW": 100_000.0, "BTC": 0.001, "USDT": 70.0}
"""About what an order is worth, by quote currency."""
_VOLUME_STEP = Decimal("0.00000001")


class Trader:
    """Places and cancels about two orders a second for an account, and keeps at most ten open.

    The same seed on the same market does the same. It does what the account has the means for; one without money and
    coins does nothing.

    Args:
        account: Whose orders it places. Its exchange needs a simulated market.
        seed: Another seed, other orders.
        codes: The markets to trade in; without any, all markets.
    """

    def __init__(self, account: Account, seed: int = 0, codes: Sequence[str] = ()) -> None:
        desk = account.desk
        if desk is None:
            raise UsageError("a trader needs an account on an exchange with a simulated market")
        self._account = account
        self._desk = desk
        self._codes = tuple(codes) or tuple(desk.codes)
        self._rng = Random(f"{seed}:trader")  # noqa: S311 -- no money is at stake
        self._next: float | None = None

    def next_time(self) -> float:
        """When :meth:`advance` has something to do, in seconds since the Unix epoch. At first that is at once."""
        return 0.0 if self._next is None else self._next

    def advance(self, now: float) -> None:
        """Do everything that is due by now."""
        if self._next is None:
            self._next = now
        # After a long pause there is no point in making up for all of it.
        self._next = max(self._next, now - 10 * _LONGEST_PAUSE)
        while self._next <= now:
            self._act(self._next)
            self._next += _LONGEST_PAUSE * self._rng.random()

    def _act(self, now: float) -> None:
        open_orders = list(self._account.open_orders())
        try:
            if len(open_orders) >= _MOST_OPEN or (open_orders and self._rng.random() < 0.3):
                self._account.cancel(now, self._rng.choice(open_orders))
            else:
                self._order(now)
        except OrderError:
            pass  # too poor at the moment, or the order was filled meanwhile

    def _order(self, now: float) -> None:
        code = self._rng.choice(self._codes)
        ask_bid = self._rng.choice(("ASK", "BID"))
        book = self._desk.book(now, code)
        level = self._rng.randrange(_LEVELS)
        price, _ = (book.asks if ask_bid == "ASK" else book.bids)[level]
        worth = _WORTHS.get(code.partition("-")[0], 100.0) * (0.5 + self._rng.random())
        volume = max(Decimal(worth / price).quantize(_VOLUME_STEP), _VOLUME_STEP)
        draw = self._rng.random()
        if draw < 0.8:
            self._account.place(now, code, ask_bid, price=price, volume=volume)
        elif ask_bid == "ASK":
            self._account.place(now, code, "ASK", "market", volume=volume)
        else:
            self._account.place(now, code, "BID", "price", price=Decimal(worth).quantize(_VOLUME_STEP))
