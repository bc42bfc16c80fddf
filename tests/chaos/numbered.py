"""A market and an account whose every event is numbered, so that one that is missing is seen."""

from collections import Counter, deque
from collections.abc import Sequence
from decimal import Decimal

import attrs
import msgspec
from tests.support.world import numbered_trade

from upbit_streams import Event, MyAssetEvent, MyOrderEvent
from upbit_streams.testing import Account

__all__ = ["SESSION", "QuietMarket", "Teller"]

SESSION = 1_000_000
"""A trade's id is its session's number times this, and its own number in its session and market."""
_KEPT = 1000


@attrs.define
class QuietMarket:
    """A market in which every session hears its own trades of each market, numbered from 1, at a steady pace.

    A session is shown the last trade when it asks, as on the real exchange, where it is the one that everybody had.
    """

    interval: float
    codes: Sequence[str]
    sessions: int = 0

    def open(self) -> "_QuietFeed":
        self.sessions += 1
        return _QuietFeed(self, self.sessions)


class _QuietFeed:
    overflowed = False

    def __init__(self, market: QuietMarket, session: int) -> None:
        self._market = market
        self._session = session
        self._codes: list[str] = []
        self._numbers: Counter[str] = Counter()
        self._next = float("inf")

    def start(self, now: float, keys: frozenset[tuple[str, str]]) -> None:
        self._codes = sorted(code for type_name, code in keys if type_name == "trade" and code in self._market.codes)
        self._next = min(self._next, now + self._market.interval)

    def snapshot(self, now: float, type_name: str, code: str) -> Event | None:
        if type_name != "trade" or code not in self._market.codes:
            return None
        self._numbers[code] = self._numbers[code] or 1
        trade = numbered_trade(code, self._session, self._numbers[code], now)
        return msgspec.structs.replace(trade, stream_type="SNAPSHOT")

    def take(self, now: float) -> list[Event]:
        taken: list[Event] = []
        while self._next <= now:
            for code in self._codes:
                self._numbers[code] += 1
                taken.append(numbered_trade(code, self._session, self._numbers[code], self._next))
            self._next += self._market.interval
        return taken

    def next_time(self) -> float:
        return self._next


class Teller:
    """Lets things happen on an account: a change of an order and one of the balances, both with the same number."""

    def __init__(self, account: Account) -> None:
        self.number = 0
        self._account = account
        self._told: deque[tuple[int, float]] = deque(maxlen=_KEPT)

    def tell(self, now: float) -> None:
        self.number += 1
        self._told.append((self.number, now))
        now_ms = int(now * 1000)
        self._account.tell(
            MyOrderEvent(
                code="KRW-BTC",
                timestamp=now_ms,
                stream_type="REALTIME",
                # Every order is heard of twice, and its id is used again much later: the account remembers each.
                uuid=f"order-{self.number // 2 % 50}",
                ask_bid="BID",
                order_type="limit",
                state="done" if self.number % 2 else "wait",
                trades_count=self.number,
                price=Decimal(self.number),
                order_timestamp=now_ms,
            )
        )
        self._account.tell(
            MyAssetEvent(
                asset_uuid=str(self.number), assets=(), asset_timestamp=now_ms, timestamp=now_ms, stream_type="REALTIME"
            )
        )

    def told_at(self, number: int) -> float:
        """When it happened. Only of the last thousand."""
        newest, _ = self._told[-1]
        found, at = self._told[number - newest - 1]
        assert found == number
        return at
