"""What the exchange says may steer a terminal, forge a line of a log, or repeat a key: none of that is ever shown."""

import logging
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import wall
from tests.unit.test_foreign import STEERING

from upbit_streams import (
    Backoff,
    Config,
    ConnectionLostError,
    Credentials,
    DataType,
    Endpoint,
    HandshakeRefusedError,
    open_manager,
)

ACCESS, SECRET = "AcCeSs0123456789abcdefghijKLMNOPQRSTUVWX", "sEcReTzyxwvutsrqponmlkji9876543210ZYXWVU"
DOORS = ["refused", "lost", "raised", "error frame", "bad frame", "unknown type", "unknown value", "login"]


class Hostile:
    """A transport of an exchange that says one thing, by one of the doors."""

    def __init__(self, frames: list[bytes], end: Exception) -> None:
        self.frames = frames
        self.end = end

    async def receive(self) -> Sequence[bytes]:
        await anyio.sleep(0.1)
        if self.frames:
            return [self.frames.pop()]
        raise self.end

    async def send(self, message: str) -> None:
        await anyio.lowlevel.checkpoint()

    async def ping(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()


def by(door: str, text: str) -> Hostile:
    """Raises, or returns, what says this text by this door."""
    lost = ConnectionLostError(f"the exchange closed it with code 1000 ({text})")
    encode = msgspec.json.encode
    match door:
        case "refused":
            raise HandshakeRefusedError("wss://memory", 503, text)
        case "login":
            body = '{"error":{"name":"x","message":"' + "".join(f"\\u{ord(one):04x}" for one in text[:300]) + '"}}'
            raise HandshakeRefusedError("wss://memory", 401, body)
        case "raised":
            raise ValueError(text)
        case "lost":
            return Hostile([], lost)
        case "error frame":
            return Hostile([encode({"error": {"name": text, "message": text}})], lost)
        case "bad frame":
            return Hostile([b"no json " + text.encode()], lost)
        case "unknown type":
            return Hostile([encode({"type": text, "code": text})], lost)
        case _:
            return Hostile([encode({"type": "myOrder", "state": text, text: 1})], lost)


@given(
    door=st.sampled_from(DOORS),
    parts=st.lists(st.sampled_from([*STEERING[:-2], "token", "half", "tail", "key", "secret", "x" * 150]), max_size=12),
)
def test_no_door_lets_a_control_character_or_a_piece_of_a_secret_through(
    virtual_run: Callable[..., Any], door: str, parts: list[str]
) -> None:
    secrets = {ACCESS, SECRET}
    shown: list[str] = []

    async def connector(_: str, __: Config, token: Any = None) -> Any:
        await anyio.sleep(0.01)
        texts = {"key": ACCESS, "secret": SECRET}
        if token is not None:
            whole = token.reveal()
            secrets.add(whole)
            texts |= {"token": whole, "half": whole[: len(whole) // 2], "tail": whole[-40:]}
        return by(door, "".join(texts.get(part, part) for part in parts))

    async def main() -> None:
        config = Config(url="wss://memory", backoff=Backoff(initial=0.1, maximum=0.1))
        credentials = Credentials(ACCESS, SECRET)
        async with (
            open_manager(config, connector=connector, wall=wall, draw=lambda: 0.5, credentials=credentials) as manager,
            manager.open_client("c") as client,
            client.stream(DataType.MY_ORDER, notices=True) as orders,
        ):
            with anyio.move_on_after(5):
                while True:
                    try:
                        shown.append(repr(await orders.receive()))
                    except Exception as why:  # noqa: BLE001 -- a refused login, most of all
                        shown.extend([str(why), repr(why)])
                        break
            status, health = manager.status(Endpoint.PRIVATE), manager.health()
            shown.extend(
                [
                    status.reason,
                    status.last_bad_frame,
                    *(reason for one in health.connections for reason in one.reasons),
                ]
            )
            shown.extend(f"{one.what} {one.where} {one.sample}" for one in status.drift)

    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("upbit_streams")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        virtual_run(main)
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
    assert len(shown) > 3
    for text in shown:
        if "payload=" not in text:  # what an event holds is raw
            assert not any(unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") for one in text), text
            assert not any(secret[at : at + 8] in text for secret in secrets for at in range(len(secret) - 7)), text


@pytest.mark.parametrize("door", DOORS)
def test_a_token_and_steering_by_each_door(virtual_run: Callable[..., Any], door: str) -> None:
    parts = ["\x1b]0;mine\x07", "\x1b[2J", "\r\n", "x" * 150, "token", "key"]
    test_no_door_lets_a_control_character_or_a_piece_of_a_secret_through.hypothesis.inner_test(  # type: ignore[attr-defined]
        virtual_run, door, parts
    )
