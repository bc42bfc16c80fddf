"""S1: keys and tokens never appear in a log line, a ``repr``, an exception or a recording."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st
from tests.support.lives import enough
from tests.support.market import StampedMarket
from tests.support.private import credentials_of
from tests.support.secrets import keep_everything
from tests.support.world import wall

from upbit_streams import (
    Backoff,
    Config,
    Connector,
    DataType,
    Endpoint,
    HandshakeRefusedError,
    Secret,
    UpbitStreamsError,
    open_manager,
)
from upbit_streams.testing import Account, Close, ErrorFrame, Fault, Garbage, SimulatedExchange, memory_connector, play

Run = Callable[..., Any]
_AROUND = st.sampled_from(["", " ", "Bearer ", '{"error":{"name":"jwt_verification","message":"', "x" * 50, "\n", "é"])
ECHOES = st.builds(
    lambda before, what, after: before + what + after,
    _AROUND,
    st.sampled_from(["{access}", "{secret}", "{token}", "{token} {access}", "{access}{secret}"]),
    _AROUND,
)
"""What an exchange may answer that repeats what it was told."""
LIVES = st.tuples(
    st.lists(st.tuples(st.sampled_from([400, 401, 403, 503]), ECHOES), min_size=1, max_size=3),
    st.lists(st.tuples(st.sampled_from([ErrorFrame, Garbage, Close]), ECHOES), max_size=2),
)


@enough
@given(life=LIVES)
def test_s1_an_exchange_that_repeats_the_secrets_makes_nobody_show_them(
    virtual_run: Run, life: tuple[list[tuple[int, str]], list[tuple[type[Fault], str]]]
) -> None:
    refusals, faults = life

    async def main() -> None:
        exchange = SimulatedExchange(StampedMarket())
        account = exchange.open_account()
        echo = _Echo(memory_connector(exchange, wall), account, refusals)
        with keep_everything() as ledger:
            settings = Config(url="ws://localhost/v1", backoff=Backoff(initial=0.1, maximum=0.5), login_attempts=2)
            async with open_manager(
                settings, credentials=credentials_of(account), connector=echo.connect, wall=wall, draw=lambda: 0.5
            ) as manager:
                async with manager.open_client("strategy") as client, client.stream(DataType.MY_ORDER) as orders:
                    for _ in range(4):
                        await _listen(orders, ledger, 2.0)
                    for kind, text in faults:
                        await play([_fault(kind, echo.filled(text))], exchange, wall)
                        await _listen(orders, ledger, 2.0)
                    ledger.texts.append(repr(manager.status(Endpoint.PRIVATE)))
                    ledger.texts.append(repr((manager.health(), manager.metrics(), manager.independence())))
                    ledger.add_reachable(manager)
        assert echo.tokens
        told = "\n".join(ledger.texts)
        for name, secret in [*echo.secrets.items(), *(("token", token) for token in echo.tokens)]:
            assert secret not in told, f"the {name} is shown"

    virtual_run(main)


class _Echo:
    """A connector to an exchange that answers the first handshakes with a text that repeats secrets."""

    def __init__(self, connect: Connector, account: Account, refusals: Sequence[tuple[int, str]]) -> None:
        self.secrets = {"access": account.access_key, "secret": account.secret_key.reveal(), "token": "?"}
        self.tokens: set[str] = set()
        self._connect = connect
        self._left = list(refusals)

    def filled(self, text: str) -> str:
        for name, secret in self.secrets.items():
            text = text.replace(f"{{{name}}}", secret)
        return text

    async def connect(self, url: str, config: Config, token: Secret | None = None) -> Any:
        assert token is not None
        self.secrets["token"] = token.reveal().removeprefix("Bearer ")
        self.tokens.add(self.secrets["token"])
        if self._left:
            status, text = self._left.pop(0)
            raise HandshakeRefusedError(url, status, self.filled(text))
        return await self._connect(url, config, token)


async def _listen(stream: Any, ledger: Any, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        try:
            while True:
                ledger.add_events([await stream.receive()])
        except UpbitStreamsError as error:
            ledger.add_error(error)
            await anyio.sleep(seconds)


def _fault(kind: type[Fault], text: str) -> Fault:
    if kind is ErrorFrame:
        return ErrorFrame(message=text)
    return Garbage(data=text.encode()) if kind is Garbage else Close()
