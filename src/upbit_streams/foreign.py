"""What somebody else wrote, as it may be shown to people: on a terminal, in a log, in an error.

A close reason, a body, an error frame, a market code, the text of an exception of code that is not ours: all of them
are chosen by others. Shown as they are, they could steer a terminal, forge lines of a log, fill it, or repeat a key.
Every such text passes through here before it is shown. What events hold stays as it was sent.
"""

from typing import Protocol

__all__ = ["Hides", "failure_text", "shown", "visible"]

_MOST = 200
_LOOKED_AT = 8
"""A secret may be longer than what is shown, and what takes its place is short; so more is looked at than is shown."""


class Hides(Protocol):
    """A secret."""

    def hidden_in(self, text: str) -> str:
        """The text without the secret and without pieces of it."""
        ...


def visible(text: str) -> str:
    r"""The same text with every character written out that shows nothing itself, as Python's ``repr`` has it.

    Escape becomes ``\x1b``, the end of a line ``\n``. It is meant for what the exchange sent, before it is shown on a
    terminal or written to a log: such characters move the cursor, begin lines, or turn the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shown(text: str, secret: Hides | None = None, most: int = _MOST) -> str:
    """What may be shown of a text: without the secret, wherever that stands in it; visible; and at most so long."""
    # In this order: a secret that was cut, or that has other characters written out in it, would not be found.
    text = text[: most * _LOOKED_AT]
    if secret is not None:
        text = secret.hidden_in(text)
    text = visible(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def failure_text(why: BaseException, secret: Hides | None = None) -> str:
    """What may be shown of an exception of code that is not ours: its type and its text."""
    try:
        text = str(why)
    except Exception:  # noqa: BLE001 -- this is code that is not ours, too
        text = ""
    name = type(why).__name__
    return shown(f"{name}: {text}" if text else name, secret)
