"""The simulated exchange on a real socket: the three WebSocket endpoints, and ``GET /v1/market/all``."""

import json
import logging
import struct
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET

import anyio
from anyio.abc import ByteStream, SocketAttribute
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from ..engine.service import first_of, open_service
from ..exceptions import ConnectionLostError
from ..transport.websocket import WebSocket, quiet
from .conditions import Refusal
from .exchange import SimulatedExchange
from .paths import ENDPOINTS, PUBLIC_PATH, token_of
from .session import Closing, Session
from .stalling import StallingStream

__all__ = ["open_exchange", "serve_client"]

_MARKETS = "/v1/market/all"
_READ_SIZE = 1 << 16
_HANDSHAKE_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
# A client that takes nothing for this long is not slow but gone.
WRITE_SECONDS = 60.0
LOOK_SECONDS = 1.0

_log = logging.getLogger("upbit_streams.testing")
_wall = time.time  # noqa: TID251 -- a server on a real socket lives in real time


@asynccontextmanager
async def open_exchange(
    exchange: SimulatedExchange, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[str, None]:
    """Serve the exchange as long as the block, and yield the URL for :class:`~upbit_streams.Config`: that of
    the public endpoint, which the others follow as on the real exchange.

    Port 0 picks a free one. Leaving the block drops every session, as an exchange that is killed does. Raises
    ``OSError`` if the address cannot be used. A session that crashes, which is a bug in the exchange or its source, is
    logged and closed with code 1011; the others go on.
    """
    async with await anyio.create_tcp_listener(local_host=host, local_port=port) as listener:
        bound = listener.extra(SocketAttribute.local_port)  # noqa: S610 -- this is not Django's
        serve = partial(listener.serve, partial(serve_client, exchange, _wall))
        run = partial(first_of, server=serve, market=partial(_keep_moving, exchange))
        async with open_service(run, "simulated exchange"):
            yield f"ws://{f'[{host}]' if ':' in host else host}:{bound}{PUBLIC_PATH}"


async def _keep_moving(exchange: SimulatedExchange) -> None:
    # A simulated market moves when somebody looks. One that nobody has looked at for a day would take minutes to catch
    # up, and nobody else would be served meanwhile.
    while True:
        await anyio.sleep(LOOK_SECONDS)
        exchange.advance(_wall())


async def serve_client(exchange: SimulatedExchange, wall: Callable[[], float], socket: ByteStream) -> None:
    """Serve one client over any stream of bytes, from its request to the end of its session. ``wall`` tells seconds
    since the Unix epoch. Cancelling it drops the client."""
    stream = StallingStream(socket)
    protocol = ServerProtocol(
        extensions=[ServerPerMessageDeflateFactory(compress_settings={"memLevel": 5})], logger=quiet
    )
    websocket = WebSocket(protocol, stream, _CLOSE_SECONDS)
    session: Session | None = None
    try:
        with anyio.move_on_after(_HANDSHAKE_SECONDS) as handshake:
            response, session = _answer(exchange, wall, protocol, await _request(protocol, stream))
            await _send_response(protocol, stream, response)
        if session is not None and not handshake.cancelled_caught:
            stream.session = session
            stream.is_leaving = lambda: protocol.state is not State.OPEN
            if await _serve_session(session, wall, websocket):
                await _tear(socket)
    except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
        pass  # the client went away in the middle of something
    except Exception:  # noqa: BLE001 -- logged
        # One client's session must not end the others', whatever is wrong with it.
        _log.exception("a session of the simulated exchange crashed")
        await websocket.aclose(1011)
    finally:
        if session is not None:
            session.close()
        await anyio.aclose_forcefully(stream)


async def _request(protocol: ServerProtocol, stream: ByteStream) -> Request | None:
    """Wait for the client's request. None if what came is none."""
    while protocol.handshake_exc is None:
        protocol.receive_data(await stream.receive(_READ_SIZE))
        for event in protocol.events_received():
            if isinstance(event, Request):
                return event
    return None


def _answer(
    exchange: SimulatedExchange, wall: Callable[[], float], protocol: ServerProtocol, request: Request | None
) -> tuple[Response, Session | None]:
    """The answer to a request; with a session, if it was one for a WebSocket and the answer is yes."""
    if request is None:
        return _json(400, {"error": {"name": 400, "message": "no HTTP request"}}), None
    path = request.path.partition("?")[0]
    # Before version 17 the protocol lets nothing but GET pass, and does not tell.
    method = getattr(request, "method", "GET")
    if path == _MARKETS and method in ("GET", "HEAD"):
        response = _json(200, exchange.markets())
        if method == "HEAD":
            response.body = b""
        return response, None
    if path == _MARKETS:
        response = _json(405, {"error": {"name": 405, "message": f"{method} is not allowed"}})
        response.headers["Allow"] = "GET, HEAD"
        return response, None
    endpoint = ENDPOINTS.get(path)
    if endpoint is None:
        return _json(404, {"error": {"name": 404, "message": f"no such path: {path}"}}), None
    response = protocol.accept(request)
    if response.status_code != 101:
        return response, None
    try:
        return response, exchange.connect(wall(), endpoint, token_of(request.headers))
    except Refusal as refusal:
        return _response(refusal.status, refusal.body), None
    except Exception:  # noqa: BLE001 -- logged
        _log.exception("a session of the simulated exchange could not be opened")
        return _json(500, {"error": {"name": 500, "message": "internal error"}}), None


async def _send_response(protocol: ServerProtocol, stream: ByteStream, response: Response) -> None:
    if response.status_code == 101:
        protocol.send_response(response)
        await stream.send(b"".join(protocol.data_to_send()))
        return
    await stream.send(response.serialize())
    # Whoever closes a socket before all has been read from it, takes back what was sent last.
    await stream.send_eof()
    with anyio.move_on_after(_CLOSE_SECONDS):
        while True:
            await stream.receive(_READ_SIZE)


def _json(status: int, content: object) -> Response:
    return _response(status, json.dumps(content))


def _response(status: int, body: str) -> Response:
    content = body.encode()
    headers = Headers(
        {
            "Date": formatdate(usegmt=True),
            "Connection": "close",
            "Content-Length": str(len(content)),
            "Content-Type": "application/json; charset=utf-8",
        }
    )
    known = {known.value: known.phrase for known in HTTPStatus}
    return Response(status, known.get(status, "Refused"), headers, content)


async def _tear(socket: ByteStream) -> None:
    """Reset a socket in the middle of a frame."""
    with anyio.move_on_after(_CLOSE_SECONDS):
        await socket.send(b"\x82\x7e\x01\x00{")  # the head of a binary frame of 256 bytes, and the first of them
    raw = socket.extra(SocketAttribute.raw_socket, None)  # noqa: S610 -- not Django's
    if raw is not None:
        # Whatever has not been sent is thrown away, and the peer told so.
        raw.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


async def _serve_session(session: Session, wall: Callable[[], float], websocket: WebSocket) -> bool:
    """Serve until the session is over. Tells whether it ends with a reset."""
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
                session.receive(wall(), message)

    async def speak() -> None:
        nonlocal ended
        while ended is None:
            wakeup, now = woken, wall()
            session.touch(now - websocket.idle_seconds())
            if frames := session.take(now):
                with anyio.fail_after(WRITE_SECONDS):
                    await websocket.send_many(frames)
            elif (ended := session.ended(now)) is None:
                with anyio.move_on_after(max(session.next_time() - now, 0.0)):
                    await wakeup.wait()

    with suppress(ConnectionLostError, TimeoutError):
        await first_of(hear=hear, speak=speak)
    if ended is None:
        await websocket.aclose()  # the client may still be owed an answer to its goodbye
    elif ended.code is not None:
        await websocket.aclose(ended.code)
    return ended is not None and ended.torn
