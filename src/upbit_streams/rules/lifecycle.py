"""The states of a connection, and what leads from one to another, as a table.

The supervisor walks it, and the documentation's picture is drawn from it. A step that the table does not have is a bug.
"""

from collections.abc import Mapping
from enum import StrEnum

from ..model.metrics import ConnectionState as State

__all__ = ["TABLE", "Step", "follow"]


class Step(StrEnum):
    """What happens to a connection, in the words of the picture."""

    WANTED = "something is wanted"
    ACCEPTED = "the handshake is done"
    ASKING = "the first request goes out"
    SERVED = "data, or a confirmation"
    BROKEN = "an attempt failed or the epoch ended"
    UNWANTED = "nothing is wanted any more"
    REFUSED = "the key is refused, or too many attempts failed"
    RENEWED = "there is another key"
    LEFT = "the manager is left"


_FROM_OPEN = {Step.BROKEN: State.RECONNECTING, Step.UNWANTED: State.DISCONNECTED, Step.LEFT: State.DISCONNECTED}

TABLE: Mapping[State, Mapping[Step, State]] = {
    State.DISCONNECTED: {Step.WANTED: State.CONNECTING, Step.LEFT: State.DISCONNECTED},
    State.CONNECTING: {
        Step.ACCEPTED: State.CONNECTED,
        Step.BROKEN: State.RECONNECTING,
        Step.LEFT: State.DISCONNECTED,
    },
    State.CONNECTED: {Step.ASKING: State.SUBSCRIBING, **_FROM_OPEN},
    State.SUBSCRIBING: {Step.SERVED: State.ACTIVE, **_FROM_OPEN},
    State.ACTIVE: _FROM_OPEN,
    State.RECONNECTING: {
        Step.ACCEPTED: State.CONNECTED,
        Step.BROKEN: State.RECONNECTING,
        Step.UNWANTED: State.DISCONNECTED,
        Step.REFUSED: State.ERROR,
        Step.LEFT: State.DISCONNECTED,
    },
    State.ERROR: {Step.RENEWED: State.RECONNECTING, Step.LEFT: State.DISCONNECTED},
}
"""For each state the steps that can happen in it, and where each leads."""


def follow(state: State, step: Step) -> State:
    """The state after a step. Raises ``RuntimeError`` for a step that cannot happen there."""
    try:
        return TABLE[state][step]
    except KeyError:
        raise RuntimeError(f"a connection that is {state} cannot take the step {step.name}: {step}") from None
