"""Which want is it that the exchange refuses?

The exchange refuses a request as a whole and names nothing (protocol section 6). So the guilty are searched for: what
was accepted is trusted, what was not is suspect. A request that is refused twice in a row, since the first time may
have been chance, has its suspects split into parts, and the parts are tried one after the other, each together with all
that is trusted. A part that is accepted costs a message; one that is refused costs an epoch, and is split again, until
it is a single want.

Each epoch of a search begins with what is trusted alone. So the good wants are served all the while, and a single want
is accused only if it is refused the second time in a row, in an epoch in which the exchange has accepted a request
without it; and it is sentenced only when the exchange accepts something once more. Where nothing is trusted, a refusal
says nothing of a want, as the exchange may be refusing whatever it is asked. Then the parts are tried for one that is
accepted, and what was refused alone meanwhile is tried again, together, after everything else: by then there is
something to trust, or the search begins anew with the whole. So an exchange that refuses whatever it is asked finds
nobody guilty, however long it does.

But for one: a want that is alone has nobody to testify for it. Most likely somebody is trying out a first stream with a
wrong option, and would wait for ever without a word. So it is found guilty if it is all that is wanted, was never
accepted before, and is refused five times in a row. With the usual pauses that is about four seconds; three times would
be one second, which a passing trouble of the exchange may well last.
"""

from collections.abc import Callable

import attrs

from ..model.subscriptions import Want, Wants
from .login import REFUSALS

__all__ = ["Attempt", "Suspects", "Verdict", "is_about_the_request"]

# A split into more parts costs more messages, each of which brings all snapshots again, and fewer epochs. With ten a
# thousand wants are three splits deep.
_PARTS = 10

# So often in a row a want is refused that is alone, before it is found guilty.
_ALONE = 5

# A request with as many wants would take a megabyte.
_MOST_KNOWN = 10_000

_ABOUT_REQUESTS = ("WRONG_", "NO_", "INVALID_")


def is_about_the_request(name: str) -> bool:
    """Whether the name of an error frame says that what was asked for is wrong. The names that are known are
    ``WRONG_FORMAT``, ``NO_TYPE``, ``NO_CODES`` and ``INVALID_PARAM``; that there are too many requests, that a login is
    wrong or that the exchange itself has failed is no fault of a want."""
    return name.startswith(_ABOUT_REQUESTS) and name not in REFUSALS


@attrs.frozen
class Attempt:
    """What to ask for next."""

    wants: Wants
    is_trial: bool
    """Whether some of it has been refused before, so that the epoch may well end with it."""


@attrs.frozen
class Verdict:
    """A want that the exchange refuses, and what it said."""

    want: Want
    name: str
    message: str


@attrs.define
class _Part:
    """Suspects that are tried together."""

    wants: Wants
    refusals: int = 0
    is_first: bool = False
    """Whether it was a request before anybody was suspected."""
    is_rest: bool = False
    """Whether it is of those that were refused when nothing was trusted. It is the last one, and grows."""

    def is_due(self, is_based: bool) -> bool:
        """Whether it was refused often enough. In the middle of a search once will do, but for an accusation: should it
        have been chance, all of its parts are accepted."""
        return self.refusals >= (2 if self.is_first or (is_based and len(self.wants) == 1) else 1)

    def split(self) -> list["_Part"]:
        # In an order of their own, so that a search is the same each time.
        members = sorted(self.wants, key=repr)
        size = -(-len(members) // _PARTS)
        return [_Part(frozenset(members[at : at + size])) for at in range(0, len(members), size)]


class Suspects:
    """The search, over all epochs of a connection. Sans-IO: it says what to ask for, and is told what came of it."""

    def __init__(self) -> None:
        self._trusted: Wants = frozenset()
        """What was part of an accepted request, and has not been refused alone since."""
        self._known: set[Want] = set()
        """What was part of an accepted request. Of indicators there is no end, so what is not asked for any more is
        forgotten once there are too many."""
        self._parts: list[_Part] = []
        """Those still to be tried, the next one first."""
        self._accused: dict[Want, Verdict] = {}
        """Guilty as soon as the exchange accepts anything at all."""
        self._wanted: Wants = frozenset()
        self._alone = 0
        """How often what is wanted was refused while it was a single want that had never been accepted."""
        self._is_based = False
        """Whether the exchange has accepted a request in this epoch."""

    def begin(self) -> None:
        """An epoch begins."""
        self._is_based = False

    def attempt(self, wanted: Wants) -> Attempt:
        """What to ask for next in this epoch, where all of these are wanted."""
        self._forget_all_but(wanted)
        suspects = frozenset[Want]().union(*(part.wants for part in self._parts))
        new = wanted - self._trusted - suspects - self._accused.keys()
        is_search = bool(self._parts or self._accused)
        if is_search and self._trusted and not self._is_based:
            return Attempt(self._trusted, is_trial=False)
        if new or not self._parts:
            return Attempt(self._trusted | new, is_trial=False)
        return Attempt(self._trusted | self._parts[0].wants, is_trial=True)

    def trusts(self, wants: Wants) -> bool:
        """Whether all of these were accepted before."""
        return wants <= self._trusted

    def accepted(self, asked: Wants) -> list[Verdict]:
        """The exchange has taken a request. Returns what it is now known to refuse."""
        self._is_based = True
        self._trusted |= asked
        self._known |= asked
        if len(self._known) > _MOST_KNOWN:
            self._known = set(asked)
        self._prune_parts(lambda want: want not in asked)
        return self._sentence()

    def refused(self, asked: Wants, name: str, message: str) -> list[Verdict]:
        """The exchange has answered a request with an error. Returns what it is now known to refuse."""
        if len(asked) == 1 and asked == self._wanted and not asked & self._known:
            self._alone += 1
            if self._alone == _ALONE:
                return self._sentence_alone(asked, name, message)
        tested = asked - self._trusted
        if not tested:
            # It was accepted once, and is not now: nothing that was known before holds any more.
            self._postpone_all()
            self._trusted -= asked
            tested = asked
        if not (self._parts and tested == self._parts[0].wants):
            self._parts.insert(0, _Part(tested, is_first=True))
        part = self._parts[0]
        part.refusals += 1
        if part.is_due(self._is_based):
            del self._parts[0]
            if len(part.wants) > 1:
                self._parts[:0] = part.split()
            elif self._is_based:
                (want,) = part.wants
                self._accused[want] = Verdict(want, name, message)
            else:
                self._postpone(part.wants)
        return []

    def _sentence_alone(self, asked: Wants, name: str, message: str) -> list[Verdict]:
        self._alone = 0
        self._parts.clear()
        (want,) = asked
        return [Verdict(want, name, message)]

    def _sentence(self) -> list[Verdict]:
        guilty = list(self._accused.values())
        self._accused.clear()
        return guilty

    def _postpone(self, wants: Wants) -> None:
        """Try these again when all others have been."""
        if not (self._parts and self._parts[-1].is_rest):
            self._parts.append(_Part(frozenset(), is_rest=True))
        self._parts[-1].wants |= wants

    def _postpone_all(self) -> None:
        """Begin anew with all who are suspected or accused."""
        suspects = frozenset(self._accused).union(*(part.wants for part in self._parts))
        self._accused.clear()
        self._parts.clear()
        if suspects:
            self._postpone(suspects)

    def _forget_all_but(self, wanted: Wants) -> None:
        if wanted != self._wanted:
            self._alone = 0
        self._wanted = wanted
        self._trusted &= wanted
        self._prune_parts(lambda want: want in wanted)
        for want in self._accused.keys() - wanted:
            del self._accused[want]
        if wanted <= self._accused.keys():
            self._postpone_all()  # those who could have been accepted have left: try these again

    def _prune_parts(self, keeps: Callable[[Want], bool]) -> None:
        for part in self._parts:
            part.wants = frozenset(filter(keeps, part.wants))
        self._parts = [part for part in self._parts if part.wants]
