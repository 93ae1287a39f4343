"""Models are found by file name: a checkpoint of kind `gpt` is a `ptir.models.gpt.Model`.

Third parties add theirs through the entry-point group `ptir.models`.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

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
    return Architecture(kind, module.Config, module.Model)


def kinds() -> list[str]:
    return sorted({*_built_in(), *entry_points(group="ptir.models").names})


def _built_in() -> set[str]:
    return {m.name for m in iter_modules(__path__)} - {"base"}
