"""What every test stands on: verified programs, one thread a worker, repeatable examples in CI."""

import os

import pytest
from hypothesis import settings

# Read when ptir, NumPy and Torch are first imported, which is after this file.
os.environ.setdefault("PTIR_VERIFY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: on a busy machine it would measure the neighbours.
settings.register_profile("ptir", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("ptir")


@pytest.fixture(autouse=True, scope="session")
def _measurements_of_their_own(tmp_path_factory):
    """No test reads or writes the winners of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTIR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what came over what is expected"
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
