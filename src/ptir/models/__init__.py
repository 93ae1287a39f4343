"""Models are found by file name: a checkpoint of kind `gpt` is a `ptir.models.gpt.Model`.

Third parties add theirs through the entry-point group `ptir.models`, whose values are modules.
"""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from ptir.ir import nearest

from .base import CausalLM as CausalLM
from .base import Config as Config
from .base import HuggingFace as HuggingFace
from .base import Image as Image
from .base import Model as Model
from .base import ModelError as ModelError
from .base import ModelInput as ModelInput
from .base import ModelOutput as ModelOutput
from .base import Stored as Stored
from .base import Tokens as Tokens
from .base import Weights as Weights


@dataclass(frozen=True)
class Architecture:
    """One kind of model: how its config is read and how it is built; where it can be, how it is
    read as Hugging Face keeps it.
    """

    kind: str
    config: type[Config]
    model: type[Model]
    hugging_face: HuggingFace | None = None


def find(kind: str) -> Architecture:
    """The architecture of this kind; a `ModelError` names the nearest spelling."""
    if kind in _built_in():
        module = import_module(f"{__name__}.{kind}")
    elif kind in (foreign := _foreign()).names:
        module = foreign[kind].load()
    else:
        raise ModelError(f"no model of kind {kind!r}{nearest(kind, kinds())}")
    config, model = _class(module, "Config", Config), _class(module, "Model", Model)
    foreign_form = getattr(module, "hugging_face", None)
    if not isinstance(foreign_form, HuggingFace | None):
        message = "hugging_face is no ptir.models.HuggingFace"
        raise ModelError(f"{module.__name__}: {message}")
    return Architecture(kind, config, model, foreign_form)


def of_model_type(name: str) -> Architecture:
    """The architecture that reads this `model_type` of Hugging Face. Raises `ModelError`."""
    readable = {a.hugging_face.model_type: a for a in map(find, kinds()) if a.hugging_face}
    if name not in readable:
        have = ", ".join(readable)
        raise ModelError(f"no model reads Hugging Face's model_type {name!r:.80}; have {have}")
    return readable[name]


def kinds() -> list[str]:
    """The kinds of the package and of the entry points, sorted."""
    return sorted({*_built_in(), *_foreign().names})


def _class(module: ModuleType, name: str, kind: type) -> Any:
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ModelError(f"{module.__name__} has no class {name} derived from ptir.models.{name}")
    return found


def _built_in() -> set[str]:
    return {m.name for m in iter_modules(__path__)} - {"base"}


def _foreign() -> Any:
    """The entry points of other packages. What finds them is slow to import, and seldom needed."""
    return import_module("importlib.metadata").entry_points(group="ptir.models")
