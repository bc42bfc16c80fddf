"""The simulated exchange, sans-IO: it is told the time and what clients send, and says what it answers and when.

It speaks the protocol as the fact sheet has it: a request replaces the one before, unknown codes meet silence, an
error frame is followed by a close with code 1000, a socket idle for 60 s is dropped without a word, tokens are checked,
the limits are enforced. Its fronts, a real WebSocket server and an in-memory one, add nothing to that.

All times are seconds since the Unix epoch.
"""

from collections import deque
from collections.abc import Mapping
from itertools import count
from typing import Any

from ..model.events import AnnouncementEvent, MyAssetEvent, MyOrderEvent
from ..model.kinds import Endpoint
from .accounts import Account
from .amounts import Amount
from .announcements import Announcements
from .conditions import Block, Conditions, Refusal
from .desk import MarketDesk
from .info import InfoService
from .keys import Keyring, TokenError
from .limits import within
from .services import PrivateService, PublicService, Service
from .session import Login, Session
from .sources import MarketSource, Source

__all__ = ["Refusal", "SimulatedExchange"]

CONNECTS_PER_SECOND = 5


class SimulatedExchange:
    """One exchange, with as many sessions as clients open, and as many accounts as a test needs."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.sessions: set[Session] = set()
        self.connects: deque[float] = deque(maxlen=1000)
        """When clients tried to connect, the refused attempts included."""
        self.breaches: list[str] = []
        """Every time a client broke a limit, in words."""
        self.refusal: Refusal | None = None
        """Set it, and every handshake is refused with it."""
        self.refusals: dict[Endpoint, Refusal] = {}
        """The same for the handshakes of single endpoints."""
        self.stalled: set[Endpoint] = set()
        """Sessions of these endpoints are sent nothing and have no ping answered; their sockets stay open."""
        self.conditions = Conditions()
        """What else is wrong for a while; :func:`play` puts it in force."""
        self.blocks: list[Block] = []
        """Of whoever connects: see :class:`Ban`."""
        self.login_errors_as_frames = False
        """Accept the handshake of whoever cannot log in, and answer the first request with ``INVALID_AUTH``. Which of
        the two ways the real exchange takes in which case, is not established."""
        self.accounts: list[Account] = []
        self.desk = MarketDesk(source, self._wake) if isinstance(source, MarketSource) else None
        """Where accounts trade; None if the source is no simulated market."""
        self._keyring = Keyring()
        self._session_numbers = count(1)
        self._announcements = Announcements(self._tell_announcement)
        # Whoever has logged in is counted by account, everybody else together, by address.
        self._connects_of: dict[Account | None, deque[float]] = {}

    # What clients do

    def connect(self, now: float, endpoint: Endpoint = Endpoint.PUBLIC, token: str | None = None) -> Session:
        """A client asks for a WebSocket, with the token of its ``Authorization`` header. Raises :class:`Refusal`."""
        self.connects.append(now)
        login, failed = Login(), None
        if endpoint is not Endpoint.PUBLIC:
            try:
                login = self._login(now, endpoint, token)
            except TokenError as why:
                login, failed = Login(endpoint, failed=str(why)), why
                if why.name == "nonce_used":
                    self.breaches.append(f"a nonce was used twice, at {now:.3f}")
        attempts = self._connects_of.setdefault(login.account, deque(maxlen=CONNECTS_PER_SECOND + 1))
        attempts.append(now)
        if within(attempts, now, 1.0) > CONNECTS_PER_SECOND:
            self.breaches.append(f"more than {CONNECTS_PER_SECOND} connects within a second at {now:.3f}")
            raise Refusal(429, "Too many connection requests.")
        self._check_blocks(now, endpoint)
        refusal = self.refusals.get(endpoint, self.refusal) or self.conditions.refusal(endpoint)
        if refusal is not None:
            raise Refusal(refusal.status, refusal.body)
        if failed is not None and not self.login_errors_as_frames:
            raise Refusal(401, failed.body)
        session = Session(self, now, self._service(login), login, is_silent=self.conditions.is_silent(endpoint))
        session.number = next(self._session_numbers)
        self.sessions.add(session)
        return session

    def markets(self) -> list[dict[str, Any]]:
        """What ``GET /v1/market/all`` answers."""
        return [
            {"market": code, "korean_name": code.partition("-")[2], "english_name": code.partition("-")[2]}
            for code in self.source.codes
        ]

    # What tests do

    def open_account(
        self,
        *,
        access_key: str | None = None,
        secret_key: str | None = None,
        balances: Mapping[str, Amount] | None = None,
    ) -> Account:
        """Open an account with these balances, by currency. Keys that are not given are made; the first account has the
        same ones in every new exchange."""
        account = Account(
            balances or {},
            add_key=self._keyring.add,
            tell=self._tell,
            desk=self.desk,
            keys=(access_key, secret_key),
        )
        self.accounts.append(account)
        return account

    def announce(
        self, now: float, *, title: str, category: str = "notice", body: str = "", uuid: str | None = None
    ) -> str:
        """Announce something, to all private sessions that have asked for announcements. Returns its id; with the id of
        an earlier one, that is changed. Raises ``UsageError`` for a category or an id that does not exist."""
        return self._announcements.announce(now, title, category, body, uuid)

    def end_sessions(self, now: float, code: int | None = None, endpoint: Endpoint | None = None) -> None:
        """End every open session, or every one of an endpoint, now: with a close frame of this code, or without any."""
        for session in self.sessions_of(endpoint):
            session.end(now, code)

    def advance(self, now: float) -> None:
        """Let a simulated market move up to now, though nobody looks: resting orders are filled when the time comes."""
        if isinstance(self.source, MarketSource):
            self.source.advance(now)

    def sessions_of(self, endpoint: Endpoint | None) -> tuple[Session, ...]:
        """The open sessions of an endpoint, or of all if it is None, oldest first: the same run does the same again."""
        found = (session for session in self.sessions if endpoint in (None, session.endpoint))
        return tuple(sorted(found, key=lambda session: session.number))

    def is_stalled(self, endpoint: Endpoint) -> bool:
        """Whether sessions of this endpoint are sent nothing."""
        return endpoint in self.stalled or self.conditions.is_stalled(endpoint)

    # The rest

    def _check_blocks(self, now: float, endpoint: Endpoint) -> None:
        self.blocks = [block for block in self.blocks if not block.is_over(now)]
        for block in self.blocks:
            if block.covers(endpoint):
                if block.is_known(now):
                    self.breaches.append(f"a connect at {now:.3f}, though blocked until {block.until:.3f}")
                raise block.refused(now)

    def _login(self, now: float, endpoint: Endpoint, token: str | None) -> Login:
        key = self._keyring.verified(token, now + self.conditions.skew(endpoint))
        account = next(account for account in self.accounts if account.keys.get(key.access_key) is key)
        return Login(endpoint, account, key)

    def _service(self, login: Login) -> Service:
        if login.endpoint is Endpoint.INFO:
            return InfoService(self.source)
        if login.account is not None:
            return PrivateService(login.account, self.source)
        return PublicService(self.source.open())

    def _tell(self, account: Account, event: MyOrderEvent | MyAssetEvent) -> None:
        for session in self.sessions_of(None):
            if session.account is account:
                session.hear(event)

    def _tell_announcement(self, event: AnnouncementEvent) -> None:
        for session in self.sessions_of(None):
            session.hear(event)

    def _wake(self) -> None:
        for session in self.sessions_of(None):
            session.wake()
