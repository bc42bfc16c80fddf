"""That the exchange serves what is wanted: it is asked, and asked again whether it does."""

import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from uuid import uuid4

import anyio
import attrs

from ..exceptions import ConnectionLostError, SubscriptionError
from ..model.config import Config
from ..model.epoch import Epoch
from ..model.subscriptions import Wants
from ..rules.differences import Difference, compare
from ..rules.lifecycle import Step
from ..rules.rate_limit import MESSAGES, RateLimit
from ..rules.suspects import Suspects, Verdict, is_about_the_request
from ..wire.replies import SubscriptionsReply
from ..wire.requests import list_subscriptions, subscribe
from .hub import Hub
from .patience import Patience, caught_up
from .spoiled import Spoiled

__all__ = ["Reconciler", "Truth"]

_log = logging.getLogger("upbit_streams")

# How long to wait for the exchange to say what it serves. It takes a fifth of a second.
_ANSWER_SECONDS = 5.0
# How often it is asked without need. Nobody has seen it forget a subscription, and one message in a thousand that it
# allows is a small price for finding out.
_CHECK_SECONDS = 600.0
# How long until what has brought nothing is told. First data takes a fifth of a second, or a third.
_UNANSWERED_SECONDS = 10.0
# So many are named in a line of the log.
_MOST_NAMED = 10


@attrs.define(eq=False)
class Truth:
    """What a connection has found out about its wants, over all its epochs."""

    suspects: Suspects = attrs.field(factory=Suspects)
    differences: int = 0
    told: set[tuple[str, str]] = attrs.field(factory=set)
    """The unanswered that the log has named."""
    spoiled: Spoiled = attrs.field(factory=Spoiled)
    """What came and was not understood, in this epoch or in the last."""


@attrs.define(eq=False)
class Reconciler:
    """Keeps what the exchange was last asked for equal to what is wanted, within one epoch."""

    send: Callable[[str], Awaitable[None]]
    epoch: Epoch
    hub: Hub
    config: Config
    truth: Truth
    take: Callable[[Step], None]
    """Told when the first request goes out."""
    heard: Callable[[float], None]
    """Told when a question was sent that has been answered, in the event loop's time; a second time of an older one, if
    what pongs have shown since is not to be believed."""
    taken: Callable[[], int]
    """Tells how many messages have been read."""
    asking: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    """Set when the first request goes out."""
    patience: Patience = attrs.field(init=False)
    """With the answer to a question."""
    is_fed: bool = attrs.field(default=False, init=False)
    """Whether any event has come."""
    _limit: RateLimit = attrs.field(factory=lambda: RateLimit(MESSAGES), init=False)
    _began: float = attrs.field(factory=anyio.current_time, init=False)
    _asked: Wants = attrs.field(default=frozenset(), init=False)
    """The last request."""
    _is_open: bool = attrs.field(default=False, init=False)
    """Whether the exchange has yet to show that it takes the last request."""
    _requested: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    """Set at the next request, and then replaced."""
    _ticket: str = attrs.field(default="", init=False)
    """Of the question that is not answered yet."""
    _answered: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _answered_at: float = attrs.field(factory=anyio.current_time, init=False)
    """When the last question was sent that has been answered."""
    _is_answering: bool = attrs.field(default=True, init=False)
    """Whether the exchange has answered the last question, so far as is known."""
    _check_at: float = attrs.field(default=0.0, init=False)
    _repair: bool = attrs.field(default=False, init=False)
    """Whether the same request has to be sent again, as the exchange does not serve it."""
    _is_repaired: bool = attrs.field(default=False, init=False)
    """Whether the last request was a repair. What that has not mended waits for the next check."""
    _has_warned: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.patience = Patience(self.taken)

    async def run(self) -> None:
        """Ask, and check. Returns when nothing has been wanted for a while. Raises :class:`ConnectionLostError` if the
        exchange does not answer."""
        wants, suspects = self.hub.wants, self.truth.suspects
        suspects.begin()
        self.truth.spoiled.clear()
        asked: object = None
        while True:
            changed, news, now = wants.changed, wants.news, anyio.current_time()
            if not wants.union:
                # There is no request for nothing (protocol section 2.3): the way to unsubscribe from all is to leave.
                with anyio.move_on_after(self.config.idle_timeout) as idle:
                    await changed.wait()
                # In the same moment somebody may have come.
                if idle.cancelled_caught and not wants.union:
                    return
                continue
            attempt = suspects.attempt(wants.union)
            if (attempt.wants, news) == asked and not self._repair:
                with anyio.move_on_after(self._check_at - now) as rest:
                    await changed.wait()
                    await anyio.sleep(self.config.gather)  # whoever starts together is served by one request
                if rest.cancelled_caught:
                    self._is_repaired = False
                    await self._check()
            elif attempt.is_trial and self.asking.is_set() and (wait := self._trial_at - now) > 0:
                with anyio.move_on_after(wait):
                    await changed.wait()
            elif pause := self._limit.wait(now):
                await anyio.sleep(pause)
            else:
                self._is_repaired, self._repair = self._repair, False
                asked = attempt.wants, news
                await self._ask(attempt.wants)

    @property
    def _trial_at(self) -> float:
        """When something may be asked for that may end the epoch: until then the good wants are served, and the epoch
        counts as a success."""
        return self._began + self.config.backoff.stable_after + 0.1

    async def _ask(self, wants: Wants) -> None:
        """Send a request, and have it confirmed where that matters."""
        self._limit.record(anyio.current_time())
        is_new = self._is_repaired or not self.truth.suspects.trusts(wants)
        needs_answer = self.hub.confirms or not self.asking.is_set() or (is_new and self._is_answering)
        self._asked, self._is_open = wants, needs_answer
        self._ticket = ""  # an answer that comes now is about an earlier request
        self.hub.asked(wants)
        if not self.asking.is_set():
            self.asking.set()
            self.take(Step.ASKING)
        self._requested.set()
        self._requested = anyio.Event()
        await self.send(subscribe(wants, str(uuid4()), self.config.format))
        if needs_answer:
            await self._check()

    async def _check(self) -> None:
        """Ask what the exchange serves, and wait for the answer. It answers in order, so an answer means that the last
        request has been taken. No other request goes out meanwhile, so that is what the answer is compared with."""
        await anyio.sleep(self._limit.wait(anyio.current_time()))
        asked_at = anyio.current_time()
        self._limit.record(asked_at)
        self._ticket, self._answered = str(uuid4()), anyio.Event()
        await self.send(list_subscriptions(self._ticket, self.config.format))

        async def answer() -> None:
            await self._answered.wait()
            self._answered_at = asked_at
            self.heard(asked_at)

        # Where an answer is needed, time does not count in which nobody could read it.
        patience = self.patience if self.hub.confirms else Patience(self.taken)
        if not await patience.lasts(answer, _ANSWER_SECONDS, f"{self.epoch.connection} answer"):
            if self.hub.confirms or not self.is_fed:
                # Whether it serves us cannot be known, and nobody may believe that it does, or that it did since it
                # last said so: whoever answers pings and no question may have told of nothing for as long.
                self.heard(self._answered_at)
                raise ConnectionLostError(f"the exchange did not confirm the request within {_ANSWER_SECONDS:g} s")
            # Its events show that it does. Every new want would wait for nothing, so it is not asked for each.
            self._is_open = self._is_answering = False
        self._check_at = anyio.current_time() + _CHECK_SECONDS

    def expects(self, ticket: str) -> bool:
        """Whether an answer is the one that is waited for."""
        return bool(ticket) and ticket == self._ticket

    def take_answer(self, reply: SubscriptionsReply) -> None:
        """The exchange says what it serves."""
        self._ticket = ""
        self._is_open, self._is_answering = False, True
        self._answered.set()
        self._refuse(self.truth.suspects.accepted(self._asked))
        if self.hub.confirms:
            self.hub.confirmed(self.epoch, anyio.current_time() + self.epoch.wall_offset)
        if reply.subscriptions is not None:
            self._take_difference(compare(self._asked, reply.subscriptions))

    def take_refusal(self, name: str, message: str) -> None:
        """The exchange has answered with an error, and ends the epoch."""
        if self._is_open and is_about_the_request(name):
            self._is_open = False
            self._refuse(self.truth.suspects.refused(self._asked, name, message))

    def _take_difference(self, difference: Difference) -> None:
        # Whether the exchange lists a market that it does not have, nobody knows. What has never brought anything may
        # be one; it is told as unanswered.
        missing = {
            (want.type.name, want.code)
            for want in difference.missing
            if not want.type.has_snapshot or self.hub.has_brought(want)
        }
        if not missing and not difference.extra:
            return
        self.truth.differences += 1
        self._repair = not self._is_repaired
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "%s: the exchange does not serve what it was asked for; missing: %s; too much: %s",
                self.epoch.connection,
                _named(missing),
                _named(difference.extra),
            )

    def _refuse(self, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            want = verdict.want
            error = partial(SubscriptionError, want.type.name, want.code, verdict.name, verdict.message)
            _log.warning("%s: %s", self.epoch.connection, error())
            self.hub.refuse(want, error)

    async def watch_unanswered(self) -> None:
        """Tell, once, of what has brought nothing for a while."""
        await self.asking.wait()
        while True:
            requested = self._requested
            await anyio.sleep(_UNANSWERED_SECONDS + 0.01)
            await caught_up(self.taken)
            told, silent = (
                self.truth.told,
                set(self.hub.look_for_unanswered(anyio.current_time() - _UNANSWERED_SECONDS)),
            )
            news = silent - told
            spoiled = {pair: why for pair in sorted(news) if (why := self.truth.spoiled.why(*pair))}
            if spoiled:
                _log.warning(
                    "%s: what came of %s was not understood: %s",
                    self.epoch.connection,
                    _named(spoiled.keys()),
                    next(iter(spoiled.values())),
                )
            if news := news - spoiled.keys():
                _log.warning(
                    "%s: nothing has come of %s; most likely a typing error, or not listed in this region",
                    self.epoch.connection,
                    _named(news),
                )
            self.truth.told = silent  # what has been answered since is told again if it falls silent again
            if not requested.is_set():
                await requested.wait()


def _named(pairs: Collection[tuple[str, str]]) -> str:
    names = [f"{type_name} of {code}" if code else type_name for type_name, code in sorted(pairs)]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more if names else "nothing"
