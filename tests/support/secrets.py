"""Everything that a run writes, or could write, in one text: so that one can look whether a secret is in it."""

import logging
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from upbit_streams import Event, Secret, to_fields

__all__ = ["Ledger", "keep_everything"]


@attrs.define
class Ledger:
    """What was written."""

    texts: list[str] = attrs.field(factory=list)

    def add_error(self, error: BaseException) -> None:
        """The whole traceback with the local variables of every frame but the test's own, which knows the secrets; its
        causes and contexts, too, even those that a traceback leaves out."""
        seen: set[int] = set()
        waiting: list[BaseException | None] = [error]
        while waiting:
            one = waiting.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            waiting += [
                one.__cause__,
                one.__context__,
                *(one.exceptions if isinstance(one, BaseExceptionGroup) else ()),
            ]
            self.texts += [repr(one), str(one), *getattr(one, "__notes__", ()), repr(getattr(one, "__dict__", {}))]
            for frame, _ in traceback.walk_tb(one.__traceback__):
                if "/tests/" not in frame.f_code.co_filename and "/testing/" not in frame.f_code.co_filename:
                    self.texts += [f"{name} = {value!r}" for name, value in frame.f_locals.items()]

    def add_events(self, events: Iterable[Any]) -> None:
        """As the command line's JSON, and as people print them."""
        for event in events:
            self.texts.append(repr(event))
            if isinstance(event, Event):
                self.texts.append(str(to_fields(event)))

    def add_reachable(self, root: object) -> int:
        """The ``repr`` of everything that can be reached from an object by attributes and in containers, private ones
        included. Returns how many of them are the library's own."""
        seen: dict[int, object] = {}
        waiting = [root]
        own = 0
        while waiting:
            one = waiting.pop()
            if id(one) in seen or isinstance(one, type | str | int | float | bytes | None):
                continue
            seen[id(one)] = one
            self.texts.append(repr(one))
            own += type(one).__module__.startswith("upbit_streams")
            if not isinstance(one, Secret):
                waiting += list(_parts(one))
        return own


def _parts(one: object) -> Iterator[object]:
    if isinstance(one, dict):
        yield from one.keys()
        yield from one.values()
    elif isinstance(one, list | tuple | set | frozenset):
        yield from one
    elif type(one).__module__.startswith("upbit_streams"):
        yield from vars(one).values() if hasattr(one, "__dict__") else ()
        for kind in type(one).__mro__:
            for name in getattr(kind, "__slots__", ()):
                yield getattr(one, name, None)
    elif callable(one):
        yield getattr(one, "__self__", None)
        for cell in getattr(one, "__closure__", None) or ():
            yield cell.cell_contents


@contextmanager
def keep_everything() -> Iterator[Ledger]:
    """Keep all that is logged within the block, by whomever and at any level, records' arguments and tracebacks
    included."""
    ledger = Ledger()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            ledger.texts += [record.getMessage(), repr(record.__dict__)]
            if record.exc_info and record.exc_info[1] is not None:
                ledger.add_error(record.exc_info[1])

    root, keep = logging.getLogger(), Keep(logging.NOTSET)
    levels = {logger: logger.level for logger in (root, *_all_loggers())}
    for logger in levels:
        logger.setLevel(logging.DEBUG)
    root.addHandler(keep)
    try:
        yield ledger
    finally:
        root.removeHandler(keep)
        for logger, level in levels.items():
            logger.setLevel(level)


def _all_loggers() -> list[logging.Logger]:
    return [logging.getLogger(name) for name in logging.root.manager.loggerDict]
