"""The simulated exchange on a real socket: the WebSocket endpoint, and ``GET /v1/market/all``."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial

import anyio
from anyio.abc import ByteStream, SocketAttribute
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from ..engine.service import first_of, open_service
from ..exceptions import ConnectionLostError
from ..transport.websocket import WebSocket, quiet
from .exchange import Closing, Refusal, Session, SimulatedExchange

__all__ = ["open_exchange"]

_PATH = "/websocket/v1"
_MARKETS = "/v1/market/all"
_READ_SIZE = 1 << 16
_HANDSHAKE_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
# A client that takes nothing for this long is not slow but gone.
_WRITE_SECONDS = 60.0


@asynccontextmanager
async def open_exchange(exchange: SimulatedExchange, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve the exchange as long as the block, and yield the URL for :class:`~upbit_streams.Config`.

    Port 0 picks a free one. Leaving the block drops every session, as an exchange that is killed does. Raises ``OSError``
    if the address cannot be used.
    """
    async with await anyio.create_tcp_listener(local_host=host, local_port=port) as listener:
        bound = listener.extra(SocketAttribute.local_port)
        async with open_service(partial(listener.serve, partial(_serve_client, exchange)), "simulated exchange"):
            yield f"ws://{f'[{host}]' if ':' in host else host}:{bound}{_PATH}"


async def _serve_client(exchange: SimulatedExchange, stream: ByteStream) -> None:
    protocol = ServerProtocol(
        extensions=[ServerPerMessageDeflateFactory(compress_settings={"memLevel": 5})], logger=quiet
    )
    session: Session | None = None
    try:
        with anyio.move_on_after(_HANDSHAKE_SECONDS):
            session = await _shake_hands(exchange, protocol, stream)
        if session is not None:
            await _serve_session(session, WebSocket(protocol, stream, _CLOSE_SECONDS))
    except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
        pass  # the client went away in the middle of something
    finally:
        if session is not None:
            session.close()
        await anyio.aclose_forcefully(stream)


async def _shake_hands(exchange: SimulatedExchange, protocol: ServerProtocol, stream: ByteStream) -> Session | None:
    """Answer the client's request. Returns a session if it was one for a WebSocket, and the answer was yes."""
    requests: list[Request] = []
    while not requests and protocol.handshake_exc is None:
        protocol.receive_data(await stream.receive(_READ_SIZE))
        requests = [event for event in protocol.events_received() if isinstance(event, Request)]
    session: Session | None = None
    if requests:
        path = requests[0].path.partition("?")[0]
        if path == _MARKETS:
            response = _answer(200, json.dumps(exchange.markets()))
        elif path != _PATH:
            response = _answer(404, json.dumps({"error": {"name": 404, "message": f"no such path: {path}"}}))
        else:
            response = protocol.accept(requests[0])
            if response.status_code == 101:
                try:
                    session = exchange.connect(time.time())
                except Refusal as refusal:
                    response = _answer(refusal.status, refusal.body)
        protocol.send_response(response)
    for data in protocol.data_to_send():
        if data:
            await stream.send(data)
    return session if protocol.state is OPEN else None


def _answer(status: int, body: str) -> Response:
    content = body.encode()
    headers = Headers(
        {
            "Date": formatdate(usegmt=True),
            "Connection": "close",
            "Content-Length": str(len(content)),
            "Content-Type": "application/json; charset=utf-8",
        }
    )
    return Response(
        status, {200: "OK", 404: "Not Found", 429: "Too Many Requests"}.get(status, "Refused"), headers, content
    )


async def _serve_session(session: Session, websocket: WebSocket) -> None:
    woken = anyio.Event()

    def wake() -> None:
        nonlocal woken
        woken.set()
        woken = anyio.Event()

    session.wake = wake
    ended: Closing | None = None

    async def hear() -> None:
        while True:
            for message in await websocket.receive():
                session.receive(time.time(), message)

    async def speak() -> None:
        nonlocal ended
        while ended is None:
            wakeup, now = woken, time.time()
            session.touch(now - websocket.idle_seconds())
            if frames := session.take(now):
                with anyio.fail_after(_WRITE_SECONDS):
                    await websocket.send_many(frames)
            elif (ended := session.ended(now)) is None:
                with anyio.move_on_after(max(session.next_time() - now, 0.0)):
                    await wakeup.wait()

    try:
        await first_of(hear=hear, speak=speak)
    except (ConnectionLostError, TimeoutError):
        return
    if ended is not None and ended.code is not None:
        await websocket.aclose(ended.code)
