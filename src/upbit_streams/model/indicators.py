"""The technical indicators that the exchange computes, and what it computes them for (protocol section 4.9).

The exchange refuses a whole request, and closes its connection, for one parameter that it does not support. So
:func:`indicator` and :func:`indicator_signal` make nothing but what stands in the tables here.
"""

from collections.abc import Mapping

import attrs
import msgspec

from ..exceptions import UsageError
from .events import IndicatorEvent, IndicatorSignalEvent

__all__ = [
    "INDICATORS",
    "SIGNALS",
    "TIMEFRAMES",
    "TRIGGERS",
    "Indicator",
    "indicator",
    "indicator_of",
    "indicator_signal",
]

Value = int | float | str
_Alternative = Mapping[str, tuple[Value, ...]]
_Choice = tuple[_Alternative, ...]

TIMEFRAMES = ("5m", "15m", "60m", "240m", "1d")

_AVERAGES = ("SMA", "EMA")
_CROSSOVERS: _Choice = tuple(
    {"type": _AVERAGES, "short_period": (short,), "long_period": (long,)}
    for short, long in ((5, 20), (20, 60), (30, 90), (50, 200))
)
_MACDS: _Choice = tuple(
    {"fast": (fast,), "slow": (slow,), "signal_period": (period,)}
    for fast, slow, period in ((12, 26, 9), (8, 17, 9), (5, 35, 5))
)

INDICATORS: Mapping[str, _Choice] = {
    "volume": ({"period": tuple(range(5, 51, 5))},),
    "rsi": ({"period": (*range(2, 15), 21, 25)},),
    "moving_average": ({"type": _AVERAGES, "period": (3, 5, 7, 10, 15, 20, 25, 30, 50, 60, 90, 99, 100, 120, 200)},),
    "ma_crossover": _CROSSOVERS,
    "bollinger_bands": ({"period": (10, 20, 50), "multiplier": (1.0, 1.5, 2.0, 2.5, 3.0)},),
    "macd": _MACDS,
}
"""For each indicator the parameters it takes: alternatives, each with the values that each parameter may have."""

_PRICE_CROSSES: Mapping[str, Mapping[str, tuple[Value, ...]]] = {"price_cross_above": {}, "price_cross_below": {}}
_AVERAGE_CROSSES: Mapping[str, Mapping[str, tuple[Value, ...]]] = {"golden_cross": {}, "dead_cross": {}}

SIGNALS: Mapping[str, tuple[_Choice, Mapping[str, Mapping[str, tuple[Value, ...]]]]] = {
    "volume": (({"period": (10, 20, 50)},), {"volume_spike": {"multiplier": (2.0, 3.0, 5.0)}}),
    "rsi": (
        ({"period": (7, 9, 14, 21, 25)},),
        {"overbought": {"threshold": (70, 80)}, "oversold": {"threshold": (20, 30)}},
    ),
    "moving_average": (({"type": _AVERAGES, "period": (5, 10, 20, 30, 60, 90, 120, 200)},), _PRICE_CROSSES),
    "ma_crossover": (_CROSSOVERS, _AVERAGE_CROSSES),
    "bollinger_bands": (({"period": (20,), "multiplier": (1.5, 2.0, 2.5)},), _PRICE_CROSSES),
    "macd": (_MACDS, {**_AVERAGE_CROSSES, "zero_cross_above": {}, "zero_cross_below": {}}),
}
"""For each indicator the parameters its signals take, and its triggers with what each of those takes."""

TRIGGERS = tuple(dict.fromkeys(trigger for _, triggers in SIGNALS.values() for trigger in triggers))


@attrs.frozen
class Indicator:
    """One indicator, or one signal of it, with all its parameters. Made by :func:`indicator` and
    :func:`indicator_signal`."""

    type: str
    timeframe: str
    params: tuple[tuple[str, Value], ...]
    trigger: str = ""
    """Empty for an indicator; what gives the signal otherwise."""
    event_params: tuple[tuple[str, Value], ...] = ()


def indicator(type: str, timeframe: str, /, **params: Value) -> Indicator:
    """An indicator to be asked for with ``DataType.INDICATOR``::

        indicator("rsi", "5m", period=14)
        indicator("ma_crossover", "60m", type="EMA", short_period=5, long_period=20)

    Raises :class:`UsageError` with what is supported for anything that is not.
    """
    if type not in INDICATORS:
        raise UsageError(f"there is no indicator {type!r}; there are {', '.join(INDICATORS)}")
    _check_timeframe(timeframe)
    return Indicator(type, timeframe, _checked(params, INDICATORS[type], f"the indicator {type}"))


def indicator_signal(type: str, timeframe: str, trigger: str, /, **params: Value) -> Indicator:
    """A signal to be asked for with ``DataType.INDICATOR_SIGNAL``::

        indicator_signal("rsi", "5m", "overbought", period=14, threshold=70)
        indicator_signal("macd", "1d", "golden_cross", fast=12, slow=26, signal_period=9)

    The trigger's own parameters, ``threshold`` or (for ``volume_spike``) ``multiplier``, stand among the others. Raises
    :class:`UsageError` with what is supported for anything that is not.
    """
    if type not in SIGNALS:
        raise UsageError(f"there are no signals of {type!r}; there are some of {', '.join(SIGNALS)}")
    _check_timeframe(timeframe)
    alternatives, triggers = SIGNALS[type]
    if trigger not in triggers:
        raise UsageError(f"{type} has no trigger {trigger!r}; it has {', '.join(triggers)}")
    own = {name: value for name, value in params.items() if name in triggers[trigger]}
    rest = {name: value for name, value in params.items() if name not in own}
    what = f"the signal {trigger} of {type}"
    return Indicator(
        type, timeframe, _checked(rest, alternatives, what), trigger, _checked(own, (triggers[trigger],), what)
    )


def indicator_of(event: IndicatorEvent | IndicatorSignalEvent) -> Indicator | None:
    """What somebody asked for to get this event; None if it is something that nobody can have asked for."""
    params = _given(event.params)
    try:
        if isinstance(event, IndicatorEvent):
            return indicator(event.indicator, event.timeframe, **params)
        own = {} if event.event_params is None else _given(event.event_params)
        asked = indicator_signal(event.indicator, event.timeframe, event.trigger, **{**params, **own})
    except UsageError:
        return None
    return asked


def _given(params: msgspec.Struct) -> dict[str, Value]:
    return {name: value for name, value in msgspec.structs.asdict(params).items() if value is not None}


def _check_timeframe(timeframe: str) -> None:
    if timeframe not in TIMEFRAMES:
        raise UsageError(f"{timeframe!r} is not a timeframe of indicators; those are {', '.join(TIMEFRAMES)}")


def _checked(params: Mapping[str, Value], alternatives: _Choice, what: str) -> tuple[tuple[str, Value], ...]:
    for alternative in alternatives:
        if params.keys() == alternative.keys() and all(
            not isinstance(value, bool) and value in alternative[name] for name, value in params.items()
        ):
            # The table's own spelling of a value: 14, and not 14.0.
            return tuple((name, values[values.index(params[name])]) for name, values in alternative.items())
    given = ", ".join(f"{name}={value!r}" for name, value in params.items()) or "nothing"
    supported = "; or ".join(
        ", ".join(f"{name} {'/'.join(map(str, values))}" for name, values in alternative.items()) or "nothing"
        for alternative in alternatives
    )
    raise UsageError(f"{what} does not take {given}; it takes {supported}")
