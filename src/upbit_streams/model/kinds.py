"""The data types of the exchange, as typed keys, and the formats they travel in."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from ..exceptions import UsageError
from . import events

__all__ = ["Codes", "DataType", "DataTypes", "Endpoint", "Format"]

E = TypeVar("E", bound=events.Event, covariant=True)
F = TypeVar("F", bound=events.Event)


class Format(StrEnum):
    """How the exchange spells an event (protocol section 3). It changes the bytes on the wire, not what you get."""

    DEFAULT = "DEFAULT"
    """One JSON object with full field names."""
    SIMPLE = "SIMPLE"
    """One JSON object with abbreviated field names."""
    JSON_LIST = "JSON_LIST"
    """An array of objects as in DEFAULT."""
    SIMPLE_LIST = "SIMPLE_LIST"
    """An array of objects as in SIMPLE."""

    @property
    def is_simple(self) -> bool:
        """Whether field names are abbreviated."""
        return self in (Format.SIMPLE, Format.SIMPLE_LIST)

    @property
    def is_list(self) -> bool:
        """Whether events come in arrays."""
        return self in (Format.JSON_LIST, Format.SIMPLE_LIST)


class Endpoint(StrEnum):
    """The exchange's three WebSocket endpoints (protocol section 1). Each is a connection of its own."""

    PUBLIC = "public"
    PRIVATE = "private"
    INFO = "info"


class Codes(StrEnum):
    """Whether a data type is asked for by market."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    """No codes ask for all markets."""
    NONE = "none"


class DataType(Generic[E]):
    """A data type one can ask for. It knows the class of its events, and so does the type checker::

        client.stream(DataType.TRADE, ["KRW-BTC"])                      # a stream of TradeEvent
        client.stream(DataType.TRADE | DataType.TICKER, ["KRW-BTC"])    # a stream of TradeEvent | TickerEvent

    The types are the constants of this class; there is one object a type, compared by identity. (It is not an ``Enum``
    because enum members cannot carry a type parameter, and then every function that takes one needs an overload a
    type.)
    """

    __slots__ = ("codes", "endpoint", "event", "has_snapshot", "name")

    TICKER: ClassVar["DataType[events.TickerEvent]"]
    TRADE: ClassVar["DataType[events.TradeEvent]"]
    ORDERBOOK: ClassVar["DataType[events.OrderbookEvent]"]
    CANDLE_1S: ClassVar["DataType[events.CandleEvent]"]
    CANDLE_1M: ClassVar["DataType[events.CandleEvent]"]
    CANDLE_3M: ClassVar["DataType[events.CandleEvent]"]
    CANDLE_5M: ClassVar["DataType[events.CandleEvent]"]
    CANDLE_10M: ClassVar["DataType[events.CandleEvent]"]
    CANDLE_15M: ClassVar["DataType[events.CandleEvent]"]
    CANDLE_30M: ClassVar["DataType[events.CandleEvent]"]
    CANDLE_60M: ClassVar["DataType[events.CandleEvent]"]
    CANDLE_240M: ClassVar["DataType[events.CandleEvent]"]
    MY_ORDER: ClassVar["DataType[events.MyOrderEvent]"]
    MY_ASSET: ClassVar["DataType[events.MyAssetEvent]"]
    ANNOUNCEMENT: ClassVar["DataType[events.AnnouncementEvent]"]
    INDICATOR: ClassVar["DataType[events.IndicatorEvent]"]
    INDICATOR_SIGNAL: ClassVar["DataType[events.IndicatorSignalEvent]"]
    UNKNOWN: ClassVar["DataType[events.UnknownEvent]"]
    """Events of types that this library does not know. Nothing asks the exchange for them; they are heard if they
    come."""

    def __init__(self, event: type[E], endpoint: Endpoint = Endpoint.PUBLIC, codes: Codes = Codes.REQUIRED) -> None:
        self.event = event
        """The class of this type's events."""
        self.name: str = event.type
        """The exchange's name of the type: ``ticker``, ``candle.1m``, ..."""
        self.endpoint = endpoint
        self.codes = codes
        self.has_snapshot = endpoint is Endpoint.PUBLIC
        """Whether the exchange tells the present state when it is asked. Where it does not, what was told while nobody
        listened is not told again."""

    def __repr__(self) -> str:
        return f"<DataType {self.name}>"

    def __reduce__(self) -> Any:
        return DataType.from_name, (self.name,)

    def __or__(self, other: "DataType[F] | DataTypes[F]") -> "DataTypes[E | F]":
        """Both, wherever several types are taken."""
        return DataTypes[E | F]([self]) | other

    @staticmethod
    def all(endpoint: Endpoint | None = None) -> tuple["DataType[events.Event]", ...]:
        """Every data type that the exchange can be asked for, on one endpoint or on any."""
        return tuple(kind for kind in _BY_NAME.values() if endpoint in (None, kind.endpoint))

    @staticmethod
    def from_name(name: str) -> "DataType[events.Event]":
        """The type of the exchange's name. Raises :class:`UsageError` for a name that is none."""
        try:
            return _BY_NAME[name]
        except KeyError:
            raise UsageError(f"{name!r} is not a data type; the data types are {', '.join(_BY_NAME)}") from None

    @staticmethod
    def candle(unit: int | str) -> "DataType[events.CandleEvent]":
        """The candle type of a unit: minutes as a number (1, 3, 5, 10, 15, 30, 60, 240), or ``"1s"``.

        Raises :class:`UsageError` for any other unit.
        """
        found = _CANDLES.get(f"candle.{unit}m") or _CANDLES.get(f"candle.{unit}")
        if found is None:
            units = ", ".join(name.removeprefix("candle.") for name in _CANDLES)
            raise UsageError(f"there are no candles of unit {unit!r}; the units are {units}")
        return found


class DataTypes(tuple[DataType[E], ...]):
    """Several data types, each once: what ``DataType.TRADE | DataType.TICKER`` is.

    A tuple like any other, but the type checkers know of which events it is. Of a list of types they know only what
    all of their events have in common.
    """

    __slots__ = ()

    def __or__(self, other: "DataType[F] | DataTypes[F]") -> "DataTypes[E | F]":
        more: Iterable[DataType[F]]
        if isinstance(other, DataType):
            more = (other,)
        elif isinstance(other, DataTypes):
            more = other
        else:
            return NotImplemented
        return DataTypes[E | F](dict.fromkeys([*self, *more]))

    def __repr__(self) -> str:
        return f"<DataTypes {' | '.join(kind.name for kind in self)}>"


DataType.TICKER = DataType(events.TickerEvent)
DataType.TRADE = DataType(events.TradeEvent)
DataType.ORDERBOOK = DataType(events.OrderbookEvent)
DataType.CANDLE_1S = DataType(events.Candle1sEvent)
DataType.CANDLE_1M = DataType(events.Candle1mEvent)
DataType.CANDLE_3M = DataType(events.Candle3mEvent)
DataType.CANDLE_5M = DataType(events.Candle5mEvent)
DataType.CANDLE_10M = DataType(events.Candle10mEvent)
DataType.CANDLE_15M = DataType(events.Candle15mEvent)
DataType.CANDLE_30M = DataType(events.Candle30mEvent)
DataType.CANDLE_60M = DataType(events.Candle60mEvent)
DataType.CANDLE_240M = DataType(events.Candle240mEvent)
DataType.MY_ORDER = DataType(events.MyOrderEvent, Endpoint.PRIVATE, Codes.OPTIONAL)
DataType.MY_ASSET = DataType(events.MyAssetEvent, Endpoint.PRIVATE, Codes.NONE)
DataType.ANNOUNCEMENT = DataType(events.AnnouncementEvent, Endpoint.PRIVATE, Codes.NONE)
DataType.INDICATOR = DataType(events.IndicatorEvent, Endpoint.INFO)
DataType.INDICATOR_SIGNAL = DataType(events.IndicatorSignalEvent, Endpoint.INFO)

DataType.UNKNOWN = DataType(events.UnknownEvent, Endpoint.PUBLIC, Codes.NONE)

_BY_NAME = {
    kind.name: kind for kind in vars(DataType).values() if isinstance(kind, DataType) and kind is not DataType.UNKNOWN
}
_CANDLES = {name: kind for name, kind in _BY_NAME.items() if issubclass(kind.event, events.CandleEvent)}
