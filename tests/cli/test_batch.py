"""`ptir generate --batch-file`: many prompts side by side, answered line by line, gone on with."""

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from ptir import Sampling, load_model
from ptir.cli.shared import batch
from ptir.cli.shared.model import facts
from tests.runtime import tiny

GREEDY = ("--temperature", 0, "--max-tokens", 6)
PROMPTS = ["ROMEO:", "JULIET:\nO", "The king", "And"]


@pytest.fixture
def ask(ptir, tmp_path):
    """Runs lines (objects, or text as it is); the result and the answers in `out.jsonl`."""

    def run(*lines: object, flags: tuple[object, ...] = GREEDY) -> tuple[Any, list[dict[str, Any]]]:
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / "in.jsonl").write_text("".join(text + "\n" for text in texts))
        done = ptir(*arguments(tmp_path), *flags)
        out = tmp_path / "out.jsonl"
        rows = out.read_text().splitlines() if done.code in (0, 1, 130) else []
        return done, [json.loads(row) for row in rows]

    return run


def arguments(folder: Path) -> tuple[object, ...]:
    return ("generate", "--batch-file", folder / "in.jsonl", "--out", folder / "out.jsonl")


def texts(answers: list[dict[str, Any]]) -> dict[int, str]:
    return {answer["index"]: answer["text"] for answer in answers}


def test_each_line_gets_the_answer_that_it_gets_alone(ask):
    with load_model() as model:
        lm = tiny.text_model(model)
        alone = [lm.generate(p, max_tokens=6, sampling=Sampling(0)) for p in PROMPTS]
    done, answers = ask(*({"prompt": prompt} for prompt in PROMPTS))
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("[4 lines run; 24 tokens out at ")
    assert texts(answers) == {i: each.text for i, each in enumerate(alone)}
    assert answers[0].keys() == {
        *("index", "digest", "text", "token_ids", "finish_reason", "usage", "seed", "timings")
    }


def test_lines_share_a_batch(ask, tmp_path):
    trace = tmp_path / "trace.json"
    ask(*({"prompt": prompt} for prompt in PROMPTS), flags=(*GREEDY, "--profile", trace))
    events = json.loads(trace.read_text())["traceEvents"]
    widths = {e["args"]["tokens"] for e in events if e["name"] == "decode"}
    assert max(widths) == len(PROMPTS)


def test_a_line_may_have_settings_and_an_id_of_its_own_and_token_ids(ask):
    done, answers = ask(
        {"prompt": "ROMEO:", "max_tokens": 20, "id": "long"},
        "",
        {"prompt": [47, 539], "max_tokens": 2, "logprobs": 1, "id": 7},
        {"prompt": "ROMEO:", "max_tokens": 9, "stop": ["\n"]},
    )
    assert done.code == 0
    assert [(a["index"], a.get("id")) for a in answers] == [(2, 7), (3, None), (0, "long")]
    assert [len(a["token_ids"]) for a in answers[::2]] == [2, 20]
    assert [len(each["top"]) for each in answers[0]["logprobs"]] == [1, 1]
    assert (answers[1]["stop"], answers[1]["finish_reason"]) == ("\n", "stop")


def test_more_lines_than_are_under_way_are_all_answered(ask):
    count = 2 * batch.AHEAD + 3
    done, answers = ask(*({"prompt": "x", "max_tokens": 1 + i % 3} for i in range(count)))
    assert done.code == 0
    assert sorted(a["index"] for a in answers) == [*range(count)]


@pytest.mark.parametrize(
    "line, why",
    [
        ("nonsense", "line 1: is no JSON object"),
        ("[]", "line 1: is no JSON object"),
        ("[" * 100_000, "line 1: is no JSON object"),
        ({}, "line 1: prompt is 'None', wanted a text or token ids"),
        ({"prompt": [1, True]}, "line 1: prompt is '[1, True]', wanted a text or token ids"),
        ({"prompt": "x", "id": [1]}, "line 1: id is '[1]', wanted a text or whole number"),
        ({"prompt": "x", "topk": 1}, "line 1: 'topk' is no setting; did you mean top_k?"),
        ({"prompt": "x", "top_k": "1"}, "line 1: top_k is '1', wanted a whole number"),
        ({"prompt": "x", "top_p": 2}, "line 1: top_p is 2, wanted a number from 0 to 1"),
        ({"prompt": "x", "max_tokens": -1}, "max_tokens is -1, wanted 0 or more"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": [768]}, "token id 768 is outside the vocabulary"),
        ({"prompt": "so " * 1000}, "do not fit the model's context"),
        ({"prompt": "\ud800"}, "cannot be encoded"),
        ({"prompt": "x", "logit_bias": {str(i): -1e38 for i in range(769)}}, "names token 768"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_a_line_that_fails_has_an_error_and_ends_no_other(ask, line, why):
    done, answers = ask(line, {"prompt": "ROMEO:"})
    assert (done.code, done.out) == (1, "")
    assert "[2 lines run; 1 failed; 6 tokens out" in done.err
    failed, other = sorted(answers, key=lambda answer: answer["index"])
    assert why in failed["error"]["message"]
    assert len(other["token_ids"]) == 6


def test_a_request_that_fails_at_work_ends_no_other(ask, tmp_path):
    nothing = {str(id): -1e39 for id in range(768)}
    banned = json.dumps({"prompt": "x", "logit_bias": nothing}).replace("-1e+39", "-Infinity")
    done, answers = ask(banned, {"prompt": "ROMEO:"})
    assert done.code == 1
    assert {a["index"]: "error" in a for a in answers} == {0: True, 1: False}
    failed = next(a["error"] for a in answers if "error" in a)
    assert failed["type"] == "SamplingError"
    assert "leave no token above −inf" in failed["message"]


# --- going on ---


def test_what_is_answered_is_left_out_and_a_torn_line_is_dropped(ask, ptir, tmp_path):
    lines = [{"prompt": prompt} for prompt in PROMPTS]
    sampled = ("--max-tokens", 5)
    ask(*lines, flags=sampled)
    out = tmp_path / "out.jsonl"
    first, second, third, _ = out.read_text().splitlines(keepends=True)
    out.write_text(first + second + third[:-1])  # all but the end of the line
    done, answers = ask(*lines, flags=sampled)
    assert done.code == 0
    assert "[2 lines run; 2 done before; 10 tokens out" in done.err
    assert out.read_text().startswith(first + second)
    assert sorted(a["index"] for a in answers) == [0, 1, 2, 3]
    whole = out.read_text()
    assert "[0 lines run; 4 done before; 0 tokens" in ptir(*arguments(tmp_path), *sampled).err
    assert out.read_text() == whole


def test_an_error_is_tried_again(ask):
    lines = [{"prompt": "x", "id": "a"}, {"prompt": ""}]
    assert len(ask(*lines)[1]) == 2
    done, answers = ask(*lines)
    assert done.code == 1
    assert "[1 line run; 1 done before; 1 failed;" in done.err
    assert [a["index"] for a in answers] == [0, 1]


def test_an_id_is_known_again_on_another_line(ask):
    ask({"prompt": "x", "id": "a"}, {"prompt": "y", "id": "b"})
    done, answers = ask({"prompt": "z", "id": "c"}, {"prompt": "y", "id": "b"})
    assert "[1 line run; 1 done before;" in done.err
    assert [a["id"] for a in answers][2:] == ["c"]


@pytest.mark.parametrize(
    "line, flags", [({"prompt": "y"}, ()), ({"prompt": "x", "seed": 1}, ()), ({}, ("--top-k", 2))]
)
def test_answers_to_other_requests_are_refused(ask, tmp_path, line, flags):
    ask({"prompt": "x"})
    before = (tmp_path / "out.jsonl").read_text()
    done, _ = ask({"prompt": "x"} | line, flags=(*GREEDY, *flags))
    assert done.code == 3
    assert "out.jsonl: line 1 was answered with another prompt, setting or model" in done.err
    assert (tmp_path / "out.jsonl").read_text() == before


@pytest.mark.parametrize("content", ["text\n", "text", '{"index": 0}\n', "[]\n"])
def test_a_file_of_something_else_is_not_written_to(ask, tmp_path, content):
    (tmp_path / "out.jsonl").write_text(content)
    done, _ = ask({"prompt": "x"})
    assert done.code == 3
    assert "out.jsonl: line 1 is no answer of a batch; name another file with --out" in done.err
    assert (tmp_path / "out.jsonl").read_text() == content


def test_two_lines_with_one_id_are_refused(ask, tmp_path):
    done, _ = ask({"prompt": "x", "id": 1}, {"prompt": "y"}, {"prompt": "z", "id": 1})
    assert (done.code, (tmp_path / "out.jsonl").exists()) == (3, False)
    assert "in.jsonl: line 3: the id 1 is that of line 1 too" in done.err


def test_ctrl_c_leaves_what_is_done(ask, monkeypatch):
    said: list[object] = []

    def interrupted(done: Any) -> dict[str, Any]:
        if said:
            raise KeyboardInterrupt
        said.append(done)
        return facts(done)

    lines = [{"prompt": "x", "max_tokens": 1 + i} for i in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr("ptir.cli.shared.batch.facts", interrupted)
        done, answers = ask(*lines)
    assert (done.code, [a["index"] for a in answers]) == (130, [0])
    done, answers = ask(*lines)
    assert (done.code, [a["index"] for a in answers]) == (0, [0, 1, 2])


# --- streams ---


def test_lines_come_from_stdin_and_go_to_stdout(ptir):
    lines = b'{"prompt": "x", "max_tokens": 1}\n{"prompt": "y", "max_tokens": 1}'
    done = ptir("generate", "--batch-file", "-", stdin=lines)
    assert done.code == 0
    assert sorted(json.loads(row)["index"] for row in done.out.splitlines()) == [0, 1]


def test_a_terminal_is_shown_how_far_it_is(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"prompt": "x", "max_tokens": 1}\n' * 3)
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 80))
    command = [sys.executable, "-m", "ptir", *map(str, arguments(tmp_path))]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=its, check=False)
    os.close(its)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert (done.returncode, done.stdout) == (0, b"")
    assert "3/3" in shown
    assert "[3 lines run; " in shown


@pytest.mark.parametrize(
    "flags, why",
    [
        (("--out", "x"), "give both"),
        (("--batch-file", "-", "-p", "x"), "leave out --prompt, --file and --echo"),
        (("--batch-file", "-", "--echo"), "leave out --prompt, --file and --echo"),
    ],
)
def test_flags_that_contradict_are_2(ptir, flags, why):
    done = ptir("generate", *flags)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


def test_a_file_that_is_not_there_is_3(ptir, tmp_path):
    done = ptir("generate", "--batch-file", tmp_path / "none")
    assert (done.code, done.err) == (3, f"ptir: {tmp_path}/none: No such file or directory\n")
