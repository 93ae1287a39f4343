"""`ptir forward`: token ids or an archive in, logits out."""

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ptir import load_model
from ptir.checkpoint import gptrsten, safetensors
from ptir.cli import forward
from ptir.runtime import arrays, read_array
from tests.runtime import tiny

IDS = [1, 2, 3]


@pytest.fixture
def model(tmp_path):
    return tiny.write(tmp_path / "m.gptrs")


def logits_of(model: Any, ids: Any) -> np.ndarray[Any, Any]:
    with load_model(model) as loaded:
        return np.stack([tiny.text_model(loaded).logits(row) for row in np.atleast_2d(ids)])


@pytest.mark.parametrize("suffix", [".npy", ".gptrsten", ".safetensors"])
def test_logits_are_written_by_suffix_and_read_back(ptir, model, tmp_path, suffix):
    out = tmp_path / f"logits{suffix}"
    done = ptir("forward", model, "--tokens", "1,2,3", "--out", out, "--json")
    assert (done.code, done.err) == (0, "")
    name = None if suffix == ".npy" else "logits"
    found = read_array(out, name)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, logits_of(model, IDS), atol=1e-5)
    assert json.loads(done.out)["shape"] == list(found.shape) == [1, 3, 17]


def test_the_largest_of_the_last_position_are_shown(ptir, model):
    last = logits_of(model, IDS)[0, -1]
    facts = json.loads(ptir("forward", model, "--tokens", "1,2,3", "--json").out)
    assert facts.keys() == {"model", "backend", "shape", "top"}
    order = np.argsort(-last)[:5].tolist()
    assert [entry["id"] for entry in facts["top"][0]] == order
    assert [e["logit"] for e in facts["top"][0]] == pytest.approx(last[order], abs=1e-5)
    rows = ptir("forward", model, "--tokens", "1,2,3").out.splitlines()
    assert rows[0] == "logits [1, 3, 17]"
    assert [row.split() for row in rows[1:]] == [[str(i), f"{last[i]:.4f}"] for i in order]


def test_tokens_are_shown_as_text_where_there_is_a_tokenizer(ptir):
    rows = ptir("forward", "--tokens", "47,539").out.splitlines()
    facts = json.loads(ptir("forward", "--tokens", "47,539", "--json").out)
    texts = [entry["text"] for entry in facts["top"][0]]
    assert [json.loads(row.split(None, 2)[2]) for row in rows[1:]] == texts
    assert any(texts)


def test_a_batch_comes_from_an_archive(ptir, model, tmp_path):
    ids = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    wanted = logits_of(model, ids)[:, -1].argmax(1).tolist()
    safetensors.save(tmp_path / "a.safetensors", {"ids": ids, "other": ids.T})
    gptrsten.save(tmp_path / "a.gptrsten", {"ids": ids})
    np.save(tmp_path / "a.npy", ids.astype("i8"))
    for file, name in (("a.safetensors", ("--name", "ids")), ("a.gptrsten", ()), ("a.npy", ())):
        done = ptir("forward", model, "--input", tmp_path / file, *name, "--json")
        assert [top[0]["id"] for top in json.loads(done.out)["top"]] == wanted
    shown = ptir("forward", model, "--input", tmp_path / "a.npy").out
    assert shown.startswith("logits [2, 3, 17]\nof 0:\n")
    assert "\nof 1:\n" in shown


def test_floats_are_images_which_a_language_model_refuses(ptir, model, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 3, 2, 2)))
    done = ptir("forward", model, "--input", tmp_path / "a.npy")
    assert (done.code, done.err) == (3, "ptir: a gpt takes Tokens, not Image\n")


# --- what is refused ---


@pytest.mark.parametrize(
    "flags, why",
    [
        ((), "one of them"),
        (("--tokens", "1", "--input", "x.npy"), "one of them"),
        (("--tokens", "1", "--out", "x.txt"), "does not end in .npy, .gptrsten, .safetensors"),
        (("--tokens", "1,-2"), "is no list of token ids, such as 1,2,3"),
    ],
)
def test_a_wrong_option_is_2(ptir, model, flags, why):
    done = ptir("forward", model, *flags)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


def write_several(path: Any) -> None:
    safetensors.save(path, {"a": np.zeros(1, "i4"), "b": np.zeros(1, "i4")})


def write(path: Any, array: np.ndarray[Any, Any]) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(file, array)


def zipped(path: Any) -> None:
    with path.open("wb") as file:
        np.savez(file, np.zeros(1))


@pytest.mark.parametrize(
    "name, make, why",
    [
        ("a.safetensors", write_several, "has 2 tensors, say which one: a, b"),
        ("a.npy", lambda path: path.write_bytes(b"x" * 99), "is not a .npy file: "),
        ("a.npy", lambda path: path.write_bytes(b""), "is not a .npy file: "),
        ("a.npy", lambda path: write(path, np.array([{}])), "is not a .npy file: "),
        ("a.npy", zipped, "is not a .npy file: the magic string"),
        ("a.npy", lambda path: write(path, np.array(["a"])), "has elements of <U1, wanted whole"),
        ("a.npy", lambda path: write(path, np.array([99])), "99"),
        ("a.safetensors", lambda path: path.write_bytes(b""), "it is empty"),
        ("a.npy", lambda path: None, "No such file or directory"),
    ],
)
def test_an_input_that_cannot_be_used_is_3(ptir, model, tmp_path, name, make, why):
    make(tmp_path / name)
    done = ptir("forward", model, "--input", tmp_path / name)
    assert (done.code, done.out) == (3, "")
    assert why in done.err
    assert done.err.count("\n") == 1


def test_a_shape_beyond_the_end_of_the_file_takes_no_memory(ptir, model, tmp_path):
    header = "{'descr': '<i4', 'fortran_order': False, 'shape': (1 << 50,)}"
    text = header.replace("1 << 50", str(1 << 50)).ljust(117) + "\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + text.encode())
    done = ptir("forward", model, "--input", tmp_path / "a.npy")
    assert done.code == 3
    assert "is not a .npy file: mmap length is greater than file size" in done.err


def test_a_name_that_the_archive_lacks_is_3(ptir, model, tmp_path):
    write_several(tmp_path / "a.safetensors")
    done = ptir("forward", model, "--input", tmp_path / "a.safetensors", "--name", "c")
    assert (done.code, done.out) == (3, "")
    assert "has no tensor 'c'" in done.err


def test_narrow_floats_of_an_archive_are_images_too(ptir, model, tmp_path):
    pixels = np.zeros((1, 3, 2, 2), ml_dtypes.bfloat16)
    safetensors.save(tmp_path / "a.safetensors", {"x": pixels})
    done = ptir("forward", model, "--input", tmp_path / "a.safetensors")
    assert "a gpt takes Tokens, not Image" in done.err


def test_it_can_be_profiled(ptir, tmp_path):
    done = ptir("forward", "--tokens", "1,2,3", "--profile", tmp_path / "t.json")
    assert done.code == 0
    assert "\nforward " in done.err
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert [e["name"] for e in events if e.get("cat") == "step"] == ["forward"]
    assert any(e.get("cat") == "op" for e in events)


def test_the_suffixes_are_those_that_are_written():
    assert forward.SUFFIXES == arrays.SUFFIXES  # said twice: help may import nothing heavy
