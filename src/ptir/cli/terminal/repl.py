"""The loop of `ptir chat`: a line, what comes of it, the next line. Knows no model.

Answers go to stdout, everything else to stderr.
"""

import sys
from pathlib import Path
from typing import final

import click

from ptir.ir import PtirError
from ptir.runtime import Options, TextModel

from . import commands
from .conversation import Conversation
from .lines import Lines, typed
from .settings import Settings
from .stop import Stop
from .write import tell, write


@final
class Repl:
    """On a terminal it goes on whatever happens, until the input ends; else a fault is raised."""

    def __init__(self, chat: Conversation, lines: Lines) -> None:
        self._chat = chat
        self._lines = lines
        self._presses = 0  # of Ctrl-C at the prompt, one after another

    def run(self) -> None:
        """Read lines and serve them until there are no more."""
        while True:
            try:
                line = self._lines.read()
                self._presses = 0
                self._serve(line)
            except EOFError:
                break
            except KeyboardInterrupt:
                if not self._lines.is_terminal:
                    raise
                self._presses += 1
                tell("\nCtrl-D or /quit leaves" if self._presses > 1 else "")
            except PtirError as error:
                if not self._lines.is_terminal:
                    raise
                tell(str(error))
        if self._lines.is_terminal:
            tell("")

    def _serve(self, line: str) -> None:
        if line.startswith("/") and not line.startswith("//"):
            tell(commands.run(self._chat, line.rstrip()))
        elif line.strip():
            self._answer(line.removeprefix("/") if line.startswith("//") else line)

    def _answer(self, text: str) -> None:
        begun, stop, forgotten = False, Stop(), self._chat.forgotten

        def show(piece: str) -> None:
            nonlocal begun
            begun = begun or bool(piece)
            write(piece)
            stop.look()

        try:
            with stop:
                self._chat.ask(text, show)
        except KeyboardInterrupt:
            if not self._lines.is_terminal:
                raise
        finally:
            if begun:
                click.echo()
        self._say_how_it_ended(forgotten)

    def _say_how_it_ended(self, forgotten: int) -> None:
        done, size = self._chat.last, self._chat.context_length
        if done is None:
            tell("[stopped before the answer began: the turn is forgotten]")
            return
        if done.finish_reason == "cancelled":
            tell("[stopped]")
        if done.finish_reason == "context":
            tell(f"[the context of {size} tokens is full]")
        if self._chat.forgotten > forgotten:
            out = f"the oldest {self._chat.forgotten} messages are no longer read"
            tell(f"[the context of {size} tokens is full: {out}]")


def talk(
    lm: TextModel,
    name: str,
    history: Path,
    options: Options,
    system: str | None,
) -> None:
    """Chat with a model until the input ends."""
    if system is not None:
        system = typed("--system", system, sys.getfilesystemencoding())
    lines = Lines(history)
    settings = Settings(options["sampling"], options["max_tokens"], system, options["overflow"])
    with Conversation(lm, settings) as chat:
        if lines.is_terminal:
            tell(f"{name}. /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.")
            size = chat.context_length
            if settings.overflow == "slide":
                tell(f"Of what its context of {size} tokens cannot hold, the oldest is left out.")
        if chat.note:
            tell(chat.note)
        Repl(chat, lines).run()
