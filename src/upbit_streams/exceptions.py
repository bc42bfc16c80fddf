"""Everything this library raises, one tree under one root.

::

    UpbitStreamsError
     ├── UsageError                you did something that cannot work; the message says what to do instead
     │    ├── InvalidCodeError         a market code that cannot exist
     │    ├── ConflictError            wants that no connection can serve together
     │    ├── MissingCredentialsError  private data was asked for without a key
     │    ├── InvalidConfigError       a setting outside its range
     │    ├── NotRegisteredError       data was asked for that nobody registered
     │    ├── ScopeError               something was used outside its ``async with``
     │    └── DuplicateNameError       two managers or clients of one name
     ├── ExchangeError             the exchange answered, and the answer was no
     │    ├── HandshakeRefusedError    an HTTP status instead of a WebSocket
     │    ├── AuthenticationError      the key was refused
     │    ├── SubscriptionError        what was asked for was refused
     │    └── FrameLostError           what is told once came in a frame that cannot be read
     ├── FeedError                 the world between here and the exchange broke, or is not there yet
     │    ├── ConnectFailedError       nobody could be reached
     │    ├── ConnectionLostError      an open connection ended
     │    ├── ReconnectFailedError     as many attempts to connect failed as were allowed
     │    ├── BackpressureError        a stream that may lose nothing was read too slowly
     │    ├── NotReadyError            data was asked for before the first of it came
     │    └── StaleDataError           the latest there is, is older than was asked for
     └── FeedCrashedError          a bug in this library; its cause is chained

The names of the standard library are not reused, so ``except TimeoutError`` never catches one of these by accident.
"""

from collections.abc import Mapping
from types import MappingProxyType

from .foreign import shown

__all__ = [
    "AuthenticationError",
    "BackpressureError",
    "ConflictError",
    "ConnectFailedError",
    "ConnectionLostError",
    "DuplicateNameError",
    "ExchangeError",
    "FeedCrashedError",
    "FeedError",
    "FrameLostError",
    "HandshakeRefusedError",
    "InvalidCodeError",
    "InvalidConfigError",
    "MissingCredentialsError",
    "NotReadyError",
    "NotRegisteredError",
    "ReconnectFailedError",
    "ScopeError",
    "StaleDataError",
    "SubscriptionError",
    "UpbitStreamsError",
    "UsageError",
]


_MOST = 4000


class UpbitStreamsError(Exception):
    """The root of every error of this library.

    Its text is safe to show: what the exchange said stands in it with all characters visible, and is not long. The
    attributes of an error hold the exchange's words as they were sent, without keys and tokens.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message, most=_MOST))


class UsageError(UpbitStreamsError):
    """The caller asked for something that cannot work."""


class InvalidCodeError(UsageError):
    """A market code that no exchange can have. ``code`` is what was given."""

    def __init__(self, code: object) -> None:
        super().__init__(
            f"{code!r} is not a market code; a code is the quote currency, a dash and the base currency, like 'KRW-BTC'"
        )
        self.code = code


class ConflictError(UsageError):
    """Things are wanted together that the exchange cannot serve on one connection."""


class MissingCredentialsError(UsageError):
    """Something was asked for that needs an API key, and there is none."""


class InvalidConfigError(UsageError):
    """A setting that is outside its range, or two that contradict each other."""


class NotRegisteredError(UsageError):
    """Data was asked for that this client has no interest registered in. ``missing`` has the type and code of each;
    ``type_name`` and ``code`` are those of the first."""

    def __init__(self, missing: tuple[tuple[str, str], ...], asked: str = "", registered: str = "") -> None:
        names = ", ".join(f"{type_name} of {code}" if code else type_name for type_name, code in missing)
        register = "call 'await client.register_interest(...)' with"
        super().__init__(
            f"this client has not registered {names} with {asked}; "
            f"pass {registered}, which is registered, or {register} {asked} first"
            if registered
            else f"this client has not registered {names}; {register} that type and code first"
        )
        self.missing = missing
        self.type_name, self.code = missing[0]


class ScopeError(UsageError):
    """Something was used outside the ``async with`` block that keeps it alive."""


class DuplicateNameError(UsageError):
    """A manager or a client of this name is already open."""


class ExchangeError(UpbitStreamsError):
    """The exchange was reached and said no."""


class HandshakeRefusedError(ExchangeError):
    """The exchange answered the connection request with an HTTP status other than 101.

    ``status`` is that status, ``body`` the first part of the answer's text.
    """

    def __init__(self, url: str, status: int, body: str) -> None:
        told = f": {shown(body)}" if body else ""
        super().__init__(f"{url} refused the connection with HTTP status {status}{told}")
        self.url = url
        self.status = status
        self.body = body


class AuthenticationError(ExchangeError):
    """The exchange refused the login, again and again. The connection waits for another key
    (:meth:`Manager.set_credentials`); the other connections go on.

    ``name`` and ``message`` are the exchange's own, ``advice`` says what to do, ``status`` is the HTTP status of the
    handshake, or None if it was an error frame. ``attempts`` is how often it was tried in a row.
    """

    def __init__(
        self, url: str, name: str, message: str, advice: str, *, status: int | None = None, attempts: int = 1
    ) -> None:
        said = " ".join(
            part for part in (f"HTTP status {status}" if status else "", shown(name), shown(message)) if part
        )
        tried = f" {attempts} times" if attempts > 1 else ""
        super().__init__(f"{url} refused the login{tried} ({said}): {advice}")
        self.url = url
        self.name = name
        self.message = message
        self.advice = advice
        self.status = status
        self.attempts = attempts

    def again(self, attempts: int) -> "AuthenticationError":
        """The same refusal as a new exception, so that each who gets it has a traceback of its own."""
        return AuthenticationError(
            self.url, self.name, self.message, self.advice, status=self.status, attempts=attempts
        )


class SubscriptionError(ExchangeError):
    """The exchange refuses every request that asks for this, so it is asked for no more. It stays so until everybody
    who wants it has left; then it may be tried again. Whatever else is wanted goes on.

    All who want it get this error, also if only one of them gave the option that the exchange refuses: a type of one
    market (and level, and indicator) is one subscription for all of them, with all that any of them asks for.

    ``type_name`` and ``code`` say what it is, ``name`` and ``message`` are the exchange's own.
    """

    def __init__(self, type_name: str, code: str, name: str, message: str) -> None:
        what = f"{type_name} of {code}" if code else type_name
        said = " ".join(shown(part) for part in (name, message) if part)
        super().__init__(
            f"the exchange refuses every request for {what} ({said}); "
            f"look at its options, and whether this region's exchange has it"
        )
        self.type_name = type_name
        self.code = code
        self.name = name
        self.message = message


class FrameLostError(ExchangeError):
    """A frame with an event of this stream could not be read, or a frame that may have had one.

    The exchange sends such an event only once. The stream goes on: read on, and ask the exchange for the present state.

    ``type`` and ``code`` are the data type and the market as far as they could be read, ``why`` is what is wrong with
    the frame, and ``payload`` its bytes, without your keys if it repeats them, at most the first 16 KiB. ``frames`` is
    how many it tells of: more than one only if many have come and were not read. ``epoch`` is the number of the epoch.
    """

    def __init__(self, epoch: int, type: str, code: str, why: str, payload: bytes, frames: int = 1) -> None:
        what = f"{type} of {code}" if type and code else type or "an event that may have been for this stream"
        super().__init__(
            f"{'a frame' if frames == 1 else f'{frames} frames'} with {what} could not be read: {why}; the stream goes "
            f"on, but this event is missing: ask the exchange's REST interface for the present state"
        )
        self.epoch = epoch
        self.type = type
        self.code = code
        self.why = why
        self.payload = payload
        self.frames = frames


class FeedError(UpbitStreamsError):
    """The feed is broken, or is not there yet."""


class ConnectFailedError(FeedError):
    """No connection could be made: an unknown host, a closed port, a failed TLS handshake, or silence."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"cannot connect to {url}: {why}")
        self.url = url
        self.why = why


class ConnectionLostError(FeedError):
    """An open connection ended. ``code`` is the WebSocket close code, 1006 if there was no close frame."""

    def __init__(self, why: str, code: int = 1006) -> None:
        super().__init__(f"connection lost: {why}")
        self.why = why
        self.code = code


class ReconnectFailedError(FeedError):
    """As many attempts in a row failed as ``Backoff.attempts`` allows, and the connection has given up. It stays so
    until its manager is left; the other connections go on.

    ``attempts`` is how many there were, ``why`` how the last one failed.
    """

    def __init__(self, url: str, attempts: int, why: str) -> None:
        tried = "the attempt" if attempts == 1 else f"all of {attempts} attempts"
        super().__init__(
            f"gave up on {url}, as {tried} failed, the last one with: {why}; "
            f"open the manager again to try again, or set Backoff.attempts to None, which never gives up"
        )
        self.url = url
        self.attempts = attempts
        self.why = why


class BackpressureError(FeedError):
    """A stream that may not miss anything was read too slowly and has ended. ``missed`` events did not fit into it."""

    def __init__(self, missed: int, capacity: int) -> None:
        super().__init__(
            f"this stream was read too slowly: {missed} events came while {capacity} were waiting, and are missing; "
            f"open another stream and ask the exchange for the present state, or give its policy a larger capacity"
        )
        self.missed = missed
        self.capacity = capacity


class NotReadyError(FeedError):
    """Data is registered, but none has come yet, or none that was understood.

    ``missing`` holds the (type, code) pairs without data.
    """

    def __init__(
        self,
        missing: tuple[tuple[str, str], ...],
        state: str,
        *,
        is_told: bool = False,
        spoiled: Mapping[tuple[str, str], str] = MappingProxyType({}),
        waited: float | None = None,
    ) -> None:
        """``is_told`` is for what has no first data: it is told when something happens. ``spoiled`` has what was wrong
        with that of which something came. ``waited`` is for how many seconds ``wait_ready`` has waited for it."""
        names = ", ".join(map(_topic, missing[:5]))
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        never = "a market code the exchange does not list never gets any"
        if waited is not None:
            advice = f"wait_ready() has waited {max(waited, 0.0):g} s for it" + ("" if is_told else f", and {never}")
        elif is_told:
            advice = "it is told when something happens, and 'await client.wait_for(...)' waits for that"
        else:
            advice = f"'await client.wait_ready()' waits for the first, and {never}"
        for pair in missing:
            if why := spoiled.get(pair):
                advice = (
                    f"what came of {_topic(pair)} was not understood: {why}; "
                    "if a newer version of this library does not either, please report it"
                )
                break
        super().__init__(f"no data yet for {names}{more} ({state}); {advice}")
        self.missing = missing


def _topic(pair: tuple[str, str]) -> str:
    type_name, code = pair
    return f"{type_name} of {code}" if code else type_name


class StaleDataError(FeedError):
    """The latest of what is registered is too old.

    ``age`` is how old, in seconds since it was received, and ``within`` how old it might have been; None where it had
    to be of an epoch that is not over. ``reason`` says why nothing newer is there.
    """

    def __init__(self, type_name: str, code: str, age: float, within: float | None, reason: str) -> None:
        what = f"{type_name} of {code}" if code else type_name
        too_old = "from an epoch that is over" if within is None else f"older than {within:g} s"
        super().__init__(f"the latest {what} is {too_old}: {age:.3f} s old, as {reason}")
        self.type_name = type_name
        self.code = code
        self.age = age
        self.within = within
        self.reason = reason


class FeedCrashedError(UpbitStreamsError):
    """Something inside this library failed that must not fail; please report it with its cause (``__cause__``)."""
