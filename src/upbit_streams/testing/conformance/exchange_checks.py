"""Checks for which the other side is a simulated exchange, so that every connector can do them."""

import json
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random
from uuid import uuid4

import anyio

from ...auth import Credentials, login_token
from ...exceptions import HandshakeRefusedError
from ...model.events import TradeEvent
from ...model.kinds import Endpoint
from ...transport.interface import Transport
from ..exchange import Refusal, SimulatedExchange
from ..sources import Recorded, Replay
from .check import Check, check, expect, lost, messages, until_lost
from .peer import CONFIG
from .stage import Stage

__all__ = ["EXCHANGE_CHECKS"]

_COUNT = 200
_REQUEST = json.dumps([{"ticket": "conformance"}, {"type": "trade", "codes": ["KRW-BTC"]}, {"format": "DEFAULT"}])
_LOOK = 0.01


def _recording(interval: float) -> list[Recorded]:
    return [
        Recorded(
            number * interval,
            TradeEvent(
                code="KRW-BTC",
                timestamp=1_790_000_000_000 + number,
                stream_type="REALTIME",
                trade_price=1.0,
                trade_volume=1.0,
                ask_bid="BID",
                prev_closing_price=1.0,
                change="EVEN",
                change_price=0.0,
                trade_date="2026-09-21",
                trade_time="14:13:20",
                trade_timestamp=1_790_000_000_000 + number,
                sequential_id=number,
            ),
        )
        for number in range(_COUNT)
    ]


@asynccontextmanager
async def _connected(stage: Stage, interval: float = 0.0) -> AsyncGenerator[tuple[Transport, SimulatedExchange], None]:
    """A connection to an exchange that plays numbered trades, so many seconds apart, or at once."""
    exchange = SimulatedExchange(Replay(_recording(interval), speed=1.0 if interval else math.inf))
    async with stage.play(exchange) as (connect, url):
        transport = await connect(url, CONFIG, None)
        try:
            yield transport, exchange
        finally:
            with anyio.CancelScope() as closing:
                closing.cancel()
                await transport.aclose()


def _numbers(frames: list[bytes]) -> list[int]:
    return [json.loads(frame)["sequential_id"] for frame in frames]


@check(over_bytes=False)
async def delivers_everything_in_order(stage: Stage) -> None:
    """Every message must come, once, and in the order in which it was sent."""
    async with _connected(stage) as (transport, _):
        await transport.send(_REQUEST)
        received = _numbers(await messages(transport, _COUNT))
        expect(received == list(range(_COUNT)), f"Of {_COUNT} messages came {received}.")


@check(over_bytes=False)
async def a_ping_is_answered(stage: Stage) -> None:
    """ping() must return when the pong comes, while another task receives."""
    async with _connected(stage) as (transport, _), anyio.create_task_group() as group:
        group.start_soon(until_lost, transport)
        for _ in range(3):
            with anyio.move_on_after(2.0) as scope:
                await transport.ping()
            expect(not scope.cancelled_caught, "It did not return within 2 s.")
        group.cancel_scope.cancel()


@check(over_bytes=False)
async def a_cancelled_receive_loses_nothing(stage: Stage) -> None:
    """A message must not be lost because a receive() was cancelled, whenever that was."""
    moments = Random(7)  # noqa: S311 -- nobody has to guess them
    async with _connected(stage, 0.005) as (transport, _):
        await transport.send(_REQUEST)
        received: list[int] = []
        while len(received) < _COUNT:
            with anyio.move_on_after(moments.choice([0.0, 0.0002, 0.001, 0.004])):
                received += _numbers(await messages(transport, 1))
        expect(received == list(range(_COUNT)), f"Of {_COUNT} messages came {received}.")


@check(over_bytes=False)
async def closing_ends_the_session(stage: Stage) -> None:
    """After aclose() the exchange must see that the client has gone, and all else must raise ConnectionLostError."""
    async with _connected(stage) as (transport, exchange):
        expect(len(exchange.sessions) == 1, f"The exchange has {len(exchange.sessions)} sessions of one connection.")
        await transport.aclose()
        with anyio.move_on_after(2.0):
            while exchange.sessions:  # noqa: ASYNC110 -- a session tells nobody that it has ended
                await anyio.sleep(_LOOK)
        expect(not exchange.sessions, "The session is still open after 2 s.")
        await lost(transport.receive, "receive() after aclose()")
        await lost(lambda: transport.send("x"), "send() after aclose()")
        await lost(transport.ping, "ping() after aclose()")
        await transport.aclose()


@check(over_bytes=False)
async def a_close_of_the_exchange_has_its_code(stage: Stage) -> None:
    """A close frame of the exchange must be told as ConnectionLostError with its code."""
    async with _connected(stage) as (transport, exchange):
        await transport.send(_REQUEST)
        await messages(transport, _COUNT)
        exchange.end_sessions(stage.wall(), 1012)
        _, why = await until_lost(transport)
        expect(why.code == 1012, f"The code was 1012, and {why.code} was told.")
        await lost(transport.receive, "receive() after the end")
        await lost(lambda: transport.send("x"), "send() after the end")
        await lost(transport.ping, "ping() after the end")


@check(over_bytes=False)
async def an_end_without_a_close_frame_is_1006(stage: Stage) -> None:
    """A connection that ends without a close frame must be told as ConnectionLostError with code 1006."""
    async with _connected(stage) as (transport, exchange):
        exchange.end_sessions(stage.wall())
        _, why = await until_lost(transport)
        expect(why.code == 1006, f"{why.code} was told.")


@check(over_bytes=False)
async def a_refused_handshake_has_status_and_body(stage: Stage) -> None:
    """An HTTP status instead of a handshake must be told as HandshakeRefusedError, with the status and the body."""
    exchange = SimulatedExchange(Replay(_recording(1.0)))
    exchange.refusal = Refusal(418, "blocked for 60 s")
    async with stage.play(exchange) as (connect, url):
        try:
            await connect(url, CONFIG, None)
        except HandshakeRefusedError as why:
            told = why.status, why.body
            expect(told == (418, "blocked for 60 s"), f"{told} was told.")
        else:
            expect(False, "It connected.")


@check(over_bytes=False)
async def a_login_is_taken(stage: Stage) -> None:
    """The token must reach the exchange."""
    exchange = SimulatedExchange(Replay(_recording(1.0)))
    account = exchange.open_account()
    token = login_token(Credentials(account.access_key, account.secret_key.reveal()), str(uuid4()))
    async with stage.play(exchange) as (connect, url):
        transport = await connect(f"{url}/private", CONFIG, token)
        endpoints = [session.endpoint for session in exchange.sessions]
        expect(endpoints == [Endpoint.PRIVATE], f"The exchange has sessions of {endpoints}.")
        expect(token.reveal() not in repr(transport), "The repr of the transport has the token in it.")
        await transport.aclose()


EXCHANGE_CHECKS: tuple[Check, ...] = (
    delivers_everything_in_order,
    a_ping_is_answered,
    a_cancelled_receive_loses_nothing,
    closing_ends_the_session,
    a_close_of_the_exchange_has_its_code,
    an_end_without_a_close_frame_is_1006,
    a_refused_handshake_has_status_and_body,
    a_login_is_taken,
)
"""Those that apply to every stage."""
