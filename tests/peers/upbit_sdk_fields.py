"""What Upbit documents of its private and info types, for the checks that use ``upbit-sdk``.

Written from the exchange's pages and not from this project's code, which is what is checked.
"""

import json

from check_upbit_sdk import WrongError, require
from pydantic import ValidationError
from upbit import BaseModel
from upbit.types.websocket_message import SimpleWebSocketEvent

TEXT, INTEGER, NUMBER, BOOLEAN = (str,), (int,), (int, float), (bool,)
NULL = (type(None),)

# Long name: short name, and the types of JSON value or the fields of the object within.
COMMON = {"type": ("ty", TEXT), "timestamp": ("tms", INTEGER), "stream_type": ("st", TEXT)}
MY_ORDER = COMMON | {
    "code": ("cd", TEXT),
    "uuid": ("uid", TEXT),
    "ask_bid": ("ab", TEXT),
    "order_type": ("ot", TEXT),
    "state": ("s", TEXT),
    "trade_uuid": ("tuid", TEXT + NULL),
    "price": ("p", NUMBER + NULL),
    "avg_price": ("ap", NUMBER),
    "volume": ("v", NUMBER + NULL),
    "remaining_volume": ("rv", NUMBER + NULL),
    "executed_volume": ("ev", NUMBER),
    "trades_count": ("tc", INTEGER),
    "reserved_fee": ("rsf", NUMBER),
    "remaining_fee": ("rmf", NUMBER),
    "paid_fee": ("pf", NUMBER),
    "locked": ("l", NUMBER),
    "executed_funds": ("ef", NUMBER),
    "time_in_force": ("tif", TEXT + NULL),
    "trade_fee": ("tf", NUMBER + NULL),
    "is_maker": ("im", BOOLEAN + NULL),
    "identifier": ("id", TEXT + NULL),
    "smp_type": ("smpt", TEXT),
    "prevented_volume": ("pv", NUMBER),
    "prevented_locked": ("pl", NUMBER),
    "trade_timestamp": ("ttms", INTEGER + NULL),
    "order_timestamp": ("otms", INTEGER),
}
ASSET = {"currency": ("cu", TEXT), "balance": ("b", NUMBER), "locked": ("l", NUMBER)}
MY_ASSET = COMMON | {
    "asset_uuid": ("astuid", TEXT),
    "assets": ("ast", ASSET),
    "asset_timestamp": ("asttms", INTEGER),
}
ANNOUNCEMENT = COMMON | {
    "event_type": ("et", TEXT),
    "uuid": ("uid", TEXT),
    "title": ("tt", TEXT),
    "category": ("cat", TEXT),
    "url": ("url", TEXT),
    "first_listed_at": ("flat", TEXT),
    "listed_at": ("lat", TEXT),
    "body": ("bd", TEXT + NULL),
}
PARAMS = {
    "period": ("p", INTEGER),
    "type": ("t", TEXT),
    "short_period": ("shp", INTEGER),
    "long_period": ("lop", INTEGER),
    "multiplier": ("m", NUMBER),
    "fast": ("f", INTEGER),
    "slow": ("s", INTEGER),
    "signal_period": ("sgp", INTEGER),
}
VALUE = {
    "volume": ("vol", NUMBER),
    "avg_volume": ("av", NUMBER),
    "ratio": ("rto", NUMBER),
    "rsi": ("rsi", NUMBER),
    "value": ("value", NUMBER),
    "ma_short": ("mas", NUMBER),
    "ma_long": ("mal", NUMBER),
    "bb_upper": ("bbu", NUMBER),
    "bb_middle": ("bbm", NUMBER),
    "bb_lower": ("bbl", NUMBER),
    "macd": ("macd", NUMBER),
    "macd_signal": ("macds", NUMBER),
    "histogram": ("hist", NUMBER),
}
INDICATOR = COMMON | {
    "code": ("cd", TEXT),
    "timeframe": ("tf", TEXT),
    "indicator": ("ind", TEXT),
    "params": ("p", PARAMS),
    "candle_date_time_utc": ("cdttmu", TEXT),
    "value": ("v", VALUE),
}
EVENT_PARAMS = {"threshold": ("th", NUMBER), "multiplier": ("mul", NUMBER)}
INDICATOR_SIGNAL = INDICATOR | {"trigger": ("tr", TEXT), "event_params": ("ep", EVENT_PARAMS)}
FIELDS = {
    "myOrder": MY_ORDER,
    "myAsset": MY_ASSET,
    "announcement": ANNOUNCEMENT,
    "indicator": INDICATOR,
    "indicator_signal": INDICATOR_SIGNAL,
}
OPTIONAL = {"body"} | PARAMS.keys() | VALUE.keys() | EVENT_PARAMS.keys()  # the models know which indicator has which


def check_wire(raw: bytes | str, form: str) -> list:
    """Check a frame as JSON, and return its objects with their long names."""
    value = json.loads(raw)
    listed, simple = form.endswith("LIST"), form.startswith("SIMPLE")
    require(isinstance(value, list) == listed, f"{form}: a frame begins with {raw[:40]!r}")
    items = value if listed else [value]
    require(len(items) > 0, f"{form}: an empty list arrived")
    for item in items:
        require("error" not in item, f"{form}: the exchange answered {item}")
        kind = item.get("ty" if simple else "type")
        require(kind in FIELDS, f"{form}: a frame of no known type, {raw[:80]!r}")
        check_json(item, FIELDS[kind], simple, f"{form} {kind}")
    return [longer(item, simple) for item in items]


def check_json(item: dict, fields: dict, simple: bool, where: str) -> None:
    """Check the names and JSON types of all fields: the SDK would quietly turn numbers into strings."""
    known = {short if simple else name: (name, kind) for name, (short, kind) in fields.items()}
    require(item.keys() <= known.keys(), f"{where}: with unknown {', '.join(item.keys() - known.keys())}")
    missing = {name for key, (name, _) in known.items() if key not in item} - OPTIONAL
    require(not missing, f"{where}: without {', '.join(sorted(missing))}")
    for key, value in item.items():
        name, kind = known[key]
        if isinstance(kind, dict):
            for part in value if name == "assets" else [value]:
                check_json(part, kind, simple, f"{where}.{name}")
        else:
            require(type(value) in kind and value != "", f"{where}: {name} is {value!r}")


def check_model(event, form: str) -> dict:
    """Check that the SDK made its own model of an event, complete and strictly valid; return it with long names."""
    simple = form.startswith("SIMPLE")
    model = type(event)
    # These two are what the SDK makes of anything that it does not know.
    require(model not in (BaseModel, SimpleWebSocketEvent), f"{form}: the SDK knows no such event: {event!r:.200}")
    where = f"{form} {model.__name__}"
    data = event.to_dict()
    try:
        model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise WrongError(f"{where}: {'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}") from None
    declared = {field.alias or name for name, field in model.model_fields.items()}
    missing = declared - data.keys() - {"body", "bd"}
    require(not missing, f"{where}: without {', '.join(sorted(missing))}")
    require(data.keys() <= declared, f"{where}: with unknown {', '.join(sorted(data.keys() - declared))}")
    return longer(data, simple)


def longer(item: dict, simple: bool) -> dict:
    """The same event with the long field names of the DEFAULT format."""
    return _longer(item, FIELDS[item["ty"]]) if simple else item


def _longer(item: dict, fields: dict) -> dict:
    names = {short: (name, kind) for name, (short, kind) in fields.items()}
    renamed = {}
    for key, value in item.items():
        name, kind = names[key]
        if name == "assets":
            value = [_longer(part, kind) for part in value]
        elif isinstance(kind, dict):
            value = _longer(value, kind)
        renamed[name] = value
    return renamed
