"""Every test of this folder runs on every backend: a new one is tested without a change here."""

import functools
from contextlib import contextmanager
from contextvars import ContextVar

import pytest

from ptir import backends, ops
from ptir.backends.native import executable as native
from ptir.backends.native.executable import Executable
from ptir.backends.native.handle import put
from ptir.backends.native.threads import threads
from ptir.engine import PLANS
from tests.exact import same

COUNT: ContextVar[int] = ContextVar("threads", default=0)  # of this thread: others run meanwhile


@contextmanager
def counted(threads):
    """Within the block, what this thread runs gets so many threads."""
    token = COUNT.set(threads)
    try:
        yield
    finally:
        COUNT.reset(token)


@pytest.fixture(scope="module", params=backends.names(), autouse=True)
def backend(request):
    """The backend that calls run on when they name none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTIR_BACKEND", request.param)
        patch.setattr(native, "threads", lambda: COUNT.get() or threads())
        patch.setattr(Executable, "__call__", _on_one_thread_and_two(Executable.__call__))
        yield backends.find(request.param)


def _on_one_thread_and_two(call):
    """Whatever runs here natively runs on one thread too, and gives the same bits."""

    @functools.wraps(call)
    def both(executable, *handles):
        if any(node.op is ops.custom_call for node in executable.program.nodes):
            return call(executable, *handles)  # somebody's kernel, that may count its calls
        with counted(1):  # on copies: it may write into what it is given
            alone = call(executable, *(put(h.array.copy()) for h in handles))
        with counted(2):
            made = call(executable, *handles)
        for one, two in zip(alone, made, strict=True):
            same(two.array, one.array)
        return made

    return both


@pytest.fixture
def plans():
    """The plan cache, empty before and after."""
    PLANS.clear()
    yield PLANS
    PLANS.clear()
