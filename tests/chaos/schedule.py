"""The same order of tasks in every run."""

from collections.abc import Iterator
from contextlib import contextmanager

from trio._core import _run as trio_run

__all__ = ["in_one_order"]


@contextmanager
def in_one_order(seed: int) -> Iterator[None]:
    """Let trio draw the order in which tasks run from a seed, so that a run can be had once more.

    trio mixes the tasks that can run on purpose, so that nobody relies on their order. Its own plugin for Hypothesis
    makes that repeatable with just these two variables, and there is no other way: without the flag, tasks come in an
    order that depends on where objects lie in memory. asyncio runs tasks in the order in which they were woken.
    """
    flag, state = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()  # noqa: SLF001 -- trio's own
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # noqa: SLF001 -- trio's own
    trio_run._r.seed(seed)  # noqa: SLF001 -- trio's own
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = flag  # type: ignore[misc]  # noqa: SLF001 -- trio's own
        trio_run._r.setstate(state)  # noqa: SLF001 -- trio's own
