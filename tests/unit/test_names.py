"""The public names: what ``from upbit_streams import *`` brings hides nothing that a program has already."""

import builtins
import sys

import pytest

import upbit_streams
import upbit_streams.testing


@pytest.mark.parametrize("package", [upbit_streams, upbit_streams.testing])
def test_no_public_name_hides_one_of_python(package: object) -> None:
    names = set(package.__all__)  # type: ignore[attr-defined]
    assert not names & set(sys.stdlib_module_names)
    assert not names & set(dir(builtins))
    assert all(hasattr(package, name) for name in names)
