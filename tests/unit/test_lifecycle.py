"""The table of a connection's states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import ConnectionState
from upbit_streams.rules.lifecycle import TABLE, Step, follow

STEPS = [(state, step) for state in ConnectionState for step in Step]


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TABLE) == set(ConnectionState)
    reached, new = set[ConnectionState](), {ConnectionState.DISCONNECTED}
    while new:
        reached |= new
        new = {to for state in new for to in TABLE[state].values()} - reached
    assert reached == set(ConnectionState)


def test_every_step_happens_somewhere_and_the_manager_can_be_left_everywhere() -> None:
    assert {step for row in TABLE.values() for step in row} == set(Step)
    assert all(row[Step.LEFT] is ConnectionState.DISCONNECTED for row in TABLE.values())


@pytest.mark.parametrize(("state", "step"), STEPS)
def test_a_step_that_the_table_does_not_have_is_a_bug_that_raises(state: ConnectionState, step: Step) -> None:
    if step in TABLE[state]:
        assert follow(state, step) is TABLE[state][step]
    else:
        with pytest.raises(RuntimeError, match=f"is {state} cannot take the step {step.name}"):
            follow(state, step)


@given(st.data())
def test_an_epoch_begins_with_a_handshake_and_becomes_active_only_by_way_of_a_request(data: st.DataObject) -> None:
    state, way = ConnectionState.DISCONNECTED, list[ConnectionState]()
    for _ in range(data.draw(st.integers(0, 30))):
        state = follow(state, data.draw(st.sampled_from(list(TABLE[state]))))
        way.append(state)
        if state is ConnectionState.ACTIVE:
            assert way[-3:-1] == [ConnectionState.CONNECTED, ConnectionState.SUBSCRIBING]
        if state is ConnectionState.CONNECTED:
            assert way[-2] in (ConnectionState.CONNECTING, ConnectionState.RECONNECTING)
            assert state.is_open
        if state is ConnectionState.ERROR:
            assert way[-2] is ConnectionState.RECONNECTING
