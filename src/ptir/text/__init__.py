"""Text and token ids: tokenizers, prompts from messages, and text from a stream of ids."""

from .chat import Chat
from .decoder import IncrementalDecoder
from .error import ChatError, StopError, TokenizerError
from .stop import StopStrings
from .template import Limits
from .tokenizer import Tokenizer

__all__ = [
    "Chat",
    "ChatError",
    "IncrementalDecoder",
    "Limits",
    "StopError",
    "StopStrings",
    "Tokenizer",
    "TokenizerError",
]
