"""The technical indicators of the simulated exchange: their values at the close of a candle, and what gives a signal.

The exchange names its indicators and their parameters, and not the formulas; these are the usual ones. Each is computed
from the last candles up to the one that has closed, oldest first, :data:`CANDLES` of them. Averages that look back for
ever (``EMA``, ``rsi``, ``macd``) begin with the plain average of their first ``period`` values there, which is long
forgotten at the end. Values are rounded to eight decimals.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt

from ..model.events import IndicatorValue
from ..model.indicators import Indicator
from .past import Close
from .ticks import ONE

__all__ = ["CANDLES", "crosses", "value_at"]

CANDLES = 500


def value_at(asked: Indicator, candles: Sequence[Close]) -> IndicatorValue:
    """The indicator at the close of the last of these candles.

    - ``volume``: that of the candle, its average over the ``period`` candles that end with it, and the one over the
      other.
    - ``rsi``: Wilder's, from 0 to 100; 100 where the price never fell.
    - ``moving_average`` and ``ma_crossover``: of the closing prices, ``SMA`` or ``EMA``.
    - ``bollinger_bands``: the SMA, and ``multiplier`` standard deviations (of the population) above and below it.
    - ``macd``: the fast EMA less the slow one, the EMA of that over ``signal_period``, and what is between these two.
    """
    params = dict(asked.params)
    prices = [candle.price / ONE for candle in candles]
    match asked.type:
        case "volume":
            volumes = [candle.volume / ONE for candle in candles]
            average = _sma(volumes, _number(params, "period"))
            return _value(volume=volumes[-1], avg_volume=average, ratio=volumes[-1] / average)
        case "rsi":
            return _value(rsi=_rsi(prices, _number(params, "period")))
        case "moving_average":
            return _value(value=_average(params["type"], prices, _number(params, "period")))
        case "ma_crossover":
            return _value(
                ma_short=_average(params["type"], prices, _number(params, "short_period")),
                ma_long=_average(params["type"], prices, _number(params, "long_period")),
            )
        case "bollinger_bands":
            return _bands(prices, _number(params, "period"), float(params["multiplier"]))
        case _:
            return _macd(prices, *(_number(params, name) for name in ("fast", "slow", "signal_period")))


def crosses(asked: Indicator, candles: Sequence[Close]) -> IndicatorValue | None:
    """The value at the last close, if that close gives the signal: at the close before, the line was not crossed yet.

    A line is crossed by reaching ``threshold`` or ``multiplier``, and by going beyond another line or the price.
    """
    before, now = value_at(asked, candles[:-1]), value_at(asked, candles)
    were = _above_line(asked, before, candles[-2].price / ONE)
    are = _above_line(asked, now, candles[-1].price / ONE)
    return now if are > 0 and were <= 0 else None


def _above_line(asked: Indicator, value: IndicatorValue, price: float) -> float:
    """How far the signal's line is crossed: above 0 if it is."""
    event_params = dict(asked.event_params)
    # The smallest step beyond: who reaches these has crossed them.
    reached = 1e-12
    match asked.type, asked.trigger:
        case "volume", _:
            return (value.ratio or 0.0) - float(event_params["multiplier"]) + reached
        case "rsi", "overbought":
            return (value.rsi or 0.0) - float(event_params["threshold"]) + reached
        case "rsi", _:
            return float(event_params["threshold"]) - (value.rsi or 0.0) + reached
        case "moving_average", "price_cross_above":
            return price - (value.value or 0.0)
        case "moving_average", _:
            return (value.value or 0.0) - price
        case "bollinger_bands", "price_cross_above":
            return price - (value.bb_upper or 0.0)
        case "bollinger_bands", _:
            return (value.bb_lower or 0.0) - price
        case "ma_crossover", trigger:
            distance = (value.ma_short or 0.0) - (value.ma_long or 0.0)
            return distance if trigger == "golden_cross" else -distance
        case _, ("golden_cross" | "dead_cross") as trigger:
            return (value.histogram or 0.0) * (1 if trigger == "golden_cross" else -1)
        case _, trigger:
            return (value.macd or 0.0) * (1 if trigger == "zero_cross_above" else -1)


def _number(params: Mapping[str, int | float | str], name: str) -> int:
    return int(params[name])


def _value(**values: float) -> IndicatorValue:
    return IndicatorValue(**{name: round(value, 8) for name, value in values.items()})


def _sma(values: Sequence[float], period: int) -> float:
    return sum(values[-period:]) / period


def _emas(values: Sequence[float], period: int) -> list[float]:
    """The average after each value, from the first ``period`` on."""
    averages = [sum(values[:period]) / period]
    weight = 2 / (period + 1)
    for value in values[period:]:
        averages.append(averages[-1] + weight * (value - averages[-1]))
    return averages


def _average(kind: object, prices: Sequence[float], period: int) -> float:
    return _sma(prices, period) if kind == "SMA" else _emas(prices, period)[-1]


def _rsi(prices: Sequence[float], period: int) -> float:
    changes = [later - earlier for earlier, later in pairwise(prices)]
    gain = sum(max(change, 0.0) for change in changes[:period]) / period
    loss = sum(max(-change, 0.0) for change in changes[:period]) / period
    for change in changes[period:]:
        gain += (max(change, 0.0) - gain) / period
        loss += (max(-change, 0.0) - loss) / period
    return 100.0 * gain / (gain + loss) if loss else 100.0


def _bands(prices: Sequence[float], period: int, multiplier: float) -> IndicatorValue:
    middle = _sma(prices, period)
    deviation = sqrt(sum((price - middle) ** 2 for price in prices[-period:]) / period)
    return _value(bb_upper=middle + multiplier * deviation, bb_middle=middle, bb_lower=middle - multiplier * deviation)


def _macd(prices: Sequence[float], fast: int, slow: int, signal_period: int) -> IndicatorValue:
    slow_averages = _emas(prices, slow)
    fast_averages = _emas(prices, fast)[-len(slow_averages) :]
    distances = [quick - late for quick, late in zip(fast_averages, slow_averages, strict=True)]
    signal = _emas(distances, signal_period)[-1]
    return _value(macd=distances[-1], macd_signal=signal, histogram=distances[-1] - signal)
