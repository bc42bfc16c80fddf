"""What every transport must do, as checks that run on yours.

A check is an async function of a stage; a stage is a connector and a place where its other side can be played::

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    async def test_my_connector(check):
        await check(on_loopback(my_connector))
"""

from .byte_checks import BYTE_CHECKS
from .check import Check, ConformanceError
from .exchange_checks import EXCHANGE_CHECKS
from .stage import Stage, in_memory, on_loopback, on_wires

__all__ = [
    "BYTE_CHECKS",
    "CHECKS",
    "EXCHANGE_CHECKS",
    "Check",
    "ConformanceError",
    "Stage",
    "in_memory",
    "on_loopback",
    "on_wires",
]

CHECKS = (*EXCHANGE_CHECKS, *BYTE_CHECKS)
"""All of them."""
