"""What is watched: a stream of market data, and one of what is told once, taken together."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import anyio
from anyio.lowlevel import checkpoint

from upbit_streams import (
    Client,
    DataType,
    DropOldest,
    Endpoint,
    EpochStarted,
    Event,
    EventStream,
    Fail,
    FrameLostError,
    UpbitStreamsError,
)

__all__ = ["Feeds", "Item", "open_feeds"]

Item = Event | EpochStarted | FrameLostError
"""A frame that is lost is one, since its stream goes on."""

# A terminal or a pipe may pause for a while; this is how much may pile up before anything is lost, and told.
CAPACITY = 1 << 16


class Feeds:
    """Takes from one stream for each endpoint that is in use. Each keeps its order; between them there is none."""

    def __init__(self, streams: Mapping[Endpoint, EventStream[Event | EpochStarted]]) -> None:
        self.streams = streams
        self._ahead: dict[EventStream[Event | EpochStarted], Item] = {}
        self._end: UpbitStreamsError | None = None
        """Why a stream has ended, until that is raised: a stream says it once."""

    def take(self, most: int) -> list[Item]:
        """What has come, at most so many events. A notice ends it, so that what came before can be shown before it.

        Raises why a stream has ended, once what it had is taken.
        """
        taken: list[Item] = []
        try:
            for stream in self.streams.values():
                with suppress(anyio.WouldBlock):
                    while len(taken) < most:
                        item = self._ahead.pop(stream, None) or _next(stream)
                        taken.append(item)
                        if isinstance(item, EpochStarted | FrameLostError):
                            return taken
        except UpbitStreamsError as why:
            self._end = why
        if self._end is not None and not taken:
            raise self._end
        return taken

    async def wait(self, seconds: float) -> None:
        """Wait until there is something to take, at most so long. Cancelling it loses nothing."""
        if self._ahead or self._end is not None:
            await checkpoint()
            return
        async with anyio.create_task_group() as group:
            group.cancel_scope.deadline = anyio.current_time() + seconds
            for stream in self.streams.values():
                group.start_soon(self._look, stream, group.cancel_scope)

    def dropped(self) -> int:
        """How many events were lost because they were taken too slowly."""
        return sum(stream.statistics().dropped for stream in self.streams.values())

    async def _look(self, stream: EventStream[Event | EpochStarted], scope: anyio.CancelScope) -> None:
        try:
            self._ahead[stream] = await stream.receive()
        except FrameLostError as lost:
            self._ahead[stream] = lost
        except UpbitStreamsError as why:
            self._end = why
        scope.cancel()


def _next(stream: EventStream[Event | EpochStarted]) -> Item:
    try:
        return stream.receive_nowait()
    except FrameLostError as lost:
        return lost


@asynccontextmanager
async def open_feeds(
    client: Client, public: Sequence[DataType[Event]], private: Sequence[DataType[Event]], codes: Sequence[str]
) -> AsyncGenerator[Feeds, None]:
    """Ask for these types; without codes, for the private ones of all markets.

    What is told once comes first: it is rare and must not wait for what is plenty. Raises as ``Client.stream``.
    """
    streams: dict[Endpoint, EventStream[Event | EpochStarted]] = {}
    async with AsyncExitStack() as stack:
        if private:
            markets = codes if DataType.MY_ORDER in private else ()
            stream = client.stream(private, markets, backpressure=Fail(CAPACITY))
            streams[Endpoint.PRIVATE] = await stack.enter_async_context(stream)
        if public:
            quotes = client.stream(public, codes, backpressure=DropOldest(CAPACITY), notices=False)
            streams[Endpoint.PUBLIC] = await stack.enter_async_context(quotes)
        yield Feeds(streams)
