"""Portable tensor programs and model runtimes.

What it offers is listed in `__init__.pyi` and imported when it is first asked for: the command line
must answer before NumPy could be loaded.
"""

from importlib import import_module

import lazy_loader

from .version import VERSION

__version__ = VERSION

_listed, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    import_module("ptir.ops")  # whoever reads a program, with `ptir.ir` say, knows its ops by name
    return _listed(name)
