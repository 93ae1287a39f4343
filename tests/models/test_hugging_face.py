"""Folders that the transformers library writes, read as they are: against the model that wrote
them.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import GPT2Config, GPT2LMHeadModel

from ptir import backends, load_model, nn
from ptir.backends.native.lower import tensors
from ptir.backends.native.pack import PANEL
from ptir.checkpoint import CheckpointError, safetensors
from ptir.models import HuggingFace, ModelError, find, gpt, of_model_type
from ptir.passes.derive import VIEW
from ptir.runtime import Sampling
from ptir.runtime.memory import type_bytes
from ptir.runtime.steps import Step
from tests.runtime.tiny import text_model

GREEDY = Sampling(temperature=0)
SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "n_positions": 48,
    "n_embd": 40,
    "n_layer": 2,
    "n_head": 5,
    "initializer_range": 0.3,  # wide enough that every layer matters
    "bos_token_id": 0,
    "eos_token_id": 0,
}
STEPS: tuple[Step, ...] = ("prefill", "decode", "score")
IDS = np.random.default_rng(0).integers(0, 97, 20).tolist()


def made(**changes: Any) -> GPT2LMHeadModel:
    torch.manual_seed(len(changes))
    model = GPT2LMHeadModel(GPT2Config(**SMALL | changes)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:  # they start as zeros and ones
                weight.add_(torch.randn_like(weight) * 0.1)
            if name == "lm_head.weight":
                weight.mul_(1.5)
    return model


def logits_of(model: Any, ids: list[int] = IDS) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        found: np.ndarray[Any, Any] = model(torch.tensor([ids])).logits[0].float().numpy()
    return found


def off(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> float:
    assert np.abs(want).max() > 1  # the oracle says something
    return float(np.abs(got - want).max() / np.abs(want).max())


def rewrite(folder: Path, **changes: Any) -> None:
    """Change fields of config.json; None takes one out."""
    path = folder / "config.json"
    fields = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))


def renamed(folder: Path, change: Any) -> None:
    """Write the weights anew, as `change` gives them by name."""
    file = folder / "model.safetensors"
    from_torch = GPT2LMHeadModel.from_pretrained(folder).state_dict()
    kept = {n: t.numpy() for n, t in from_torch.items() if n != "lm_head.weight"}
    file.unlink()
    safetensors.save(file, change(kept))


@pytest.fixture(scope="module")
def oracle():
    return made()


@pytest.fixture
def folder(oracle, tmp_path):
    oracle.save_pretrained(tmp_path)
    return tmp_path


# --- the same numbers ---


@pytest.mark.parametrize("backend", backends.names())
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"activation_function": "gelu"},
        {"activation_function": "gelu_pytorch_tanh", "layer_norm_epsilon": 1e-3},
        {"n_inner": 80},
        {"n_layer": 0},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_logits_and_greedy_tokens_equal_those_of_transformers(tmp_path, backend, changes):
    model = made(**changes)
    model.save_pretrained(tmp_path)
    with load_model(tmp_path, backend=backend) as loaded:
        lm = text_model(loaded)
        assert off(lm.logits(IDS), logits_of(model)) <= 1e-4
        expected = list(IDS)
        for _ in range(12):
            expected.append(int(logits_of(model, expected)[-1].argmax()))
        assert lm.generate(IDS, max_tokens=12, sampling=GREEDY).token_ids == expected[len(IDS) :]


def test_shards_are_one_model(oracle, tmp_path):
    oracle.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    with load_model(tmp_path) as loaded:
        assert off(text_model(loaded).logits(IDS), logits_of(oracle)) <= 1e-4


@pytest.mark.parametrize("type, bound", [(torch.float16, 0.02), (torch.bfloat16, 0.1)])
def test_narrow_weights_give_the_logits_of_wide_ones_within_their_rounding(tmp_path, type, bound):
    model = made()
    wide = logits_of(model)
    model.to(type).save_pretrained(tmp_path)
    with load_model(tmp_path) as loaded:
        assert {p.dtype.name for p in loaded.parameters()} <= {"f16", "bf16"}
        assert 0 < off(text_model(loaded).logits(IDS), wide) < bound


def test_names_without_a_prefix_and_with_masks_are_read(oracle, folder):
    def published(kept):
        masks = {f"h.{i}.attn.bias": np.tri(48, dtype="f4")[None, None] for i in range(2)}
        masks |= {f"h.{i}.attn.masked_bias": np.full(1, -1e4, "f4") for i in range(2)}
        return {n.removeprefix("transformer."): a for n, a in kept.items()} | masks

    renamed(folder, published)
    with load_model(folder) as loaded:
        assert off(text_model(loaded).logits(IDS), logits_of(oracle)) <= 1e-4


def test_a_head_is_tied_where_the_config_says_so_or_the_file_has_none(oracle, folder):
    renamed(folder, lambda kept: kept | {"lm_head.weight": np.zeros((97, 40), "f4")})
    with load_model(folder) as loaded:
        assert off(text_model(loaded).logits(IDS), logits_of(oracle)) <= 1e-4
    rewrite(folder, tie_word_embeddings=False)
    with load_model(folder) as loaded:
        assert not text_model(loaded).logits(IDS).any()
    renamed(folder, lambda kept: kept)
    with load_model(folder) as loaded:
        assert off(text_model(loaded).logits(IDS), logits_of(oracle)) <= 1e-4


# --- what it holds ---


def test_kind_config_and_parameters_are_told_under_our_names(folder):
    with load_model(folder) as loaded:
        assert (loaded.kind, loaded.path, loaded.tokenizer) == ("gpt", str(folder), None)
        assert (loaded.config["embed_dim"], loaded.config["num_heads"]) == (40, 5)
        told = {p.name: p.shape for p in loaded.parameters()}
    assert told["blocks.1.attention.w_qkv"] == (40, 120)
    assert "lm_head" not in told  # it is told as what it is tied to
    assert told["tok_embeddings.weight"] == (97, 40)
    assert sum(map(np.prod, told.values())) == sum(p.numel() for p in made().parameters())


def test_a_head_of_its_own_is_told_as_it_is_used(tmp_path):
    made(tie_word_embeddings=False).save_pretrained(tmp_path)
    with load_model(tmp_path) as loaded:
        assert {p.name: p.shape for p in loaded.parameters()}["lm_head"] == (40, 97)


@pytest.mark.parametrize("backend", backends.names())
@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("type", [torch.float32, torch.bfloat16])
def test_no_step_keeps_a_copy_of_the_head_but_a_packed_one(tmp_path, backend, is_tied, type):
    vocab = VIEW // (2 * 40) + 1
    model = made(vocab_size=vocab, tie_word_embeddings=is_tied)
    model.to(type).save_pretrained(tmp_path)
    with load_model(tmp_path, backend=backend) as loaded:
        lm = text_model(loaded)
        for step in STEPS:
            plan = lm.plan(step)
            derived = [i.type for i in plan.program.inputs[len(plan.slots) :]]
            large = [
                tensor.shape for (tensor,) in map(tensors, derived) if type_bytes(tensor) >= VIEW
            ]
            if backend == "native":
                panels = -(-vocab // PANEL)
                one = (panels, 20, PANEL, 2) if type is torch.bfloat16 else (panels, 40, PANEL)
                assert large == [one]
            else:
                assert large == []


def test_a_tied_head_follows_the_embedding_that_replaces_its_own(folder):
    with load_model(folder) as loaded:
        old = loaded.model
        assert isinstance(old, gpt.Model)
        weight = old.tok_embeddings.weight
        nn.replace_parameter(old, "tok_embeddings.weight", weight * 0 + 1)
        got = text_model(loaded).logits(IDS)
    assert np.ptp(got, axis=-1).max() == 0  # every token is the same to it


def test_weights_are_not_read_before_they_are_used(folder, monkeypatch):
    from_disk = "ptir.checkpoint.Checkpoint.load"
    monkeypatch.setattr(from_disk, lambda *_: pytest.fail("a weight was read"))
    with load_model(folder) as loaded:
        text_model(loaded).plan("decode")
        assert loaded.parameters()


def test_parameters_are_known_by_our_names_and_a_tied_head_is_no_other(folder):
    with load_model(folder) as loaded:
        sources = {
            name: (t.node.operands[0] if t.node.operands else t.node).attrs["source"]
            for name, t, _ in loaded.model.named_parameters()
        }
    assert sources["lm_head"] is sources["tok_embeddings.weight"]
    assert {s.name for s in sources.values()} == set(sources) - {"lm_head"}


# --- the tokenizer beside it ---


def test_the_tokenizer_beside_it_and_its_end_of_text_are_used(oracle, folder):
    words = {"<|endoftext|>": 0} | {f"w{i}": i for i in range(1, 97)}
    Tokenizer(BPE(words, [], unk_token="<|endoftext|>")).save(str(folder / "tokenizer.json"))
    following = int(logits_of(oracle)[-1].argmax())
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [following]}))
    with load_model(folder) as loaded:
        assert loaded.tokenizer is not None
        assert loaded.tokenizer.eos_ids == (following,)
        done = text_model(loaded).generate(IDS, max_tokens=9, sampling=GREEDY)
    assert (done.finish_reason, done.token_ids) == ("stop", [])


def test_a_vocabulary_and_merges_are_a_tokenizer(folder):
    (folder / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}))
    (folder / "merges.txt").write_text("#version: 0.2\na b\n")
    with load_model(folder) as loaded:
        assert loaded.tokenizer is not None
        assert loaded.tokenizer.encode("ab") == [2]


# --- refusals ---


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"activation_function": "relu"}, "activation_function 'relu' is none of gelu, gelu_new"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"scale_attn_weights": False}, "scale_attn_weights is False"),
        ({"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn is True"),
        ({"add_cross_attention": True}, "add_cross_attention is True; only False is"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"n_inner": 90}, "n_inner 90 is no multiple of n_embd 40"),
        ({"n_head": 7}, "n_embd 40 is no multiple of n_head 7"),
        ({"n_embd": "wide"}, r"n_embd"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings"),
        ({"model_type": "llama"}, "no model reads Hugging Face's model_type 'llama'; have gpt2"),
        ({"model_type": None}, "does not say what kind of model it holds"),
        ({"n_layer": 1}, "none of the model's: 'transformer.h.1"),
        ({"n_positions": 47}, r"'pos_embeddings' is f32\[48, 40\], wanted floats \[47, 40\]"),
        ({"vocab_size": 96}, "tok_embeddings.weight"),
        ({"n_layer": 3}, "has no tensor 'transformer.h.2."),
    ],
)
def test_what_is_not_implemented_or_does_not_fit_is_refused_by_name(folder, changes, message):
    rewrite(folder, **changes)
    with pytest.raises((ModelError, CheckpointError), match=message) as refused:
        load_model(folder)
    assert str(folder) in str(refused.value)


def test_a_tensor_that_is_none_of_the_models_is_refused(folder):
    renamed(folder, lambda kept: kept | {"score.weight": np.zeros((2, 40), "f4")})
    with pytest.raises(ModelError, match=r"1 parameters are none of the model's: 'score\.weight'"):
        load_model(folder)


def test_a_head_that_is_no_matrix_is_refused(folder):
    rewrite(folder, tie_word_embeddings=False)
    renamed(folder, lambda kept: kept | {"lm_head.weight": np.zeros(97, "f4")})
    with pytest.raises(ModelError, match=r"'lm_head' is f32\[97\], wanted floats \[40, 97\]"):
        load_model(folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_with_half_of_it_is_refused_with_what_is_looked_for(folder, missing):
    (folder / missing).rename(folder / "pytorch_model.bin")
    wanted = "config.json with model.safetensors or model.safetensors.index.json; found "
    with pytest.raises(CheckpointError, match=re.escape(wanted)) as refused:
        load_model(folder)
    assert "pytorch_model.bin; pickled weights are not read" in str(refused.value)


def test_weights_alone_do_not_say_what_they_are(folder):
    with pytest.raises(ModelError, match=r"pass the folder of a config\.json"):
        load_model(folder / "model.safetensors")


# --- how a module says it ---


def test_a_module_says_what_it_reads_and_a_wrong_word_is_refused(monkeypatch):
    form = find("gpt").hugging_face
    assert isinstance(form, HuggingFace)
    assert of_model_type(form.model_type).kind == "gpt"
    monkeypatch.setattr(gpt, "hugging_face", "gpt2")
    with pytest.raises(ModelError, match=r"hugging_face is no ptir\.models\.HuggingFace"):
        find("gpt")
