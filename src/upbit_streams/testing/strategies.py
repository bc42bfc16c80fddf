"""Hypothesis strategies for the exchange's data, made from the same field table as the decoder. Needs the extra
``testing``."""

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from ..model.events import Event
from ..model.indicators import INDICATORS, SIGNALS, TIMEFRAMES, Indicator, indicator, indicator_signal
from ..model.kinds import Codes, DataType, E, Endpoint
from ..model.subscriptions import COUNTS, Want
from ..wire.bounds import LATEST
from ..wire.fields import TABLE, Field, Kind
from .faults import (
    Ban,
    Close,
    Delay,
    Drop,
    Duplicate,
    ErrorFrame,
    Fault,
    Forget,
    Garbage,
    Late,
    Refuse,
    RefuseLogin,
    RefuseWant,
    Reset,
    SilentAccept,
    Skew,
    SlowClose,
    Stall,
    TooManyConnects,
)

__all__ = ["codes", "events", "faults", "indicators", "wants"]

_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
# As many digits as the largest amount of the exchange, and some more.
_DECIMALS = st.decimals(-(10**12), 10**12, places=20, allow_nan=False, allow_infinity=False)
_TIMES = st.integers(0, LATEST)
_VALUES: dict[Any, st.SearchStrategy[Any]] = {
    float: _FLOATS,
    int: st.integers(0, 2**63 - 1),
    str: st.text(max_size=10),
    bool: st.booleans(),
    Decimal: _DECIMALS,
    Any: st.none() | st.text(max_size=3) | st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
}
_LASTS = st.sampled_from([0.0, 0.1, 5.0]) | st.floats(0.0, 30.0)
# How the real exchange says it is not known, so this is every way that comes to mind.
_BLOCKED = st.sampled_from(
    [
        "Blocked for {seconds} seconds.",
        '{"error":{"name":"too_many_requests","message":"{seconds}초 동안 요청이 제한됩니다."}}',
        '{"error":{"name":418,"remaining":{seconds}}}',
        '{"blocked_until":"{until}"}',
    ]
)
_GARBAGE = st.sampled_from([b"", b"null", b"{", b"[]", b'{"type":7}', b'{"ty":"trade"}']) | st.binary(max_size=30)
_FAULTS: dict[type[Fault], dict[str, st.SearchStrategy[Any]]] = {
    Drop: {},
    Reset: {},
    Close: {"code": st.sampled_from([1000, 1001, 1011, 4000])},
    ErrorFrame: {"name": st.sampled_from(["WRONG_FORMAT", "TOO_MANY_REQUEST", "NEW_NAME"])},
    Garbage: {"data": _GARBAGE},
    Duplicate: {},
    Late: {"frames": st.integers(1, 4)},
    Stall: {"lasts": _LASTS},
    Delay: {"lasts": _LASTS, "seconds": st.sampled_from([0.05, 1.0, 10.0])},
    SilentAccept: {"lasts": _LASTS},
    SlowClose: {"lasts": _LASTS, "seconds": st.sampled_from([0.5, 2.0, 100.0])},
    Skew: {"lasts": _LASTS, "seconds": st.sampled_from([-3600.0, -1.0, 0.5, 3600.0])},
    Refuse: {"lasts": _LASTS, "status": st.sampled_from([500, 503])},
    RefuseLogin: {"lasts": _LASTS},
    TooManyConnects: {},
    Ban: {"seconds": st.sampled_from([1.0, 10.0, 60.0]), "body": _BLOCKED},
}
# These are about what somebody wants, and what they do may last beyond the fault; so they are not among all.
_ABOUT_WANTS: dict[type[Fault], dict[str, st.SearchStrategy[Any]]] = {
    Forget: {"type": st.sampled_from([kind.name for kind in DataType.all()])},
    RefuseWant: {"type": st.sampled_from([kind.name for kind in DataType.all()]), "lasts": _LASTS},
}


def codes() -> st.SearchStrategy[str]:
    """Market codes: a few that recur, so that examples have something to do with each other, and any other."""
    return st.sampled_from(["KRW-BTC", "KRW-ETH", "BTC-ETH"]) | st.from_regex(r"KRW-[A-Z0-9]{1,8}", fullmatch=True)


def events(kind: DataType[E] | None = None) -> st.SearchStrategy[E]:
    """Events of one data type, or of any: every field that the exchange may leave out is sometimes left out.

    Numbers and texts are anything that the wire can carry, not only what a market would show; for a market that hangs
    together there is :class:`~upbit_streams.testing.MarketSimulation`.
    """
    if kind is not None:
        return _instances(TABLE[kind.name])
    every: st.SearchStrategy[Any] = st.sampled_from(list(TABLE)).flatmap(lambda name: _instances(TABLE[name]))
    return every


def indicators(kind: DataType[Event]) -> st.SearchStrategy[Indicator]:
    """Everything that can be asked for with ``DataType.INDICATOR``, or with ``DataType.INDICATOR_SIGNAL``."""
    return _signals() if kind is DataType.INDICATOR_SIGNAL else _indicators()


def wants(endpoint: Endpoint = Endpoint.PUBLIC) -> st.SearchStrategy[Want]:
    """Wants that one endpoint serves, with all their options."""
    return st.sampled_from(DataType.all(endpoint)).flatmap(_wants)


def faults(
    kinds: Collection[type[Fault]] | None = None,
    *,
    endpoint: Endpoint | None = None,
    min_size: int = 0,
    max_size: int = 12,
) -> st.SearchStrategy[list[Fault]]:
    """Scripts for :func:`~upbit_streams.testing.play`: of these kinds of faults, or of all but :class:`Forget` and
    :class:`RefuseWant`. What lasts, lasts up to half a minute, and pauses are from nothing to 12 s."""
    after = st.sampled_from([0.0, 0.05, 1.0]) | st.floats(0.0, 12.0)
    one = st.sampled_from(list(_FAULTS if kinds is None else kinds)).flatmap(
        lambda kind: st.builds(kind, after=after, endpoint=st.just(endpoint), **(_FAULTS | _ABOUT_WANTS)[kind])
    )
    return st.lists(one, min_size=min_size, max_size=max_size)


def _instances(kind: Kind) -> st.SearchStrategy[Any]:
    return st.builds(kind.event, **{field.name: _contents(field) for field in kind.fields})


def _contents(field: Field) -> st.SearchStrategy[Any]:
    content = _instances(field.type) if isinstance(field.type, Kind) else _VALUES[field.type]
    if field.values:
        content = st.sampled_from(field.values)
    if field.is_time:
        content = _TIMES
    if field.array:
        content = st.lists(content, max_size=3).map(tuple)
    return st.none() | content if field.optional else content


@st.composite
def _indicators(draw: st.DrawFn) -> Indicator:
    type_name = draw(st.sampled_from(list(INDICATORS)))
    return indicator(type_name, draw(st.sampled_from(TIMEFRAMES)), **_params(draw, INDICATORS[type_name]))


@st.composite
def _signals(draw: st.DrawFn) -> Indicator:
    type_name = draw(st.sampled_from(list(SIGNALS)))
    alternatives, triggers = SIGNALS[type_name]
    trigger = draw(st.sampled_from(list(triggers)))
    params = {**_params(draw, alternatives), **_params(draw, (triggers[trigger],))}
    return indicator_signal(type_name, draw(st.sampled_from(TIMEFRAMES)), trigger, **params)


def _params(draw: st.DrawFn, alternatives: Any) -> dict[str, Any]:
    alternative = draw(st.sampled_from(alternatives))
    return {name: draw(st.sampled_from(values)) for name, values in alternative.items()}


@st.composite
def _wants(draw: st.DrawFn, kind: DataType[Event]) -> Want:
    snapshot, realtime = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    options: dict[str, Any] = {"snapshot": snapshot, "realtime": realtime or not kind.has_snapshot}
    code = "" if kind.codes is Codes.NONE else draw(codes())
    if kind.codes is Codes.OPTIONAL and draw(st.booleans()):
        code = ""
    if kind is DataType.ORDERBOOK:
        options["count"] = draw(st.sampled_from(COUNTS))
        options["level"] = draw(st.sampled_from([0, 0, 1000, 10000])) if code.startswith("KRW-") else 0
    if kind is DataType.ANNOUNCEMENT:
        options["categories"] = draw(st.frozensets(st.sampled_from(["trade", "notice", "event"]), max_size=2))
        options["include_body"] = draw(st.booleans())
    if kind.endpoint is Endpoint.INFO:
        code = code if code.startswith("KRW-") else "KRW-BTC"
        options["indicator"] = draw(indicators(kind))
    return Want(kind, code, **options)
