"""Events as an exchange writes them whose clock is wrong."""

from typing import Any

import msgspec

from ..model.events import Event

__all__ = ["shifted"]


def shifted(event: Event, seconds: float) -> Event:
    """The event with its time stamps so many seconds later."""
    milliseconds = round(seconds * 1000)
    changes: dict[str, Any] = {
        name: value + milliseconds
        for name in event.__struct_fields__
        if name.endswith("timestamp") and isinstance(value := getattr(event, name), int)
    }
    return msgspec.structs.replace(event, **changes)
