"""The command line in this process: exit code, stdout and stderr of a list of arguments."""

import io
from collections.abc import Callable
from typing import NamedTuple

import pytest

from ptir import cli


class Result(NamedTuple):
    code: int
    out: str
    err: str


Ptir = Callable[..., Result]


@pytest.fixture
def ptir(capsys, monkeypatch, tmp_path) -> Ptir:
    """`ptir("show", path)`; `stdin` holds the bytes that are piped in, None is a terminal.

    Whoever runs the tests may have settings of their own: they do not count.
    """
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))

    def run(*arguments: object, stdin: bytes | None = None) -> Result:
        given = io.TextIOWrapper(io.BytesIO(stdin or b""), encoding="ascii")
        monkeypatch.setattr(given, "isatty", lambda: stdin is None, raising=False)
        monkeypatch.setattr("sys.stdin", given)
        code = cli.run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run
