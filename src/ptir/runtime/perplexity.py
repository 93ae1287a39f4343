"""How well a model predicts a text that may be longer than its context, token by token."""

from collections.abc import Iterator, Sequence

from .generation import GenerationError
from .logprobs import Choice
from .sampling import Sampling
from .text_model import TextModel

ALL = Sampling(0, prompt_logprobs=0)


def score_text(
    model: TextModel, ids: Sequence[int], *, context: int | None = None, stride: int | None = None
) -> Iterator[Choice]:
    """The log-probability of each token but the first, given those before it.

    The model reads windows of up to `context` tokens (None: all that it can), each `stride` (None:
    half of it) behind the one before; of each window the tokens count that no earlier one had. So
    every token but those of the first window has at least `context - stride` before it. Raises
    `GenerationError`.
    """
    context = model.context_length if context is None else context
    stride = max(context // 2, 1) if stride is None else stride
    if not 2 <= context <= model.context_length:
        wanted = f"2 to the model's context of {model.context_length}"
        raise GenerationError(f"windows of {context} tokens, wanted {wanted}")
    if not 1 <= stride < context:
        raise GenerationError(f"a stride of {stride} tokens, wanted 1 to {context - 1}")
    if len(ids) < 2:
        raise GenerationError("a text of one token has nothing that could be predicted")
    return _scored(model, list(ids), context, stride)


def _scored(model: TextModel, ids: list[int], context: int, stride: int) -> Iterator[Choice]:
    known = 1  # tokens that were scored, or cannot be
    for start in range(0, len(ids), stride):
        window = ids[start : start + context]
        done = model.generate(window, max_tokens=1, sampling=ALL)  # only the prompt is of interest
        yield from done.prompt_logprobs[known - start - 1 :]
        known = start + len(window)
        if known == len(ids):
            return
