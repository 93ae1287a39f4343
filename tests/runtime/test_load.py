"""`load_model`: what it takes, what it refuses and how, when weights are read and let go."""

import gc
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from ptir import PtirError, Sampling, Tokens, backends, load_model
from ptir.backends import BackendError
from ptir.checkpoint import Checkpoint, CheckpointError, save
from ptir.ir import DTYPES
from ptir.models import ModelError
from ptir.text import TokenizerError

from . import tiny

GREEDY = Sampling(temperature=0)
NOTHING: Mapping[str, Any] = MappingProxyType({})


@pytest.fixture
def path(tmp_path):
    return tiny.write(tmp_path / "tiny.gptrs")


def altered(
    path: Path, tensors: Mapping[str, Any] = NOTHING, kind: str = "gpt", config: Any = tiny.CONFIG
) -> Path:
    """A checkpoint in which some tensors are others, or missing (None)."""
    found = {n: t for n, t in (tiny.weights() | dict(tensors)).items() if t is not None}
    save(path, kind=kind, config=config, tensors=found)
    return path


# --- what it takes ---


def test_a_file_a_string_and_the_folder_of_a_file_are_the_same_model(path):
    for given in (path, str(path), path.parent):
        with load_model(given) as model:
            assert (model.kind, model.path) == ("gpt", str(path))
            assert dict(model.config) == tiny.CONFIG


def test_without_a_path_it_is_the_demo_model():
    with load_model() as model:
        assert (model.kind, Path(model.path).name) == ("gpt", "demo.gptrs")
        assert model.tokenizer is not None


def test_the_tokenizer_is_the_one_beside_the_model_or_the_one_named(path, tmp_path):
    with load_model() as demo:
        assert demo.tokenizer is not None
    source = Path(demo.path).with_name("tokenizer.json")
    with load_model(path) as bare:
        assert bare.tokenizer is None
    with load_model(path, tokenizer=source) as named:
        assert named.tokenizer is not None
    path.with_name("tokenizer.json").write_bytes(source.read_bytes())
    with load_model(path) as beside:
        assert beside.tokenizer is not None
        assert beside.tokenizer.vocab_size == demo.tokenizer.vocab_size


def test_parameters_are_told_without_being_read(path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "load", lambda *_: pytest.fail("a weight was read"))
    with load_model(path) as model:
        told = {p.name: (p.dtype.name, p.shape, p.size, p.nbytes) for p in model.parameters()}
    stored = {n: ("f32", a.shape, a.size, a.nbytes) for n, a in tiny.weights().items()}
    assert told == stored
    assert list(told) == sorted(told)


# --- what it computes in ---


def logits(path, **how):
    with load_model(path, **how) as model:
        lm = model.as_causal_lm()
        assert lm is not None
        return lm.logits([1, 2, 3, 4]), model.dtype.name


def stored_as(path, name, dtype, runtime=None):
    made = path.with_name(f"{name}.gptrs")
    tensors = {n: a.astype(dtype) for n, a in tiny.weights().items()}
    save(made, kind="gpt", config=tiny.CONFIG, runtime=runtime, tensors=tensors)
    return made


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_weights_are_converted_to_what_is_asked_for(path, backend, dtype):
    narrow = stored_as(path, "narrow", DTYPES[dtype].numpy)
    got, used = logits(path, dtype=dtype, backend=backend)
    np.testing.assert_array_equal(got, logits(narrow, backend=backend)[0])
    assert used == dtype
    np.testing.assert_array_equal(got, logits(path, dtype=DTYPES[dtype], backend=backend)[0])
    assert not np.array_equal(got, logits(path, backend=backend)[0])
    tensors = {n: a.astype(DTYPES[dtype].numpy).astype("f4") for n, a in tiny.weights().items()}
    wide = altered(path.with_name("wide.gptrs"), tensors)
    got, used = logits(narrow, dtype="f32", backend=backend)
    np.testing.assert_array_equal(got, logits(wide, backend=backend)[0])
    assert used == "f32"


def test_a_checkpoint_says_what_it_is_computed_in_and_the_caller_over_it(path):
    asks = stored_as(path, "asks", DTYPES["bf16"].numpy, {"dtype": "f32"})
    bare = stored_as(path, "bare", DTYPES["bf16"].numpy)
    np.testing.assert_array_equal(logits(asks)[0], logits(bare, dtype="f32")[0])
    np.testing.assert_array_equal(logits(asks, dtype="bf16")[0], logits(bare)[0])
    assert not np.array_equal(logits(asks)[0], logits(bare)[0])
    with load_model(asks) as model:
        assert {p.dtype.name for p in model.parameters()} == {"bf16"}  # as they are stored


@pytest.mark.parametrize("wrong", ["f64", "F32", "", 16, ["f32"]])
def test_what_nothing_is_computed_in_is_refused(path, wrong):
    with pytest.raises(ModelError, match=r"^dtype is .*, wanted f32, bf16, f16$"):
        load_model(path, dtype=wrong)
    asks = stored_as(path, "asks", np.float32, {"dtype": wrong})
    with pytest.raises(ModelError, match=r"asks\.gptrs: runtime\.dtype: dtype is "):
        load_model(asks)


# --- what it refuses ---


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.gptrs: cannot be read: No such file"):
        load_model(tmp_path / "none.gptrs")


def test_a_folder_without_one_checkpoint_is_refused(path):
    empty = path.parent / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointError, match=r"wanted one \*\.gptrs file .* found none"):
        load_model(empty)
    tiny.write(path.parent / "second.gptrs")
    with pytest.raises(CheckpointError, match=r"found second\.gptrs, tiny\.gptrs"):
        load_model(path.parent)


@pytest.mark.parametrize("content", [b"", b"GPTRSCHK", b"hello, world: no checkpoint at all"])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "x.gptrs").write_bytes(content)
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "x.gptrs")


def test_an_unknown_kind_is_refused_with_the_nearest_spelling(tmp_path):
    path = altered(tmp_path / "m.gptrs", kind="gtp")
    with pytest.raises(ModelError, match=r"m\.gptrs: no model of kind 'gtp'.*gpt"):
        load_model(path)


@pytest.mark.parametrize("kind", ["base", "os", "__init__"])
def test_a_kind_is_never_just_any_module(tmp_path, kind):
    with pytest.raises(ModelError, match="no model of kind"):
        load_model(altered(tmp_path / "m.gptrs", kind=kind))


def test_an_unknown_backend_is_refused(path):
    with pytest.raises(BackendError, match=r"no backend 'referense'.*reference"):
        load_model(path, backend="referense")


def test_a_missing_tensor_is_refused_by_name(tmp_path):
    path = altered(tmp_path / "m.gptrs", {"blocks.1.ln_2.gamma": None})
    with pytest.raises(CheckpointError, match=r"no tensor 'blocks\.1\.ln_2\.gamma'"):
        load_model(path)


def test_a_tensor_of_another_shape_is_refused_with_both_shapes(tmp_path):
    path = altered(tmp_path / "m.gptrs", {"lm_head": np.zeros((8, 16), "f4")})
    wanted = r"'lm_head' is f32\[8, 16\], wanted floats \[8, 17\]"
    with pytest.raises(ModelError, match=wanted):
        load_model(path)


def test_a_tensor_of_integers_is_refused(tmp_path):
    path = altered(tmp_path / "m.gptrs", {"lm_head": np.zeros((8, 17), "i4")})
    with pytest.raises(ModelError, match=r"si32\[8, 17\], wanted floats"):
        load_model(path)


def test_a_tensor_that_is_none_of_the_models_is_refused(tmp_path):
    path = altered(tmp_path / "m.gptrs", {"lora.a": np.zeros(2, "f4")})
    with pytest.raises(ModelError, match=r"1 parameters are none of the model's: 'lora\.a'"):
        load_model(path)


def test_a_tokenizer_that_is_none_is_refused(path):
    path.with_name("tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError):
        load_model(path)
    with pytest.raises(TokenizerError, match="No such file"):
        load_model(path, tokenizer="nowhere.json")


def test_what_stands_in_a_file_is_not_repeated_raw(tmp_path):
    config = tiny.CONFIG | {"\x1b[2Jx\n": 1}
    with pytest.raises(ModelError) as refused:
        load_model(altered(tmp_path / "m.gptrs", config=config))
    assert "unknown field" in str(refused.value)
    assert str(refused.value).isprintable()


# --- when weights are read, and let go ---


@pytest.fixture
def reads(monkeypatch):
    """The ids of the tensors read, in order."""
    found: list[int] = []
    load = Checkpoint.load

    def counted(self, base_id):
        found.append(base_id)
        return load(self, base_id)

    monkeypatch.setattr(Checkpoint, "load", counted)
    return found


def test_each_weight_is_read_once_and_not_before_the_first_program(backend, path, reads):
    with load_model(path) as model:
        lm = tiny.text_model(model)
        lm.plan("decode")
        model.parameters()
        assert reads == []
        lm.generate([1], max_tokens=3, sampling=GREEDY)
        assert len(reads) == len(set(reads)) == len(tiny.weights())
        lm.logits([1, 2])
        model.forward(Tokens([1, 2])).numpy()
        assert len(reads) == len(tiny.weights())


def test_closing_gives_everything_back(backend, path):
    resolver = backends.find(backend).params
    gc.collect()
    before = len(resolver)
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    model = load_model(path)
    lm = tiny.text_model(model)
    session = lm.session()
    session.feed([1])
    assert len(resolver) >= before + len(tiny.weights())  # and what derives from them
    model.close()
    gc.collect()
    assert len(resolver) == before
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors
    del model, lm, session  # held until here: closing is enough


def test_two_models_of_one_file_do_not_share_parameters(backend, path):
    with load_model(path) as first, load_model(path) as second:
        a, b = (m.forward(Tokens([1, 2])).numpy() for m in (first, second))
        first.close()
        np.testing.assert_array_equal(second.forward(Tokens([1, 2])).numpy(), a)
        np.testing.assert_array_equal(a, b)


def test_a_closed_model_is_refused(path):
    model = load_model(path)
    model.close()
    model.close()
    for use in (lambda: model.forward(Tokens([1])), model.as_causal_lm, model.parameters):
        with pytest.raises(ModelError, match=r"tiny\.gptrs is closed; load it again"):
            use()


# --- files that change under it ---


@pytest.mark.parametrize("mapped", ["0", "1"])
def test_a_file_that_shrank_is_refused_before_it_is_read(backend, path, monkeypatch, mapped):
    monkeypatch.setenv("PTIR_MMAP", mapped)
    with load_model(path) as model:
        lm = tiny.text_model(model)
        os.truncate(path, path.stat().st_size // 2)
        for use in (lambda: lm.generate([1]), lambda: model.forward(Tokens([1]))):
            with pytest.raises(CheckpointError, match="load it again"):
                use()


def test_mapped_and_copied_weights_give_the_same_logits(backend, path, monkeypatch):
    logits = []
    for mapped in "01":
        monkeypatch.setenv("PTIR_MMAP", mapped)
        with load_model(path) as model:
            logits.append(tiny.text_model(model).logits([1, 2, 3]))
    np.testing.assert_array_equal(logits[0], logits[1])


SHRINK = """
import os, sys
from ptir import PtirError, Sampling, load_model
path = sys.argv[1]
lm = load_model(path).as_causal_lm()
session = lm.session()
session.feed([1, 2])
os.truncate(path, 100)
try:
    session.feed([3])
except PtirError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(not hasattr(os, "truncate"), reason="needs truncate")
def test_a_mapped_file_cut_during_a_generation_does_not_kill_the_process(path):
    """With every weight of the mapping in use: touching one beyond the cut would be SIGBUS."""
    done = subprocess.run(
        [sys.executable, "-c", SHRINK, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "CheckpointError\n")


def test_every_refusal_is_one_type_of_error():
    for error in (CheckpointError, ModelError, BackendError, TokenizerError):
        assert issubclass(error, PtirError)
