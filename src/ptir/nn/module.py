"""Modules: parameters by stable name. Knows no layer, no checkpoint and no model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np

from ptir import ops
from ptir.engine import Data, Parameter
from ptir.ir import LEAF, Node, SpecError, leaf, nearest, transform
from ptir.params import (
    BaseParamId,
    ModelNamespaceId,
    ParamKey,
    base_param_id,
    check_name,
    param_key,
)
from ptir.tensor import Tensor


class ParamRole(StrEnum):
    """A parameter is trained; a buffer (a table of cosines) belongs to the model but is not."""

    PARAMETER = "parameter"
    BUFFER = "buffer"


Visit = Callable[[str, Tensor, ParamRole], Tensor]


@dataclass(frozen=True, slots=True)
class BoundParam:
    """A parameter with its identity: of its name alone, and within a model's namespace."""

    name: str
    role: ParamRole
    base_id: BaseParamId
    key: ParamKey


class Module:
    """What owns parameters. An attribute's path is a parameter's name: `blocks.0.ln_1.gamma`.

    Tensors and modules are found as attributes and in lists that are attributes; tensors named in
    `BUFFERS` are buffers.
    """

    BUFFERS: ClassVar[frozenset[str]] = frozenset()

    def visit_params(self, visit: Visit, scope: str = "") -> None:
        """Call `visit(name, tensor, role)` for each parameter and put what it returns in its
        place.
        """
        for name, value in vars(self).items():
            if "." in name:
                raise SpecError("name", type(self).__name__, f"attribute {name!a} has a dot in it")
            role = ParamRole.BUFFER if name in self.BUFFERS else ParamRole.PARAMETER
            path = f"{scope}{name}"
            setattr(self, name, _visited(value, visit, path, role))

    def named_parameters(self) -> Iterator[tuple[str, Tensor, ParamRole]]:
        """Name, tensor and role of each parameter, in the order of the attributes."""
        found: list[tuple[str, Tensor, ParamRole]] = []

        def note(name: str, tensor: Tensor, role: ParamRole) -> Tensor:
            found.append((name, tensor, role))
            return tensor

        self.visit_params(note)
        return iter(found)


def _visited(value: Any, visit: Visit, path: str, role: ParamRole) -> Any:
    """What takes the place of an attribute or of an item of a list."""
    if isinstance(value, Tensor):
        return visit(path, value, role)
    if isinstance(value, Module):
        value.visit_params(visit, f"{path}.")
    if isinstance(value, list):
        value[:] = [_visited(one, visit, f"{path}.{i}", role) for i, one in enumerate(value)]
    return value


def bind_namespace(module: Module, namespace: ModelNamespaceId) -> list[BoundParam]:
    """Give every parameter of `module` its stable identity in `namespace`; sorted by name.

    Raises `SpecError` for a name that is not dot-separated ASCII, or that two parameters have.
    """
    bound: dict[str, BoundParam] = {}

    def bind(name: str, tensor: Tensor, role: ParamRole) -> Tensor:
        check_name(name)
        if name in bound:
            raise SpecError("param", "bind_namespace", f"two parameters are named {name!r}")
        base_id = base_param_id(name)
        key = param_key(namespace, base_id)
        bound[name] = BoundParam(name, role, base_id, key)
        return parameter(tensor, name, key)

    module.visit_params(bind)
    return [bound[name] for name in sorted(bound)]


def parameter(tensor: Tensor, name: str, key: ParamKey) -> Tensor:
    """`tensor` as a parameter leaf; its value is computed or read when a program first needs it."""

    def load() -> np.ndarray[Any, Any]:
        return tensor.numpy()

    return Tensor(leaf(Parameter(tensor.type, name, key, load)), tensor.backend)


def replace_parameter(module: Module, name: str, value: Tensor) -> None:
    """Give the parameter `name` of `module` other data, of the same type.

    `value` is computed at once. What stands on the parameter through the module uses the new data
    from here on, values derived from it and compiled functions too; a tensor of the old data
    refuses to be read (`stale`). Raises `SpecError` (`param`) for a name that `module` does not
    have, or another type.
    """
    named = {path: tensor for path, tensor, _ in module.named_parameters()}
    if name not in named:
        known = nearest(name, named)
        raise SpecError("param", "replace_parameter", f"no parameter {name!r}{known}")
    old = named[name]
    if value.type != old.type:
        message = f"{name} is {old.type}, the new data {value.type}; cast or reshape it"
        raise SpecError("param", "replace_parameter", message)
    base = _base(old.node)
    data = value.numpy()
    if base is not old.node:
        data = data.transpose(np.argsort(old.node.attrs["perm"]))
    data = np.array(data, order="C")
    new = leaf(Data(data))
    source = base.attrs["source"] if base.op is LEAF else None
    if isinstance(source, Parameter):
        new = leaf(source.replace(lambda: data))

    made: dict[Node, Tensor] = {}

    def put(path: str, tensor: Tensor, role: ParamRole) -> Tensor:
        if _base(tensor.node) is not base:
            return tensor
        if tensor.node not in made:
            (node,) = transform([tensor.node], {base: new}.get)
            made[tensor.node] = Tensor(node, tensor.backend)
        return made[tensor.node]

    # A tied parameter stands in several places, perhaps turned.
    module.visit_params(put)


def _base(node: Node) -> Node:
    """The data behind a parameter that a module has as a transpose, else the parameter itself."""
    turned = node.op is ops.transpose and node.operands[0].op is LEAF
    return node.operands[0] if turned else node
