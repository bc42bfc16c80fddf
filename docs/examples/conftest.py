"""Every test on both backends, in virtual time."""

import pytest

from upbit_streams.testing import virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return virtual_backend(request.param)
