"""Models by their name on the Hugging Face hub: what is a name, what is fetched, what is said when
it cannot be. The library is a stub, but for what it does offline.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants, errors
from transformers import GPT2Config, GPT2LMHeadModel

from ptir import load_model
from ptir.checkpoint import CheckpointError
from ptir.runtime import HubError, hub
from tests.runtime.tiny import text_model

CONFIG = GPT2Config(
    vocab_size=17, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
)


@pytest.fixture
def snapshot(tmp_path):
    """A model as the hub's cache has it: links to files that have digests for names."""
    repository = tmp_path / "models--org--tiny"
    folder = repository / "snapshots" / "abc"
    GPT2LMHeadModel(CONFIG).save_pretrained(folder)
    (repository / "blobs").mkdir()
    for file in list(folder.iterdir()):
        blob = repository / "blobs" / f"digest-of-{file.name}"
        file.rename(blob)
        file.symlink_to(os.path.relpath(blob, folder))
    return folder


@pytest.fixture
def asked(monkeypatch, snapshot):
    """What the library is asked for; it answers with the snapshot."""
    found: list[tuple[str, dict[str, Any]]] = []

    def fetch(name: str, **options: Any) -> str:
        found.append((name, options))
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    return found


@pytest.mark.parametrize(
    "text, name, revision",
    [
        ("org/tiny", "org/tiny", None),
        ("openai-community/gpt2@v1.0", "openai-community/gpt2", "v1.0"),
        ("a/b_c.d@refs/pr/3", "a/b_c.d", "refs/pr/3"),
    ],
)
def test_a_name_is_fetched_as_its_folder(asked, text, name, revision):
    with load_model(text) as loaded:
        assert loaded.kind == "gpt"
        assert text_model(loaded).logits([1, 2]).shape == (2, 17)
    (given,) = asked
    patterns = ["*.json", "*.safetensors", "*.txt", "*.jinja"]
    assert given == (name, {"revision": revision, "allow_patterns": patterns})


@pytest.mark.parametrize(
    "text",
    ["none.gptrs", "a/none.gptrs", "/org/tiny", "./org/tiny", "a/b/c", "org/", "../up", "o/t@",
     "org/ti ny", "org/tiny@a b", "örg/tiny", "org/tiny@-x", "org/model.safetensors"],
)  # fmt: skip
def test_what_is_a_path_is_not_asked_for(asked, text):
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model(text)
    assert not asked


def test_a_path_object_is_never_a_name(asked):
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model(Path("org/tiny"))
    assert not asked


def test_a_folder_of_that_name_comes_first(asked, tmp_path, monkeypatch):
    GPT2LMHeadModel(CONFIG).save_pretrained(tmp_path / "org" / "tiny")
    monkeypatch.chdir(tmp_path)
    with load_model("org/tiny") as loaded:
        assert loaded.path == "org/tiny"
    assert not asked


def test_a_snapshot_can_be_loaded_by_its_path_and_links_lead_no_further(snapshot, tmp_path):
    with load_model(snapshot) as loaded:
        assert np.isfinite(text_model(loaded).logits([3])).all()
    link = snapshot / "model.safetensors"
    outside = link.resolve().rename(tmp_path / "outside")
    link.unlink()
    link.symlink_to(outside)
    with pytest.raises(CheckpointError, match="leads out of"):
        load_model(snapshot)


def refused(kind: type[Exception], text: str = "no\nsecond line") -> Exception:
    """An error of the library as it is once it is raised; what it takes to make one changes."""
    return kind.__new__(kind, text)


class StrangeError(Exception):
    """What no version of the library is known to raise."""


@pytest.mark.parametrize(
    "error, message",
    [
        (refused(errors.GatedRepoError), r"on request: ask on .*/org/tiny, then run `hf auth"),
        (refused(errors.RevisionNotFoundError), "the hub has no such revision; .*/tree/main"),
        (refused(errors.RepositoryNotFoundError), "no such model or does not show it; look"),
        (refused(errors.LocalEntryNotFoundError), "cannot be reached; connect, or pass the path"),
        (refused(errors.OfflineModeIsEnabled), "cannot be reached"),
        (refused(errors.HfHubHTTPError), "cannot be fetched from the hub: HfHub"),
        (
            refused(errors.HFValidationError, "bad\nsecond line"),
            "cannot be fetched from the hub: bad; try",
        ),
        (OSError(28, "No space left on device"), "No space left on device; try again"),
        (StrangeError("\x1b[2J"), r"cannot be fetched from the hub: \\x1b\[2J"),
        (TimeoutError(), "cannot be fetched from the hub: TimeoutError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_failure_is_one_error_with_a_way_out(monkeypatch, error, message):
    def fail(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(HubError, match=message) as raised:
        load_model("org/tiny@main")
    assert str(raised.value).startswith("org/tiny@main: ")
    assert "second line" not in str(raised.value)


def test_without_the_library_it_says_which_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(HubError, match="pip install huggingface_hub"):
        load_model("org/tiny")


OFFLINE = """
import sys
import ptir
loaded = "huggingface_hub" in sys.modules
try:
    ptir.load_model("org/tiny")
except ptir.PtirError as error:
    print(loaded, error)
"""


def test_offline_nothing_is_asked_and_the_variable_is_named(tmp_path):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "False org/tiny: no such file or folder, not in the hub's cache either, and HF_HUB_OFFLINE "
        "forbids to fetch it; unset it, or pass the path of a folder\n"
    )


def test_offline_the_cache_is_used(tmp_path):
    repository = tmp_path / "hub" / "models--org--tiny"
    GPT2LMHeadModel(CONFIG).save_pretrained(repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    code = "import ptir; print(ptir.load_model('org/tiny').kind)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "gpt\n", done.stderr


def test_the_name_of_a_repository_is_spelled_as_it_was_given():
    for text in ("org/tiny", "org/tiny@v1"):
        assert str(hub.repository(text)) == text
