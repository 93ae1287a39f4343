"""A GPT-2 with random weights, in the forms that the peers load. Each file is one form, found by
its name: `write(weights, path)` makes it from our checkpoint, the form `gptrs`.

Knows no form, so that a process that only loads one imports nothing for others.
"""

import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
OURS = "gptrs"


@dataclass(frozen=True)
class Shape:
    """The sizes of a GPT-2; its head is its token embedding, as in the published one."""

    vocab: int
    context: int
    embed: int
    layers: int
    heads: int

    @property
    def depth(self) -> int:
        return self.embed // self.heads

    @property
    def weights_read(self) -> int:
        """What a step reads: all but the embeddings' rows of other tokens and positions."""
        E = self.embed
        return self.layers * (12 * E**2 + 13 * E) + (self.vocab + 4) * E

    def multiplications(self, tokens: int) -> int:
        """Of a prefill: with weights, in attention below the diagonal, and with the head once."""
        E, T = self.embed, tokens
        return self.layers * (12 * E**2 * T + E * T * (T + 1)) + self.vocab * E


SHAPES = {
    "124M": Shape(50257, 1024, 768, 12, 12),
    "tiny": Shape(512, 256, 64, 2, 2),
}


def place(folder: Path, form: str, dtype: str) -> Path:
    """The file or folder with the weights in this form."""
    return folder / f"{dtype}.{form}"


def ensure(folder: Path, form: str, dtype: str) -> None:
    """Write the weights in this form, whole or not at all, unless they are there."""
    path = place(folder, form, dtype)
    if path.exists():
        return
    partial = folder / f"partial-{path.name}"
    shutil.rmtree(partial, ignore_errors=True)
    source = import_module("benchmarks.weights.gptrs").Weights(place(folder, OURS, dtype))
    import_module(f"benchmarks.weights.{form}").write(source, partial)
    partial.rename(path)
