"""How long somebody has done nothing."""

import anyio

from upbit_streams.engine.idleness import Idleness


async def test_the_idleness_of_what_has_ended_grows_no_more() -> None:
    idleness = Idleness()
    idleness.look(1)
    await anyio.sleep(5)
    assert idleness.seconds(1) == 5
    assert idleness.seconds(2) == 0
    idleness.stop()
    await anyio.sleep(5)
    assert idleness.seconds(1) == 5
