"""The commands of a conversation: lines that begin with a slash. Knows no terminal."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ptir.ir import PtirError
from ptir.ir.error import nearest

from . import message
from .conversation import Conversation
from .message import Message
from .settings import spelled


class Command(NamedTuple):
    """`takes` is what stands behind its name, `run` gives what the user is told."""

    takes: str
    does: str
    run: Callable[[Conversation, str], str]


def run(chat: Conversation, line: str) -> str:
    """Run a line such as `/set temperature 0.5`. Raises PtirError, and EOFError to leave."""
    word, _, argument = line[1:].partition(" ")
    word, argument = word[:80], argument.strip()
    command = COMMANDS.get(word)
    if command is None:
        meant = nearest(word, COMMANDS) if word else "; /help lists them"
        raise PtirError(f"no command /{word}{meant}")
    if argument and not command.takes:
        raise PtirError(f"/{word} takes nothing behind it")
    if not argument and command.takes == "FILE":
        raise PtirError(f"/{word} wants the name of a file behind it")
    return command.run(chat, argument)


def _help(chat: Conversation, argument: str) -> str:
    rows = [(f"/{word} {each.takes}".strip(), each.does) for word, each in COMMANDS.items()]
    rows += [("//TEXT", "say /TEXT to the model"), ("Ctrl-C", "stop an answer, or clear the line")]
    wide = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{wide}}  {does}" for name, does in rows)


def _set(chat: Conversation, argument: str) -> str:
    name, _, text = argument.partition(" ")
    if text:
        chat.set(name, text.strip())
    values = chat.settings.values()
    if name and name not in values:
        raise PtirError(f"no setting {name!r}{nearest(name, values)}")
    shown = [name] if name else list(values)
    return "\n".join(f"{each} {spelled(values[each])}" for each in shown)


def _reset(chat: Conversation, argument: str) -> str:
    chat.restart([])
    return "What was said is forgotten; the settings stay."


def _stats(chat: Conversation, argument: str) -> str:
    total, turns = chat.totals, len(chat.messages) // 2
    used, size = chat.context_used, chat.context_length
    out = f"; the oldest {chat.forgotten} messages are out of it" if chat.forgotten else ""
    rows = [
        f"{turns} turn" + "s" * (turns != 1),
        f"context: {used} of {size} tokens ({used / size:.0%}){out}",
        f"in all: {total.prompt_tokens} tokens in, {total.cached_tokens} of them reused, "
        f"{total.completion_tokens} out",
    ]
    if (last := chat.last) is not None:
        rate = last.timings.tokens_per_s
        rows += [
            f"last: {last.prompt_tokens} tokens in, {last.cached_tokens} of them reused "
            f"({last.cache_reason})",
            f"last: first token after {last.timings.prefill_s:.3f} s, {len(last.token_ids)} out"
            + (f" at {rate:.1f} tokens/s" if rate else "")
            + f", ended by {last.finish_reason}, seed {last.seed}",
        ]
    return "\n".join(rows)


def _save(chat: Conversation, argument: str, *, overwrite: bool = False) -> str:
    path = _path(argument)
    message.save(path, [*chat.system, *chat.messages], overwrite=overwrite)
    return f"{len(chat.messages)} messages are saved as {path}"


def _save_over(chat: Conversation, argument: str) -> str:
    return _save(chat, argument, overwrite=True)


def _load(chat: Conversation, argument: str) -> str:
    said = message.load(_path(argument))
    system = said.pop(0).content if said[:1] and said[0].role == "system" else None
    chat.settings.system = system
    chat.restart(said)
    return _told(said) + f"{len(said)} messages are loaded"


def _quit(chat: Conversation, argument: str) -> str:
    raise EOFError


def _told(said: list[Message]) -> str:
    """The last turn, so that one sees where one is."""
    return "".join(f"{m.role}: {m.content}\n" for m in said[-2:])


def _path(argument: str) -> Path:
    try:
        os.fsencode(argument)
    except UnicodeEncodeError:  # the locale lacks a character of it
        argument = os.fsdecode(argument.encode())
    try:
        return Path(argument).expanduser()
    except RuntimeError as error:  # nobody has that name
        raise PtirError(f"{argument}: {error}") from error


COMMANDS = {
    "help": Command("", "list the commands", _help),
    "set": Command("[NAME [VALUE]]", "show the settings, or change one; `none` for nothing", _set),
    "stats": Command("", "tokens, speed, context, and what was reused of earlier turns", _stats),
    "reset": Command("", "forget what was said", _reset),
    "save": Command("FILE", "write the conversation as JSON", _save),
    "save!": Command("FILE", "the same over a file that exists", _save_over),
    "load": Command("FILE", "go on from such a file", _load),
    "quit": Command("", "leave, as Ctrl-D does", _quit),
}
