"""The process that renders chat templates, within limits. Knows no tokenizer and nothing of ptir.

It is run as a script by `template.py`. Each frame on stdin is a request, each on stdout its answer:
eight bytes of length, big-endian, then JSON. An empty frame says that it is ready.
"""

import contextlib
import encodings.unicode_escape
import functools
import html
import json
import pprint
import re
import sys
import textwrap
from collections.abc import Iterable
from datetime import datetime
from typing import Any, BinaryIO

import jinja2
import jinja2.constants
import jinja2.debug
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

try:
    import resource
except ImportError:  # not every system has it; the time limit of the parent stands alone then
    resource = None  # type: ignore[assignment]

# What no template needs. A template that got out of Jinja's sandbox would meet this next.
_FORBIDDEN = ("open", "import", "os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pty.")
_COMPILED = 8  # templates kept
# Jinja and MarkupSafe import these inside functions, when nothing may be opened any more. The
# codec is that of string literals.
_EARLY = (encodings.unicode_escape, html, jinja2.constants, jinja2.debug, pprint, textwrap)


class Raised(jinja2.TemplateError):
    """The template refuses the messages by `raise_exception`."""


class OutputError(Exception):
    """The template writes more than it may."""


# What each failure is called, the more specific first.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (Raised, "raised"),
    (jinja2.TemplateSyntaxError, "syntax"),
    (jinja2.UndefinedError, "undefined"),
    (jinja2.exceptions.SecurityError, "security"),
    (PermissionError, "security"),
    (OutputError, "output"),
    (MemoryError, "memory"),
    (Exception, "failed"),
)


class Request:
    """What a template's functions know of the request that is being answered."""

    now = datetime.min
    mark = ""


class Generation(jinja2.ext.Extension):
    """`{% generation %}`: marks what the model said, for training; here it is just its text."""

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it so

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def raise_exception(message: object) -> None:
    """The template's own refusal."""
    raise Raised(str(message))


def strftime_now(form: str) -> str:
    """The local time of the request."""
    return Request.now.strftime(form)


def to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Hugging Face has it: `<` stays as it is, and so does the request's mark."""
    text = json.dumps(
        value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys
    )
    if not ensure_ascii:
        return text
    return re.sub(
        r"[^\n -~]", lambda m: m[0] if m[0] == Request.mark else json.dumps(m[0])[1:-1], text
    )


def environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """The environment that chat templates are written for."""
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = to_json
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = strftime_now
    return made


ENVIRONMENT = environment()


@functools.lru_cache(_COMPILED)
def compiled(source: str) -> jinja2.Template:
    return ENVIRONMENT.from_string(source)


def answer(request: dict[str, Any]) -> dict[str, str]:
    """The text of a request, or why there is none."""
    try:
        Request.now = datetime.fromisoformat(request["now"])
        Request.mark = request["mark"]
        pieces = compiled(request["template"]).generate(request["variables"])
        return {"text": joined(pieces, request["output"])}
    except Exception as error:
        reason = next(name for kind, name in _REASONS if isinstance(error, kind))
        line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
        said = str(error)[:300] or type(error).__name__
        kind = "" if reason != "failed" else f"{type(error).__name__}: "
    return {"reason": reason, "message": f"{line}{kind}{said}"}


def joined(pieces: Iterable[str], most: int) -> str:
    """The pieces as one text of up to `most` characters."""
    taken, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise OutputError(f"more than {most} characters")
        taken.append(piece)
    return "".join(taken)


def limit(memory: int) -> None:
    """Bounds on the process, as far as the system has them: no memory, file or process beyond."""
    if resource is None:
        return
    bounds = {"RLIMIT_AS": memory, "RLIMIT_FSIZE": 0, "RLIMIT_NPROC": 0, "RLIMIT_CORE": 0}
    for name, most in bounds.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (most, most))


def allow_seconds(seconds: int) -> None:
    """So much more processor time. It ends a render whose parent, which keeps time, has died."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + 1 + seconds
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def refuse(event: str, arguments: object) -> None:
    """An audit hook: from here on the process only computes."""
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"a template may not {event}")


def send(stream: BinaryIO, payload: bytes) -> None:
    stream.write(len(payload).to_bytes(8, "big") + payload)
    stream.flush()


def serve(memory: int, seconds: int) -> None:
    """Answer requests until there are no more."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    compiled("{{ 'é' | pprint }}{% generation %}{{ 1.5 }}{% endgeneration %}").render()
    limit(memory)
    sys.addaudithook(refuse)
    send(answers, b"")
    while header := requests.read(8):
        request = json.loads(requests.read(int.from_bytes(header, "big")))
        allow_seconds(seconds)
        send(answers, json.dumps(answer(request)).encode())


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
