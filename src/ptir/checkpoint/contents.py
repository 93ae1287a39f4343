"""What a reader of any format hands over: open files, checked entries, what describes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .file import RegularFile
from .index import Entry


@dataclass(frozen=True, slots=True)
class Part:
    """The tensors of one file."""

    file: RegularFile
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Contents:
    """One or more files whose names do not repeat. `config` is empty where the format has none."""

    format: str
    parts: Sequence[Part]
    kind: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    runtime: dict[str, Any] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
