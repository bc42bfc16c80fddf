"""Order books with fewer or wider levels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import OrderbookEvent
from upbit_streams.testing import MarketSimulation
from upbit_streams.testing.grouping import shaped

START_MS = 1_795_000_000_000


@given(seed=st.integers(0, 100), count=st.sampled_from([1, 5, 15, 30]), level=st.sampled_from([0, 1_000, 10_000, 1e6]))
def test_grouping_moves_prices_to_the_grid_and_loses_no_size(seed: int, count: int, level: float) -> None:
    book = MarketSimulation(seed=seed, codes=["KRW-BTC"], start_ms=START_MS).snapshot("orderbook", "KRW-BTC")
    assert isinstance(book, OrderbookEvent)
    whole, few = shaped(book, 30, level), shaped(book, count, level)
    assert few.orderbook_units == whole.orderbook_units[:count]
    assert (few.level, few.total_ask_size, few.total_bid_size) == (level, book.total_ask_size, book.total_bid_size)
    asks, bids = [price for price, _ in whole.asks], [price for price, _ in whole.bids]
    assert asks == sorted(set(asks))
    assert bids == sorted(set(bids), reverse=True)
    assert asks[0] >= book.asks[0][0] > book.bids[0][0] >= bids[0]
    assert sum(size for _, size in whole.asks) == pytest.approx(sum(size for _, size in book.asks))
    assert sum(size for _, size in whole.bids) == pytest.approx(sum(size for _, size in book.bids))
    if level:
        assert all(price % level == 0 for price in (*asks, *bids))
