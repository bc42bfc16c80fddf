"""How long to stay away after a refused handshake (protocol sections 6.3 and 7).

The exchange answers too many connects with 429, and with 418 if that goes on. The body of a 418 says for how long; in
which form, nobody has published. So every form that comes to mind is understood, and the longest that is found counts:
to come back too early makes the block longer.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

__all__ = ["block_seconds"]

_TOO_MANY, _TEAPOT = 429, 418
# The time on the way is no time waited, and the exchange's clock is not ours.
_MARGIN = 0.1
_REST_OF_THE_SECOND = 1.0
_DEFAULT = 30.0
_LONGEST_DEFAULT = 3600.0
# Whatever a body may be understood to say, nobody is kept away for longer: a week.
_LONGEST = 7 * 86400.0

_KOREA = timezone(timedelta(hours=9))
_UNITS = {"ms": 0.001, "밀리초": 0.001, "s": 1.0, "초": 1.0, "m": 60.0, "분": 60.0, "h": 3600.0, "시간": 3600.0}
_AMOUNT = re.compile(
    r"(\d{1,9}(?:\.\d{1,9})?)\s*"
    r"(milliseconds?|millis|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|밀리초|초|분|시간)(?![a-z])",
    re.IGNORECASE,
)
_NUMBER = re.compile(r'"([a-z_\-]{1,50})"\s*:\s*"?(\d{1,16}(?:\.\d{1,9})?)"?\s*[,}\]]', re.IGNORECASE)
_ABOUT_TIME = re.compile(r"remain|second|block|ban|retry|wait|until|expire|release|duration|time", re.IGNORECASE)
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?")
# Numbers from here on are points of time, in seconds or in milliseconds since the Unix epoch.
_POINT, _POINT_MS = 1e9, 1e12


def block_seconds(status: int, body: str, wall: float, blocks: int = 0) -> float | None:
    """Seconds from now in which nobody should try to connect; None if the refusal is not about how often one did.

    ``wall`` is now, in seconds since the Unix epoch, and ``blocks`` how many there were in a row before: where the body
    does not say how long, each time is twice the last.
    """
    if status not in (_TOO_MANY, _TEAPOT):
        return None
    told = max((seconds for seconds in _readings(body, wall) if seconds > 0), default=0.0)
    if not told:
        told = _REST_OF_THE_SECOND if status == _TOO_MANY else min(_DEFAULT * 2.0 ** min(blocks, 10), _LONGEST_DEFAULT)
    return min(told, _LONGEST) + _MARGIN


def _readings(body: str, wall: float) -> Iterator[float]:
    """Everything that the text may mean, in seconds from now. By pattern, as it may have been cut."""
    yield sum(float(amount) * _unit(unit) for amount, unit in _AMOUNT.findall(body))
    for name, digits in _NUMBER.findall(body):
        if _ABOUT_TIME.search(name):
            yield _number(name.lower(), float(digits), wall)
    for text in _ISO.findall(body):
        yield _point(text, wall)


def _unit(name: str) -> float:
    name = name.lower()
    if name in _UNITS:
        return _UNITS[name]
    return _UNITS["ms"] if name.startswith("milli") else _UNITS[name[0]]


def _number(name: str, number: float, wall: float) -> float:
    if number >= _POINT:
        return (number / 1000 if number >= _POINT_MS else number) - wall
    if "milli" in name or name.endswith("ms"):
        return number / 1000
    return number * 60 if "minute" in name else number


def _point(text: str, wall: float) -> float:
    try:
        point = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    if point.tzinfo is not None:
        return point.timestamp() - wall
    # Without a zone it is the exchange's own, unless that is over.
    korean = point.replace(tzinfo=_KOREA).timestamp() - wall
    return korean if korean > 0 else point.replace(tzinfo=UTC).timestamp() - wall
