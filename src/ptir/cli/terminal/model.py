"""Which models can be talked to."""

import ptir


def text_model(loaded: "ptir.LoadedModel") -> "ptir.runtime.TextModel":
    """A model that generates text and has a tokenizer. Raises PtirError for any other."""
    capability = loaded.as_causal_lm()
    if capability is None:
        raise ptir.PtirError(f"{loaded.path}: a {loaded.kind} model generates no text")
    if capability.tokenizer is None:
        message = "no tokenizer.json lies beside it; name one with --tokenizer FILE"
        raise ptir.PtirError(f"{loaded.path}: {message}")
    return capability
