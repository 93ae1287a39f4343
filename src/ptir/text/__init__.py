"""Text and token ids: the tokenizer, and text from a stream of ids."""

from .decoder import IncrementalDecoder
from .tokenizer import Tokenizer, TokenizerError

__all__ = ["IncrementalDecoder", "Tokenizer", "TokenizerError"]
