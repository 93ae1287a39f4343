"""The tokenizer of a model, without the model."""

from pathlib import Path

from ptir.text import Tokenizer

from .load import DEMO


def load_tokenizer(path: str | Path | None = None) -> Tokenizer:
    """That of a checkpoint, of a folder, or a `tokenizer.json` itself; without a path, the demo's.

    Raises TokenizerError.
    """
    if path is None:
        return Tokenizer.load(DEMO)
    path = Path(path)
    is_own = path.is_dir() or path.suffix == ".json"
    return Tokenizer.load(path if is_own else path.parent)
