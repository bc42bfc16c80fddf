"""What somebody wants from the exchange, as values that can be united."""

import re
from collections.abc import Iterable

import attrs

from ..exceptions import InvalidCodeError, UsageError
from .events import Event
from .kinds import DataType, E

__all__ = ["Want", "normalise_code", "wants_of"]

# Quote currency, dash, base currency. The exchange has no ticker symbol longer than these bounds.
_CODE = re.compile(r"[A-Z0-9]{2,10}-[A-Z0-9]{1,20}")


@attrs.frozen
class Want:
    """One data type of one market. Two equal wants are served by one subscription."""

    type: DataType[Event]
    code: str


def normalise_code(code: str) -> str:
    """``krw-btc`` as the exchange spells it: ``KRW-BTC``.

    The exchange answers an unknown or lower-case code with silence (protocol section 2.1), so a code that cannot be one
    is refused here: raises :class:`InvalidCodeError`, which names it.
    """
    normal = code.strip().upper() if isinstance(code, str) else ""
    if not _CODE.fullmatch(normal):
        raise InvalidCodeError(code)
    return normal


def wants_of(types: DataType[E] | Iterable[DataType[E]], codes: str | Iterable[str]) -> frozenset[Want]:
    """Every type for every code. One type or one code may stand alone.

    Raises :class:`UsageError` where one of the two is empty, :class:`InvalidCodeError` for a malformed code.
    """
    several = (types,) if isinstance(types, DataType) else tuple(types)
    markets = (codes,) if isinstance(codes, str) else tuple(codes)
    for kind in several:
        if not isinstance(kind, DataType):
            raise UsageError(f"{kind!r} is not a data type; use one of the constants of DataType, like DataType.TRADE")
    if not several or not markets:
        raise UsageError("nothing was asked for: give at least one data type and one market code")
    return frozenset(Want(kind, normalise_code(code)) for kind in several for code in markets)
