"""The indicators of the simulated exchange, against the textbook, and when they are told (protocol section 4.9)."""

import json
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from statistics import fmean, pstdev
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upbit_streams import Endpoint
from upbit_streams.auth import Credentials, login_token
from upbit_streams.model.indicators import INDICATORS, TIMEFRAMES, Indicator, indicator, indicator_signal
from upbit_streams.testing import MarketSimulation, MarketSource, Session, SimulatedExchange
from upbit_streams.testing.indicators import CANDLES, crosses, value_at
from upbit_streams.testing.past import TIMEFRAME_SPANS, Close
from upbit_streams.testing.ticks import ONE

START = 1_795_000_000.0  # 11:06:40 UTC
FIVE = 300_000


def candles(prices: Sequence[float], volumes: Sequence[float] = ()) -> list[Close]:
    volumes = volumes or [1.0] * len(prices)
    return [
        Close(number * FIVE, round(price * ONE), round(volume * ONE))
        for number, (price, volume) in enumerate(zip(prices, volumes, strict=True))
    ]


def ema(values: Sequence[float], period: int) -> float:
    average = fmean(values[:period])
    for value in values[period:]:
        average = (2 * value + (period - 1) * average) / (period + 1)
    return average


def rsi(prices: Sequence[float], period: int) -> float:
    ups = [max(b - a, 0) for a, b in pairwise(prices)]
    downs = [max(a - b, 0) for a, b in pairwise(prices)]
    up, down = fmean(ups[:period]), fmean(downs[:period])
    for gain, loss in zip(ups[period:], downs[period:], strict=True):
        up, down = (up * (period - 1) + gain) / period, (down * (period - 1) + loss) / period
    return 100.0 if down == 0 else 100 - 100 / (1 + up / down)


@settings(max_examples=20)
@given(rng=st.randoms(use_true_random=True), spread=st.floats(0.1, 10.0))
def test_values_are_those_of_the_textbook(rng: Random, spread: float) -> None:
    prices = [round(100.0 + spread * (rng.random() - 0.5), 2) for _ in range(260)]
    volumes = [round(0.5 + rng.random(), 3) for _ in prices]
    history = candles(prices, volumes)

    def close(value: float | None) -> Any:
        return pytest.approx(value, rel=1e-6, abs=1e-6)

    def of(asked: Indicator) -> Any:
        return value_at(asked, history)

    for period in (5, 50):
        value = of(indicator("volume", "5m", period=period))
        average = fmean(volumes[-period:])
        assert (value.volume, value.avg_volume, value.ratio) == close_all(volumes[-1], average, volumes[-1] / average)
    for period in (2, 14, 25):
        assert of(indicator("rsi", "5m", period=period)).rsi == close(rsi(prices, period))
    for period in (3, 200):
        assert of(indicator("moving_average", "5m", type="SMA", period=period)).value == close(fmean(prices[-period:]))
        assert of(indicator("moving_average", "5m", type="EMA", period=period)).value == close(ema(prices, period))
    value = of(indicator("ma_crossover", "5m", type="EMA", short_period=50, long_period=200))
    assert (value.ma_short, value.ma_long) == close_all(ema(prices, 50), ema(prices, 200))
    value = of(indicator("bollinger_bands", "5m", period=20, multiplier=2.5))
    middle, width = fmean(prices[-20:]), 2.5 * pstdev(prices[-20:])
    assert (value.bb_upper, value.bb_middle, value.bb_lower) == close_all(middle + width, middle, middle - width)
    value = of(indicator("macd", "5m", fast=12, slow=26, signal_period=9))
    macds = [ema(prices[: n + 1], 12) - ema(prices[: n + 1], 26) for n in range(25, len(prices))]
    assert (value.macd, value.macd_signal) == close_all(macds[-1], ema(macds, 9))
    assert value.histogram == close(macds[-1] - ema(macds, 9))


def close_all(*values: float) -> Any:
    return tuple(pytest.approx(value, rel=1e-6, abs=1e-6) for value in values)


FLAT = [100.0] * 259


@pytest.mark.parametrize(
    ("asked", "moves"),
    [
        (indicator_signal("rsi", "5m", "overbought", period=14, threshold=70), [100.0, 99.0, 105.0, 106.0]),
        (indicator_signal("rsi", "5m", "oversold", period=14, threshold=30), [100.0, 101.0, 95.0, 94.0]),
        (
            indicator_signal("moving_average", "5m", "price_cross_above", type="SMA", period=20),
            [99.0, 99.0, 102.0, 103.0],
        ),
        (
            indicator_signal("moving_average", "5m", "price_cross_below", type="EMA", period=20),
            [101.0, 101.0, 98.0, 97.0],
        ),
        (
            indicator_signal("bollinger_bands", "5m", "price_cross_above", period=20, multiplier=2.0),
            [90.0, 100.0, 120.0, 121.0],
        ),
        (
            indicator_signal("bollinger_bands", "5m", "price_cross_below", period=20, multiplier=2.0),
            [110.0, 100.0, 80.0, 79.0],
        ),
        (
            indicator_signal("ma_crossover", "5m", "golden_cross", type="SMA", short_period=5, long_period=20),
            [99.0, 99.0, 110.0, 111.0],
        ),
        (
            indicator_signal("ma_crossover", "5m", "dead_cross", type="EMA", short_period=5, long_period=20),
            [101.0, 101.0, 90.0, 89.0],
        ),
        (indicator_signal("macd", "5m", "golden_cross", fast=12, slow=26, signal_period=9), [99.0, 99.0, 110.0, 112.0]),
        (indicator_signal("macd", "5m", "dead_cross", fast=12, slow=26, signal_period=9), [101.0, 101.0, 90.0, 88.0]),
        (
            indicator_signal("macd", "5m", "zero_cross_above", fast=12, slow=26, signal_period=9),
            [99.0, 99.0, 110.0, 111.0],
        ),
        (
            indicator_signal("macd", "5m", "zero_cross_below", fast=12, slow=26, signal_period=9),
            [101.0, 101.0, 90.0, 89.0],
        ),
    ],
    ids=lambda asked: f"{asked.type}-{asked.trigger}" if isinstance(asked, Indicator) else "",
)
def test_a_signal_is_given_at_the_close_that_crosses_and_at_no_other(asked: Indicator, moves: list[float]) -> None:
    given_at = [
        number for number in range(1, len(moves) + 1) if crosses(asked, candles([*FLAT, *moves[:number]])) is not None
    ]
    assert given_at == [3]
    history = candles([*FLAT, *moves[:3]])
    assert crosses(asked, history) == value_at(asked, history)


def test_a_spike_of_the_volume_is_told_once() -> None:
    asked = indicator_signal("volume", "5m", "volume_spike", period=20, multiplier=3.0)
    volumes = [*[1.0] * 259, 1.0, 1.0, 9.0, 12.0]
    given_at = [n for n in range(1, 5) if crosses(asked, candles([100.0] * (259 + n), volumes[: 259 + n]))]
    assert given_at == [3]


# The history


def simulation(rate: float = 5.0, seed: int = 0) -> MarketSimulation:
    return MarketSimulation(seed=seed, codes=["KRW-BTC", "BTC-ETH"], rate=rate, start_ms=int(START * 1000))


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_there_is_a_long_history_that_agrees_with_what_was_and_does_not_change(timeframe: str) -> None:
    moving = simulation()
    market = moving.market("KRW-BTC")
    assert market is not None
    span = TIMEFRAME_SPANS[timeframe]
    before = market.closes(timeframe, 10**15, CANDLES)
    moving.advance(int(START * 1000) + 3_600_000)
    after = market.closes(timeframe, 10**15, CANDLES)
    assert len(before) == len(after) == CANDLES
    assert all(later.start_ms > earlier.start_ms for earlier, later in pairwise(after))
    assert all(candle.start_ms % span == 0 and candle.price > 0 and candle.volume > 0 for candle in after)
    # All but the last candle, which was not over then, are as they were.
    known = {candle.start_ms: candle for candle in after}
    assert [known.get(candle.start_ms, candle) for candle in before[:-1]] == before[:-1]
    if timeframe != "1d":
        candle: Any = moving.snapshot(f"candle.{timeframe}", "KRW-BTC")
        assert (after[-1].price, after[-1].volume) == (
            candle.trade_price * ONE,
            round(candle.candle_acc_trade_volume * ONE),
        )
    again = simulation()
    again.advance(int(START * 1000) + 3_600_000)
    other = again.market("KRW-BTC")
    assert other is not None
    assert other.closes(timeframe, 10**15, CANDLES) == after  # whether or not somebody asked before


# The endpoint


def opened(rate: float = 5.0) -> tuple[SimulatedExchange, Session]:
    exchange = SimulatedExchange(MarketSource(simulation(rate)))
    account = exchange.open_account()
    key = Credentials(account.access_key, account.secret_key.reveal())
    return exchange, exchange.connect(START, Endpoint.INFO, login_token(key, str(uuid4())).reveal())


def ask(session: Session, now: float, *asked: Any, format: str = "DEFAULT") -> None:
    session.receive(now, json.dumps([{"ticket": "test"}, *asked, {"format": format}]))


def played(session: Session, until: float, since: float = START) -> list[tuple[float, Any]]:
    said: list[tuple[float, Any]] = []
    now = since
    while now <= until:
        session.touch(now)
        said += [(now, json.loads(frame)) for frame in session.take(now)]
        if session.ended(now):
            break
        now = session.next_time()
    return said


RSI = {"type": "rsi", "params": {"period": 14}}
SMA = {"type": "moving_average", "params": {"type": "SMA", "period": 20}}


def want(codes: Sequence[str] = ("KRW-BTC",), indicators: Sequence[Any] = (RSI,), **more: Any) -> dict[str, Any]:
    return {"type": "indicator", "codes": codes, "timeframe": "5m", "indicators": indicators, **more}


def test_indicators_are_told_at_the_close_of_each_candle_of_krw_markets() -> None:
    exchange, session = opened()
    ask(session, START, want(["KRW-BTC", "BTC-ETH", "KRW-NOPE", "krw-btc"], [RSI, SMA]), want(timeframe="15m"))
    said = played(session, START + 1_000)
    assert [(round(now - START, 3), frame["timeframe"], frame["indicator"]) for now, frame in said] == [
        (201.1, "5m", "rsi"),
        (201.1, "5m", "moving_average"),
        (501.1, "5m", "rsi"),
        (501.1, "5m", "moving_average"),
        (501.1, "15m", "rsi"),
        (801.1, "5m", "rsi"),
        (801.1, "5m", "moving_average"),
    ]
    market = exchange.source.simulation.market("KRW-BTC")  # type: ignore[attr-defined]
    history = market.closes("5m", int(START * 1000) + 800_000, CANDLES)
    told = said[-1][1]
    assert told["code"] == "KRW-BTC"
    assert told["params"] == {"type": "SMA", "period": 20}
    assert told["value"] == {"value": pytest.approx(fmean(candle.price / ONE for candle in history[-20:]))}
    assert told["candle_date_time_utc"] == "2026-11-18T11:15:00"
    assert said[-2][1]["value"] == {"rsi": pytest.approx(rsi([c.price / ONE for c in history], 14), abs=1e-4)}


def test_whoever_looks_late_hears_of_every_close() -> None:
    _, session = opened()
    ask(session, START, want())
    session.touch(START + 1_000)
    frames = [json.loads(frame) for frame in session.take(START + 1_000)]
    _, prompt = opened()
    ask(prompt, START, want())
    assert frames == [frame for _, frame in played(prompt, START + 1_000)]


def test_a_candle_without_trades_does_not_close() -> None:
    _, session = opened(rate=0.001)
    ask(session, START, want())
    assert len(played(session, START + 3_600)) < 12


@pytest.mark.parametrize("name", list(INDICATORS))
@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_every_indicator_can_be_asked_for_in_every_timeframe(name: str, timeframe: str) -> None:
    _, session = opened(rate=0.05)
    params = {key: values[-1] for key, values in INDICATORS[name][-1].items()}
    ask(session, START, want(indicators=[{"type": name, "params": params}], timeframe=timeframe))
    span = TIMEFRAME_SPANS[timeframe] / 1000
    ((now, frame),) = played(session, (START // span + 1) * span + 2)
    assert (frame["indicator"], frame["params"], frame["timeframe"]) == (name, params, timeframe)
    assert now * 1000 == frame["timestamp"]


def test_signals_are_those_of_the_values() -> None:
    crossed = {"type": "rsi", "params": {"period": 7}, "trigger": "overbought", "event_params": {"threshold": 70}}
    _, session = opened(rate=1.0)
    everything = {"codes": ["KRW-BTC"], "timeframe": "5m"}
    ask(
        session,
        START,
        {"type": "indicator_signal", "indicators": [crossed], **everything},
        want(indicators=[{"type": "rsi", "params": {"period": 7}}]),
    )
    said = [frame for _, frame in played(session, START + 12 * 3_600)]
    signals = {f["candle_date_time_utc"]: f for f in said if f["type"] == "indicator_signal"}
    values = [(f["candle_date_time_utc"], f["value"]["rsi"]) for f in said if f["type"] == "indicator"]
    expected = [at for (_, before), (at, now) in pairwise(values) if before < 70 <= now]
    assert expected
    assert [at for at in signals if at != values[0][0]] == expected
    assert {(f["trigger"], f["event_params"]["threshold"]) for f in signals.values()} == {("overbought", 70)}


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("NO_CODES", {"type": "indicator", "timeframe": "5m", "indicators": [RSI]}),
        ("INVALID_PARAM", want(timeframe="10m")),
        ("INVALID_PARAM", want(timeframe=5)),
        ("INVALID_PARAM", {"type": "indicator", "codes": ["KRW-BTC"], "indicators": [RSI]}),
        ("INVALID_PARAM", want(indicators=[{"type": "nope", "params": {}}])),
        ("INVALID_PARAM", want(indicators=[{"type": ["rsi"], "params": {}}])),
        ("INVALID_PARAM", want(indicators=[{"type": "rsi", "params": {"period": 15}}])),
        ("INVALID_PARAM", want(indicators=[{"type": "rsi", "params": {"period": "14"}}])),
        ("INVALID_PARAM", want(indicators=[{"type": "rsi"}])),
        ("INVALID_PARAM", want(indicators=[{**RSI, "params": {"period": 14, "more": 1}}])),
        ("INVALID_PARAM", want(type="indicator_signal")),
        ("INVALID_PARAM", want(type="indicator_signal", indicators=[{**RSI, "trigger": "golden_cross"}])),
        (
            "INVALID_PARAM",
            want(
                type="indicator_signal",
                indicators=[{**RSI, "trigger": "overbought", "event_params": {"threshold": 70, "period": 14}}],
            ),
        ),
        ("WRONG_FORMAT", {"type": "indicator", "codes": ["KRW-BTC"], "timeframe": "5m"}),
        ("WRONG_FORMAT", want(indicators=[])),
        ("WRONG_FORMAT", want(indicators=["rsi"])),
        ("WRONG_FORMAT", want(indicators=[{"type": "rsi", "params": 14}])),
        ("TOO_MANY_REQUEST", want([f"KRW-A{n}" for n in range(51)], [RSI, SMA])),
        ("INVALID_PARAM", {"type": "trade", "codes": ["KRW-BTC"]}),
    ],
)
def test_what_is_not_supported_costs_the_connection(name: str, asked: dict[str, Any]) -> None:
    _, session = opened()
    ask(session, START, asked)
    (error,) = [json.loads(frame) for frame in session.take(START)]
    assert error["error"]["name"] == name
    ended = session.ended(START + 1)
    assert ended is not None
    assert ended.code == 1000


def test_a_hundred_combinations_are_served() -> None:
    _, session = opened()
    ask(session, START, want([f"KRW-A{n}" for n in range(50)], [RSI, SMA]))
    assert session.take(START) == []


@pytest.mark.parametrize("format", ["DEFAULT", "SIMPLE"])
def test_what_is_subscribed_can_be_asked_on_the_info_endpoint(format: str) -> None:
    _, session = opened()
    spike = {"type": "volume", "params": {"period": 10}, "trigger": "volume_spike", "event_params": {"multiplier": 2.0}}
    ask(session, START, want(["KRW-BTC", "KRW-ETH"]), want(type="indicator_signal", indicators=[spike]), format=format)
    ask(session, START, {"method": "LIST_SUBSCRIPTIONS"}, format=format)
    (answer,) = [json.loads(frame) for frame in session.take(START)]
    names = ("ty", "cds", "tf", "ind") if format == "SIMPLE" else ("type", "codes", "timeframe", "indicators")
    assert answer["rslt" if format == "SIMPLE" else "result"] == [
        dict(zip(names, ("indicator", ["KRW-BTC", "KRW-ETH"], "5m", [RSI]), strict=True)),
        dict(zip(names, ("indicator_signal", ["KRW-BTC"], "5m", [spike]), strict=True)),
    ]
