"""GPT against the transformers library, and against itself with other cache states."""

import itertools
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from ptir import Image, Tokens, backends, engine, load_model
from ptir.checkpoint import CheckpointError, save
from ptir.models import ModelError
from ptir.runtime import Sampling
from tests import gptrschk
from tests.models import gpt2

SHAPES: dict[str, dict[str, Any]] = {
    "odd": {"vocab": 97, "context": 64, "embed": 35, "layers": 2, "heads": 5},
    "one_head": {"vocab": 11, "context": 33, "embed": 24, "layers": 3, "heads": 1},
    "wide": {"vocab": 301, "context": 96, "embed": 96, "layers": 2, "heads": 3},
}
CASES = [
    ("odd", "gelu"),
    ("odd", "gelu_tanh"),
    ("one_head", "gelu_tanh"),
    ("wide", "gelu"),
]
GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def pair(request, tmp_path_factory):
    """The oracle and the path of the same model as a checkpoint."""
    name, activation = request.param
    oracle = gpt2.foreign(**SHAPES[name], activation=activation, seed=len(name))
    path = tmp_path_factory.mktemp("gpt") / "model.gptrs"
    gpt2.write(oracle, path)
    return oracle, path


@pytest.fixture(params=backends.names())
def loaded(request, pair):
    with load_model(pair[1], backend=request.param) as model:
        yield model


def prompt_of(model: Any, length: int, seed: int = 0) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(0, model.vocab_size, length).tolist()
    return ids


def oracle_logits(oracle: Any, ids: list[int]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        logits: np.ndarray[Any, Any] = oracle(torch.tensor([ids])).logits[0].numpy()
    return logits


def test_logits_equal_those_of_transformers(pair, loaded):
    lm = loaded.as_causal_lm()
    ids = prompt_of(lm, lm.context_length)
    expected = oracle_logits(pair[0], ids)
    error = np.abs(lm.logits(ids) - expected).max() / np.abs(expected).max()
    assert error <= 1e-4
    assert np.abs(expected).max() > 1  # the oracle says something


def test_forward_gives_the_logits_of_a_batch(pair, loaded):
    lm = loaded.as_causal_lm()
    batch = [prompt_of(lm, 7, seed) for seed in (1, 2)]
    got = loaded.forward(Tokens(batch)).numpy()
    assert got.dtype == np.float32
    for row, ids in zip(got, batch, strict=True):
        np.testing.assert_allclose(row, oracle_logits(pair[0], ids), rtol=1e-4, atol=1e-3)


def test_greedy_tokens_equal_those_of_transformers(pair, loaded):
    lm = loaded.as_causal_lm()
    ids = prompt_of(lm, 5)
    expected = list(ids)
    for _ in range(16):
        expected.append(int(oracle_logits(pair[0], expected)[-1].argmax()))
    assert lm.generate(ids, max_tokens=16, sampling=GREEDY).token_ids == expected[5:]


def steps(lm: Any, chunks: list[list[int]], capacity: int) -> list[np.ndarray[Any, Any]]:
    """Logits behind the last token of each chunk, each run on the caches of those before it."""
    session = lm.session(capacity)
    return [session.feed(chunk) for chunk in chunks]


def test_cached_decode_equals_full_forward(loaded):
    lm = loaded.as_causal_lm()
    ids = prompt_of(lm, 20)
    cached = steps(lm, [ids[:4], *([i] for i in ids[4:])], 20)
    np.testing.assert_allclose(cached, lm.logits(ids)[3:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cuts", [(1,), (7,), (3, 4), (1, 2, 19), (19,)])
def test_chunked_prefill_equals_one_prefill(loaded, cuts):
    lm = loaded.as_causal_lm()
    ids = prompt_of(lm, 20)
    edges = [0, *cuts, 20]
    chunks = [ids[a:b] for a, b in itertools.pairwise(edges)]
    (whole,) = steps(lm, [ids], 32)
    np.testing.assert_allclose(steps(lm, chunks, 32)[-1], whole, rtol=1e-4, atol=1e-4)


def test_capacity_does_not_change_the_logits(loaded):
    lm = loaded.as_causal_lm()
    ids = prompt_of(lm, 9)
    tight, roomy = (steps(lm, [ids], capacity)[0] for capacity in (9, 33))
    np.testing.assert_allclose(tight, roomy, rtol=1e-5, atol=1e-5)


def test_prompts_of_1000_random_lengths_cost_at_most_12_plans(tmp_path: Path):
    shape = {"vocab": 31, "context": 512, "embed": 16, "layers": 2, "heads": 2}
    gpt2.write(gpt2.foreign(**shape, activation="gelu", seed=0), tmp_path / "tiny.gptrs")
    lengths = np.random.default_rng(0).integers(1, 501, 1000)
    engine.PLANS.clear()
    with load_model(tmp_path / "tiny.gptrs") as model:
        lm = model.as_causal_lm()
        assert lm is not None
        for length in lengths:
            lm.generate([1] * int(length), max_tokens=2, sampling=GREEDY)
    assert engine.PLANS.stats.misses <= 12


def test_a_checkpoint_assembled_byte_by_byte_loads(tmp_path: Path):
    oracle = gpt2.foreign(
        vocab=13, context=8, embed=6, layers=1, heads=2, activation="gelu", seed=3
    )
    config = {
        "vocab_size": 13,
        "context_length": 8,
        "embed_dim": 6,
        "num_layers": 1,
        "num_heads": 2,
        "mlp_ratio": 4,
        "dropout": 0.0,
    }
    rows = [gptrschk.row(name, a) for name, a in sorted(gpt2.arrays(oracle).items())]
    file = gptrschk.assemble(rows, {"kind": "gpt", "config": config})
    path = tmp_path / "by_hand.gptrs"
    path.write_bytes(file.data)
    with load_model(path) as model:
        lm = model.as_causal_lm()
        assert lm is not None
        got = lm.logits([1, 2, 12])
    np.testing.assert_allclose(got, oracle_logits(oracle, [1, 2, 12]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"embed_dim": 7}, "no multiple of"),
        ({"num_layers": "two"}, "num_layers"),
        ({"vocab_size": -1}, "vocab_size"),
        ({"heads": 3}, "heads"),
        ({"num_layers": 3}, "blocks.1"),
        ({"vocab_size": 12}, "tok_embeddings.weight"),
        ({"num_layers": 0}, "none of the model's"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path: Path, change, message):
    oracle = gpt2.foreign(
        vocab=13, context=8, embed=6, layers=1, heads=2, activation="gelu", seed=3
    )
    config = {"vocab_size": 13, "context_length": 8, "embed_dim": 6, "num_layers": 1}
    config["num_heads"] = 2
    save(tmp_path / "m.gptrs", kind="gpt", config=config | change, tensors=gpt2.arrays(oracle))
    with pytest.raises((ModelError, CheckpointError), match=message):
        load_model(tmp_path / "m.gptrs")


@pytest.mark.parametrize("to, bound", [(np.float16, 0.02), (ml_dtypes.bfloat16, 0.1)])
def test_narrow_weights_give_the_logits_of_wide_ones_within_their_rounding(tmp_path, to, bound):
    oracle = gpt2.foreign(**SHAPES["odd"], activation="gelu", seed=5)
    narrow = {name: array.astype(to) for name, array in gpt2.arrays(oracle).items()}
    gpt2.write(oracle, tmp_path / "m.gptrs", narrow)
    ids = list(range(20))
    expected = oracle_logits(oracle, ids)
    with load_model(tmp_path / "m.gptrs") as model:
        lm = model.as_causal_lm()
        assert lm is not None
        got = lm.logits(ids)
        tokens = lm.generate(ids, max_tokens=4, sampling=GREEDY).token_ids
    assert got.dtype == np.float32
    assert 0 < np.abs(got - expected).max() / np.abs(expected).max() < bound
    assert tokens[0] == got[-1].argmax()


def test_an_image_is_no_input_of_a_gpt(loaded):
    with pytest.raises(ModelError, match="takes Tokens"):
        loaded.forward(Image(np.zeros((1, 3, 2, 2), np.float32)))
