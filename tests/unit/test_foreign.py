"""The one door for what others wrote: nothing that is shown steers a terminal, or has a piece of a secret in it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import (
    AuthenticationError,
    ConnectFailedError,
    ConnectionLostError,
    HandshakeRefusedError,
    ReconnectFailedError,
    Secret,
    StaleDataError,
    SubscriptionError,
    UpbitStreamsError,
)
from upbit_streams.foreign import failure_text, shown, visible

TOKEN = "eyJhbGciOiJIUzUxMiJ9.eyJub25jZSI6IjEyMyJ9.Q0FGRUJBQkU_ZXhhbXBsZS1zaWduYXR1cmU-x"  # noqa: S105 -- nobody's

STEERING = (
    *("\x1b]0;title\x07", "\x1b[2J", "\r\n", "\n", "\x00", "\x7f", "\x9b2J", "\x85", "\t"),
    *("\u202e", "\u2066", "\u2028", "\u2029", "\u200b", "\ufeff", "\ud800", "\U000e0001"),
)
steering = st.sampled_from(STEERING)
pieces = st.tuples(st.integers(0, len(TOKEN)), st.integers(0, len(TOKEN))).map(lambda cut: TOKEN[min(cut) : max(cut)])
hostile = st.lists(steering | pieces | st.text(max_size=20), max_size=40).map("".join)


def is_safe(text: str) -> bool:
    return not any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") for one in text)


def is_discreet(text: str) -> bool:
    return not any(TOKEN[at : at + 8] in text for at in range(len(TOKEN) - 7))


@given(text=hostile, most=st.integers(10, 300))
def test_whatever_is_shown_is_visible_short_and_has_no_piece_of_a_secret(text: str, most: int) -> None:
    told = shown(text, Secret(TOKEN), most)
    assert is_safe(told)
    assert is_discreet(told)
    assert len(told) <= most


@given(text=hostile)
def test_every_error_has_a_safe_text_whatever_it_is_made_of(text: str) -> None:
    errors: list[UpbitStreamsError] = [
        UpbitStreamsError(text),
        HandshakeRefusedError("wss://x", 418, text),
        AuthenticationError("wss://x", text, text, "look"),
        SubscriptionError("ticker", text, text, text),
        ConnectFailedError("wss://x", text),
        ConnectionLostError(text),
        ReconnectFailedError("wss://x", 3, text),
        StaleDataError("ticker", text, 1.0, 0.5, text),
    ]
    for error in errors:
        assert is_safe(str(error))
        assert is_safe(repr(error))


@pytest.mark.parametrize("cut", range(180, 290, 7))
def test_a_token_that_is_cut_by_the_bound_is_not_shown_in_part(cut: int) -> None:
    assert is_discreet(shown("x" * cut + TOKEN, Secret(TOKEN)))


def test_control_characters_are_written_out() -> None:
    assert (
        visible("\x1b]0;mine\x07 a\r\nb \u202e \u200b 한국어 ok") == r"\x1b]0;mine\x07 a\r\nb \u202e \u200b 한국어 ok"
    )


def test_a_long_text_is_cut_and_says_so() -> None:
    assert shown("x" * 300, most=10) == "xxxxxxxxx…"


def test_an_exception_that_cannot_tell_itself_is_told_by_its_type() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert failure_text(BrokenError()) == "BrokenError"
    assert failure_text(ValueError("a\nb")) == r"ValueError: a\nb"
