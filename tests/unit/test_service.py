"""Background tasks without exception groups."""

import anyio
import pytest

from upbit_streams import ConnectionLostError, FeedCrashedError
from upbit_streams.engine.service import Tasks, first_of, open_service


async def test_the_first_task_to_end_ends_the_others() -> None:
    ended = list[str]()

    async def endless() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("endless")

    await first_of(short=lambda: anyio.sleep(3), endless=endless)
    assert ended == ["endless"]
    assert anyio.current_time() < 100


async def test_the_first_failure_leaves_bare_and_later_ones_are_noted_on_it() -> None:
    first = ValueError("first")

    async def fail() -> None:
        await anyio.sleep(1)
        raise first

    async def fail_while_ending() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("second")

    with pytest.raises(ValueError, match="first") as raised:
        await first_of(a=fail, b=fail_while_ending, c=anyio.sleep_forever)
    assert raised.value is first
    assert any("second" in note for note in first.__notes__)


async def test_a_bug_does_not_hide_behind_a_lost_connection() -> None:
    async def lose() -> None:
        raise ConnectionLostError("gone")

    async def crash_while_ending() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await first_of(a=crash_while_ending, b=lose)


async def test_an_interrupt_in_the_background_leaves_bare() -> None:
    interrupt = KeyboardInterrupt()

    async def crash() -> None:
        raise interrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        async with open_service(lambda: first_of(crash=crash), "test"):
            await anyio.sleep_forever()
    assert raised.value is interrupt


async def test_an_error_of_a_block_that_a_crash_cancelled_tells_of_the_crash() -> None:
    async def crash() -> None:
        raise ZeroDivisionError

    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine"):
        async with open_service(crash, "test"):
            try:
                await anyio.sleep_forever()
            finally:
                raise error
    assert "ZeroDivisionError" in error.__notes__[0]


async def test_cancelling_cancels_all_of_them() -> None:
    with anyio.move_on_after(1) as scope:
        await first_of(a=anyio.sleep_forever, b=anyio.sleep_forever)
    assert scope.cancelled_caught


@pytest.mark.parametrize("nested", [1, 3])
@pytest.mark.parametrize(
    "error",
    [ValueError("mine"), KeyboardInterrupt(), ExceptionGroup("mine", [ValueError()])],
    ids=["error", "ki", "group"],
)
async def test_what_the_block_raises_leaves_as_it_is_however_deep_services_are_nested(
    nested: int, error: BaseException
) -> None:
    async def deeper(depth: int) -> None:
        async with open_service(anyio.sleep_forever, "test"):
            if depth > 1:
                await deeper(depth - 1)
            else:
                raise error

    with pytest.raises(type(error)) as raised:
        await deeper(nested)
    assert raised.value is error


async def test_a_failing_service_cancels_the_block_and_is_the_cause_of_one_named_error() -> None:
    bug, cleaned = ZeroDivisionError(), False

    async def fail() -> None:
        await anyio.sleep(1)
        raise bug

    with pytest.raises(FeedCrashedError, match="'test'") as raised:
        async with open_service(fail, "test"):
            try:
                await anyio.sleep_forever()
            finally:
                cleaned = True
    assert raised.value.__cause__ is bug
    assert cleaned


async def test_a_service_lives_until_a_cancelled_block_has_cleaned_up() -> None:
    times = list[float]()

    async def tick() -> None:
        while True:
            times.append(anyio.current_time())
            await anyio.sleep(1)

    started = anyio.current_time()
    with anyio.move_on_after(3):
        async with open_service(tick, "test"):
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.move_on_after(2.5, shield=True):
                    await anyio.sleep_forever()
    assert times[-1] - started == pytest.approx(5, abs=0.1)
    seen = len(times)
    await anyio.sleep(5)
    assert len(times) == seen


async def test_a_service_that_ends_by_itself_leaves_the_block_alone() -> None:
    async with open_service(anyio.lowlevel.checkpoint, "test"):
        await anyio.sleep(5)


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_group_of_the_block_leaves_as_it_was_raised_also_when_all_is_cancelled(is_cancelled: bool) -> None:
    """On trio it has a cancellation in it then, which belongs to the scope outside. It was wrapped once for each
    service."""
    raised: BaseException | None = None
    left: BaseException | None = None

    async def block(outer: anyio.CancelScope) -> None:
        nonlocal raised, left
        tasks = Tasks()
        try:
            async with open_service(anyio.sleep_forever, "a"), open_service(anyio.sleep_forever, "b"), tasks.open():
                try:
                    async with anyio.create_task_group() as group:
                        group.start_soon(anyio.sleep_forever)
                        if is_cancelled:
                            outer.cancel()
                            try:
                                await anyio.sleep_forever()
                            finally:
                                raise ValueError
                        raise ValueError
                except BaseException as why:
                    raised = why
                    raise
        except BaseException as why:
            left = why
            raise

    with pytest.raises(ExceptionGroup) as seen, anyio.CancelScope() as outer:
        await block(outer)
    assert left is raised is not None
    assert [type(why) for why in seen.value.exceptions] == [ValueError]


async def test_a_group_with_cancellations_of_a_task_that_failed_has_none_of_them_outside() -> None:
    tasks, failure = Tasks(), KeyError("first")

    async def fail() -> None:
        raise failure

    with pytest.raises(KeyError) as seen:
        async with tasks.open():
            tasks.start(fail, "fails")
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                try:
                    await anyio.sleep_forever()
                finally:
                    raise ValueError
    assert seen.value is failure


async def test_a_group_that_a_task_raises_while_it_is_cancelled_has_no_cancellation_outside() -> None:
    tasks = Tasks()

    async def run() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            try:
                await anyio.sleep_forever()
            finally:
                raise ValueError

    with pytest.raises(ExceptionGroup) as seen:
        async with tasks.open():
            tasks.start(run, "fails late")
            await anyio.sleep(1)
    assert [type(why) for why in seen.value.exceptions] == [ValueError]
