"""`ptir functionals`, and `--override` of `ptir generate`."""

import json

import pytest

from ptir import override
from ptir.functional import FUNCTIONALS, winners
from ptir.functional.winners import Call

CALL = Call("matmul", "a f32[2, 3], b f32[3, 4]", "", "reference", "1", "()")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PTIR_CACHE_DIR", str(tmp_path))


def test_every_functional_is_listed_with_its_implementations(ptir):
    done = ptir("functionals")
    assert (done.code, done.err) == (0, "")
    heads = [row.partition("  ")[0] for row in done.out.splitlines() if not row.startswith(" ")]
    assert heads == sorted(FUNCTIONALS)
    assert "  split_k    The sum of products over parts" in done.out
    assert "[needs floats and a contraction of a known size, 2 or more]" in done.out
    assert "[changes numbers: only where it is forced]" in done.out
    assert "(Elfwing et al. 2017)\n" in done.out  # the first sentence, whole


def test_json_says_what_changes_numbers_and_what_is_in_force(ptir):
    with override(gelu="force=tanh"):
        (found,) = json.loads(ptir("functionals", "gelu", "--json").out)
    assert (found["policy"], found["winner"]) == ("force=tanh", None)
    assert [(i["name"], i["exact"]) for i in found["implementations"]] == [
        ("default", True),
        ("tanh", False),
    ]


def test_the_last_winner_is_shown_with_its_times(ptir):
    for times in ({"default": 2.0, "split_k": 1.0}, {"default": 0.25, "split_k": 1.0}):
        winners.WINNERS.clear()
        winners.path().unlink(missing_ok=True)
        winners.WINNERS.fetch(CALL, list(times), 4, times.copy)
    rows = ptir("functionals", "matmul").out.splitlines()
    assert rows[-2:] == [
        "  last winner: default (default 0.250 ms, split_k 1.000 ms)",
        "    on reference: a f32[2, 3], b f32[3, 4]",
    ]
    winners.WINNERS.clear()


def test_an_unknown_functional_is_2_with_the_nearest(ptir):
    done = ptir("functionals", "matmull")
    assert done.code == 2
    assert "did you mean 'matmul'?" in done.err


def test_generate_runs_what_it_is_told(ptir, tmp_path):
    arguments = ("generate", "-p", "ROMEO:", "--max-tokens", "3", "--temperature", "0", "--seed")
    plain = ptir(*arguments, "1")
    told = ptir(
        *arguments, "1", "--override", "attention=force=blocked", "--override",
        "layer_norm=force=welford", "--dump-dir", tmp_path / "dump",
    )  # fmt: skip
    assert (told.code, told.out) == (0, plain.out)
    assert "scan" in "".join(f.read_text() for f in (tmp_path / "dump").glob("*.ptir"))


WRONG = [
    (["attention"], "'attention' is not NAME=POLICY, such as matmul=force=split_k"),
    (["attention="], "attention: no policy ''"),
    (["attention=force=bloked"], "no implementation 'bloked'; did you mean 'blocked'?"),
    (["attentoin=benchmark"], "no functional 'attentoin'; did you mean 'attention'?"),
    (["gelu=default", "gelu=default"], "gelu is overridden twice"),
]


@pytest.mark.parametrize("given,message", WRONG)
def test_an_override_that_says_nothing_sensible_is_2(ptir, given, message):
    options = [text for one in given for text in ("--override", one)]
    done = ptir("generate", "-p", "x", *options)
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())
