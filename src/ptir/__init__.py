"""Portable tensor programs and model runtimes.

What it offers is listed in `__init__.pyi` and imported when it is first asked for: the command line
must answer before NumPy could be loaded.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
