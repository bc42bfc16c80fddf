"""Background tasks without exception groups.

A task group wraps what leaves it in an exception group, also for somebody who did not know that there was one. Here a
group cannot arise, so nothing has to be unwrapped by guessing: of several background tasks the first failure is kept
and the rest are cancelled, and what a user's own code raises leaves as it was raised.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from ..exceptions import FeedCrashedError, UpbitStreamsError, UsageError

__all__ = ["Tasks", "first_of", "open_service"]


async def first_of(**tasks: Callable[[], Awaitable[object]]) -> None:
    """Run the tasks side by side, under their names, until the first of them ends; then cancel the others.

    Raises what the first one raised, bare. Another failure, while they are being cancelled, becomes a note on it; but a
    bug is raised before an error that was to be expected.
    Cancelling cancels all of them. A bug that shows while they end is raised all the same, instead of the cancellation.
    """
    failures: list[BaseException] = []

    async def run(task: Callable[[], Awaitable[object]]) -> None:
        try:
            await task()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as failure:  # noqa: BLE001 -- raised again below, outside the group
            failures.append(failure)
        group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            for name, task in tasks.items():
                group.start_soon(run, task, name=f"upbit-streams {name}")
    except anyio.get_cancelled_exc_class():  # noqa: ASYNC103 -- it goes on, or a bug goes in its place
        if all(isinstance(failure, UpbitStreamsError) for failure in failures):
            raise
    if failures:
        # What nobody expects must not hide behind a connection that was lost in the same moment.
        first, *later = sorted(failures, key=lambda failure: isinstance(failure, UpbitStreamsError))
        for failure in later:
            first.add_note(f"while the others ended: {failure!r}")
        raise first


@asynccontextmanager
async def open_service(run: Callable[[], Awaitable[object]], name: str) -> AsyncGenerator[None, None]:
    """Run a background task as long as the block.

    When all is cancelled the block goes first, and the service lives until the block has left, so that its ``finally``
    can still use what the service keeps alive. What the block raises leaves as it is. If the service fails, the block
    is cancelled and :class:`FeedCrashedError` raised with the failure as its cause; also if it fails while it is being
    closed, and in place of a cancellation. A :class:`UsageError` of the service is raised as it is.
    """
    service, body = anyio.CancelScope(shield=True), anyio.CancelScope()
    failure: BaseException | None = None
    raised: BaseException | None = None

    async def guarded() -> None:
        nonlocal failure
        with service:
            try:
                await run()
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as why:  # noqa: BLE001 -- raised again below, outside the group
                failure = why
                body.cancel()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(guarded, name=f"upbit-streams {name}")
            try:
                with body:
                    yield
            except anyio.get_cancelled_exc_class():
                raise  # it has to pass through the group to reach the scope that it belongs to
            except BaseException as why:
                if _is_cancellation(why):
                    raise
                raised = why  # everything else would be wrapped on its way, so it goes round
            finally:
                service.cancel()
    except anyio.get_cancelled_exc_class():  # noqa: ASYNC103 -- it goes on, or an error goes in its place
        if raised is None and failure is None:
            raise
    if raised is not None:
        if failure is not None:
            raised.add_note(f"before that, the background task {name!r} failed with {failure!r}")
        raise _what_is_left(raised)
    if failure is not None and (not isinstance(failure, Exception) or isinstance(failure, UsageError)):
        raise failure  # Ctrl-C and the like, and what the user has given: no bug of ours
    if failure is not None:
        raise FeedCrashedError(
            f"the background task {name!r} failed with {failure!r}; this is a bug, please report it"
        ) from failure


class Tasks:
    """Tasks of the user's that run as long as a block, and can be started anywhere in it."""

    def __init__(self) -> None:
        self._group = anyio.create_task_group()
        self._failures: list[BaseException] = []

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        """The block. Leaving it cancels the tasks and waits for them.

        The first failure, of a task or of the block, cancels all the others and leaves as it was raised; in place of a
        cancellation, too.
        """
        try:
            async with self._group:
                try:
                    yield
                except anyio.get_cancelled_exc_class():
                    raise
                except BaseException as why:
                    if _is_cancellation(why):
                        raise
                    self._failures.append(why)  # it goes round the group, which would wrap it
                finally:
                    self._group.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103 -- it goes on, or an error goes in its place
            if not self._failures:
                raise
        if self._failures:
            first, *later = self._failures
            for failure in later:
                first.add_note(f"while the others ended: {failure!r}")
            raise _what_is_left(first)

    def start(self, run: Callable[[], Awaitable[object]], name: str) -> None:
        """Run something within the block."""
        self._group.start_soon(self._guarded, run, name=name)

    async def _guarded(self, run: Callable[[], Awaitable[object]]) -> None:
        try:
            await run()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as why:
            if _is_cancellation(why):
                raise
            self._failures.append(why)  # raised again above, outside the group
            self._group.cancel_scope.cancel()


def _is_cancellation(why: BaseException) -> bool:
    """Whether a group holds cancellations and nothing else."""
    return isinstance(why, BaseExceptionGroup) and _without_cancellations(why) is None


def _without_cancellations(group: BaseExceptionGroup[BaseException]) -> BaseExceptionGroup[BaseException] | None:
    """The group itself if it holds none; None if it holds nothing else."""
    cancelled, rest = group.split(anyio.get_cancelled_exc_class())
    return group if cancelled is None else rest


def _what_is_left(why: BaseException) -> BaseException:
    """What leaves a block: a group without the cancellations that ended with the block's own scopes.

    On trio a group may hold cancellations beside errors. They belong to a scope further out if that is cancelled; then
    the group leaves whole, and that scope takes them out.
    """
    if isinstance(why, BaseExceptionGroup) and not anyio.get_current_task().has_pending_cancellation():
        return _without_cancellations(why) or why
    return why
