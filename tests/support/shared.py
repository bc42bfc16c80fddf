"""Material that stands beside the project on some machines: payload samples and a recording. Tests skip without it."""

from pathlib import Path

import pytest

__all__ = ["RECORDING", "SAMPLES", "needs_shared"]

_SHARED = Path(__file__).parents[2].parent / "shared"
SAMPLES = _SHARED / "protocol" / "samples"
RECORDING = _SHARED / "data" / "upbit-2021-04-17.ndjson"

needs_shared = pytest.mark.skipif(not _SHARED.is_dir(), reason="the samples of the protocol are not beside the project")
