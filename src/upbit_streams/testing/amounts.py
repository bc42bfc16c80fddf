"""Amounts of money and coins, exact: integers inside, ``Decimal`` outside, and nothing rounded on the way.

A price or a volume is an integer in units of 10^-8, as in the rest of the simulated market. Their product, funds, has
units of 10^-16; a fee is that times a rate in ten-thousandths, so it has units of 10^-20. Balances are kept in those
finest units. ``Decimal`` itself would round: its usual context keeps 28 digits, and a balance can have more.
"""

from decimal import Decimal, InvalidOperation

__all__ = [
    "FINE_PLACES",
    "FUNDS_PLACES",
    "FUNDS_TO_FINE",
    "PLACES",
    "VOLUME_TO_FINE",
    "Amount",
    "exact",
    "quotient",
    "whole_units",
]

Amount = Decimal | int | str | float
"""A price, a volume or a balance. A float stands for the number that it is printed as."""

PLACES = 8
"""Decimals of a price or a volume."""
FUNDS_PLACES = 16
FINE_PLACES = 20
"""Decimals of a balance or a fee."""
VOLUME_TO_FINE: int = 10 ** (FINE_PLACES - PLACES)
FUNDS_TO_FINE: int = 10 ** (FINE_PLACES - FUNDS_PLACES)
"""Ten-thousandths: a fee in finest units is the funds times the rate in these."""

_MOST_DIGITS = 40


def whole_units(amount: Amount, places: int) -> int:
    """The amount in units of 10^-places. Raises ``ValueError`` for what is not a number from 0 on, or has more
    decimals than that."""
    try:
        number = Decimal(repr(amount) if isinstance(amount, float) else amount)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"{amount!r} is not an amount") from None
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or (sign and any(digits)):
        raise ValueError(f"{amount!r} is not an amount")
    shift = exponent + places
    if len(digits) + max(shift, 0) > _MOST_DIGITS:
        raise ValueError(f"{amount!r} is too large, or has too many digits")
    units = int("".join(map(str, digits)) or "0")
    if shift >= 0:
        return int(units * 10**shift)
    rest: int
    units, rest = divmod(units, 10 ** min(-shift, _MOST_DIGITS))
    if rest:
        raise ValueError(f"{amount!r} has more than {places} decimals")
    return int(units)


def exact(units: int, places: int) -> Decimal:
    """The number that so many units of 10^-places are, without zeros at its end."""
    whole, fraction = divmod(abs(units), 10**places)
    text = f"{whole}.{fraction:0{places}d}".rstrip("0").rstrip(".")
    return Decimal(f"-{text}" if units < 0 else text)


def quotient(funds: int, volume: int) -> int:
    """An average price in units of 10^-8, rounded half up: the one number here that cannot always be exact."""
    return (2 * funds + volume) // (2 * volume) if volume else 0
