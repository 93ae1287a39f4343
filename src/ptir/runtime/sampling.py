"""What a request says about the choice of tokens. Knows no logits: `sampler` does the work."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from math import inf
from numbers import Real
from typing import Any

import numpy as np

from ptir.ir import PtirError

LARGEST = float(np.finfo(np.float32).max)  # logits are f32: beyond it a penalty is an infinity

Processor = Callable[[tuple[int, ...], np.ndarray[Any, Any]], Any]
"""`(history, logits) -> logits`: ids of prompt and text so far, float [vocab] in and out."""


class SamplingError(PtirError):
    """Sampling parameters that make no sense, or logits from which nothing can be sampled."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen and what is told of them. Raises `SamplingError` naming the field.

    For each token the steps are these, in this order; each is off by default but the temperature:

    1. `logit_bias` is added to the logits of its token ids; −inf bans a token. `min_tokens` bans
       the tokens that end the text (`stop_token_ids`, and the end of text unless `ignore_eos`)
       while fewer tokens than that were generated.
    2. Penalties on tokens that came before. `repetition_penalty` divides a positive logit and
       multiplies a negative one, of each token in prompt or text, as in transformers (Keskar et
       al., 2019). Then `frequency_penalty` × how often the token was generated, and
       `presence_penalty` if it was at all, are subtracted; both leave the prompt out, as in the
       OpenAI API and vLLM.
    3. `processors`, first to last, each `(history, logits) -> logits`. It may write into what it
       is given. What it returns must be [vocab] numbers without NaN.
    4. `temperature` divides the logits. 0 is greedy: the largest is taken, of equals the first,
       and the steps below do not run.
    5. `top_k` keeps the k largest, of equals the first: exactly k, so `top_k=1` is greedy. 0, or
       more than the vocabulary, keeps all.
    6. `typical_p` keeps the tokens whose surprise −log p is nearest to the entropy, as few as hold
       this much probability (Meister et al., 2022). The likeliest may be left out.
    7. `top_p` keeps the likeliest, as few as hold this much probability (Holtzman et al., 2019).
    8. `min_p` keeps those at least this × as likely as the likeliest left (Nguyen et al., 2024).
    9. One is drawn from what is left, by its probability there.

    Penalties come before the temperature so that their strength does not depend on it, and the
    temperature before the filters so that they cut the distribution that is drawn from: so do
    transformers and vLLM, while llama.cpp puts the temperature last. The filters are in the order
    of llama.cpp; transformers runs top-k, top-p, min-p, typical, and vLLM min-p, top-k, top-p. With
    one filter, or top-k and top-p, ours keep what those of transformers and vLLM keep, but for the
    equals of the k-th largest, which they all keep.

    Each filter sees the probabilities of what the one before left, and always leaves one token:
    `top_p=0`, `typical_p=0` and `min_p=1` leave the best (the last with its equals). A logit of
    +inf behind step 3 is certain, the first if there are several. A NaN, or nothing above −inf,
    raises `SamplingError`.

    The same seed gives the same tokens, alone or in any batch: a request draws one number for each
    token from a Philox stream of its own. Without a seed a fresh one is drawn, which
    `Generation.seed` tells.

    `logprobs=n` tells of each chosen token its log-probability and the n likeliest tokens with
    theirs, `prompt_logprobs=n` the same of each prompt token but the first. They are of the model's
    own distribution, before step 1 and at temperature 1; 0 gives the token's own alone.

    `stop` strings and `stop_token_ids` end the text; with `ignore_eos` the model's end of text does
    not.
    """

    temperature: float = 0.8
    seed: int | None = None
    _: KW_ONLY
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    # A dict, since a read-only view can be neither copied nor pickled. No hash has it.
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    processors: Sequence[Processor] = ()

    def __post_init__(self) -> None:
        for name, (holds, wanted) in REALS.items():
            self._set(name, _real(name, getattr(self, name), holds, wanted))
        for name, end, wanted in COUNTS:
            value = getattr(self, name)
            if value is not None or name not in OPTIONAL:
                self._set(name, _count(name, value, end, wanted))
        if not isinstance(self.ignore_eos, bool):
            raise _error("ignore_eos", self.ignore_eos, "True or False")
        self._set("logit_bias", _biases(self.logit_bias))
        self._set("stop", _strings(self.stop))
        ids = _items("stop_token_ids", self.stop_token_ids, "token ids")
        self._set("stop_token_ids", tuple(_id("stop_token_ids", i) for i in ids))
        self._set("processors", _callables(self.processors))

    def check_vocab(self, vocab_size: int) -> None:
        """Raise `SamplingError` for a biased token that a vocabulary of this size does not have."""
        outside = next((i for i in self.logit_bias if i >= vocab_size), None)
        if outside is not None:
            message = f"logit_bias names token {outside}, wanted ids below {vocab_size}"
            raise SamplingError(f"{message}; is the tokenizer that of the model?")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen, its making is not


PROBABILITY = (lambda x: 0 <= x <= 1, "a number from 0 to 1")
PENALTY = (lambda x: abs(x) <= LARGEST, "a finite number")
REALS: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda x: 0 <= x < inf, "a finite number from 0 up"),
    "top_p": PROBABILITY,
    "min_p": PROBABILITY,
    "typical_p": PROBABILITY,
    "repetition_penalty": (lambda x: 0 < x <= LARGEST, "a finite number above 0 (1: none)"),
    "presence_penalty": PENALTY,
    "frequency_penalty": PENALTY,
}
OPTIONAL = {"seed", "logprobs", "prompt_logprobs"}
COUNTS = (
    ("seed", 1 << 64, "0 ≤ seed < 2**64, or None for a fresh one"),
    ("top_k", None, "a whole number from 0 up (0: all)"),
    ("logprobs", None, "a whole number from 0 up, or None"),
    ("prompt_logprobs", None, "a whole number from 0 up, or None"),
    ("min_tokens", None, "a whole number from 0 up"),
)


def _error(name: str, value: object, wanted: str) -> SamplingError:
    return SamplingError(f"{name} is {value!r}, wanted {wanted}")


def _real(name: str, value: object, holds: Callable[[float], bool], wanted: str) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not holds(float(value)):
        raise _error(name, value, wanted)
    return float(value)


def _count(name: str, value: object, end: int | None, wanted: str) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise _error(name, value, wanted)
    if value < 0 or (end is not None and value >= end):
        raise _error(name, value, wanted)
    return int(value)


def _id(name: str, value: object) -> int:
    return _count(name, value, None, "token ids, whole numbers from 0 up")


def _items(name: str, value: object, what: str) -> tuple[Any, ...]:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise _error(name, value, f"a sequence of {what}")
    return tuple(value)


def _biases(value: object) -> dict[int, float]:
    if not isinstance(value, Mapping):
        raise _error("logit_bias", value, "a mapping of token ids to what is added")
    wanted = "finite numbers to add, or −inf to ban the token"
    return {
        _id("logit_bias", i): _real(
            f"logit_bias[{i}]", bias, lambda x: abs(x) <= LARGEST or x == -inf, wanted
        )
        for i, bias in value.items()
    }


def _strings(value: object) -> tuple[str, ...]:
    strings = (value,) if isinstance(value, str) else _items("stop", value, "strings")
    wrong = next((s for s in strings if not isinstance(s, str) or not s), None)
    if wrong is not None:
        raise _error("stop", value, "strings that are not empty")
    return strings


def _callables(value: object) -> tuple[Processor, ...]:
    processors = _items("processors", value, "callables (history, logits) -> logits")
    wrong = next((p for p in processors if not callable(p)), None)
    if wrong is not None:
        raise _error("processors", wrong, "callables (history, logits) -> logits")
    return processors
