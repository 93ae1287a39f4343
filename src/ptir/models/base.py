"""What a model owes: its config, its forward pass, and the capabilities that it has."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from ptir.checkpoint.error import printable
from ptir.ir import PtirError, Size, SpecError
from ptir.nn import KVCache, Module
from ptir.tensor import Tensor

C = TypeVar("C", bound="Config")


class ModelError(PtirError):
    """A model that cannot be built from what a checkpoint holds, or cannot do what was asked."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The config of one kind of model, as it stands in a checkpoint. Fields are checked on
    reading.
    """

    @classmethod
    def read(cls: type[C], fields: Mapping[str, Any]) -> C:
        """The config in a JSON object. Raises `ModelError` naming the field and what is wrong."""
        try:
            config = msgspec.convert(fields, cls)
            config.check()
        except (msgspec.ValidationError, ValueError) as error:
            why = printable(str(error), 300)  # it quotes the file
            raise ModelError(f"config of a {cls.__module__.rpartition('.')[2]}: {why}") from None
        return config

    def check(self) -> None:
        """Raise `ValueError` for fields that do not fit each other."""


@dataclass(frozen=True)
class Tokens:
    """Model input: token ids [T] or [B, T]."""

    ids: Sequence[int] | Sequence[Sequence[int]] | np.ndarray[Any, Any]


@dataclass(frozen=True)
class Image:
    """Model input: images, f32 [B, C, H, W]."""

    pixels: np.ndarray[Any, Any]


ModelInput = Tokens | Image


@dataclass(frozen=True)
class ModelOutput:
    """What a forward pass gives: f32 logits, [B, T, vocab] of tokens or [B, classes] of images."""

    logits: Tensor

    def numpy(self) -> np.ndarray[Any, Any]:
        return self.logits.numpy()


class Weights:
    """The parameters of one model by name; reports what was never asked for."""

    def __init__(self, names: Sequence[str], find: Callable[[str], Tensor]) -> None:
        self._left = dict.fromkeys(names)
        self._find = find

    def __call__(self, name: str, *shape: Size) -> Tensor:
        """The float parameter of this name, which must have this shape. Raises `ModelError`."""
        tensor = self._find(name)
        if tensor.shape != shape or not tensor.dtype.is_float:
            wanted = f"floats [{', '.join(map(str, shape))}]"
            message = f"parameter {name!r} is {tensor.type}, wanted {wanted}"
            raise ModelError(f"{message}; the config is that of another model")
        self._left.pop(name, None)
        return tensor

    def finish(self) -> None:
        """Raise `ModelError` if there are parameters that the model does not have."""
        if self._left:
            some = ", ".join(map(repr, list(self._left)[:3]))
            message = f"{len(self._left)} parameters are none of the model's: {some}"
            raise ModelError(f"{message}; the config is that of another model")


class Stored(NamedTuple):
    """Where a file keeps a parameter: under which name, and whether its matrix is turned."""

    name: str
    turned: bool = False


@dataclass(frozen=True)
class HuggingFace:
    """How models of a kind are read as Hugging Face keeps them: a module's `hugging_face`.

    `config` makes the config of the object in `config.json` and raises `ModelError`, naming the
    field, for what the model does not compute. `stored` says where each parameter is, given that
    object and the names in the files. `ignored` are names of tensors that are no parameters, as a
    regular expression of a whole name.
    """

    model_type: str
    config: Callable[[Mapping[str, Any]], Config]
    stored: Callable[[Mapping[str, Any], Collection[str]], Mapping[str, Stored]]
    ignored: str = ""


class Model(Module, ABC):
    """A model: the class `Model` of the module `ptir.models.<kind>`, beside its `Config`."""

    config: Config

    @abstractmethod
    def __init__(self, config: Any, weights: Weights) -> None:
        """Build from parameters by name. Raises `ModelError`."""

    @abstractmethod
    def forward(self, given: ModelInput) -> ModelOutput:
        """Logits of an input; a kind of input that the model does not take is a `ModelError`."""

    def as_causal_lm(self) -> "CausalLM | None":
        """This model as a causal language model, if it is one."""
        return None


class CausalLM(ABC):
    """The capability to continue sequences of tokens: what generation needs, in portable
    tensors.
    """

    context_length: int
    vocab_size: int

    @abstractmethod
    def cache(self, batch: int, capacity: int) -> KVCache:
        """An empty cache."""

    @abstractmethod
    def hidden(
        self, ids: Tensor, cache: KVCache | None = None, past: Tensor | None = None
    ) -> tuple[Tensor, KVCache | None]:
        """The last hidden states [B, T, E] of ids [B, T], and the cache after them.

        ids stand behind `past[b]` positions that the cache holds (past si32 [B]); without a cache
        they stand alone.
        """

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """f32 [..., vocab] of hidden states [..., E]."""


def token_batch(given: Tokens, vocab_size: int, context_length: int) -> np.ndarray[Any, Any]:
    """Token ids as si32 [B, T], checked against the vocabulary and the context."""
    try:
        ids = np.asarray(given.ids)
    except ValueError:
        raise SpecError("shape", "forward", "sequences of unequal length; run one by one") from None
    if ids.ndim == 1:
        ids = ids[None]
    if ids.ndim != 2 or not ids.size or ids.dtype.kind not in "iu":
        came = f"{ids.dtype} {ids.shape}"
        raise SpecError("shape", "forward", f"token ids are {came}, wanted integers [T] or [B, T]")
    if ids.shape[1] > context_length:
        message = f"{ids.shape[1]} tokens, but the model's context is {context_length}"
        raise SpecError("shape", "forward", message)
    outside = ids[(ids < 0) | (ids >= vocab_size)]
    if outside.size:
        message = f"token id {outside[0]} is outside the vocabulary of {vocab_size}"
        raise SpecError("index", "forward", message)
    return ids.astype(np.int32)
