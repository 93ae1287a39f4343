"""What `/set` changes, by name. Knows no model."""

import json
from dataclasses import dataclass, fields, replace
from typing import Any

from ptir.ir import PtirError
from ptir.ir.error import nearest
from ptir.runtime import Sampling
from ptir.runtime.request import Overflow

NONE = "none"
OVERFLOWS: dict[str, Overflow] = {"slide": "slide", "stop": "stop"}
# A callable cannot be typed.
SAMPLING = tuple(f.name for f in fields(Sampling) if f.name != "processors")


@dataclass
class Settings:
    """How answers are made. What does not fit the context is left out (`slide`), or ends it
    (`stop`).
    """

    sampling: Sampling
    max_tokens: int
    system: str | None = None
    overflow: Overflow = "slide"

    def put(self, name: str, text: str) -> None:
        """Change one to what `text` says; `none` for nothing. Raises PtirError."""
        if name == "system":
            self.system = None if text == NONE else text
        elif name == "max_tokens":
            self.max_tokens = _count(text)
        elif name == "overflow":
            if text not in OVERFLOWS:
                raise PtirError(f"overflow is {text[:80]!r}, wanted {' or '.join(OVERFLOWS)}")
            self.overflow = OVERFLOWS[text]
        elif name in SAMPLING:
            self.sampling = replace(self.sampling, **{name: _value(name, text)})
        else:
            raise PtirError(f"no setting {name[:80]!r}{nearest(name[:80], self.values())}")

    def values(self) -> dict[str, Any]:
        """All of them by name."""
        own = {name: getattr(self, name) for name in ("max_tokens", "system", "overflow")}
        return {**own, **{name: getattr(self.sampling, name) for name in SAMPLING}}


def spelled(value: object) -> str:
    """A value as `put` reads it."""
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(name: str, text: str) -> Any:
    """What JSON it is, else the text itself: the field says what it wants."""
    if text == NONE:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text if name == "stop" else text[:80]  # what is refused is quoted
    if name == "logit_bias" and isinstance(found, dict):
        return {int(key) if key.isdecimal() else key: bias for key, bias in found.items()}
    if name == "stop_token_ids" and isinstance(found, int):
        return [found]
    if name == "stop" and not isinstance(found, str | list):
        return text
    return found


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise PtirError(f"max_tokens is {text[:80]!r}, wanted a whole number from 1 to 999999999")
    return int(text)
