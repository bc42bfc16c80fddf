"""One life of a connection: what runs from the handshake to the loss."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio
import attrs
from anyio.lowlevel import checkpoint

from ..exceptions import AuthenticationError, ConnectionLostError, UsageError
from ..model.config import Config
from ..model.epoch import Epoch
from ..model.events import Event
from ..model.notices import FrameLost
from ..rules.lifecycle import Step
from ..rules.login import login_refusal
from ..transport.interface import Transport
from ..wire.decode import Decoder
from ..wire.replies import BadFrame, ErrorReply, Reply, SubscriptionsReply
from .clocks import Clocks
from .hub import Hub
from .patience import Patience
from .reconciler import Reconciler, Truth
from .service import first_of
from .user_code import check_frames, loss_of
from .watchdog import Watchdog

__all__ = ["Counters", "EpochScope"]

_log = logging.getLogger("upbit_streams")

# A time stamp that is further off than a day says nothing about how late an event came.
_MOST_LAG = 86_400.0


@attrs.define
class Counters:
    """What a connection counts over all its epochs."""

    messages: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    bad_frames: int = 0
    last_bad_frame: str = ""
    errors: int = 0
    epochs_lost: int = 0
    reads: int = 0
    """Of those that brought a change with a time stamp, and how late they were."""
    lag: float = 0.0


@attrs.define(eq=False)
class EpochScope:
    """One life of a connection, and all that lives as long as it."""

    transport: Transport
    url: str
    epoch: Epoch
    clocks: Clocks
    hub: Hub
    config: Config
    decoder: Decoder
    counters: Counters
    truth: Truth
    shown: Callable[[str], str]
    """Makes of a text of the exchange what may be shown of it: it may have repeated a key."""
    hidden: Callable[[str], str]
    """Takes the secrets out of a text, and leaves all else as it is."""
    take: Callable[[Step], None]
    """Told when the first request goes out, and when it is served."""
    watchdog: Watchdog
    was_good: bool = False
    """Whether the exchange has shown that it serves this epoch."""
    heard_at: float = attrs.field(init=False)
    """Everything that happened before then has arrived: when the last question was sent that was answered, in the event
    loop's time."""
    _reconciler: Reconciler = attrs.field(init=False)
    _served: bool = attrs.field(default=False, init=False)
    _patience: Patience = attrs.field(init=False)
    """With pongs. They come by the reader, so while that waits for a consumer nobody knows whether they have come."""

    def __attrs_post_init__(self) -> None:
        self.heard_at = anyio.current_time()
        self._patience = Patience(self._taken)
        self._reconciler = Reconciler(
            self._send, self.epoch, self.hub, self.config, self.truth, self.take, self._note_heard, self._taken
        )

    async def live(self) -> str | None:
        """Read, keep alive and subscribe until the connection ends. Returns why it ended; None if nobody wants anything
        from it any more.

        Raises :class:`AuthenticationError` if the exchange refuses the login. Cancelling it ends all of them. The
        transport stays the caller's to close.
        """
        name, offset = self.epoch.connection, self.epoch.wall_offset
        reason = "its manager has been left"
        try:
            tasks: dict[str, Callable[[], Awaitable[object]]] = {
                f"{name} reader": self._read,
                f"{name} keep-alive": self._keep_alive,
                f"{name} reconciler": self._reconciler.run,
                f"{name} unanswered": self._reconciler.watch_unanswered,
                f"{name} watchdog": partial(self.watchdog.watch, self.epoch, self._reconciler.asking, self._taken),
            }
            await first_of(**tasks)
            reason = "nobody wants anything from it any more"
        except ConnectionLostError as lost:
            reason = self.shown(lost.why)
            return lost.why
        except AuthenticationError as refused:
            reason = self.shown(str(refused))
            raise
        except UsageError as mistake:
            reason = self.shown(str(mistake))
            raise
        except Exception as bug:
            reason = self.shown(f"a bug: {bug!r}")
            raise
        finally:
            heard_at, ended_at = self.heard_at + offset, anyio.current_time() + offset
            self.hub.ended(self.epoch, reason, heard_at, ended_at, self.clocks.moved(self.epoch))
        return None

    async def _read(self) -> None:
        transport, epoch, hub, decoder, counters = self.transport, self.epoch, self.hub, self.decoder, self.counters
        clocks = self.clocks
        while True:
            try:
                frames = await transport.receive()
            except BaseException as why:  # noqa: BLE001 -- it may be the user's own
                raise loss_of("receive", why)  # noqa: ASYNC104, B904 -- a cancellation stays one; it has its cause
            # From here to the end of publish there is no await: nobody ever sees half of a read, unless somebody has
            # chosen to let all others wait.
            received_at = anyio.current_time() + epoch.wall_offset
            try:
                events, replies = decoder.decode(frames, epoch, received_at)
                counters.messages += len(frames)
                counters.bytes_received += sum(map(len, frames))
            except Exception:
                check_frames(frames)
                raise
            if clocks.have_jumped():
                await self._check_clocks(events)
            if events:
                self.was_good = self._reconciler.is_fed = True
                if not self._served:
                    self._serve()
                late = received_at + clocks.slewed - events[-1].timestamp / 1000
                if events[-1].stream_type != "SNAPSHOT" and -_MOST_LAG < late < _MOST_LAG:
                    counters.reads += 1
                    counters.lag += late
            lost = [reply for reply in replies if isinstance(reply, BadFrame)] if replies else ()
            rest = await self._publish_around(events, lost, received_at) if lost else events
            if rest and (left := hub.publish(rest, epoch)):
                await self._publish_slowly(left)
            for reply in replies:
                self._take_reply(reply)
            await checkpoint()  # a socket that always has more must not keep the consumers from running

    async def _check_clocks(self, events: Sequence[Event]) -> None:
        """Raise :class:`ConnectionLostError` if the clocks have jumped. What was read may be as old as the jump is
        long, so nobody is handed these events as new."""
        try:
            await self.clocks.check()
        except BaseException:
            self.hub.give_up(events)
            raise

    async def _publish_around(self, events: Sequence[Event], lost: Sequence[BadFrame], at: float) -> Sequence[Event]:
        """Hand out what came before the last frame that could not be read, and tell of each at its place. Returns the
        events that came after."""
        done = 0
        for frame in lost:
            part, rest = events[done : frame.place], events[frame.place :]
            try:
                if part and (left := self.hub.publish(part, self.epoch)):
                    await self._publish_slowly(left)
            except BaseException:
                self.hub.give_up(rest)
                raise
            done = frame.place
            kind, code, why = self.shown(frame.type), self.shown(frame.code), self.shown(frame.why)
            payload = self.hidden(frame.payload.decode("latin-1")).encode("latin-1")  # one character a byte, both ways
            self.hub.lose_frame(FrameLost(self.epoch, kind, code, why, payload), at)
        return events[done:]

    async def _publish_slowly(self, events: Sequence[Event]) -> None:
        """Hand out what is left of a read, as fast as the slowest may be waited for."""
        try:
            while events:
                with self._patience.paused(), self._reconciler.patience.paused():
                    await self.hub.holds.wait()
                events = self.hub.publish(events, self.epoch)
        except BaseException:
            self.hub.give_up(events)
            raise

    def _take_reply(self, reply: Reply) -> None:
        match reply:
            case ErrorReply(name, message):
                # The exchange closes the connection now, and every subscription goes with it (protocol section 6.2).
                self.counters.errors += 1
                name, message = self.shown(name), self.shown(message)
                refusal = login_refusal(self.url, name, message) if self.hub.confirms else None
                self._reconciler.take_refusal(name, message)
                raise refusal or ConnectionLostError(f"the exchange refused the request: {name} {message}")
            case BadFrame(why, sample, type_name, code):
                self.truth.spoiled.note(type_name, code, self.shown(why))
                self.counters.last_bad_frame = self.shown(f"{why}: {sample}")
                if not self.counters.bad_frames:
                    _log.warning("a frame was not understood: %s", self.counters.last_bad_frame)
                self.counters.bad_frames += 1
            case SubscriptionsReply(ticket) if self._reconciler.expects(ticket):
                self.was_good = True
                self._serve()
                self._reconciler.take_answer(reply)
            case _:
                pass

    def _serve(self) -> None:
        """The epoch is active. What comes before anything was asked for makes it no more so."""
        if self._reconciler.asking.is_set() and not self._served:
            self._served = True
            self.take(Step.SERVED)

    def _note_heard(self, asked_at: float) -> None:
        self.heard_at = asked_at

    def _taken(self) -> int:
        return self.counters.messages

    async def _keep_alive(self) -> None:
        while True:
            await anyio.sleep(self.config.ping_interval)
            if not await self._patience.lasts(self._ping, self.config.ping_timeout, f"{self.epoch.connection} ping"):
                raise ConnectionLostError(f"no pong within {self.config.ping_timeout:g} s")

    async def _ping(self) -> None:
        asked_at = anyio.current_time()
        try:
            await self.transport.ping()
        except BaseException as why:  # noqa: BLE001 -- as above
            raise loss_of("ping", why)  # noqa: ASYNC104, B904 -- as above
        await self.clocks.check()  # what came before the pong may have been given up
        self.heard_at = asked_at

    async def _send(self, request: str) -> None:
        self.counters.bytes_sent += len(request.encode())
        try:
            await self.transport.send(request)
        except BaseException as why:  # noqa: BLE001 -- as above
            raise loss_of("send", why)  # noqa: ASYNC104, B904 -- as above
