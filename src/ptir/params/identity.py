"""Who a parameter is: a stable name, its 128-bit id, and its key within one loaded model.

The formulas are those of gpt.rs, bit for bit. Knows nothing of values, shapes or files.
"""

import itertools
from typing import NamedTuple, NewType

from blake3 import blake3

from ptir.ir.error import SpecError

BaseParamId = NewType("BaseParamId", int)
ModelNamespaceId = NewType("ModelNamespaceId", int)
ParamKey = NewType("ParamKey", int)


class ParamVersion(NamedTuple):
    """One parameter with one set of data: its key, and a number that no other data has."""

    key: ParamKey
    serial: int


_KEY_DOMAIN = b"gpt-rs:param-key:v1"
_U128 = 1 << 128
# `next` on these is one C call, so threads never share a number.
_namespaces = itertools.count(1)
_serials = itertools.count(1)


def check_name(name: str) -> str:
    """`name` itself, if it is a dot-separated path of non-empty printable ASCII segments.

    Raises SpecError (`name`) otherwise; the message shows the name escaped.
    """
    if not name.isascii():
        raise SpecError("name", "param", f"name must be ASCII, got {name[:80]!a}")
    if not name.isprintable():
        raise SpecError("name", "param", f"name has a control character: {name[:80]!a}")
    if not all(name.split(".")):
        why = "has an empty segment; write non-empty segments joined by single dots"
        raise SpecError("name", "param", f"name {name[:80]!a} {why}")
    return name


def base_param_id(name: str) -> BaseParamId:
    """The u128 id of a name: the first 16 bytes, little-endian, of BLAKE3(ASCII name).

    Raises SpecError (`name`) for what `check_name` refuses.
    """
    return BaseParamId(_digest(check_name(name).encode("ascii")))


def new_namespace() -> ModelNamespaceId:
    """A namespace that no other loaded model of this process has; the first one is 1."""
    return ModelNamespaceId(next(_namespaces))


def param_key(namespace: ModelNamespaceId, base_id: BaseParamId) -> ParamKey:
    """The u128 key of a parameter in one loaded model.

    The first 16 bytes, little-endian, of BLAKE3("gpt-rs:param-key:v1" + namespace + base id), both
    ids as 16 bytes little-endian. Raises SpecError (`range`) for an id outside u128.
    """
    for what, value in (("namespace", namespace), ("base id", base_id)):
        if not 0 <= value < _U128:
            raise SpecError("range", "param_key", f"{what} must fit in 128 bits, got {value:#x}")
    ids = namespace.to_bytes(16, "little") + base_id.to_bytes(16, "little")
    return ParamKey(_digest(_KEY_DOMAIN + ids))


def new_version(key: ParamKey) -> ParamVersion:
    """The version of a parameter whose data was not there before, in this process."""
    return ParamVersion(key, next(_serials))


def _digest(data: bytes) -> int:
    return int.from_bytes(blake3(data).digest(length=16), "little")
