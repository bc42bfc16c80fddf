"""Checks that the models of Upbit's own ``upbit-sdk`` take every private and info event of the simulated exchange.

Usage: ``python check_upbit_sdk_models.py FILE``, with a file of ``make_frames.py``

Each event is there in all four formats. Each frame is checked as JSON and as the model that the SDK makes of it, and
the four must say the same.
"""

# Runs in the client's own environment, without this project, and prints its result.
# ruff: noqa: BLE001

import json
import sys
from collections import Counter
from pathlib import Path

from check_upbit_sdk import NAME, WrongError, require
from upbit.lib.ws._parser import SIMPLE_INDICATOR_MODELS, SIMPLE_SIGNAL_MODELS, parse_websocket_data
from upbit_sdk_fields import check_model, check_wire

FORMATS = ("DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST")
# Of every event's fields with few values, those that must have come.
EXPECTED = {
    "state": {"wait", "trade", "done", "cancel", "prevented"},  # nothing makes reserved orders, which are in `watch`
    "order_type": {"limit", "price", "market", "best"},
    "time_in_force": {None, "ioc", "fok", "post_only"},
    "smp_type": {"reduce", "cancel_maker", "cancel_taker"},
    "is_maker": {None, True, False},
    "event_type": {"CREATED", "UPDATED"},
    "category": {"notice", "trade", "wallet", "maintenance", "digital_asset", "nft", "service", "event"},
    "timeframe": {"5m", "15m", "60m", "240m", "1d"},
    "indicator": {(name, None) for name in SIMPLE_INDICATOR_MODELS} | set(SIMPLE_SIGNAL_MODELS),
}


def check_event(endpoint: str, frames: dict) -> dict:
    """Check an event in its four formats, and return it with long names."""
    require(tuple(frames) == FORMATS, f"formats are {', '.join(frames)}")
    said = []
    for form, frame in frames.items():
        items = check_wire(frame, form)
        parsed = parse_websocket_data(frame, endpoint=endpoint)
        events = parsed if isinstance(parsed, list) else [parsed]
        require(len(events) == len(items) == 1, f"{form}: the SDK made {len(events)} events of {len(items)}")
        said.append((items[0], check_model(events[0], form)))
    first = said[0]
    for form, other in zip(FORMATS, said, strict=True):
        require(other == first, f"{form} says {other[0]}, and {FORMATS[0]} {first[0]}")
    return first[0]


def run(path: str) -> str:
    """Check all events of a file, and say what there was."""
    counts: Counter = Counter()
    seen: dict = {name: set() for name in EXPECTED}
    with Path(path).open(encoding="utf-8") as lines:
        for line in lines:
            event = check_event(**json.loads(line))
            counts[event["type"]] += len(FORMATS)
            for name in seen:
                if name == "indicator" and name in event:
                    seen[name].add((event[name], event.get("trigger")))
                elif name in event:
                    seen[name].add(event[name])
    for name, values in EXPECTED.items():
        require(seen[name] == values, f"{name}: {sorted(map(str, seen[name] ^ values))} came in vain, or never")
    return ", ".join(f"{number} {name}" for name, number in counts.items()) + " frames accepted by its models, ok"


def main() -> None:
    """Run the check for the file of the command line."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE")
    try:
        summary = run(sys.argv[1])
    except Exception as error:
        sys.exit(f"{NAME}: {error}" if isinstance(error, WrongError) else f"{NAME}: {type(error).__name__}: {error}")
    print(f"{NAME}: {summary}")


if __name__ == "__main__":
    main()
