"""`ptir chat` in this process: the conversation, its commands and settings, and Ctrl-C."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from ptir import PtirError, Sampling, load_model
from ptir.cli.terminal import commands, message
from ptir.cli.terminal.conversation import Conversation
from ptir.cli.terminal.message import Message
from ptir.cli.terminal.prompt import continued
from ptir.cli.terminal.settings import Settings
from ptir.cli.terminal.stop import Stop
from ptir.runtime import TextModel
from ptir.runtime.steps import Steps
from ptir.text import Chat, Tokenizer
from tests.runtime import tiny

GREEDY = Sampling(0)
BOLD = Sampling(3, 4)
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def demo() -> Iterator[TextModel]:
    with load_model() as model:
        yield tiny.text_model(model)


@pytest.fixture(scope="module")
def tokenizer_file() -> str:
    with load_model() as model:
        return model.path.replace("demo.gptrs", "tokenizer.json")


@pytest.fixture(scope="module")
def small(tmp_path_factory, tokenizer_file) -> Iterator[TextModel]:
    """A model whose context is soon full."""
    path = tiny.write(tmp_path_factory.mktemp("m") / "m.gptrs", vocab_size=768, context_length=64)
    with load_model(path, tokenizer=tokenizer_file) as model:
        yield tiny.text_model(model)


@pytest.fixture
def chat(demo) -> Iterator[Conversation]:
    with Conversation(demo, Settings(GREEDY, max_tokens=24)) as opened:
        yield opened


def said(chat: Conversation, text: str) -> str:
    """What is shown of the answer."""
    pieces: list[str] = []
    chat.ask(text, pieces.append)
    return "".join(pieces)


def reused(chat: Conversation) -> int:
    assert chat.last is not None
    return chat.last.cached_tokens


# --- turns ---


def test_without_a_template_what_was_said_is_one_text_line_by_line(chat, demo):
    chat.set("system", "A play.")
    first = said(chat, "ROMEO:")
    second = said(chat, "JULIET:")

    def expected(prompt: str) -> str:
        done = demo.generate(prompt, max_tokens=24, sampling=GREEDY, reuse_prefix=False)
        return str(done.text)

    assert first == expected("A play.\nROMEO:\n")
    assert second == expected(f"A play.\nROMEO:\n{first}\nJULIET:\n")
    assert chat.messages == [
        Message("user", "ROMEO:"),
        Message("assistant", first, "length"),
        Message("user", "JULIET:"),
        Message("assistant", second, "length"),
    ]


def test_a_turn_goes_on_from_the_cache_of_the_one_before(chat, demo):
    chat.settings.sampling = BOLD
    said(chat, "ROMEO: what light is that")
    first = chat.last
    assert first is not None
    assert demo.tokenizer.encode(first.text) != first.token_ids  # so text alone would miss
    said(chat, "JULIET:")
    assert reused(chat) == first.prompt_tokens + len(first.token_ids) - 1
    assert chat.totals.cached_tokens >= reused(chat)
    assert f"{reused(chat)} of them reused (hit" in commands.run(chat, "/stats")


def test_a_template_is_used_where_there_is_one(tmp_path, tokenizer_file):
    (tmp_path / "tokenizer.json").write_bytes(Path(tokenizer_file).read_bytes())
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    with (
        load_model(tokenizer=tmp_path) as model,
        Conversation(tiny.text_model(model), Settings(BOLD, 24, "Speak.")) as chat,
        Chat(Tokenizer.load(tmp_path)) as expected,
    ):
        assert chat.note == ""
        first = said(chat, "Hello")
        said(chat, "And?")
        assert chat.last is not None
        messages = [
            {"role": "system", "content": "Speak."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": first},
            {"role": "user", "content": "And?"},
        ]
        text = expected.render(messages, add_generation_prompt=True)
        seen = chat._seen[: chat.last.prompt_tokens]
        assert Tokenizer.load(tmp_path).decode(seen) == text
        assert reused(chat) > 24  # the first prompt and its answer


def test_tokens_that_were_seen_take_the_place_of_those_that_spell_the_same(demo):
    tokenizer = demo.tokenizer
    letters = [id for c in "the sun" for id in tokenizer.encode(c)]
    ids = tokenizer.encode("the sun\nrises")
    mixed = continued(tokenizer, letters, ids)
    assert mixed[: len(letters)] == letters != ids[: len(letters)]
    assert tokenizer.decode(mixed) == "the sun\nrises"
    assert continued(tokenizer, [], ids) == ids
    assert continued(tokenizer, tokenizer.encode("the moon"), ids) == ids
    assert continued(tokenizer, [*ids, *ids], ids) == ids


def test_what_was_said_until_ctrl_c_stays_and_is_marked(chat):
    pieces: list[str] = []

    def show(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chat.ask("ROMEO:", show)
    assert chat.messages[1] == Message("assistant", "".join(pieces), "cancelled")
    assert said(chat, "JULIET:")
    assert reused(chat) >= 20
    assert len(chat.messages) == 4


def test_of_a_turn_that_ended_before_its_answer_nothing_stays(chat, monkeypatch):
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    said(chat, "ROMEO:")
    before = [*chat.messages]
    with monkeypatch.context() as patch:
        patch.setattr(Steps, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            chat.ask("JULIET:", print)
    assert (chat.messages, chat.last) == (before, None)
    assert said(chat, "JULIET:")


# --- a context that is full ---


def test_when_the_context_is_full_the_oldest_turns_are_left_out(small):
    with Conversation(small, Settings(GREEDY, 8, "Sys")) as chat:
        forgot = []
        for turn in range(12):
            said(chat, f"turn {turn}")
            forgot.append(chat.forgotten)
            assert chat.context_used <= 64
            assert small.tokenizer.decode(chat._seen).startswith("Sys\nturn ")
        steps = [b - a for a, b in pairwise(forgot) if b > a]
        assert len(steps) >= 2
        assert all(step >= 4 and step % 2 == 0 for step in steps)  # several turns at once
        assert len(chat.messages) == 24
        assert f"the oldest {chat.forgotten} messages are out of it" in commands.run(chat, "/stats")


def test_an_answer_goes_on_beyond_the_context(small):
    with Conversation(small, Settings(replace(GREEDY, ignore_eos=True), 100)) as chat:
        said(chat, "so")
        assert chat.last is not None
        assert len(chat.last.token_ids) == 100


def test_a_context_that_is_full_ends_a_chat_that_wants_it_so(small):
    settings = Settings(replace(GREEDY, ignore_eos=True), 100, overflow="stop")
    with Conversation(small, settings) as chat:
        said(chat, "so")
        assert chat.messages[1].ended == "context"
        with pytest.raises(PtirError, match=r"context 64; /reset it, or /set overflow slide"):
            said(chat, "and")
        assert len(chat.messages) == 2
        chat.set("overflow", "slide")
        assert said(chat, "and")


def test_a_line_beyond_the_context_is_refused_and_nothing_is_left_out_for_it(small):
    with Conversation(small, Settings(GREEDY, 8)) as chat:
        said(chat, "so")
        with pytest.raises(PtirError, match="do not fit the model's context of 64"):
            said(chat, "so " * 100)
        assert (chat.forgotten, len(chat.messages)) == (0, 2)


# --- /set ---

VALUES: dict[str, tuple[str, Any]] = {
    "temperature": ("0.5", 0.5),
    "seed": ("7", 7),
    "top_k": ("40", 40),
    "top_p": ("0.9", 0.9),
    "min_p": ("0.1", 0.1),
    "typical_p": ("0.8", 0.8),
    "repetition_penalty": ("1.1", 1.1),
    "presence_penalty": ("0.2", 0.2),
    "frequency_penalty": ("-1", -1.0),
    "logit_bias": ('{"5": -Infinity}', {5: float("-inf")}),
    "logprobs": ("2", 2),
    "prompt_logprobs": ("1", 1),
    "stop": ("the end", ("the end",)),
    "stop_token_ids": ("[1, 2]", (1, 2)),
    "ignore_eos": ("true", True),
    "min_tokens": ("3", 3),
}


def test_every_field_of_sampling_is_among_these():
    assert {*VALUES, "processors"} == {field.name for field in fields(Sampling)}


@pytest.mark.parametrize("name", VALUES)
def test_a_field_of_sampling_is_set_by_its_name(chat, name):
    text, value = VALUES[name]
    shown = commands.run(chat, f"/set {name}  {text}")
    assert shown.startswith(f"{name} ")
    assert chat.settings.sampling == replace(GREEDY, **{name: value})
    assert commands.run(chat, f"/set {name}") == shown
    spelled = shown.partition(" ")[2]
    commands.run(chat, f"/set {name} {spelled}")  # it reads what it shows
    assert chat.settings.sampling == replace(GREEDY, **{name: value})


def test_the_other_settings_are_set_too(chat):
    commands.run(chat, "/set max_tokens 5")
    commands.run(chat, "/set system You are brief.")
    commands.run(chat, "/set overflow stop")
    commands.run(chat, '/set stop ["a", "b"]')
    assert chat.settings == Settings(replace(GREEDY, stop=("a", "b")), 5, "You are brief.", "stop")
    said(chat, "so")
    assert chat.last is not None
    assert len(chat.last.token_ids) <= 5
    shown = commands.run(chat, "/set").splitlines()
    assert {row.partition(" ")[0] for row in shown} == {*VALUES, "max_tokens", "system", "overflow"}
    assert "system You are brief." in shown
    commands.run(chat, "/set system none")
    assert chat.system == []


@pytest.mark.parametrize(
    "line, why",
    [
        ("/set temperature warm", "temperature is 'warm', wanted a finite number from 0 up"),
        ("/set temperature -1", "temperature is -1"),
        ("/set temperature " + "9" * 5000, "temperature is"),
        ("/set temperature " + "[" * 100_000, "temperature is"),
        ("/set top_p none", "top_p is None"),
        ("/set stop_token_ids many", "stop_token_ids is 'many'"),
        ('/set logit_bias {"a": 1}', "logit_bias is 'a'"),
        ('/set logit_bias {"9999": 1}', "token 9999, wanted ids below 768"),
        ("/set max_tokens 0", "max_tokens is '0', wanted a whole number from 1"),
        ("/set max_tokens x", "max_tokens is 'x'"),
        ("/set overflow slid", "overflow is 'slid', wanted slide or stop"),
        ("/set temperatur 1", "no setting 'temperatur'; did you mean 'temperature'?"),
        ("/set temperatur", "no setting 'temperatur'; did you mean 'temperature'?"),
        ("/set processors x", "no setting 'processors'"),
        ("/stat", "no command /stat; did you mean 'stats'?"),
        ("/", "no command /; /help lists them"),
        ("/reset now", "/reset takes nothing behind it"),
        ("/save", "/save wants the name of a file behind it"),
    ],
    ids=lambda text: text[:30],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(chat, line, why):
    before = replace(chat.settings)
    with pytest.raises(PtirError) as refused:
        commands.run(chat, line)
    assert why in str(refused.value)
    assert chat.settings == before


# --- the other commands ---


def test_help_lists_every_command(chat):
    shown = commands.run(chat, "/help")
    for word, command in commands.COMMANDS.items():
        assert f"/{word} {command.takes}".strip() in shown
        assert command.does in shown


def test_reset_forgets_what_was_said_and_keeps_the_settings(chat):
    chat.set("system", "S")
    said(chat, "ROMEO:")
    commands.run(chat, "/reset")
    assert (chat.messages, chat.last, chat.context_used) == ([], None, 0)
    assert chat.settings.system == "S"
    assert commands.run(chat, "/stats").startswith("0 turns\n")


def test_a_conversation_is_saved_and_goes_on_from_there(chat, demo, tmp_path):
    chat.set("system", "漢 \x1b[2J")
    said(chat, "é\t👩‍🚀")
    path = tmp_path / "a b.json"
    commands.run(chat, f"/save {path}")
    saved = json.loads(path.read_text("utf-8"))
    assert saved["version"] == 1
    assert saved["messages"] == [
        {"role": "system", "content": "漢 \x1b[2J"},
        {"role": "user", "content": "é\t👩‍🚀"},
        {"role": "assistant", "content": chat.messages[1].content, "ended": "length"},
    ]
    with Conversation(demo, Settings(GREEDY, 24, "another")) as other:
        assert "2 messages are loaded" in commands.run(other, f"/load {path}")
        assert (other.messages, other.system) == (chat.messages, chat.system)
        assert said(other, "JULIET:") == said(chat, "JULIET:")


def test_no_file_is_written_over_unless_asked(chat, tmp_path):
    path = tmp_path / "x.json"
    path.write_text("mine")
    with pytest.raises(PtirError, match=r"x\.json: exists; /save! FILE writes over it"):
        commands.run(chat, f"/save {path}")
    assert path.read_text() == "mine"
    commands.run(chat, f"/save! {path}")
    assert json.loads(path.read_text()) == {"version": 1, "messages": []}
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_file_that_cannot_be_written_is_named(chat, tmp_path):
    with pytest.raises(PtirError, match=r"no/x\.json: cannot be written"):
        commands.run(chat, f"/save {tmp_path}/no/x.json")
    with pytest.raises(PtirError, match="is not a path"):
        message.save(Path("a\0b"), [], overwrite=True)


USER = {"role": "user", "content": "a"}
ASSISTANT = {"role": "assistant", "content": "b"}
SYSTEM = {"role": "system", "content": "c"}


def messages(*said: dict[str, Any]) -> bytes:
    return json.dumps({"version": 1, "messages": said}).encode()


@pytest.mark.parametrize(
    "content, why",
    [
        (b"", "is not a saved conversation"),
        (b"\xff", "is not a saved conversation"),
        (b"[" * 100_000, "is not a saved conversation"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"version": 2, "messages": []}', "Invalid enum value 2"),
        (messages({**USER, "role": "robot"}), "Invalid enum value 'robot'"),
        (messages({**USER, "content": 5}), "Expected `str`, got `int`"),
        (messages({**USER, "name": "x"}), "unknown field `name`"),
        (messages({**USER, "content": "\ud800"}), "is not a saved conversation"),
        (messages(ASSISTANT, USER), "messages[0] is of 'assistant', wanted 'user'"),
        (messages(SYSTEM, USER, USER), "messages[2] is of 'user', wanted 'assistant'"),
        (messages(USER, SYSTEM), "messages[1] is of 'system', wanted 'assistant'"),
        (messages(SYSTEM, USER), "the last message is the user's"),
    ],
)
def test_what_is_no_conversation_is_refused_and_nothing_is_lost(chat, tmp_path, content, why):
    said(chat, "so")
    before = [*chat.messages]
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(PtirError) as refused:
        commands.run(chat, f"/load {tmp_path}/x.json")
    assert str(refused.value).startswith(f"{tmp_path}/x.json: ")
    assert why in str(refused.value)
    assert chat.messages == before


@pytest.mark.parametrize("name", ["/no/such/file", "/dev/zero", "/dev", "a\0b", "~nobody-here/x"])
def test_a_file_that_cannot_be_read_is_refused(chat, name):
    with pytest.raises(PtirError, match=r"no conversation|cannot be read|home directory"):
        commands.run(chat, f"/load {name}")


def test_quit_is_the_end_of_the_input(chat):
    with pytest.raises(EOFError):
        commands.run(chat, "/quit")


# --- Ctrl-C ---


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_is_raised_where_the_work_looks():
    before, reached = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with Stop() as stop:
            stop.look()
            press()
            press()
            reached.append("the look")
            stop.look()
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["the look"]
    assert signal.getsignal(signal.SIGINT) is before


def test_work_that_does_not_look_is_torn_out_of_it():
    end = monotonic() + 60

    def work() -> None:
        with Stop():
            press()
            while monotonic() < end:
                pass

    with pytest.raises(KeyboardInterrupt):
        work()
    assert monotonic() < end


def test_ctrl_c_that_comes_last_is_raised_at_the_end():
    with pytest.raises(KeyboardInterrupt), Stop():
        press()


def test_a_block_without_ctrl_c_leaves_no_trace():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGALRM)]
    with Stop():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGALRM)] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


# --- lines that are piped in ---


def test_each_line_is_a_turn_and_answers_alone_are_on_stdout(ptir, chat):
    chat.settings.max_tokens = 6
    expected = [said(chat, "ROMEO:"), said(chat, "/JULIET:")]
    lines = b"/set max_tokens 6\nROMEO:\r\n\n  \n//JULIET:"
    done = ptir("chat", "--temperature", 0, stdin=lines)
    assert (done.code, done.out) == (0, "".join(f"{text}\n" for text in expected))
    assert "no chat template" in done.err
    assert "max_tokens 6" in done.err


@pytest.mark.parametrize(
    "fault, why",
    [
        (b"/stat", "did you mean 'stats'?"),
        (b"so " * 1000, "do not fit"),
        (b"a\xff", "stdin: is not UTF-8 text: invalid start byte at byte 1 of a line"),
    ],
)
def test_what_goes_wrong_ends_it_with_3(ptir, fault, why):
    command = ("chat", "--max-tokens", 2, "--temperature", 0)
    done = ptir(*command, stdin=b"a\n" + fault + b"\nb\n")
    assert (done.code, done.out) == (3, ptir(*command, stdin=b"a").out)
    assert why in done.err


def test_no_line_is_no_turn(ptir):
    assert ptir("chat", stdin=b"")[:2] == (0, "")


def test_a_model_that_cannot_talk_is_refused(ptir, tmp_path):
    path = tiny.write(tmp_path / "m.gptrs")
    done = ptir("chat", path, stdin=b"a")
    assert (done.code, done.out) == (3, "")
    assert "no tokenizer.json lies beside it" in done.err


def test_the_options_are_what_it_begins_with(ptir):
    options = ("--system", "S", "--max-tokens", 9, "--temperature", 0.5, "--seed", 4)
    shown = ptir("chat", *options, stdin=b"/set").err.splitlines()
    assert {"system S", "max_tokens 9", "temperature 0.5", "seed 4"} <= set(shown)


def test_they_are_settings_as_those_of_generate(ptir, monkeypatch):
    monkeypatch.setenv("PTIR_TOP_K", "7")
    shown = ptir("chat", stdin=b"/set").err.splitlines()
    assert {"top_k 7", "max_tokens 256", "overflow slide"} <= set(shown)
    told = ptir("chat", "--overflow", "stop", "--show-config").out.splitlines()
    rows = {line.split(" = ")[0].strip(): line.split(" = ")[1].split() for line in told}
    assert (rows["top_k"], rows["max_tokens"]) == (["7", "PTIR_TOP_K"], ["256", "default"])
    assert rows["overflow"] == ['"stop"', "--overflow"]


@pytest.mark.parametrize("option", [("--seed", 1 << 64), ("--temperature", -1)])
def test_a_wrong_option_is_2(ptir, option):
    assert ptir("chat", *option, stdin=b"").code == 2
