"""Data types, one and several."""

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import DataType, DataTypes
from upbit_streams.model.subscriptions import wants_of

_KINDS = st.sampled_from(DataType.all())


def _joined(kinds: list[DataType[Any]]) -> Any:
    several: Any = kinds[0]
    for kind in kinds[1:]:
        several = several | kind
    return several


@given(first=st.lists(_KINDS, min_size=2), second=st.lists(_KINDS, min_size=1))
def test_joined_types_are_each_there_once_in_their_order(
    first: list[DataType[Any]], second: list[DataType[Any]]
) -> None:
    one, other = _joined(first), _joined(second)
    assert isinstance(one, DataTypes)
    assert list(one) == list(dict.fromkeys(first))
    assert list(one | other) == list(dict.fromkeys(first + second))
    assert list(other | one) == list(dict.fromkeys(second + first))
    assert one | other | one == one | other == (one | one) | other
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 -- our own


def test_joined_types_are_asked_for_as_a_list_of_them() -> None:
    joined = DataType.TRADE | DataType.TICKER | DataType.candle(5)
    assert wants_of(joined, "KRW-BTC") == wants_of(list(joined), "KRW-BTC")
    assert len(wants_of(joined, "KRW-BTC")) == 3
    assert repr(joined) == "<DataTypes trade | ticker | candle.5m>"


@pytest.mark.parametrize("other", ["ticker", None, [DataType.TICKER], (DataType.TICKER,)])
def test_nothing_else_can_be_joined(other: Any) -> None:
    for kind in (DataType.TRADE, DataType.TRADE | DataType.ORDERBOOK):
        with pytest.raises(TypeError, match="unsupported operand"):
            kind | other
