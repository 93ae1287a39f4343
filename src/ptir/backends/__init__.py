"""Backends are found by file name: `find("reference")` imports `ptir.backends.reference`.

Third parties add theirs through the entry-point group `ptir.backends`, whose values are modules.
"""

from importlib import import_module
from pkgutil import iter_modules
from threading import RLock
from typing import Any

from ptir.ir import PtirError, nearest

from .base import Backend as Backend
from .base import Executable as Executable
from .base import Handle as Handle
from .base import Sized as Sized


class BackendError(PtirError):
    """A backend that does not exist, or cannot do what was asked."""


_found: dict[str, Backend] = {}
_lock = RLock()


def find(name: str) -> Backend:
    """The one instance of the backend of this name; a `BackendError` names the nearest spelling."""
    known = _found.get(name)
    if known is not None:
        return known
    with _lock:  # two instances would not know each other's handles
        if name not in _found:
            _found[name] = _load(name)
        return _found[name]


def _load(name: str) -> Backend:
    if name in _built_in():
        module = import_module(f"{__name__}.{name}")
    elif name in (foreign := _foreign()).names:
        module = foreign[name].load()
    else:
        raise BackendError(f"no backend {name!r}{nearest(name, names())}")
    made = module.Backend()
    if not isinstance(made, Backend):
        raise BackendError(
            f"backend {name!r}: {type(made).__name__} is not a ptir.backends.Backend"
        )
    if made.name != name:
        raise BackendError(f"backend {name!r} calls itself {made.name!r}; give it one name")
    return made


def names() -> list[str]:
    """The backends of the package and of the entry points, sorted."""
    return sorted({*_built_in(), *_foreign().names})


def _built_in() -> set[str]:
    return {m.name for m in iter_modules(__path__)} - {"base"}


def _foreign() -> Any:
    """The entry points of other packages. What finds them is slow to import, and seldom needed."""
    return import_module("importlib.metadata").entry_points(group="ptir.backends")
