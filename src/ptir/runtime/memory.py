"""How much memory a model takes for a context and a batch, by kind. Reads no weight, runs nothing.

Knows no backend: an executable says what a run of it takes, else the values alive at once count.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ptir import passes
from ptir.backends import Sized
from ptir.engine import Plan
from ptir.ir import Role, TensorType, Type

from .generation import GenerationError
from .session import PREFILL_CHUNK, capacity_for
from .text_model import TextModel


@dataclass(frozen=True)
class Memory:
    """Bytes by kind. The interpreter and its libraries come on top.

    `weights` are parameters that steps read as they lie in the checkpoint, `derived` what is made
    of others once, `caches` keys and values, `working` what a run needs while it runs. `is_exact`
    says whether the executables told `working`; otherwise it is the values alive at once.
    """

    weights: int
    derived: int
    caches: int
    working: int
    is_exact: bool

    @property
    def total(self) -> int:
        return self.weights + self.derived + self.caches + self.working


def memory(model: TextModel, context: int, batch: int = 1) -> Memory:
    """What `batch` sequences of up to `context` tokens take, side by side in one step.

    Raises `GenerationError` for what the model cannot take.
    """
    if not 1 <= context <= model.context_length or batch < 1:
        message = f"{batch} sequences of {context} tokens, wanted 1 or more of 1"
        raise GenerationError(f"{message} to the model's context of {model.context_length}")
    capacity = {"C": capacity_for(context, model.context_length), "B": batch, "S": batch}
    prefill, decode = model.plan("prefill", batch), model.plan("decode", batch)
    tokens = {"T": min(context, PREFILL_CHUNK)}
    return Memory(
        weights=sum((_weights(prefill) | _weights(decode)).values()),
        derived=sum((_derived(prefill) | _derived(decode)).values()),
        caches=_caches(decode, capacity),
        working=max(_working(prefill, capacity | tokens), _working(decode, capacity)),
        is_exact=all(isinstance(plan.executable, Sized) for plan in (prefill, decode)),
    )


def _weights(plan: Plan) -> dict[str | None, int]:
    """Bytes of the parameters that a plan reads as they are, by name."""
    inputs = plan.program.inputs[: len(plan.slots)]
    return {i.name: type_bytes(i.type) for i in inputs if i.role is Role.PARAMETER}


def _derived(plan: Plan) -> dict[object, int]:
    """Bytes of a plan's derived parameters, by all that decides what they are."""
    captured = plan.key.program.inputs
    return {
        (one.derivation.program, *(captured[slot].name for slot in one.slots)): type_bytes(i.type)
        for one, i in zip(plan.derived, plan.program.inputs[len(plan.slots) :], strict=True)
    }


def _caches(plan: Plan, symbols: Mapping[str, int]) -> int:
    states = (i.type for i in plan.program.inputs if i.role is Role.STATE)
    return sum(type_bytes(t.substitute(symbols)) for t in states)


def _working(plan: Plan, symbols: Mapping[str, int]) -> int:
    if isinstance(plan.executable, Sized):
        return plan.executable.memory(symbols)
    return passes.plan_info(plan.program.substitute(symbols)).peak_bytes or 0


def type_bytes(type: Type) -> int:
    """The bytes of a value of a type whose sizes are known."""
    if isinstance(type, TensorType):
        return type.nbytes
    return sum(map(type_bytes, type.items))
