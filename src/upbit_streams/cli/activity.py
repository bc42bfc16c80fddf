"""What happens on a simulated exchange besides its market: somebody trades, and now and then something is announced."""

import time
from collections.abc import Sequence

import anyio

from upbit_streams import Credentials
from upbit_streams.testing import Account, SimulatedExchange, Trader

__all__ = ["keep_active", "open_account"]

_ANNOUNCE_SECONDS = 10.0
_FIRST_ANNOUNCE_SECONDS = 2.0
_ANNOUNCEMENTS = (
    ("notice", "This exchange is simulated, and so is what it announces"),
    ("trade", "The markets move at random today, as on any other day"),
    ("maintenance", "There is nothing to maintain"),
    ("event", "Whoever trades here loses nothing"),
)

_wall = time.time  # noqa: TID251 -- an exchange on a real socket lives in real time


def open_account(exchange: SimulatedExchange, key: Credentials | None) -> tuple[Account, Credentials]:
    """An account with something of everything that is traded, and the key to it: this one, or a new one."""
    coins = {currency for code in exchange.source.codes for currency in code.split("-")}
    means = {"KRW": 100_000_000, "USDT": 100_000, "BTC": 10}
    account = exchange.open_account(
        access_key=key.access_key.reveal() if key else None,
        secret_key=key.secret_key.reveal() if key else None,
        balances={currency: means.get(currency, 10_000) for currency in sorted(coins)},
    )
    return account, Credentials(account.access_key, account.secret_key.reveal())


async def keep_active(exchange: SimulatedExchange, account: Account | None, seed: int, codes: Sequence[str]) -> None:
    """Trade for the account and announce things until cancelled. Without a market nobody trades.

    ``codes`` are the markets to trade in, none for all.
    """
    trader = None if account is None or exchange.desk is None else Trader(account, seed, codes)
    announce_at, number = _wall() + _FIRST_ANNOUNCE_SECONDS, 0
    while True:
        now = _wall()
        if trader is not None:
            trader.advance(now)
        if now >= announce_at:
            category, title = _ANNOUNCEMENTS[number % len(_ANNOUNCEMENTS)]
            exchange.announce(now, title=title, category=category)
            announce_at, number = now + _ANNOUNCE_SECONDS, number + 1
        due = announce_at if trader is None else min(announce_at, trader.next_time())
        await anyio.sleep(max(due - now, 0.0))
