"""Many requests side by side: each is answered as it ends, and one that fails ends no other."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import click

import ptir
from ptir.config import ConfigError

from .lines import Line, answered, requests, unanswered
from .model import facts, text_model
from .order import Values, request
from .progress import bar

AHEAD = 16  # requests under way: those that decode, and some that wait for a place among them


def run(loaded: "ptir.LoadedModel", file: Path, out: Path | None, values: Values) -> int:
    """Answer the requests of a file, and say on stderr what came of them. How many failed."""
    lines = requests(file, values, str(Path(loaded.path).absolute()))
    resumes = out is not None and (out.is_file() or not out.exists())
    known = answered(out) if out is not None and resumes else {}
    left = unanswered(lines, known, out) if out is not None else lines
    began, failed, tokens = perf_counter(), 0, 0
    done = len(lines) - len(left)
    with bar(unit=" lines") as told, _opened(out) as write:
        if left:
            told(done, len(lines))
        for number, (line, said) in enumerate(answers(text_model(loaded), left, values), done + 1):
            write(line.answer(said))
            failed += "error" in said
            tokens += len(said.get("token_ids", ()))
            told(number, len(lines))
    parts = [f"{len(left)} {'line' if len(left) == 1 else 'lines'} run"]
    parts += [f"{done} done before"] if done else []
    parts += [f"{failed} failed"] if failed else []
    rate = tokens / (perf_counter() - began)
    click.echo(f"[{'; '.join([*parts, f'{tokens} tokens out at {rate:.1f} tokens/s'])}]", err=True)
    return failed


def answers(
    model: "ptir.runtime.TextModel", lines: Sequence[Line], values: Values
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Each line with what came of it, in the order in which they end."""
    waiting = deque(lines)
    under_way: dict[int, tuple[Line, ptir.runtime.Answer, Iterator[ptir.Piece]]] = {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < AHEAD:
                line = waiting.popleft()
                try:
                    answer = _started(model, line, values)
                except (ptir.PtirError, ConfigError) as error:
                    yield line, _failure(error)
                else:
                    under_way[line.index] = line, answer, answer.pieces(raises=False)
            if under_way:
                _, _, pieces = next(iter(under_way.values()))
                next(pieces, None)  # a token for each of them
            for index, (line, answer, pieces) in list(under_way.items()):
                if answer.is_done:
                    del under_way[index]
                    deque(pieces, maxlen=0)  # nobody wants them one by one
                    yield line, _said(answer.generation())
    finally:
        for _, answer, _ in under_way.values():
            answer.cancel()


def _started(model: "ptir.runtime.TextModel", line: Line, values: Values) -> "ptir.runtime.Answer":
    if line.fault is not None:
        raise ConfigError(line.fault)
    return model.start(line.prompt, **request({**values, **line.own}))


def _said(done: "ptir.Generation") -> dict[str, Any]:
    return facts(done) if done.error is None else _failure(done.error)


def _failure(error: BaseException) -> dict[str, Any]:
    return {"error": {"type": type(error).__name__, "message": str(error)}}


@contextmanager
def _opened(out: Path | None) -> Iterator[Callable[[str], None]]:
    """Writes a line at once, so that whatever ends the run leaves what is done."""
    if out is None:
        yield click.echo
        return
    with out.open("a", encoding="utf-8") as file:

        def write(line: str) -> None:
            file.write(line + "\n")
            file.flush()

        yield write
