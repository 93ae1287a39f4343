"""The demo model's files: complete, small, a model of Shakespeare, and the same in Torch."""

import math
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from torch.nn import functional as F

from ptir.checkpoint import Checkpoint
from ptir.runtime import Sampling, load_model
from tools.train_demo import CHECKPOINT, END_OF_TEXT, GPT, TOKENIZER, Config, encode, load

DEMO = Path(str(files("ptir") / "demo"))
TOKENS = Tokenizer.from_file(str(DEMO / TOKENIZER))

# The Tempest, II.1: in the validation tenth of the corpus, so it was never trained on.
UNSEEN = """GONZALO:
All things in common nature should produce
Without sweat or endeavour: treason, felony,
Sword, pike, knife, gun, or need of any engine,
Would I not have; but nature should bring forth,
Of its own kind, all foison, all abundance,
To feed my innocent people.
"""


def bits_per_byte(model: GPT, text: str) -> float:
    tokens = encode(TOKENS, text)
    with torch.no_grad():
        logits = model(tokens[None, :-1])[0]
    nats: float = F.cross_entropy(logits, tokens[1:], reduction="sum").item()
    return nats / math.log(2) / len(text.encode())


def test_the_demo_files_take_at_most_7_5_megabytes():
    assert sum(file.stat().st_size for file in DEMO.iterdir()) <= 7_500_000


def test_the_demo_checkpoint_is_a_gpt_with_the_names_and_shapes_of_the_format():
    checkpoint = Checkpoint(DEMO / CHECKPOINT)
    assert (checkpoint.kind, checkpoint.config) == ("gpt", asdict(Config()))
    assert {checkpoint.spec(name).dtype.name for name in checkpoint.names()} == {"bf16"}
    stored = {name: checkpoint.spec(name).shape for name in checkpoint.names()}
    E, V, T = 256, 768, 256
    block: dict[str, tuple[int, ...]] = {
        "attention.w_qkv": (E, 3 * E),
        "attention.b_qkv": (3 * E,),
        "attention.w_out": (E, E),
        "attention.b_out": (E,),
        "feed_forward.w_in": (E, 4 * E),
        "feed_forward.b_in": (4 * E,),
        "feed_forward.w_out": (4 * E, E),
        "feed_forward.b_out": (E,),
        **{f"{norm}.{leaf}": (E,) for norm in ("ln_1", "ln_2") for leaf in ("gamma", "beta")},
    }
    outer: dict[str, tuple[int, ...]] = {
        "tok_embeddings.weight": (V, E),
        "pos_embeddings": (T, E),
        "final_ln.gamma": (E,),
        "final_ln.beta": (E,),
        "lm_head": (E, V),
    }
    assert stored == outer | {
        f"blocks.{n}.{name}": shape for n in range(4) for name, shape in block.items()
    }


def test_the_demo_model_predicts_unseen_shakespeare_and_not_its_reverse():
    model, _ = load(DEMO / CHECKPOINT)
    assert bits_per_byte(model, UNSEEN) < 2.8  # bytes drawn evenly would cost 8
    assert bits_per_byte(model, UNSEEN[::-1]) > 4


def test_the_demo_model_has_the_same_logits_as_in_torch():
    model, _ = load(DEMO / CHECKPOINT)
    tokens = encode(TOKENS, UNSEEN)
    demo = load_model()
    assert demo.dtype.name == "f32"  # or greedy tokens would differ where two are nearly alike
    language_model = demo.as_causal_lm()
    assert language_model is not None
    got = np.asarray(language_model.logits(tokens.tolist()))
    with torch.no_grad():
        want = model(tokens[None])[0].numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@given(st.text(max_size=60))
def test_the_demo_tokenizer_round_trips_any_text(text: str):
    assert TOKENS.decode(TOKENS.encode(text).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", ["ROMEO", " ROMEO", "naïve — 漢字 🜁", "\r\n\t\x00", ""])
def test_the_demo_tokenizer_adds_and_loses_nothing(text: str):
    assert TOKENS.decode(TOKENS.encode(text).ids) == text


def test_the_demo_tokenizer_has_the_vocabulary_of_the_model_and_an_end_of_text():
    assert TOKENS.get_vocab_size() == Config().vocab_size
    assert TOKENS.encode(END_OF_TEXT).ids == [TOKENS.token_to_id(END_OF_TEXT)]
    special = [token.content for token in TOKENS.get_added_tokens_decoder().values()]
    assert special == [END_OF_TEXT]


PROMPTS = [
    "ROMEO:", "JULIET:\n", "To be, or not", "O", "My lord,", "KING HENRY:\nWhat", "The ", "\n\n",
    "I am", "Good night", "DUKE", "Enter", "Alas!", "1", "What's in a name", "sword and", "é",
    "zzz", "?", UNSEEN,
]  # fmt: skip


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_greedy_tokens_of_native_are_those_of_the_reference(prompt):
    """What the reference expects behind each token is the token that comes: then so is its own."""
    greedy = Sampling(temperature=0)
    with load_model(backend="native") as native, load_model(backend="reference") as reference:
        fast, slow = native.as_causal_lm(), reference.as_causal_lm()
        assert fast is not None
        assert slow is not None
        ids = encode(TOKENS, prompt).tolist()
        room = fast.context_length + 1 - len(ids)
        made = fast.generate(ids, max_tokens=min(200, room), sampling=greedy).token_ids
        assert len(made) == min(200, room) or len(made) > 20
        logits = slow.logits((ids + made)[: slow.context_length])
        expected = logits[len(ids) - 1 :].argmax(-1)
        assert made[: len(expected)] == expected[: len(made)].tolist()
