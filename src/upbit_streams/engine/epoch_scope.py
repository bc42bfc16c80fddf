"""One life of a connection: what runs from the handshake to the loss."""

import logging
from collections.abc import Callable
from uuid import uuid4

import anyio
import attrs
from anyio.lowlevel import checkpoint

from ..exceptions import ConnectionLostError
from ..model.config import Config
from ..model.epoch import Epoch
from ..rules.login import login_refusal
from ..rules.rate_limit import MESSAGES, RateLimit
from ..transport.interface import Transport
from ..wire.decode import Decoder
from ..wire.replies import BadFrame, ErrorReply, Reply, SubscriptionsReply
from ..wire.requests import list_subscriptions, subscribe
from .hub import Hub
from .service import first_of

__all__ = ["Counters", "EpochScope"]

_log = logging.getLogger("upbit_streams")

# How long to wait for the exchange to say what it serves. It takes a fifth of a second.
_CONFIRM_SECONDS = 5.0


@attrs.define
class Counters:
    """What a connection counts over all its epochs."""

    messages: int = 0
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
    hub: Hub
    config: Config
    decoder: Decoder
    counters: Counters
    shown: Callable[[str], str]
    """Makes of a text of the exchange what may be shown of it: it may have repeated a key."""
    was_good: bool = False
    """Whether the exchange has shown that it serves this epoch."""
    heard_at: float = attrs.field(init=False)
    """Everything that happened before then has arrived: when the last question was sent that was answered, in the event
    loop's time."""
    _ticket: str = attrs.field(default="", init=False)
    """Of the question that is not answered yet."""
    _answered: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.heard_at = anyio.current_time()

    async def live(self) -> str | None:
        """Read, keep alive and subscribe until the connection ends. Returns why it ended; None if nobody wants anything
        from it any more.

        Raises :class:`AuthenticationError` if the exchange refuses the login. Cancelling it ends all three. The
        transport stays the caller's to close.
        """
        name = self.epoch.connection
        try:
            await first_of(
                **{
                    f"{name} reader": self._read,
                    f"{name} keep-alive": self._keep_alive,
                    f"{name} reconciler": self._reconcile,
                }
            )
        except ConnectionLostError as lost:
            return lost.why
        finally:
            self.hub.ended(self.epoch, self.heard_at + self.epoch.wall_offset)
        return None

    async def _read(self) -> None:
        transport, epoch, hub, decoder, counters = self.transport, self.epoch, self.hub, self.decoder, self.counters
        while True:
            frames = await transport.receive()
            # From here to the end of publish there is no await: what was read is published whole, or not at all.
            received_at = anyio.current_time() + epoch.wall_offset
            events, replies = decoder.decode(frames, epoch, received_at)
            hub.publish(events, epoch)
            counters.messages += len(frames)
            if events:
                self.was_good = True
                if events[-1].stream_type != "SNAPSHOT":
                    counters.reads += 1
                    counters.lag += received_at - events[-1].timestamp / 1000
            for reply in replies:
                self._take_reply(reply)
            await checkpoint()  # a socket that always has more must not keep the consumers from running

    def _take_reply(self, reply: Reply) -> None:
        match reply:
            case ErrorReply(name, message):
                # The exchange closes the connection now, and every subscription goes with it (protocol section 6.2).
                self.counters.errors += 1
                name, message = self.shown(name), self.shown(message)
                refusal = login_refusal(self.url, name, message) if self.hub.confirms else None
                raise refusal or ConnectionLostError(f"the exchange refused the request: {name} {message}")
            case BadFrame(why, sample):
                self.counters.last_bad_frame = self.shown(f"{why}: {sample}")
                if not self.counters.bad_frames:
                    _log.warning("a frame was not understood: %s", self.counters.last_bad_frame)
                self.counters.bad_frames += 1
            case SubscriptionsReply(ticket) if ticket and ticket == self._ticket:
                self.was_good = True
                self._take_confirmation()
            case _:
                pass

    async def _keep_alive(self) -> None:
        while True:
            await anyio.sleep(self.config.ping_interval)
            asked_at = anyio.current_time()
            try:
                with anyio.fail_after(self.config.ping_timeout):
                    await self.transport.ping()
            except TimeoutError:
                raise ConnectionLostError(f"no pong within {self.config.ping_timeout:g} s") from None
            self.heard_at = asked_at

    async def _reconcile(self) -> None:
        """Keep what was last asked for equal to what is wanted. Returns when nothing has been wanted for a while."""
        limit = RateLimit(MESSAGES)
        wants = self.hub.wants
        asked: object = None
        while True:
            changed, wanted, news = wants.changed, wants.union, wants.news
            if not wanted:
                # There is no request for nothing (protocol section 2.3): the way to unsubscribe from all is to leave.
                with anyio.move_on_after(self.config.idle_timeout) as idle:
                    await changed.wait()
                if idle.cancelled_caught:
                    return
            elif (wanted, news) == asked:
                await changed.wait()
                await anyio.sleep(self.config.gather)  # whoever starts together is served by one request
            elif pause := limit.wait(anyio.current_time()):
                await anyio.sleep(pause)
            else:
                limit.record(anyio.current_time())
                asked = wanted, news
                self.hub.asked(wanted)
                await self.transport.send(subscribe(wanted, str(uuid4()), self.config.format))
                if self.hub.confirms:
                    await self._confirm(limit)

    async def _confirm(self, limit: RateLimit) -> None:
        """Wait until the exchange has taken the last request: it answers in order, so any answer will do."""
        await anyio.sleep(limit.wait(anyio.current_time()))
        limit.record(anyio.current_time())
        asked_at = anyio.current_time()
        self._ticket, self._answered = str(uuid4()), anyio.Event()
        await self.transport.send(list_subscriptions(self._ticket, self.config.format))
        with anyio.move_on_after(_CONFIRM_SECONDS) as patience:
            await self._answered.wait()
        if patience.cancelled_caught:
            # Whether it serves us cannot be known, and nobody may believe that it does.
            raise ConnectionLostError(f"the exchange did not confirm the request within {_CONFIRM_SECONDS:g} s")
        self.heard_at = asked_at

    def _take_confirmation(self) -> None:
        self._ticket = ""
        self._answered.set()
        self.hub.confirmed(self.epoch, anyio.current_time() + self.epoch.wall_offset)
