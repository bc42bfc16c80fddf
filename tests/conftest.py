"""Both backends in every asynchronous test, in virtual time. Tests over real sockets bring their own clock."""

from typing import Any

import pytest

from upbit_streams.testing import virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return virtual_backend(request.param)
