"""The lines of a batch: requests in, answers out, and which are answered already.

A request is an object with a `prompt` (text or token ids), perhaps an `id`, and settings. An answer
has the `index` of its line (and the `id`), a `digest` of all that decides it, and what came of it
or an `error`. Knows no model.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import ptir
from ptir.config import ConfigError

from .order import Value, Values, as_json
from .prompts import MAX_PROMPT_BYTES
from .table import TABLE

MAX_LINE_BYTES = 8 * MAX_PROMPT_BYTES  # a character may be spelled with six, an answer has more
BEGINS = b'{"index": '  # an answer
Key = tuple[str, object]


@dataclass(frozen=True)
class Line:
    """A request, or why its line is none."""

    index: int
    id: str | int | None
    prompt: str | list[int]
    own: Values  # settings of its own
    digest: str
    fault: str | None = None

    @property
    def key(self) -> Key:
        """What it is known by: its id if it has one."""
        return _key(self.index, self.id)

    def answer(self, said: Mapping[str, Any]) -> str:
        """A line of JSON with what came of it."""
        about = {"index": self.index} | ({} if self.id is None else {"id": self.id})
        return json.dumps(about | {"digest": self.digest} | dict(said))


def requests(file: Path, values: Values, model: str) -> list[Line]:
    """The lines of a file, or of stdin for '-', that are not blank.

    Raises PtirError if two have one id: their answers could not be told apart.
    """
    if file == Path("-"):
        if sys.stdin is None:
            raise ptir.PtirError("stdin is closed; name a file with --batch-file")
        found = list(_requests(sys.stdin.buffer, "stdin", values, model))
    else:
        with file.open("rb") as opened:
            found = list(_requests(opened, str(file), values, model))
    seen: dict[Key, int] = {}
    for line in found:
        first = seen.setdefault(line.key, line.index)
        if first != line.index:
            fact = f"the id {line.id!a} is that of line {first + 1} too"
            raise ptir.PtirError(f"{file}: line {line.index + 1}: {fact}")
    return found


def answered(file: Path) -> dict[Key, str]:
    """The digests of the requests that a file has answers to, by key.

    Answers that are errors, and a last line that was not written whole, are taken out of the file:
    these requests are to be run again. Raises PtirError for a line of anything else.
    """
    if not file.exists():
        return {}
    found, kept = {}, []
    with file.open("rb") as opened:
        for number, raw in enumerate(_lines(opened, str(file)), start=1):
            if not raw.endswith(b"\n") and (raw.startswith(BEGINS) or BEGINS.startswith(raw)):
                continue
            said = _object(raw)
            if said is None or type(said.get("index")) is not int or "digest" not in said:
                fact = "is no answer of a batch; name another file with --out"
                raise ptir.PtirError(f"{file}: line {number} {fact}")
            if "error" not in said:
                found[_key(said["index"], said.get("id"))] = str(said["digest"])
                kept.append(raw)
    if sum(map(len, kept)) != file.stat().st_size:
        ptir.checkpoint.atomic.replace_file(file, kept)
    return found


def unanswered(lines: list[Line], known: Mapping[Key, str], out: Path) -> list[Line]:
    """The lines that are still to be run. Raises PtirError if an answer is of another request."""
    for line in lines:
        if known.get(line.key, line.digest) != line.digest:
            fact = f"line {line.index + 1} was answered with another prompt, setting or model"
            raise ptir.PtirError(f"{out}: {fact}; name another file with --out")
    return [line for line in lines if line.key not in known]


def _requests(stream: BinaryIO, name: str, values: Values, model: str) -> Iterator[Line]:
    for index, raw in enumerate(_lines(stream, name)):
        if not raw.strip():
            continue
        said = _object(raw)
        id = (said or {}).get("id")
        known = id if type(id) in (str, int) else None
        try:
            prompt, own = _checked(said, f"line {index + 1}")
        except ConfigError as error:
            yield Line(index, known, "", {}, sha256(raw).hexdigest(), str(error))
        else:
            decides = [prompt, {n: as_json(v.value) for n, v in {**values, **own}.items()}, model]
            digest = sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
            yield Line(index, known, prompt, own, digest)


def _checked(said: dict[str, Any] | None, whose: str) -> tuple[Any, dict[str, Value]]:
    """Prompt and settings of a request. Raises ConfigError."""
    if said is None:
        raise ConfigError(f"{whose}: is no JSON object")
    settings = {name: value for name, value in said.items() if name not in ("prompt", "id")}
    unknown = next((name for name in settings if name not in TABLE), None)
    if unknown is not None:
        near = get_close_matches(unknown, TABLE, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{whose}: {unknown!a} is no setting{meant}")
    if "id" in said and type(said["id"]) not in (str, int):
        raise ConfigError(f"{whose}: id is {str(said['id'])[:80]!a}, wanted a text or whole number")
    prompt = said.get("prompt")
    ids = isinstance(prompt, list) and all(type(each) is int for each in prompt)
    if not (isinstance(prompt, str) or ids):
        raise ConfigError(f"{whose}: prompt is {str(prompt)[:80]!a}, wanted a text or token ids")
    return prompt, {n: Value(TABLE[n].of_value(v, whose), whose) for n, v in settings.items()}


def _lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        if len(raw) > MAX_LINE_BYTES:
            raise ptir.PtirError(f"{name}: more than {MAX_LINE_BYTES} bytes are no line of a batch")
        yield raw


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _key(index: int, id: object) -> Key:
    return ("index", index) if id is None else ("id", id)
