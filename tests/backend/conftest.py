"""Every test of this folder runs on every backend: a new one is tested without a change here."""

import pytest

from ptir import backends
from ptir.engine import PLANS


@pytest.fixture(scope="module", params=backends.names(), autouse=True)
def backend(request):
    """The backend that calls run on when they name none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTIR_BACKEND", request.param)
        yield backends.find(request.param)


@pytest.fixture
def plans():
    """The plan cache, empty before and after."""
    PLANS.clear()
    yield PLANS
    PLANS.clear()
