"""Checks for which the other side is played byte by byte: frames, limits, and how connections open and close."""

from contextlib import suppress
from functools import partial

import anyio
import attrs
from anyio.abc import ByteStream
from websockets.frames import Frame, Opcode

from ...transport.interface import Transport
from .check import Check, check, expect, lost, messages, until_lost
from .connect_checks import CONNECT_CHECKS
from .peer import CONFIG, talking
from .stage import Stage

__all__ = ["BYTE_CHECKS"]

_TOO_MUCH = 32 << 20
"""More than any kernel keeps for a socket whose other side does not read."""

NOT_UTF_8 = (
    b"\x80",  # a continuation without a beginning
    b"caf\xe9",  # Latin-1, which looks like a beginning
    b"\xe9t\xe9",
    b"\xc0\xaf",  # overlong: two bytes for "/", and three, and four
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xed\xa0\x80",  # a surrogate, and a pair of them
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",  # beyond U+10FFFF
    b"\xf8\x88\x80\x80\x80",  # five bytes for one character
    b"\xff\xfe",
    b"{\xe2\x82",  # cut off
)
"""Texts that are none."""

NOT_ALLOWED = (
    b"\x83\x00",  # an opcode that nobody has defined
    b"\xf2\x00",  # reserved bits
    b"\x80\x00",  # the end of a message that has not begun
    b"\x09\x00",  # a ping in fragments
    b"\x89\x7e\x00\x7e" + bytes(126),  # a ping that is too long
    b"\x88\x01\x03",  # half a close code
    b"\x88\x02\x03\xec",  # a close code that must not be sent
)
"""Frames that no WebSocket may send."""


@check(over_bytes=True)
async def text_and_binary_come_alike(stage: Stage) -> None:
    """Texts and binary messages must come as they were sent, empty ones and those of one write included."""
    async with talking(stage) as (transport, peer):
        sent: list[str | bytes] = ["text", b"binary", "", b"\x00\xff", "김치", b""]
        await peer.send(*sent)
        received = await messages(transport, len(sent))
        expected = [one.encode() if isinstance(one, str) else one for one in sent]
        expect(received == expected, f"{received} came for {expected}.")


@check(over_bytes=True)
async def big_messages_come_whole(stage: Stage) -> None:
    """A message of just max_message_size bytes must come whole."""
    async with talking(stage) as (transport, peer), anyio.create_task_group() as group:
        sent = bytes(range(256)) * (CONFIG.max_message_size // 256)
        group.start_soon(peer.send, sent, b"small")
        received = await messages(transport, 2)
        expect(received == [sent, b"small"], f"Messages of {[len(one) for one in received]} bytes came.")


@check(over_bytes=True)
async def a_message_that_is_too_large_ends_the_connection(stage: Stage) -> None:
    """A message beyond max_message_size, in bytes, must end the connection with code 1009, behind all before it."""
    for large in (bytes(1001), "가" * 334):
        async with talking(stage, attrs.evolve(CONFIG, max_message_size=1000)) as (transport, peer):
            await peer.send(bytes(1000), large)
            received, why = await until_lost(transport)
            expect(received == [bytes(1000)], f"{len(received)} messages came before the end, and 1 should have.")
            expect(why.code == 1009, f"The code told was {why.code}.")


@check(over_bytes=True)
async def fragments_are_put_together(stage: Stage) -> None:
    """A message in fragments must come whole, and a ping between them must be answered."""
    async with talking(stage) as (transport, peer):
        peer.protocol.send_binary(b"one ", fin=False)
        peer.protocol.send_ping(b"between")
        peer.protocol.send_continuation(b"two ", fin=False)
        peer.protocol.send_continuation(b"three", fin=True)
        await peer.send(b"whole")
        received = await messages(transport, 2)
        expect(received == [b"one two three", b"whole"], f"{received} came.")
        answers: list[tuple[Opcode, bytes]] = []
        async with anyio.create_task_group() as group:
            group.start_soon(until_lost, transport)  # whoever receives answers, with this receive() or the next
            answers.append(await peer.frame())
            group.cancel_scope.cancel()
        expect(answers == [(Opcode.PONG, b"between")], f"The answer was {answers}.")


@check(over_bytes=True)
async def a_text_in_fragments_may_be_cut_anywhere(stage: Stage) -> None:
    """A text that is cut in the middle of a character must come whole."""
    text = "a\u00e9\uae40\U0001f600".encode()
    async with talking(stage) as (transport, peer):
        for cut in range(len(text) + 1):
            peer.protocol.send_text(text[:cut], fin=False)
            peer.protocol.send_continuation(text[cut:], fin=True)
        await peer.flush()
        received = await messages(transport, len(text) + 1)
        expect(received == [text] * (len(text) + 1), f"{received} came.")


@check(over_bytes=True)
async def a_text_that_is_not_utf_8_ends_the_connection(stage: Stage) -> None:
    """A text that is not UTF-8, in one frame or in fragments, must end the connection with code 1007, behind all
    before it. Binary messages may hold anything."""
    for text in NOT_UTF_8:
        for cut in {None, 0, 1, len(text)}:
            async with talking(stage) as (transport, peer):
                peer.protocol.send_binary(text)
                if cut is None:
                    peer.protocol.send_text(text)
                else:
                    peer.protocol.send_text(text[:cut], fin=False)
                    peer.protocol.send_continuation(text[cut:], fin=True)
                await peer.flush()
                received, why = await until_lost(transport)
                answers: list[tuple[Opcode, bytes]] = []
                async with anyio.create_task_group() as group:
                    group.start_soon(transport.aclose)
                    answers.append(await peer.frame())
                    group.cancel_scope.cancel()
                expect(received == [text], f"{received} came before the end, for the binary message {text!r}.")
                expect(why.code == 1007, f"The code told was {why.code}, for the text {text!r}.")
                expect("exchange closed it" not in str(why), f"It was told as {str(why)!r}.")
                opcode, data = answers[0]
                expect((opcode, data[:2]) == (Opcode.CLOSE, b"\x03\xef"), f"{opcode!r} with {data!r} was sent.")


@check(over_bytes=True)
async def a_text_that_will_never_be_utf_8_is_not_waited_for(stage: Stage) -> None:
    """A fragment after which a text cannot be UTF-8 any more must end the connection, without the message's end."""
    async with talking(stage) as (transport, peer):
        peer.protocol.send_text(b"well \xf4", fin=False)
        peer.protocol.send_continuation(b"\x90", fin=False)
        await peer.flush()
        why = await lost(transport.receive, "receive()")
        expect(why.code == 1007, f"The code told was {why.code}.")


@check(over_bytes=True)
async def fragments_without_end_end_the_connection(stage: Stage) -> None:
    """A message of ever more fragments must end the connection with code 1009 or 1008, even if they are empty."""
    for first in (Opcode.BINARY, Opcode.TEXT):
        async with talking(stage) as (transport, peer), anyio.create_task_group() as group:
            many = Frame(Opcode.CONT, b"", fin=False).serialize(mask=False) * 10_000
            await peer.stream.send(Frame(first, b"", fin=False).serialize(mask=False))

            async def flood(stream: ByteStream, many: bytes = many) -> None:
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    for _ in range(100):
                        await stream.send(many)

            group.start_soon(flood, peer.stream)
            received, why = await until_lost(transport)
            expect(not received, f"{len(received)} messages came.")
            expect(why.code in (1008, 1009), f"The code told was {why.code}.")
            expect("fragments" in str(why), f"It was told as {str(why)!r}.")
            group.cancel_scope.cancel()


@check(over_bytes=True)
async def what_breaks_the_protocol_ends_the_connection(stage: Stage) -> None:
    """A frame that may not be must end the connection with code 1002, not as something that the exchange closed; and
    closing must not wait for the exchange then if it has hung up."""
    for frame in NOT_ALLOWED:
        async with talking(stage, attrs.evolve(CONFIG, close_timeout=5.0)) as (transport, peer):
            await peer.stream.send(frame)
            why = await lost(transport.receive, "receive()")
            expect(why.code == 1002, f"The code told was {why.code}, after {frame!r}.")
            expect("exchange closed it" not in str(why), f"It was told as {str(why)!r}.")
            await anyio.aclose_forcefully(peer.stream)
            started = anyio.current_time()
            await transport.aclose()
            expect(anyio.current_time() - started < 2.0, "Closing took more than 2 s.")


@check(over_bytes=True)
async def what_is_sent_arrives(stage: Stage) -> None:
    """send() must send one text message."""
    async with talking(stage) as (transport, peer):
        sent = ["text", "김치", "", "x" * 100_000]
        arrived: list[tuple[Opcode, bytes]] = []
        for text in sent:
            async with anyio.create_task_group() as group:
                group.start_soon(transport.send, text)
                arrived.append(await peer.frame())
        for text, (opcode, data) in zip(sent, arrived, strict=True):
            expect((opcode, data) == (Opcode.TEXT, text.encode()), f"{opcode!r} with {len(data)} bytes arrived.")


@check(over_bytes=True)
async def many_may_send_at_once(stage: Stage) -> None:
    """Messages of several tasks must arrive whole, and those of one task in its order, while another task receives."""

    async def send(transport: Transport, sender: int) -> None:
        for number in range(20):
            await transport.send(f"{sender} {number} {'x' * 1000 * number}")

    async with talking(stage) as (transport, peer):
        arrived: list[str] = []
        async with anyio.create_task_group() as group:
            group.start_soon(until_lost, transport)
            for sender in range(5):
                group.start_soon(send, transport, sender)
            while len(arrived) < 100:
                arrived.append((await peer.frame())[1].decode())
            group.cancel_scope.cancel()
        for sender in range(5):
            own = [text for text in arrived if text.startswith(f"{sender} ")]
            sent = [f"{sender} {number} {'x' * 1000 * number}" for number in range(20)]
            expect(own == sent, f"Of one task's 20 messages {len(own)} arrived, or not as they were sent.")


@check(over_bytes=True)
async def a_close_has_code_and_reason_behind_the_last_message(stage: Stage) -> None:
    """All that was sent before a close frame must come first; the error must have its code, and its reason in words."""
    async with talking(stage) as (transport, peer):
        peer.protocol.send_binary(b"last words")
        peer.protocol.send_close(4001, "maintenance until noon")
        await peer.flush()
        received, why = await until_lost(transport)
        expect(received == [b"last words"], f"{received} came before the end.")
        expect(why.code == 4001, f"The code told was {why.code}.")
        expect("maintenance until noon" in str(why), f"It was told as {str(why)!r}.")


@check(over_bytes=True)
async def an_end_in_the_middle_of_a_frame_is_1006(stage: Stage) -> None:
    """A frame that is cut by the end of the connection must not come, and the code must be 1006."""
    async with talking(stage) as (transport, peer):
        frames = Frame(Opcode.BINARY, b"whole").serialize(mask=False) + Frame(Opcode.BINARY, b"cut").serialize(
            mask=False
        )
        await peer.stream.send(frames[:-1])
        await anyio.aclose_forcefully(peer.stream)
        received, why = await until_lost(transport)
        expect(received == [b"whole"], f"{received} came before the end.")
        expect(why.code == 1006, f"The code told was {why.code}.")


@check(over_bytes=True)
async def the_end_releases_who_waits_for_a_pong(stage: Stage) -> None:
    """A ping() must raise ConnectionLostError when the connection ends before the pong comes."""
    async with talking(stage) as (transport, peer), anyio.create_task_group() as group:
        group.start_soon(until_lost, transport)

        async def end() -> None:
            await peer.frame()
            await anyio.aclose_forcefully(peer.stream)

        group.start_soon(end)
        await lost(transport.ping, "ping()")


@check(over_bytes=True)
async def closing_is_polite(stage: Stage) -> None:
    """aclose() must send a close frame with code 1000, and be done soon after the server has answered it."""
    async with talking(stage, attrs.evolve(CONFIG, close_timeout=5.0)) as (transport, peer):
        started = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(transport.aclose)
            opcode, data = await peer.frame()
            expect((opcode, data[:2]) == (Opcode.CLOSE, b"\x03\xe8"), f"{opcode!r} with {data!r} was sent.")
            await peer.flush()
            await peer.stream.aclose()
        expect(anyio.current_time() - started < 2.0, "It took more than 2 s.")


@check(over_bytes=True)
async def closing_takes_no_longer_than_close_timeout(stage: Stage) -> None:
    """aclose() must close by force after close_timeout, if the server never answers, or does not even read."""
    async with talking(stage) as (transport, peer):
        started = anyio.current_time()
        await transport.aclose()
        expect(anyio.current_time() - started < CONFIG.close_timeout + 1.0, "It took a second longer.")
        await peer.at_end()
    async with talking(stage) as (transport, peer), anyio.create_task_group() as group:

        async def send() -> None:
            await lost(partial(transport.send, "x" * _TOO_MUCH), "send() to a server that does not read")

        group.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        started = anyio.current_time()
        await transport.aclose()
        expect(anyio.current_time() - started < CONFIG.close_timeout + 1.0, "With a send() under way it took longer.")


@check(over_bytes=True)
async def a_cancelled_close_closes_at_once(stage: Stage) -> None:
    """A cancelled aclose() must close by force, without waiting for the server."""
    async with talking(stage, attrs.evolve(CONFIG, close_timeout=30.0)) as (transport, peer):
        started = anyio.current_time()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await transport.aclose()
        await peer.at_end()
        expect(anyio.current_time() - started < 2.0, "It took more than 2 s.")


BYTE_CHECKS: tuple[Check, ...] = (
    text_and_binary_come_alike,
    big_messages_come_whole,
    a_message_that_is_too_large_ends_the_connection,
    fragments_are_put_together,
    a_text_in_fragments_may_be_cut_anywhere,
    a_text_that_is_not_utf_8_ends_the_connection,
    a_text_that_will_never_be_utf_8_is_not_waited_for,
    fragments_without_end_end_the_connection,
    what_breaks_the_protocol_ends_the_connection,
    what_is_sent_arrives,
    many_may_send_at_once,
    a_close_has_code_and_reason_behind_the_last_message,
    an_end_in_the_middle_of_a_frame_is_1006,
    the_end_releases_who_waits_for_a_pong,
    closing_is_polite,
    closing_takes_no_longer_than_close_timeout,
    a_cancelled_close_closes_at_once,
    *CONNECT_CHECKS,
)
"""Those that apply where the other side can be played byte by byte."""
