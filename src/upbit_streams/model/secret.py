"""A text that must not be seen."""

from typing import Any, NoReturn

__all__ = ["Secret"]


# So many characters of a key say something about it.
_TELLING = 4


class Secret:
    """Keeps a key or a token out of logs, messages and tracebacks with local variables: whatever shows it shows stars.

    It does not encrypt anything; it keeps what must not be written from being written by accident.
    """

    __slots__ = ("_beside", "_text")

    def __init__(self, text: str, beside: "tuple[Secret, ...]" = ()) -> None:
        """``beside`` are the secrets that whoever is given this one may have seen, too."""
        self._text = text
        self._beside = beside

    def reveal(self) -> str:
        """The text itself, for the one who has to send it or sign with it."""
        return self._text

    def hidden_in(self, text: str) -> str:
        """What somebody else said, without this secret and those beside it, should it repeat them."""
        for secret in (self, *self._beside):
            text = text.replace(secret._text, "***")
            # The text may have been cut within one.
            for length in range(len(secret._text) - 1, _TELLING - 1, -1):
                if text.endswith(secret._text[:length]):
                    text = text[:-length] + "***"
        return text

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere, so it can be neither pickled nor copied")

    def __eq__(self, other: object) -> Any:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)
