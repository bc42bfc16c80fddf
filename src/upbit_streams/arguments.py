"""The arguments of a call that asks for data, as wants."""

from collections.abc import Iterable

from .exceptions import UsageError
from .model.indicators import Indicator
from .model.kinds import DataType, E, Endpoint
from .model.subscriptions import Want, Wants, check_categories, kinds_of, list_of, wants_of

__all__ = ["wants_of_call"]


def wants_of_call(
    types: DataType[E] | Iterable[DataType[E]],
    codes: str | Iterable[str],
    count: int,
    level: float,
    categories: Iterable[str],
    include_body: bool,
    indicators: Indicator | Iterable[Indicator],
    **options: bool,
) -> Wants:
    """The wants of a call, whose other arguments are each for some of its types."""
    several = kinds_of(types)
    markets = list_of("codes", codes)
    definitions = list_of("indicators", indicators)
    chosen = list_of("categories", categories)
    check_categories(chosen)
    books = [kind for kind in several if kind is DataType.ORDERBOOK]
    announcements = [kind for kind in several if kind is DataType.ANNOUNCEMENT]
    computed = [kind for kind in several if kind.endpoint is Endpoint.INFO]
    others = [kind for kind in several if kind not in books and kind not in announcements and kind not in computed]
    if (count != 30 or level) and not books:
        raise UsageError("a count and a level are for order books, and none are asked for here")
    if (chosen or include_body) and not announcements:
        raise UsageError("categories and bodies are for announcements, and none are asked for here")
    if bool(definitions) is not bool(computed):
        raise UsageError(
            "indicators are asked for with DataType.INDICATOR and indicators=indicator(...), or with "
            "DataType.INDICATOR_SIGNAL and indicators=indicator_signal(...); here one of both is missing"
        )
    found: set[Want] = set()
    if books:
        found |= wants_of(books, markets, count=count, level=level, **options)
    if announcements:
        alone = len(several) == 1
        found |= wants_of(
            announcements, markets if alone else (), categories=frozenset(chosen), include_body=include_body, **options
        )
    for kind in computed:
        is_signal = kind is DataType.INDICATOR_SIGNAL
        fitting = [one for one in definitions if not isinstance(one, Indicator) or bool(one.trigger) is is_signal]
        # Where none fits, or one is none at all, the error says what would.
        for definition in fitting or definitions[:1]:
            found |= wants_of(kind, markets, indicator=definition, **options)
    if others or not found:
        found |= wants_of(others, markets, **options)
    return frozenset(found)
