"""A text that must not be seen."""

from itertools import groupby
from operator import itemgetter
from typing import Any, NoReturn

__all__ = ["Secret"]


_PIECE = 8
"""So many characters of a secret in a row are hidden, too, as its text may have been cut or wrapped."""


class Secret:
    """Keeps a key or a token out of logs, messages and tracebacks with local variables: whatever shows it shows stars.

    It does not encrypt anything; it keeps what must not be written from being written by accident.
    """

    __slots__ = ("_beside", "_pieces", "_text")

    def __init__(self, text: str, beside: "tuple[Secret, ...]" = ()) -> None:
        """``beside`` are the secrets that whoever is given this one may have seen, too."""
        self._text = text
        self._beside = beside
        self._pieces = frozenset(text[at : at + _PIECE] for at in range(max(len(text) - _PIECE, 0) + 1)) - {""}

    def reveal(self) -> str:
        """The text itself, for the one who has to send it or sign with it."""
        return self._text

    def hidden_in(self, text: str) -> str:
        """What somebody else said, without this secret and those beside it, should it repeat them, or pieces of them,
        wherever they stand."""
        covered = bytearray(len(text))
        for secret in (self, *self._beside):
            for piece in secret._pieces:
                at = text.find(piece)
                while at >= 0:
                    covered[at : at + len(piece)] = b"*" * len(piece)
                    at = text.find(piece, at + 1)
        if not any(covered):
            return text
        runs = groupby(zip(text, covered, strict=True), key=itemgetter(1))
        return "".join("***" if is_covered else "".join(one for one, _ in run) for is_covered, run in runs)

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere, so it can be neither pickled nor copied")

    def __eq__(self, other: object) -> Any:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)
