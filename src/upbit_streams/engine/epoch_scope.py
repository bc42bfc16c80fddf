"""One life of a connection: what runs from the handshake to the loss."""

import logging
from uuid import uuid4

import anyio
import attrs
from anyio.lowlevel import checkpoint

from ..exceptions import ConnectionLostError
from ..model.config import Config
from ..model.epoch import Epoch
from ..rules.rate_limit import MESSAGES, RateLimit
from ..transport.interface import Transport
from ..wire.decode import Decoder
from ..wire.replies import BadFrame, ErrorReply, Reply
from ..wire.requests import subscribe
from .hub import Hub
from .service import first_of

__all__ = ["Counters", "live"]

_log = logging.getLogger("upbit_streams")


@attrs.define
class Counters:
    """What a connection counts over all its epochs."""

    messages: int = 0
    bad_frames: int = 0
    last_bad_frame: str = ""
    errors: int = 0


async def live(
    transport: Transport, epoch: Epoch, hub: Hub, config: Config, decoder: Decoder, counters: Counters
) -> str:
    """Read, keep alive and subscribe until the connection ends or nobody wants anything any more. Returns why it ended.

    Cancelling it ends all three. The transport stays the caller's to close.
    """
    try:
        await first_of(
            **{
                f"{epoch.connection} reader": lambda: _read(transport, epoch, hub, decoder, counters),
                f"{epoch.connection} keep-alive": lambda: _keep_alive(transport, config),
                f"{epoch.connection} reconciler": lambda: _reconcile(transport, hub, config),
            }
        )
    except ConnectionLostError as lost:
        return lost.why
    return "nobody wants anything from it any more"


async def _read(transport: Transport, epoch: Epoch, hub: Hub, decoder: Decoder, counters: Counters) -> None:
    while True:
        frames = await transport.receive()
        # From here to the end of publish there is no await: what was read is published whole, or not at all.
        events, replies = decoder.decode(frames, epoch, anyio.current_time() + epoch.wall_offset)
        hub.publish(events, epoch)
        counters.messages += len(frames)
        for reply in replies:
            _take_reply(reply, counters)
        await checkpoint()  # a socket that always has more must not keep the consumers from running


def _take_reply(reply: Reply, counters: Counters) -> None:
    match reply:
        case ErrorReply(name, message):
            # The exchange closes the connection now, and every subscription goes with it (protocol section 6.2).
            counters.errors += 1
            raise ConnectionLostError(f"the exchange refused the request: {name} {message}")
        case BadFrame(why, sample):
            if not counters.bad_frames:
                _log.warning("a frame was not understood (%s): %s", why, sample)
            counters.bad_frames += 1
            counters.last_bad_frame = f"{why}: {sample}"
        case _:
            pass


async def _keep_alive(transport: Transport, config: Config) -> None:
    while True:
        await anyio.sleep(config.ping_interval)
        try:
            with anyio.fail_after(config.ping_timeout):
                await transport.ping()
        except TimeoutError:
            raise ConnectionLostError(f"no pong within {config.ping_timeout:g} s") from None


async def _reconcile(transport: Transport, hub: Hub, config: Config) -> None:
    """Keep what was last asked for equal to what is wanted. Returns when nothing has been wanted for a while."""
    limit = RateLimit(MESSAGES)
    asked: object = None
    while True:
        changed, wanted, news = hub.wants.changed, hub.wants.union, hub.wants.news
        if not wanted:
            # There is no request for nothing (protocol section 2.3): the way to unsubscribe from all is to leave.
            with anyio.move_on_after(config.idle_timeout) as idle:
                await changed.wait()
            if idle.cancelled_caught:
                return
        elif (wanted, news) == asked:
            await changed.wait()
            await anyio.sleep(config.gather)  # whoever starts together is served by one request
        elif pause := limit.wait(anyio.current_time()):
            await anyio.sleep(pause)
        else:
            limit.record(anyio.current_time())
            asked = wanted, news
            hub.asked(wanted)
            await transport.send(subscribe(wanted, str(uuid4()), config.format))
