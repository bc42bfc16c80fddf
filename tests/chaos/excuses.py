"""When the exchange itself was in no condition to serve anybody: the time that counts against nobody else."""

import anyio
import attrs
from tests.support.world import wall

from upbit_streams import Config, Connector, Endpoint, HandshakeRefusedError, Secret
from upbit_streams.testing import Delay, Fault, Refuse, SilentAccept, SimulatedExchange, Stall
from upbit_streams.transport.interface import Transport

from .spans import Span

__all__ = ["Excuses"]

_TOLERABLE_DELAY = 2.0
"""A feed that is later than that is not of much use, and no client can make it quicker."""


@attrs.define(eq=False)
class Excuses:
    """For each endpoint the times in which the exchange refused, stalled, was silent, was late, or kept everybody away.

    They end when the exchange could serve again. How long it takes to notice that, is the client's business.
    """

    spans: dict[Endpoint, list[Span]] = attrs.field(
        factory=lambda: {Endpoint.PUBLIC: [], Endpoint.PRIVATE: []}, init=False
    )

    def add(self, fault: Fault, now: float) -> None:
        """A fault begins now."""
        match fault:
            case Delay(lasts=lasts, seconds=seconds) if seconds > _TOLERABLE_DELAY:
                # What was sent last in that time is as late as all else, and nothing overtakes it.
                self._add(fault.endpoint, now, now + lasts + seconds)
            case Stall(lasts=lasts) | SilentAccept(lasts=lasts) | Refuse(lasts=lasts):
                self._add(fault.endpoint, now, now + lasts)
            case _:
                pass

    def seen_by(self, connect: Connector, exchange: SimulatedExchange) -> Connector:
        """The same connector, with a look at the blocks that begin when somebody connects."""

        async def connect_and_look(url: str, config: Config, token: Secret | None = None) -> Transport:
            try:
                return await connect(url, config, token)
            except HandshakeRefusedError:
                for block in exchange.blocks:
                    if block.until is not None:
                        now = anyio.current_time()
                        self._add(None, now, now + block.until - wall())
                raise

        return connect_and_look

    def _add(self, endpoint: Endpoint | None, start: float, end: float) -> None:
        for one, spans in self.spans.items():
            if endpoint in (None, one):
                spans.append((start, end))
