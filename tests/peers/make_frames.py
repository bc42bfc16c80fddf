"""Writes what a simulated exchange sends on its private and info endpoints, for the models of other people's clients.

Usage: ``python make_frames.py FILE``, with the project's own Python

Indicators are told when candles close, which in real time is every five minutes; here some hours pass at once. An
account does with orders whatever the exchange lets it do, and then moves the price up and down until every signal has
been given. Each line of the file is one event: its endpoint, and its frame in each of the four formats.

``smp_type`` ``none`` is left out: Upbit announced it for November 2026, and the models of ``upbit-sdk`` 1.1 lack it.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, product
from pathlib import Path

from upbit_streams import Credentials, Endpoint
from upbit_streams.auth import login_token
from upbit_streams.model.indicators import INDICATORS, SIGNALS, TIMEFRAMES
from upbit_streams.model.kinds import Format
from upbit_streams.model.subscriptions import CATEGORIES
from upbit_streams.testing import Account, MarketSimulation, MarketSource, Session, SimulatedExchange

START = datetime(2026, 11, 21, 21, 31, tzinfo=UTC).timestamp()
END = datetime(2026, 11, 22, 0, 6, tzinfo=UTC).timestamp()  # by then candles of all timeframes have closed
CRASH = END - 8 * 60.0
QUIET = 15 * 60.0  # before somebody moves the price, and between two moves
MOVE = 60 * 60.0
STEP = 30.0  # a session that is idle for a minute is closed
INDICATORS_SECONDS = 40 * 60.0  # of which one hears every indicator; signals are rarer
MARKETS = ("KRW-BTC", "BTC-ETH", "USDT-BTC")
RICH = {"KRW": "1e15", "BTC": "1e7", "ETH": "1e7", "USDT": "1e12"}
SMALL = {"KRW": 10_000.0, "BTC": 0.0001, "USDT": 5.0}  # about what an order is worth, twice the least
PUSH = 40_000_000  # KRW, about what ten levels of a book hold
LONG_BODY = 40_000  # characters; the exchange sends no body as long as that


class Listeners:
    """The same client once for each format, so that what they hear is the same event for event."""

    def __init__(self, exchange: SimulatedExchange, account: Account, endpoint: Endpoint, *asked: dict) -> None:
        self.endpoint = endpoint
        self.sessions: dict[str, Session] = {}
        credentials = Credentials(account.access_key, account.secret_key.reveal())
        for number, form in enumerate(Format):
            # The exchange takes five logins a second.
            at = START + number
            nonce = f"{endpoint.name} {len(exchange.connects)}"
            session = exchange.connect(at, endpoint, login_token(credentials, nonce).reveal())
            session.receive(at, json.dumps([{"ticket": "frames"}, *asked, {"format": form.value}]))
            self.sessions[form.value] = session

    def take(self, now: float) -> Iterator[dict]:
        """What has been sent by now, event for event in the four formats."""
        heard = []
        for session in self.sessions.values():
            session.touch(now)
            heard.append([frame.decode() for frame in session.take(now)])
        for frames in zip(*heard, strict=True):
            yield {"endpoint": self.endpoint.name.lower(), "frames": dict(zip(self.sessions, frames, strict=True))}


def alternatives(choice) -> Iterator[dict]:
    """Every set of parameters that an indicator takes."""
    for alternative in choice:
        for values in product(*alternative.values()):
            yield dict(zip(alternative, values, strict=True))


def indicators() -> dict:
    """A subscription to every indicator with every set of parameters."""
    asked = [{"type": name, "params": params} for name, choice in INDICATORS.items() for params in alternatives(choice)]
    return {"type": "indicator", "codes": ["KRW-BTC"], "timeframe": "5m", "indicators": asked}


def signals() -> dict:
    """A subscription to every signal with every set of parameters."""
    asked = [
        {"type": name, "params": params, "trigger": trigger, "event_params": event_params}
        for name, (choice, triggers) in SIGNALS.items()
        for params in alternatives(choice)
        for trigger, own in triggers.items()
        for event_params in alternatives((own,))
    ]
    return {"type": "indicator_signal", "codes": ["KRW-BTC"], "timeframe": "5m", "indicators": asked}


def longer_timeframes() -> list[dict]:
    """Subscriptions to each indicator once, for the timeframes that close more rarely."""
    asked = [{"type": name, "params": next(alternatives(choice))} for name, choice in INDICATORS.items()]
    return [
        {"type": "indicator", "codes": ["KRW-BTC"], "timeframe": timeframe, "indicators": asked}
        for timeframe in TIMEFRAMES
        if timeframe != "5m"
    ]


def order_everything(exchange: SimulatedExchange, account: Account, now: float, code: str) -> None:
    """Let an account's orders go through everything that can happen to an order in one market."""
    desk = exchange.desk
    assert desk is not None
    other = exchange.open_account(balances=RICH)
    names = count()

    def best():
        return desk.book(now, code).orderbook_units[0]

    def place(side: str, kind: str = "limit", **options) -> str:
        return account.place(now, code, side, kind, identifier=f"{code} {next(names)}", **options)

    def told(amount: float) -> str:
        return f"{amount:.8f}"

    funds = SMALL[code.partition("-")[0]]
    size = funds / best().bid_price
    small, double, triple = told(size), told(2 * size), told(3 * size)
    worth = told(funds)
    # It rests, and is cancelled; the first one has no identifier.
    account.cancel(now, account.place(now, code, "BID", price=best().bid_price, volume=small))
    account.cancel(now, place("ASK", price=best().ask_price, volume=small, time_in_force="post_only"))
    # It trades at once: as a whole, in part, and as a condition has it.
    place("BID", price=best().ask_price, volume=small)
    account.cancel(now, place("BID", price=best().ask_price, volume=told(2 * best().ask_size)))
    place("ASK", price=best().bid_price, volume=small, time_in_force="ioc")
    place("ASK", price=best().bid_price, volume=told(2 * best().bid_size), time_in_force="ioc")
    place("BID", price=best().ask_price, volume=small, time_in_force="fok")
    place("BID", price=best().ask_price, volume=told(2 * best().ask_size), time_in_force="fok")
    place("BID", price=best().ask_price, volume=small, time_in_force="post_only")
    place("BID", "price", price=worth)
    place("ASK", "market", volume=small)
    for condition in ("ioc", "fok"):
        place("BID", "best", price=worth, time_in_force=condition)
        place("ASK", "best", volume=small, time_in_force=condition)
    place("BID", "best", price=told(2 * best().ask_price * best().ask_size), time_in_force="ioc")
    # It waits for somebody else, first in the queue.
    place("BID", price=best().bid_price, volume=double)
    other.place(now, code, "ASK", "market", volume=small)
    other.place(now, code, "ASK", "market", volume=small)
    # It meets its owner's other order: one that is smaller, one that is larger, and one with funds for less.
    for smp_type in ("reduce", "cancel_maker", "cancel_taker"):
        for mine, options in (
            (small, {"volume": double, "price": best().ask_price, "time_in_force": "ioc"}),
            (triple, {"volume": double, "price": best().ask_price, "time_in_force": "ioc"}),
            (double, {"kind": "price", "price": worth}),
        ):
            resting = place("ASK", price=best().ask_price, volume=mine)
            place("BID", smp_type=smp_type, **options)
            if resting in account.open_orders():
                account.cancel(now, resting)


def announce_everything(exchange: SimulatedExchange, now: float) -> None:
    """Announce something of each category, and change it."""
    for category in CATEGORIES:
        uuid = exchange.announce(now, title=f"About {category}", category=category, body="Read *this*.\n\n안내")
        exchange.announce(now, title=f"More about {category}", category=category, body="x" * LONG_BODY, uuid=uuid)


def push(account: Account, now: float) -> None:
    """Move the price: up for a while, down for a while, and at the end by a lot."""
    moves, since = divmod(now - START, QUIET + MOVE)
    if now == CRASH:
        account.place(now, "KRW-BTC", "ASK", "market", volume="1000")
    elif since < QUIET:
        pass
    elif moves % 2:
        price = account.desk.book(now, "KRW-BTC").orderbook_units[0].bid_price
        account.place(now, "KRW-BTC", "ASK", "market", volume=f"{PUSH / price:.8f}")
    else:
        account.place(now, "KRW-BTC", "BID", "price", price=PUSH)


def events() -> Iterator[dict]:
    """Let the hours pass."""
    simulation = MarketSimulation(codes=MARKETS, rate=0.2, start_ms=int(START * 1000))
    exchange = SimulatedExchange(MarketSource(simulation))
    account = exchange.open_account(balances=RICH)
    mover = exchange.open_account(balances=RICH)
    private = Listeners(
        exchange, account, Endpoint.PRIVATE,
        {"type": "myOrder"}, {"type": "myAsset"}, {"type": "announcement", "include_body": True},
    )  # fmt: skip
    every = Listeners(exchange, mover, Endpoint.INFO, indicators())
    longer = Listeners(exchange, exchange.open_account(), Endpoint.INFO, *longer_timeframes())
    signalled = Listeners(exchange, exchange.open_account(), Endpoint.INFO, signals())
    now = START + STEP
    for code in MARKETS:
        order_everything(exchange, account, now, code)
    account.deposit(now, "DOGE", "0.00000001")
    announce_everything(exchange, now)
    yield from private.take(now)
    while now < END:
        now += STEP
        push(mover, now)
        if now < START + INDICATORS_SECONDS:
            yield from every.take(now)
        yield from longer.take(now)
        yield from signalled.take(now)


def main() -> None:
    """Write the file of the command line, and say what is in it."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE")
    counts: Counter = Counter()
    with Path(sys.argv[1]).open("w", encoding="utf-8") as file:
        for event in events():
            counts[json.loads(event["frames"]["DEFAULT"])["type"]] += 1
            file.write(json.dumps(event) + "\n")
    print(f"frames: {', '.join(f'{number} of {name}' for name, number in counts.items())}, in four formats each")


if __name__ == "__main__":
    main()
