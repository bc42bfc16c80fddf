"""The simulated markets: what they tell agrees, to the last digit, and depends on the arguments alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upbit_streams.exceptions import InvalidCodeError, InvalidConfigError
from upbit_streams.model.events import CandleEvent, Event, OrderbookEvent, TickerEvent, TradeEvent
from upbit_streams.model.kinds import DataType, Endpoint
from upbit_streams.testing.market import DEFAULT_CODES, MarketSimulation
from upbit_streams.testing.matching import Book
from upbit_streams.testing.ticks import ONE, TickGrid

START = 1787729040123  # 2026-08-26T07:24:00.123Z
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MIDNIGHT = START // DAY * DAY + DAY

SPANS = {
    "candle.1s": 1_000,
    "candle.1m": MINUTE,
    "candle.3m": 3 * MINUTE,
    "candle.5m": 5 * MINUTE,
    "candle.10m": 10 * MINUTE,
    "candle.15m": 15 * MINUTE,
    "candle.30m": 30 * MINUTE,
    "candle.60m": HOUR,
    "candle.240m": 4 * HOUR,
}
TYPES = ("ticker", "trade", "orderbook", *SPANS)
SHARED_WITH_TRADE = (
    "code",
    "timestamp",
    "stream_type",
    "trade_price",
    "trade_volume",
    "ask_bid",
    "trade_timestamp",
    "prev_closing_price",
    "change",
    "change_price",
)
"""What a ticker repeats of the last trade."""

# Coarse ticks, fine ticks, many decimals, large numbers, coins and quote currencies that nobody knows.
ALL_SORTS = (
    "KRW-BTC",
    "KRW-DOGE",
    "KRW-SHIB",
    "BTC-XRP",
    "BTC-PEPE",
    "USDT-ETH",
    "USDT-PEPE",
    "IDR-BTC",
    "KRW-LAMB",
    "A-B",
)

seeds = st.integers(0, 2**32)
codes = st.sampled_from(ALL_SORTS) | st.from_regex(r"(KRW|BTC|USDT)-[A-Z0-9]{2,6}", fullmatch=True)
starts = st.integers(START, START + DAY)
few = settings(max_examples=6, deadline=None)


def exact(value: float) -> Decimal:
    """The number that a reader of the JSON text sees."""
    return Decimal(repr(value))


def shown(value: Decimal) -> float:
    """What is sent for a number: eight decimals."""
    return float(value.quantize(Decimal("1e-8"), ROUND_HALF_UP))


def trades_of(events: Iterable[Event]) -> list[TradeEvent]:
    return [event for event in events if isinstance(event, TradeEvent)]


def by_market(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event.code].append(event)
    return found


def beats(simulation: MarketSimulation, until_ms: int) -> Iterator[tuple[int, list[Event]]]:
    """Advances as a driver does: to the next event and no further."""
    while (now_ms := simulation.next_ms()) <= until_ms:
        yield now_ms, simulation.advance(now_ms)


def utc(time_ms: int, form: str) -> str:
    return datetime.fromtimestamp(time_ms // 1_000, UTC).strftime(form)


class Aggregate:
    """Adds up trades in its own, slow and obvious way."""

    def __init__(self, trades: Iterable[TradeEvent]) -> None:
        trades = list(trades)
        prices = [trade.trade_price for trade in trades]
        self.opening, self.closing = prices[0], prices[-1]
        self.high, self.low = max(prices), min(prices)
        self.ask_volume = sum((exact(t.trade_volume) for t in trades if t.ask_bid == "ASK"), Decimal())
        self.bid_volume = sum((exact(t.trade_volume) for t in trades if t.ask_bid == "BID"), Decimal())
        self.volume = self.ask_volume + self.bid_volume
        self.money = sum((exact(t.trade_price) * exact(t.trade_volume) for t in trades), Decimal())
        self.last_ms = max(trade.trade_timestamp for trade in trades)


class TestTime:
    @few
    @given(seed=seeds, rate=st.floats(1, 3_000), start=starts, cuts=st.lists(st.integers(0, 2_500), max_size=8))
    def test_it_makes_no_difference_how_time_is_cut(self, seed: int, rate: float, start: int, cuts: list[int]) -> None:
        whole = MarketSimulation(seed=seed, rate=rate, start_ms=start)
        in_parts = MarketSimulation(seed=seed, rate=rate, start_ms=start)
        parts = [event for cut in sorted(cuts) for event in in_parts.advance(start + cut)]
        parts += in_parts.advance(start + 2_500)
        assert parts == whole.advance(start + 2_500)
        assert in_parts.next_ms() == whole.next_ms()
        for code in whole.codes:
            for type_name in TYPES:
                assert in_parts.snapshot(type_name, code) == whole.snapshot(type_name, code)

    @few
    @given(seed=seeds, rate=st.floats(1, 300), start=starts)
    def test_next_ms_is_exactly_when_something_comes(self, seed: int, rate: float, start: int) -> None:
        simulation = MarketSimulation(seed=seed, rate=rate, start_ms=start)
        last_ms = start
        for _ in range(50):
            next_ms = simulation.next_ms()
            assert next_ms > last_ms
            assert simulation.advance(next_ms - 1) == []
            assert simulation.advance(next_ms)
            last_ms = next_ms

    @few
    @given(seed=seeds, rate=st.floats(10, 3_000), start=starts)
    def test_timestamps_are_when_it_is_sent(self, seed: int, rate: float, start: int) -> None:
        simulation = MarketSimulation(seed=seed, rate=rate, start_ms=start)
        for now_ms, events in beats(simulation, start + 3_000):
            for event in events:
                assert event.stream_type == "REALTIME"
                if isinstance(event, CandleEvent):
                    assert now_ms - 1_060 <= event.timestamp < now_ms
                else:
                    assert event.timestamp == now_ms

    def test_time_never_goes_back(self) -> None:
        simulation = MarketSimulation(start_ms=START)
        simulation.advance(START + 1_000)
        assert simulation.advance(START) == []
        assert simulation.advance(START + 1_000) == []

    def test_history_depends_on_the_seed_and_the_start(self) -> None:
        histories = [
            tuple(MarketSimulation(seed=seed, start_ms=start).advance(START + 2_000))
            for seed, start in [(1, START), (2, START), (1, START + 20)]
        ]
        assert len(set(histories)) == 3

    @pytest.mark.parametrize(("rate", "seconds"), [(0.5, 20_000), (100.0, 100), (5_000.0, 3)])
    def test_the_rate_is_kept(self, rate: float, seconds: int) -> None:
        events = MarketSimulation(rate=rate, start_ms=START).advance(START + seconds * 1_000)
        messages = sum(not isinstance(event, CandleEvent) for event in events)
        assert messages / seconds == pytest.approx(rate, rel=0.1)

    def test_the_first_markets_are_the_busiest(self) -> None:
        events = by_market(MarketSimulation(rate=2_000, start_ms=START).advance(START + 10_000))
        assert set(events) == set(DEFAULT_CODES)
        first, second, last = (len(events[code]) for code in (*DEFAULT_CODES[:2], DEFAULT_CODES[-1]))
        assert first > second > last


class TestMarkets:
    def test_codes_are_kept_in_order_and_once(self) -> None:
        assert MarketSimulation(start_ms=START).codes == DEFAULT_CODES
        assert MarketSimulation(codes=["KRW-ETH", "KRW-BTC", "KRW-ETH"], start_ms=START).codes == ("KRW-ETH", "KRW-BTC")

    @pytest.mark.parametrize("code", ["", "KRW", "KRW-", "-BTC", "krw-btc", "KRW-BTC.15", "KRW_BTC", " KRW-BTC"])
    def test_a_code_that_cannot_exist_is_refused(self, code: str) -> None:
        with pytest.raises(InvalidCodeError):
            MarketSimulation(codes=[code], start_ms=START)

    @pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), 100_001.0])
    def test_a_rate_out_of_range_is_refused(self, rate: float) -> None:
        with pytest.raises(InvalidConfigError):
            MarketSimulation(rate=rate, start_ms=START)

    def test_at_least_one_market_is_needed(self) -> None:
        with pytest.raises(InvalidConfigError):
            MarketSimulation(codes=[], start_ms=START)

    @few
    @given(seed=seeds, code=codes, others=st.lists(codes, max_size=2), place=st.integers(0, 2))
    def test_what_happens_in_a_market_does_not_depend_on_others(
        self, seed: int, code: str, others: list[str], place: int
    ) -> None:
        alone = MarketSimulation(seed=seed, codes=[code], rate=200, start_ms=START)
        among = MarketSimulation(seed=seed, codes=[*others[:place], code, *others[place:]], rate=200, start_ms=START)
        for type_name in TYPES:
            assert alone.snapshot(type_name, code) == among.snapshot(type_name, code)
        mine = [
            [(t.trade_price, t.trade_volume, t.ask_bid, t.best_ask_price, t.best_bid_size) for t in trades]
            for trades in (
                trades_of(alone.advance(START + 4_000)),
                trades_of(event for event in among.advance(START + 4_000) if event.code == code),
            )
        ]
        shorter = min(map(len, mine))
        assert shorter > 5
        assert mine[0][:shorter] == mine[1][:shorter]

    @pytest.mark.parametrize(
        ("code", "low", "high"),
        [
            ("KRW-BTC", 5e7, 2e8),
            ("KRW-XRP", 1e3, 1e4),
            ("KRW-DOGE", 100, 500),
            ("KRW-LAMB", 5, 200_000),
            ("BTC-ETH", 0.01, 0.1),
            ("USDT-BTC", 4e4, 1.5e5),
        ],
    )
    def test_prices_are_plausible_and_differ_by_seed(self, code: str, low: float, high: float) -> None:
        prices = set[float]()
        for seed in range(10):
            ticker = MarketSimulation(seed=seed, codes=[code], start_ms=START).snapshot("ticker", code)
            assert isinstance(ticker, TickerEvent)
            assert low < ticker.trade_price < high
            prices.add(ticker.trade_price)
        assert len(prices) > 5

    def test_unknown_coins_differ(self) -> None:
        simulation = MarketSimulation(codes=["KRW-AAA", "KRW-BBB"], start_ms=START)
        one, other = (simulation.snapshot("ticker", code) for code in simulation.codes)
        assert isinstance(one, TickerEvent)
        assert isinstance(other, TickerEvent)
        assert one.trade_price != other.trade_price
        assert one.trade_volume != other.trade_volume

    @pytest.mark.parametrize("code", ["KRW-BTC", "KRW-DOGE", "BTC-XRP"])
    def test_prices_move_and_stay_plausible_for_a_month(self, code: str) -> None:
        simulation = MarketSimulation(codes=[code], rate=0.01, start_ms=START)
        closings = [trades_of(simulation.advance(START + day * DAY))[-1].trade_price for day in range(1, 31)]
        first = simulation.snapshot("ticker", code)
        assert isinstance(first, TickerEvent)
        assert len(set(closings)) > 10
        assert max(closings) / min(closings) < 1.6
        assert first.lowest_52_week_price < min(closings)
        assert max(closings) < first.highest_52_week_price


def tick(quote: str, price: Decimal) -> Decimal:
    """The exchange's table of ticks, once more."""
    if quote == "BTC":
        return Decimal("1e-8")
    if quote != "KRW":
        steps = [("10", "0.01"), ("1", "0.001"), ("0.1", "1e-4"), ("0.01", "1e-5"), ("0.001", "1e-6"), ("1e-4", "1e-7")]
        return next((Decimal(step) for start, step in steps if price >= Decimal(start)), Decimal("1e-8"))
    steps = [("1e6", "1000"), ("5e5", "500"), ("1e5", "100"), ("5e4", "50"), ("1e4", "10"), ("5e3", "5"), ("100", "1")]
    steps += [(f"1e{n}", f"1e{n - 2}") for n in range(1, -6, -1)]
    return next((Decimal(step) for start, step in steps if price >= Decimal(start)), Decimal("1e-8"))


def is_on_grid(quote: str, price: int) -> bool:
    shown_price = Decimal(price) / ONE
    return shown_price % tick(quote, shown_price) == 0


# Wherever the tick changes on some grid, and a few prices more.
TICK_CHANGES = [Decimal(f"{lead}e{exponent}") for lead in (1, 5) for exponent in range(-4, 7)]
bounds = st.sampled_from(TICK_CHANGES)


class TestTickGrid:
    @pytest.mark.parametrize("quote", ["KRW", "BTC", "USDT", "IDR"])
    def test_ticks_are_those_of_the_exchange(self, quote: str) -> None:
        grid = TickGrid(f"{quote}-XYZ")
        for change in TICK_CHANGES:
            for price in (change, change - Decimal("1e-8")):
                assert grid.tick(int(price * ONE)) == tick(quote, price) * ONE

    @given(quote=st.sampled_from(["KRW", "BTC", "USDT", "IDR"]), bound=bounds, offset=st.integers(-1_000, 1_000))
    def test_its_neighbours_are_one_tick_away(self, quote: str, bound: Decimal, offset: int) -> None:
        grid = TickGrid(f"{quote}-XYZ")
        price = grid.nearest(int(bound * ONE) + offset * int(tick(quote, bound) * ONE) // 100)
        assert is_on_grid(quote, price)
        assert grid.tick(price) == tick(quote, Decimal(price) / ONE) * ONE
        if price > 1:
            assert is_on_grid(quote, grid.below(price, 1))
            assert grid.above(grid.below(price, 1), 1) == price
        assert is_on_grid(quote, grid.above(price, 1))
        assert grid.below(grid.above(price, 1), 1) == price

    @given(quote=st.sampled_from(["KRW", "USDT"]), bound=bounds, away=st.integers(1, 9), ticks=st.integers(10, 99))
    def test_moves_past_a_change_of_the_tick_end_on_it(self, quote: str, bound: Decimal, away: int, ticks: int) -> None:
        grid = TickGrid(f"{quote}-XYZ")
        lower = int((bound - away * tick(quote, bound - Decimal("1e-8"))) * ONE)
        higher = int((bound + away * tick(quote, bound)) * ONE)
        assert grid.above(lower, ticks) > lower
        assert is_on_grid(quote, grid.above(lower, ticks))
        assert grid.below(higher, ticks) < higher
        assert is_on_grid(quote, grid.below(higher, ticks))


class TestBook:
    @given(seed=seeds, quote=st.sampled_from(["KRW", "USDT"]), offset=st.integers(-40, 40))
    @few
    def test_it_stays_on_the_grid_where_the_tick_changes(self, seed: int, quote: str, offset: int) -> None:
        grid = TickGrid(f"{quote}-XYZ")
        price = 10 * ONE + offset * ONE // 100
        book = Book(grid, Random(seed), best_ask=grid.nearest(price), typical_size=ONE)
        for step in range(300):
            if step % 3:
                book.improve()
            else:
                book.take("BID" if step // 60 % 2 else "ASK", 1.0)
            asks, bids = book.asks.prices, book.bids.prices
            assert all(is_on_grid(quote, price) for price in asks + bids)
            assert sorted({*asks, *bids}) == bids[::-1] + asks
            assert len(asks) == len(bids) == len(book.asks.sizes) == len(book.bids.sizes) == 30

    @few
    @given(seed=seeds, code=codes)
    def test_a_book_is_always_in_order(self, seed: int, code: str) -> None:
        simulation = MarketSimulation(seed=seed, codes=[code], rate=300, start_ms=START)
        books = [simulation.snapshot("orderbook", code), *simulation.advance(START + 1_000)]
        quote = code.split("-")[0]
        for book in books:
            if not isinstance(book, OrderbookEvent):
                continue
            asks, bids = book.asks, book.bids
            assert len(book.orderbook_units) == len(asks) == len(bids) == 30
            assert all(better < worse for (better, _), (worse, _) in pairwise(asks))
            assert all(better > worse for (better, _), (worse, _) in pairwise(bids))
            assert asks[0][0] > bids[0][0]
            assert all(price > 0 and size > 0 for price, size in asks + bids)
            assert all(exact(price) % tick(quote, exact(price)) == 0 for price, _ in asks + bids)
            assert sum(exact(size) for _, size in asks) == exact(book.total_ask_size)
            assert sum(exact(size) for _, size in bids) == exact(book.total_bid_size)

    @few
    @given(seed=seeds, code=codes)
    def test_a_trade_takes_from_the_best_opposite_level(self, seed: int, code: str) -> None:
        simulation = MarketSimulation(seed=seed, codes=[code], rate=300, start_ms=START)
        before = simulation.snapshot("orderbook", code)
        assert isinstance(before, OrderbookEvent)
        used_up = set[bool]()
        events = [event for event in simulation.advance(START + 10_000) if not isinstance(event, CandleEvent)]
        for place, event in enumerate(events):
            if isinstance(event, OrderbookEvent):
                before = event
            if not isinstance(event, TradeEvent):
                continue
            after = events[place + 2]
            assert isinstance(after, OrderbookEvent)
            assert after.timestamp == event.timestamp
            bought = event.ask_bid == "BID"
            hit, other = (before.asks, before.bids) if bought else (before.bids, before.asks)
            hit_after, other_after = (after.asks, after.bids) if bought else (after.bids, after.asks)
            price, size = hit[0]
            left = exact(size) - exact(event.trade_volume)
            assert event.trade_price == price
            assert 0 <= left < exact(size)
            if left:
                assert hit_after == [(price, float(left)), *hit[1:]]
            else:
                assert hit_after[:-1] == hit[1:]
            assert other_after == other
            assert after.asks[0] == (event.best_ask_price, event.best_ask_size)
            assert after.bids[0] == (event.best_bid_price, event.best_bid_size)
            used_up.add(not left)
        assert used_up == {True, False}

    def test_both_sides_take(self) -> None:
        trades = trades_of(MarketSimulation(rate=1_000, start_ms=START).advance(START + 5_000))
        bought = sum(trade.ask_bid == "BID" for trade in trades)
        assert 0.4 < bought / len(trades) < 0.6


class TestTrade:
    @few
    @given(seed=seeds, rate=st.floats(10, 5_000), start=starts)
    def test_times_and_ids(self, seed: int, rate: float, start: int) -> None:
        simulation = MarketSimulation(seed=seed, codes=["KRW-BTC", "KRW-ETH"], rate=rate, start_ms=start)
        events: list[Event] = []
        for code in simulation.codes:
            past = simulation.snapshot("trade", code)
            assert isinstance(past, TradeEvent)
            assert past.trade_timestamp <= past.timestamp < start
            events.append(past)
        events += simulation.advance(start + 1_000)
        for of_market in by_market(events).values():
            trades = trades_of(of_market)
            for trade in trades:
                assert 0 <= trade.timestamp - trade.trade_timestamp <= 60
                assert trade.sequential_id // 10_000 == trade.trade_timestamp
                assert trade.trade_date == utc(trade.trade_timestamp, "%Y-%m-%d")
                assert trade.trade_time == utc(trade.trade_timestamp, "%H:%M:%S")
            assert all(one.trade_timestamp <= next_one.trade_timestamp for one, next_one in pairwise(trades))
            assert len({trade.sequential_id for trade in trades}) == len(trades)

    def test_ids_are_not_ordered(self) -> None:
        trades = trades_of(MarketSimulation(codes=["KRW-BTC"], rate=50, start_ms=START).advance(START + MINUTE))
        steps = [later.sequential_id - earlier.sequential_id for earlier, later in pairwise(trades)]
        assert 0 < sum(step < 0 for step in steps) < len(steps) / 5

    def test_the_delay_of_messages_varies(self) -> None:
        trades = trades_of(MarketSimulation(rate=500, start_ms=START).advance(START + MINUTE))
        assert {trade.timestamp - trade.trade_timestamp for trade in trades} == set(range(61))


class TestTicker:
    @few
    @given(seed=seeds, rate=st.floats(10, 1_000), start=starts)
    def test_it_tells_of_the_trade_just_before_it(self, seed: int, rate: float, start: int) -> None:
        simulation = MarketSimulation(seed=seed, rate=rate, start_ms=start)
        events = [event for event in simulation.advance(start + 2_000) if not isinstance(event, CandleEvent)]
        pairs = [(simulation.snapshot("trade", code), simulation.snapshot("ticker", code)) for code in simulation.codes]
        pairs += [(trade, events[place + 1]) for place, trade in enumerate(events) if isinstance(trade, TradeEvent)]
        assert sum(isinstance(event, TickerEvent) for event in events) == len(pairs) - len(simulation.codes)
        for trade, ticker in pairs:
            assert isinstance(trade, TradeEvent)
            assert isinstance(ticker, TickerEvent)
            for field in SHARED_WITH_TRADE:
                assert getattr(ticker, field) == getattr(trade, field), field
            assert ticker.trade_date == utc(trade.trade_timestamp, "%Y%m%d")
            assert ticker.trade_time == utc(trade.trade_timestamp, "%H%M%S")
            signed = exact(ticker.trade_price) - exact(ticker.prev_closing_price)
            assert exact(ticker.signed_change_price) == signed
            assert exact(ticker.change_price) == abs(signed)
            assert ticker.change == ("RISE" if signed > 0 else "FALL" if signed < 0 else "EVEN")
            assert ticker.signed_change_rate == float(round(signed / exact(ticker.prev_closing_price), 10))
            assert ticker.change_rate == abs(ticker.signed_change_rate)
            assert ticker.low_price <= min(ticker.trade_price, ticker.opening_price)
            assert ticker.high_price >= max(ticker.trade_price, ticker.opening_price)
            assert ticker.acc_trade_volume <= ticker.acc_trade_volume_24h
            assert ticker.market_state == "ACTIVE"

    @few
    @given(seed=seeds, code=codes)
    def test_a_day_follows_from_its_trades(self, seed: int, code: str) -> None:
        simulation = MarketSimulation(seed=seed, codes=[code], rate=2, start_ms=MIDNIGHT - 2 * MINUTE)
        past = simulation.snapshot("ticker", code)
        assert isinstance(past, TickerEvent)
        before: list[TradeEvent] = []
        after: list[TradeEvent] = []
        for event in simulation.advance(MIDNIGHT + 4 * MINUTE):
            if isinstance(event, TradeEvent):
                (before if event.trade_timestamp < MIDNIGHT else after).append(event)
            elif isinstance(event, TickerEvent) and not after:
                day = Aggregate(before)
                assert event.opening_price == past.opening_price
                assert event.prev_closing_price == past.prev_closing_price
                assert event.high_price == max(past.high_price, day.high)
                assert event.low_price == min(past.low_price, day.low)
                assert exact(event.acc_ask_volume) == exact(past.acc_ask_volume) + day.ask_volume
                assert exact(event.acc_bid_volume) == exact(past.acc_bid_volume) + day.bid_volume
            elif isinstance(event, TickerEvent):
                day = Aggregate(after)
                assert event.opening_price == day.opening
                assert event.prev_closing_price == before[-1].trade_price
                assert event.high_price == day.high
                assert event.low_price == day.low
                assert event.trade_price == day.closing
                assert event.acc_ask_volume == shown(day.ask_volume)
                assert event.acc_bid_volume == shown(day.bid_volume)
                assert event.acc_trade_volume == shown(day.volume)
                assert event.acc_trade_price == shown(day.money)
        assert before
        assert after

    def test_24_hours_roll(self) -> None:
        simulation = MarketSimulation(codes=["KRW-ETH"], rate=0.1, start_ms=START)
        trades: list[TradeEvent] = []
        checked = 0
        for event in simulation.advance(START + 26 * HOUR):
            if isinstance(event, TradeEvent):
                trades.append(event)
            if isinstance(event, TickerEvent) and event.timestamp > START + 24 * HOUR + MINUTE:
                minute = event.trade_timestamp // MINUTE
                window = Aggregate(t for t in trades if t.trade_timestamp // MINUTE > minute - 24 * 60)
                assert event.acc_trade_volume_24h == shown(window.volume)
                assert event.acc_trade_price_24h == shown(window.money)
                checked += 1
        assert checked > 100
        assert len(trades) > checked * 2

    def test_a_day_without_trades_is_skipped(self) -> None:
        simulation = MarketSimulation(codes=["KRW-ETH"], rate=0.00002, start_ms=START)
        for earlier, later in pairwise(
            event for event in simulation.advance(START + 60 * DAY) if isinstance(event, TickerEvent)
        ):
            if later.trade_date != earlier.trade_date:
                assert later.prev_closing_price == earlier.trade_price
                assert later.acc_trade_volume == later.trade_volume


class TestCandle:
    @few
    @given(seed=seeds, code=codes, rate=st.floats(1, 400), start=starts)
    def test_each_counts_the_trades_of_its_interval_so_far(self, seed: int, code: str, rate: float, start: int) -> None:
        simulation = MarketSimulation(seed=seed, codes=[code], rate=rate, start_ms=start)
        self.check(simulation, start + 5_000)

    def test_none_is_forgotten_when_trades_are_sparse(self) -> None:
        # Rare enough that a second has trades in its first few milliseconds only, when the one before it is still open.
        self.check(MarketSimulation(codes=["KRW-BTC"], rate=8, start_ms=START), START + 500_000)

    def test_of_all_units_over_hours(self) -> None:
        start = START // (4 * HOUR) * (4 * HOUR)
        simulation = MarketSimulation(codes=["KRW-BTC"], rate=0.15, start_ms=start)
        complete = self.check(simulation, start + 9 * HOUR)
        assert complete >= set(SPANS)

    @staticmethod
    def check(simulation: MarketSimulation, until_ms: int) -> set[str]:
        """Compares all candles of a market with its trades. Returns the units of which there was a whole one."""
        (code,) = simulation.codes
        past = simulation.snapshot("trade", code)
        assert isinstance(past, TradeEvent)
        trades: list[TradeEvent] = []
        last_of: dict[tuple[str, int], CandleEvent] = {}
        sent: dict[str, list[int]] = {type_name: [] for type_name in SPANS}
        for now_ms, events in beats(simulation, until_ms):
            for event in events:
                if isinstance(event, TradeEvent):
                    trades.append(event)
                if not isinstance(event, CandleEvent):
                    continue
                span = SPANS[event.type]
                start = event.timestamp // span * span
                sent[event.type].append(now_ms)
                last_of[event.type, start] = event
                assert event.candle_date_time_utc == utc(start, "%Y-%m-%dT%H:%M:%S")
                kst = datetime.fromisoformat(event.candle_date_time_utc) + timedelta(hours=9)
                assert event.candle_date_time_kst == kst.isoformat()
                if start > past.trade_timestamp:
                    so_far = [t for t in trades if start <= t.trade_timestamp <= event.timestamp]
                    TestCandle.compare(event, Aggregate(so_far))
        # One message of each unit for each second with trades, and not two of one unit within a second.
        seconds = {trade.trade_timestamp // 1_000 for trade in trades}
        over = [second for second in seconds if second * 1_000 + 1_060 <= until_ms]
        for times in sent.values():
            assert len(times) == len(over)
            assert all(later - earlier >= 1_000 for earlier, later in pairwise(times))
        # The last message of an interval that is over counts all of its trades.
        complete = set[str]()
        for (type_name, start), event in last_of.items():
            if past.trade_timestamp < start <= until_ms - SPANS[type_name] - 1_060:
                whole = [t for t in trades if start <= t.trade_timestamp < start + SPANS[type_name]]
                TestCandle.compare(event, Aggregate(whole))
                complete.add(type_name)
        return complete

    @staticmethod
    def compare(candle: CandleEvent, trades: Aggregate) -> None:
        assert candle.timestamp == trades.last_ms
        assert candle.opening_price == trades.opening
        assert candle.high_price == trades.high
        assert candle.low_price == trades.low
        assert candle.trade_price == trades.closing
        assert candle.candle_acc_trade_volume == shown(trades.volume)
        assert candle.candle_acc_trade_price == shown(trades.money)

    def test_a_snapshot_counts_every_trade_so_far(self) -> None:
        start = START // (4 * HOUR) * (4 * HOUR) + 4 * HOUR
        simulation = MarketSimulation(codes=["KRW-XRP"], rate=20, start_ms=start)
        trades: list[TradeEvent] = []
        for _, events in beats(simulation, start + 90_000):
            of_now = trades_of(events)
            trades += of_now
            if not of_now:
                continue
            for type_name, span in SPANS.items():
                candle = simulation.snapshot(type_name, "KRW-XRP")
                interval = trades[-1].trade_timestamp // span
                assert isinstance(candle, CandleEvent)
                if interval * span >= start:
                    self.compare(candle, Aggregate(t for t in trades if t.trade_timestamp // span == interval))

    def test_the_past_agrees_with_the_day(self) -> None:
        start = MIDNIGHT + 3 * HOUR  # the first 240 minutes are the whole day so far
        simulation = MarketSimulation(codes=ALL_SORTS, start_ms=start)
        for code in ALL_SORTS:
            candle, day = simulation.snapshot("candle.240m", code), simulation.snapshot("ticker", code)
            assert isinstance(candle, CandleEvent)
            assert isinstance(day, TickerEvent)
            for field in ("opening_price", "high_price", "low_price", "trade_price"):
                assert getattr(candle, field) == getattr(day, field)
            assert candle.candle_acc_trade_volume == day.acc_trade_volume
            assert candle.candle_acc_trade_price == day.acc_trade_price
            assert day.acc_trade_volume < day.acc_trade_volume_24h
            if code == "KRW-BTC":
                assert day.low_price < day.high_price


class TestSnapshot:
    @few
    @given(seed=seeds, start=starts | st.sampled_from([MIDNIGHT, 0]))
    def test_there_is_one_of_everything_from_the_start(self, seed: int, start: int) -> None:
        simulation = MarketSimulation(seed=seed, codes=ALL_SORTS, start_ms=start)
        for code in simulation.codes:
            for type_name in TYPES:
                event = simulation.snapshot(type_name, code)
                assert event is not None
                assert (event.type, event.code, event.stream_type) == (type_name, code, "SNAPSHOT")
                assert start - 30_000 < event.timestamp < start

    def test_the_class_is_that_of_the_type(self) -> None:
        simulation = MarketSimulation(start_ms=START)
        for kind in DataType.all(Endpoint.PUBLIC):
            if kind.name in TYPES:
                assert type(simulation.snapshot(kind.name, "KRW-BTC")) is kind.event

    def test_it_repeats_the_last_event(self) -> None:
        simulation = MarketSimulation(rate=500, start_ms=START)
        latest = {(event.type, event.code): event for event in simulation.advance(START + 30_000)}
        for type_name in ("ticker", "trade", "orderbook"):
            for code in simulation.codes:
                snapshot = simulation.snapshot(type_name, code)
                assert snapshot == msgspec.structs.replace(latest[type_name, code], stream_type="SNAPSHOT")
                assert latest[type_name, code].stream_type == "REALTIME"

    def test_of_what_does_not_exist(self) -> None:
        simulation = MarketSimulation(start_ms=START)
        assert simulation.snapshot("ticker", "KRW-NONE") is None
        assert simulation.snapshot("candle.1m", "krw-btc") is None
        assert simulation.snapshot("myOrder", "KRW-BTC") is None
        assert simulation.snapshot("candle.2m", "KRW-BTC") is None


def test_numbers_are_short() -> None:
    simulation = MarketSimulation(codes=ALL_SORTS, rate=1_000, start_ms=START)

    def numbers(value: object) -> Iterator[float]:
        if isinstance(value, float):
            yield value
        elif isinstance(value, tuple):
            for part in value:
                yield from numbers(part)
        elif isinstance(value, msgspec.Struct):
            yield from numbers(msgspec.structs.astuple(value))

    for event in simulation.advance(START + 3_000):
        for number in numbers(event):
            decimals = exact(number).as_tuple().exponent
            assert isinstance(decimals, int)
            assert decimals >= -10, (event, number)
