"""Models are found by file name: a checkpoint of kind `gpt` is a `ptir.models.gpt.Model`.

Third parties add theirs through the entry-point group `ptir.models`, whose values are modules.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from ptir.ir import nearest

from .base import CausalLM as CausalLM
from .base import Config as Config
from .base import Image as Image
from .base import Model as Model
from .base import ModelError as ModelError
from .base import ModelInput as ModelInput
from .base import ModelOutput as ModelOutput
from .base import Tokens as Tokens
from .base import Weights as Weights


@dataclass(frozen=True)
class Architecture:
    """One kind of model: how its config is read and how it is built."""

    kind: str
    config: type[Config]
    model: type[Model]


def find(kind: str) -> Architecture:
    """The architecture of this kind; a `ModelError` names the nearest spelling."""
    if kind in _built_in():
        module = import_module(f"{__name__}.{kind}")
    elif kind in (foreign := entry_points(group="ptir.models")).names:
        module = foreign[kind].load()
    else:
        raise ModelError(f"no model of kind {kind!r}{nearest(kind, kinds())}")
    config, model = _class(module, "Config", Config), _class(module, "Model", Model)
    return Architecture(kind, config, model)


def kinds() -> list[str]:
    """The kinds of the package and of the entry points, sorted."""
    return sorted({*_built_in(), *entry_points(group="ptir.models").names})


def _class(module: ModuleType, name: str, kind: type) -> Any:
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ModelError(f"{module.__name__} has no class {name} derived from ptir.models.{name}")
    return found


def _built_in() -> set[str]:
    return {m.name for m in iter_modules(__path__)} - {"base"}
