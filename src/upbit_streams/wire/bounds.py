"""What a number or a text of the exchange's may be: whatever is in an event can be computed with, compared and shown.

The exchange chooses its numbers, and JSON bounds none. Of a number beyond these bounds, adding it, or making a text of
it, may raise an exception or take minutes.
"""

import re
from collections.abc import Callable
from decimal import Clamped, Context, Decimal, Inexact, InvalidOperation, Overflow, Rounded, Subnormal, Underflow

__all__ = ["HIGHEST", "LATEST", "LOWEST", "MOST_DEPTH", "amount_of", "exact", "is_too_deep", "text_of"]

LOWEST, HIGHEST = -(2**63), 2**63 - 1
"""Of whole numbers."""
LATEST = 10**14
"""Of times, in milliseconds since the Unix epoch, which is in the year 5138. What is later is no milliseconds."""
MOST_DEPTH = 64
"""How deep arrays and objects may stand in one another. The exchange's stand three deep."""

_DIGITS = 100
_traps = [Clamped, Inexact, InvalidOperation, Overflow, Rounded, Subnormal, Underflow]
exact: Callable[[str | int], Decimal] = Context(_DIGITS, Emin=-_DIGITS, Emax=_DIGITS, traps=_traps).create_decimal
"""The decimal that a number of JSON spells, exactly. Raises an :class:`ArithmeticError` for more than a hundred digits,
and for what is not between 1e-100 and 1e101."""

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# Possessive, as there is never a way back: otherwise it would remember each character of a text, in 100 bytes.
_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def amount_of(text: str) -> Decimal | None:
    """The decimal that a text spells as JSON would spell it; None if it spells none, or one out of bounds."""
    try:
        return exact(text) if _NUMBER.fullmatch(text) else None
    except ArithmeticError:
        return None


def is_too_deep(data: bytes) -> bool:
    """Whether arrays and objects stand deeper in one another than ``MOST_DEPTH``.

    Parsers take stack for each level, and a thread's stack may have little: to run out of it ends the process.
    """
    if data.count(b"[") + data.count(b"{") <= MOST_DEPTH:
        return False
    depth = 0
    for found in _BRACKETS.finditer(data):
        bracket = found[0]
        if bracket in (b"[", b"{"):
            depth += 1
            if depth > MOST_DEPTH:
                return True
        elif bracket in (b"]", b"}"):
            depth = max(depth - 1, 0)
    return False


def text_of(content: str) -> str:
    """A text that can be encoded: JSON may spell a surrogate without its other half, and bytes may be no UTF-8."""
    return str(content).encode("utf-8", "replace").decode("utf-8")
