"""What the simulated exchange announces (protocol section 4.7)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import msgspec

from ..exceptions import UsageError
from ..model.events import AnnouncementEvent
from ..model.subscriptions import CATEGORIES

__all__ = ["Announcements"]

_KEPT = 1_000
_KOREA = timezone(timedelta(hours=9))
_LARGEST_BODY = 30_000
"""In characters; of a longer body nobody is told. The exchange says that there is such a bound, and not which."""
_FIRST_ID = 562_593_104


class Announcements:
    """All announcements so far, the last 1,000 of them."""

    def __init__(self, tell: Callable[[AnnouncementEvent], None]) -> None:
        self._tell = tell
        self._latest: dict[str, AnnouncementEvent] = {}
        self._next_id = _FIRST_ID

    def announce(self, now: float, title: str, category: str, body: str, uuid: str | None) -> str:
        """Announce something new, or change what was announced as ``uuid``. Returns its id."""
        if category not in CATEGORIES:
            raise UsageError(f"there is no category {category!r}; the categories are {', '.join(CATEGORIES)}")
        earlier = None if uuid is None else self._latest.get(uuid)
        if uuid is not None and earlier is None:
            raise UsageError(f"there is no announcement {uuid!r} to update")
        if uuid is None:
            uuid, self._next_id = str(self._next_id), self._next_id + 1
        listed_at = datetime.fromtimestamp(int(now), UTC).astimezone(_KOREA).isoformat()
        event = AnnouncementEvent(
            event_type="CREATED" if earlier is None else "UPDATED",
            uuid=uuid,
            title=title,
            category=category,
            url=f"https://www.upbit.com/service_center/notice?id={uuid}&view=share",
            first_listed_at=listed_at if earlier is None else earlier.first_listed_at,
            listed_at=listed_at,
            timestamp=int(now * 1000),
            stream_type="REALTIME",
            body=body if len(body) <= _LARGEST_BODY else None,
        )
        self._latest[uuid] = msgspec.structs.replace(event, body=None)
        if len(self._latest) > _KEPT:
            del self._latest[next(iter(self._latest))]
        self._tell(event)
        return uuid
