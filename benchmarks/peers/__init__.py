"""Who is compared. Each file is one peer, found by its name; `ptir` is ours. It has

- `FORM`: the form of weights that it loads, a module of `benchmarks.weights`;
- `available(dtype) -> str | None`: why it cannot take part, or None;
- `load(path, dtype, threads) -> Model`: the weights of that form, at work.

A peer knows nothing of clocks and of other peers.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol

from benchmarks.weights import Array


class Model(Protocol):
    """A causal language model at work on a batch of sequences."""

    def prefill(self, ids: Array, room: int) -> Array:
        """f32 logits [B, vocab] behind si32 `ids` [B, T], which begin new sequences.

        No sequence will grow beyond `room` tokens.
        """

    def decode(self, ids: Array) -> Array:
        """f32 logits [B, vocab] behind one more token of each sequence, si32 [B]."""


class Peer(Protocol):
    """What the module of a peer offers."""

    FORM: str

    def available(self, dtype: str) -> str | None: ...

    def load(self, path: Path, dtype: str, threads: int) -> Model: ...


def names() -> list[str]:
    return sorted(m.name for m in iter_modules(__path__) if m.name != "__main__")


def find(name: str) -> Peer:
    """The peer of this name. Raises ImportError where a package that it needs is missing."""
    return import_module(f"benchmarks.peers.{name}")
