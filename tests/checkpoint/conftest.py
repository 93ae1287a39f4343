"""What the tests of every format stand on."""

import pytest

from .formats import FORMATS, Disk, Format


@pytest.fixture
def disk(tmp_path):
    found = Disk(tmp_path)
    yield found
    found.close()


@pytest.fixture(params=FORMATS, ids=lambda format: format.name)
def format(request) -> Format:
    """Each format in turn."""
    found: Format = request.param
    return found


@pytest.fixture(params=["1", "0"], ids=["mapped", "copied"])
def mmap_knob(request, monkeypatch):
    monkeypatch.setenv("PTIR_MMAP", request.param)
