"""Exports: the file has the source's numbers, replaces nothing unasked, and a wrong one does not
stay.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from ptir import load_model
from ptir.checkpoint import Checkpoint, CheckpointError, safetensors, save
from ptir.ir import DTYPES
from ptir.models import ModelError
from ptir.params import base_param_id
from ptir.runtime import ExportError, export
from tests.runtime import tiny

IDS = [1, 5, 16, 3]
TOKENIZER = {
    "vocab.json": json.dumps({"a": 0, "b": 1, "ab": 2}),
    "merges.txt": "#version: 0.2\na b",
}


@pytest.fixture
def source(tmp_path):
    """A folder of Hugging Face, with a tokenizer and a file that is none of a model's."""
    folder = tmp_path / "source"
    torch.manual_seed(1)
    shape: dict[str, Any] = {"vocab_size": 17, "n_positions": 12, "n_embd": 8, "n_head": 2}
    config = GPT2Config(**shape, n_layer=2, initializer_range=0.3, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    for name, text in (TOKENIZER | {"README.md": "about it"}).items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "model.gptrs"


def logits(path: Path) -> np.ndarray[Any, Any]:
    with load_model(path) as loaded:
        found: np.ndarray[Any, Any] = tiny.text_model(loaded).logits(IDS)
    return found


def test_the_file_is_the_same_model_with_its_tokenizer(source, out):
    done = export(source, out)
    assert done.difference <= 1e-5
    assert (done.kind, done.path, done.nbytes) == ("gpt", str(out), out.stat().st_size)
    np.testing.assert_allclose(logits(out), logits(source), rtol=1e-4, atol=1e-5)
    beside = {"generation_config.json", *TOKENIZER}
    assert set(done.beside) == beside
    assert {p.name for p in out.parent.iterdir()} == beside | {"model.gptrs"}
    checkpoint = Checkpoint(out, verify=True)
    assert checkpoint.format == "GPTRSCHK 3"
    assert len(checkpoint.names()) == done.tensors == len(tiny.weights())
    with load_model(source) as theirs, load_model(out.parent) as ours:
        assert ours.config == theirs.config
        assert ours.tokenizer is not None
        assert ours.tokenizer.encode("ab") == [2]


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])
def test_weights_are_converted(source, out, dtype):
    done = export(source, out, dtype=dtype)
    checkpoint = Checkpoint(out)
    assert {checkpoint.spec(n).dtype.name for n in checkpoint.names()} == {dtype}
    assert (done.difference > 1e-5) == (dtype != "f32")


def test_a_checkpoint_of_ours_is_a_source_too_and_keeps_its_runtime_section(out, tmp_path):
    first, section = tmp_path / "first.gptrs", {"functional_overrides": {"matmul": "force=split_k"}}
    save(first, kind="gpt", config=tiny.CONFIG, runtime=section, tensors=tiny.weights())
    export(first, out, dtype="bf16")
    written = Checkpoint(out)
    assert (written.kind, written.config, written.runtime) == ("gpt", tiny.CONFIG, section)


def test_what_weights_are_converted_to_is_computed_in(out, tmp_path):
    first = tmp_path / "first.gptrs"
    other: dict[str, object] = {"functional_overrides": {}}
    for section, kept in (({"dtype": "f32"}, None), ({"dtype": "f32"} | other, other)):
        save(first, kind="gpt", config=tiny.CONFIG, runtime=section, tensors=tiny.weights())
        export(first, out, dtype="bf16", force=True)
        assert Checkpoint(out).runtime == kept
        with load_model(out) as model:
            assert model.dtype.name == "bf16"
    export(first, out, force=True)
    assert Checkpoint(out).runtime == {"dtype": "f32"} | other


@pytest.mark.parametrize("dtype", [None, "f32", "bf16", "f16"])
@pytest.mark.parametrize("asked", ["f32", "bf16", "f16"])
@pytest.mark.parametrize("stored", ["f32", "bf16", "f16"])
def test_what_a_source_is_computed_in_is_no_difference(out, tmp_path, stored, asked, dtype):
    first = tmp_path / "first.gptrs"
    tensors = {n: a.astype(DTYPES[stored].numpy) for n, a in tiny.weights().items()}
    save(first, kind="gpt", config=tiny.CONFIG, runtime={"dtype": asked}, tensors=tensors)
    done = export(first, out, dtype=dtype)
    assert (done.difference == 0) == (dtype in (None, asked))


def test_every_tensor_is_told_once(source, out):
    told: list[tuple[int, int]] = []
    done = export(source, out, on_tensor=lambda *n: told.append(n))
    assert told == [(i + 1, done.tensors) for i in range(done.tensors)]


# --- what is there already ---


def test_nothing_is_replaced_unless_it_is_asked_for(source, out):
    out.write_bytes(b"precious")
    with pytest.raises(ExportError, match=r"model\.gptrs is there already; pass force"):
        export(source, out)
    assert [p.name for p in out.parent.iterdir()] == ["model.gptrs"]
    assert out.read_bytes() == b"precious"
    export(source, out, force=True)
    assert Checkpoint(out).kind == "gpt"


def test_a_tokenizer_of_another_model_is_not_replaced_unasked(source, out):
    other = out.with_name("vocab.json")
    other.write_text("{}")
    with pytest.raises(ExportError, match=r"vocab\.json is there already, of another model"):
        export(source, out)
    assert [p.name for p in out.parent.iterdir()] == ["vocab.json"]
    export(source, out, force=True)
    assert other.read_text() == TOKENIZER["vocab.json"]
    export(source, out.with_name("second.gptrs"))  # the same files may stay


def test_a_file_may_lie_beside_its_source(source):
    done = export(source, source / "model.gptrs")
    assert done.beside == []
    with load_model(source) as loaded:
        assert loaded.path == str(source / "model.gptrs")


@pytest.mark.parametrize("make", [Path.mkdir, lambda p: p.symlink_to("nowhere")])
def test_what_is_no_plain_file_is_not_replaced_even_by_force(source, out, make):
    make(out)
    with pytest.raises(CheckpointError, match="is not a regular file; save to another path"):
        export(source, out, force=True)
    assert os.path.islink(out) or out.is_dir()


def test_a_folder_that_is_not_there_is_refused(source, out):
    with pytest.raises(CheckpointError, match="No such file or directory"):
        export(source, out.parent / "none" / "model.gptrs")


# --- what does not stay ---


def test_weights_that_a_type_cannot_hold_leave_no_file(source, out):
    file = source / "model.safetensors"
    checkpoint = Checkpoint(file)
    arrays = {n: checkpoint.load(base_param_id(n)).copy() for n in checkpoint.names()}
    arrays["transformer.ln_f.weight"][:] = 1e6
    file.unlink()
    safetensors.save(file, arrays)
    out.write_bytes(b"precious")
    with pytest.raises(ExportError, match=r"logits are off by nan .* choose a wider dtype"):
        export(source, out, dtype="f16", force=True)
    assert out.read_bytes() == b"precious"
    assert [p.name for p in out.parent.iterdir()] == ["model.gptrs"]


def test_a_file_that_is_not_its_source_does_not_stay(source, out, monkeypatch):
    load, writing = Checkpoint.load, [False]

    def wrong(self, base_id):
        array = load(self, base_id)
        return array + 1 if writing[0] and array.shape == (8,) else array

    def note(written: int, count: int) -> None:
        writing[0] = written < count

    monkeypatch.setattr(Checkpoint, "load", wrong)
    with pytest.raises(ExportError, match="logits are off by"):
        export(source, out, on_tensor=note)
    assert list(out.parent.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(source, out):
    def interrupt(written: int, count: int) -> None:
        if written == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(source, out, on_tensor=interrupt)
    assert list(out.parent.iterdir()) == []


def test_another_kind_or_type_is_refused(source, out):
    with pytest.raises(ModelError, match="is a model of kind 'gpt', not 'llama'"):
        export(source, out, kind="llama")
    with pytest.raises(ExportError, match="dtype is 'f64', wanted f32, f16, bf16"):
        export(source, out, dtype="f64")
    assert list(out.parent.iterdir()) == []
