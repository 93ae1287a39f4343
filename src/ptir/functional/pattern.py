"""Every functional's traced body is its pattern, in each structure that it can have.

What structures there are is found by tracing the functional's examples: with and without its
optional operands, and with each value of the attributes that change more than a number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, make_dataclass
from functools import cached_property
from inspect import Signature
from itertools import chain, combinations, product
from typing import Any, Protocol, get_args

from ptir.ir import (
    CONSTANT,
    PARAM,
    Attrs,
    Dim,
    Node,
    Op,
    Program,
    SpecError,
    TensorType,
    uniform_value,
)
from ptir.passes.raise_ import Place, Raisable, Variant
from ptir.passes.template import Template

Types = Mapping[str, TensorType]

NUMBERS = (int, float)


def unusual(kind: type, index: int) -> tuple[Any, ...]:
    """Values that stand in a body only where the attribute of this type and place put them."""
    if kind is float:
        return (0.6171875 + index / 128,)  # exact in every dtype, and a probability
    return (11 + 2 * index, 1)  # the second for an axis


class Example(Protocol):
    """A call that the functional takes."""

    @property
    def types(self) -> Types: ...

    @property
    def attributes(self) -> Attrs: ...


class Traceable(Protocol):
    """What must be known of a functional to find it: its parameters, examples and body."""

    name: str
    operands: tuple[str, ...]
    optional: frozenset[str]
    attributes: tuple[str, ...]
    signature: Signature
    hints: Mapping[str, Any]

    @property
    def examples(self) -> Sequence[Example]: ...

    def program(self, types: Types, attributes: Mapping[str, Any]) -> Program: ...


class Pattern(Raisable):
    """A functional as something to be found in a graph."""

    def __init__(self, functional: Traceable) -> None:
        self.functional = functional
        self.name = functional.name
        self.parameters = tuple(functional.signature.parameters)

    # --- what there is to look for ---

    @cached_property
    def core(self) -> frozenset[Op]:
        """The ops of all bodies that differ from the simplest in one thing."""
        bodies = list[frozenset[Op]]()
        for calls in self._calls:
            for given, choice in self._steps(calls[0]):
                variant = self._variant(calls, given, choice)
                if variant is not None:
                    bodies.append(frozenset(variant.template.climbs))
        return frozenset.intersection(*bodies) if bodies else frozenset()

    @cached_property
    def variants(self) -> Sequence[Variant]:
        return tuple(self._found.values())

    @cached_property
    def _found(self) -> dict[Any, Variant]:
        variants: dict[Any, Variant] = {}
        for calls in self._calls:
            choices = [self._structural(name) for name in self.functional.attributes]
            for given, choice in product(self._givens(calls[0]), product(*choices)):
                variant = self._variant(calls, given, choice)
                if variant is not None:
                    variants.setdefault((given, variant.template.skeleton), variant)
        return variants

    def _structural(self, attribute: str) -> tuple[Any, ...]:
        """The choices for an attribute, without `None` if a number gives the same structure."""
        choices = self._choices(attribute)
        return choices[:1] if attribute in self._formless else choices

    @cached_property
    def _calls(self) -> Sequence[Sequence[Types]]:
        """Operand types, optional operands included, by the structure of their simplest body."""
        calls: dict[Any, list[Types]] = {}
        for types in chain(*map(_with_and_without_symbols, self._examples())):
            variant = self._variant((types,), *next(self._steps(types)))
            if variant is not None:
                calls.setdefault(variant.template.skeleton, []).append(types)
        return tuple(calls.values())

    @cached_property
    def _formless(self) -> frozenset[str]:
        """Attributes for which `None` is but another number: the default scale of attention."""
        return frozenset(
            name
            for name in self.functional.attributes
            if None in self._choices(name) and len(self._choices(name)) == 2
            if all(self._is_formless(name, calls) for calls in self._calls)
        )

    def _is_formless(self, attribute: str, calls: Sequence[Types]) -> bool:
        given, plain = next(self._steps(calls[0]))
        index = self.functional.attributes.index(attribute)
        number = (*plain[:index], self._choices(attribute)[0], *plain[index + 1 :])
        with_none, with_number = (self._variant(calls, given, c) for c in (plain, number))
        return (
            with_none is not None
            and with_number is not None
            and with_none.template.skeleton == with_number.template.skeleton
        )

    def _examples(self) -> Iterator[Types]:
        examples = [example.types for example in self.functional.examples]
        for types in examples:
            every = dict(chain(*(other.items() for other in reversed(examples)), types.items()))
            yield {name: every[name] for name in self.functional.operands if name in every}

    def _givens(self, types: Types) -> Iterator[tuple[str, ...]]:
        """The operands with every choice of optional ones, fewest first."""
        optional = [name for name in types if name in self.functional.optional]
        for count in range(len(optional) + 1):
            for chosen in combinations(optional, count):
                yield tuple(n for n in types if n in chosen or n not in optional)

    def _steps(self, types: Types) -> Iterator[tuple[tuple[str, ...], tuple[Any, ...]]]:
        """The simplest call, then those that differ from it in one operand or attribute."""
        choices = [self._choices(name) for name in self.functional.attributes]
        plain = tuple(None if None in choice else choice[0] for choice in choices)
        givens = list(self._givens(types))
        yield givens[0], plain
        for given in givens[1:]:
            if len(given) == len(givens[0]) + 1:
                yield given, plain
        for index, choice in enumerate(choices):
            for value in choice:
                yield givens[0], (*plain[:index], value, *plain[index + 1 :])

    def _choices(self, attribute: str) -> tuple[Any, ...]:
        """The values of an attribute that may give bodies of different structure; a type stands
        for any of its values.
        """
        kinds = get_args(self.functional.hints[attribute]) or (self.functional.hints[attribute],)
        if bool in kinds:
            return (False, True)
        numbers = tuple(kind for kind in kinds if kind in NUMBERS)
        if numbers:
            return (numbers[0], None) if type(None) in kinds else (numbers[0],)
        used = (example.attributes[attribute] for example in self.functional.examples)
        return tuple(dict.fromkeys(chain(self._default(attribute), used)))

    def _default(self, attribute: str) -> tuple[Any, ...]:
        default = self.functional.signature.parameters[attribute].default
        return () if default is Signature.empty else (default,)

    def _variant(
        self, calls: Sequence[Types], given: tuple[str, ...], choice: Sequence[Any]
    ) -> Variant | None:
        """The variant of a call on the first of the operand types that take it."""
        named = dict(zip(self.functional.attributes, choice, strict=True))
        open_ = {
            name: unusual(kind, index)
            for index, (name, kind) in enumerate(named.items())
            if kind in NUMBERS
        }
        fixed = {name: value for name, value in named.items() if name not in open_}
        for types, values in product(calls, product(*open_.values())):
            shown = dict(zip(open_, values, strict=True))
            try:
                program = self.functional.program({n: types[n] for n in given}, fixed | shown)
            except SpecError:
                continue
            return _variant(program.results[0], given, fixed, shown)
        return None

    # --- what was found ---

    def values(self, attribute: str, read: Any) -> Iterable[Any]:
        found = list[Any]([None] if attribute in self._formless else [])
        if read is None or isinstance(read, Dim):
            return found
        kinds = get_args(self.functional.hints[attribute]) or (self.functional.hints[attribute],)
        number = float(str(read)) if float in kinds else int(read)  # as short as it can be said
        for default in self._default(attribute):
            if isinstance(default, float) and type(read)(default) == read:
                number = default
            elif isinstance(default, int):
                found.append(default)
        return [*found, number]

    def call(self, operands: Mapping[str, Node], attributes: Mapping[str, Any]) -> Node:
        types = {name: node.type for name, node in operands.items()}
        if not all(isinstance(type, TensorType) for type in types.values()):
            raise SpecError("operand", self.name, "takes tensors, not tuples")
        program = self.functional.program(types, attributes)  # type: ignore[arg-type]  # as checked
        (composite,) = program.inline(tuple(operands.values()))
        return composite

    def fields(self, operands: Mapping[str, Node], attributes: Mapping[str, Any]) -> Any:
        missing = dict.fromkeys(self.functional.operands)
        return self.match_type(**{**missing, **operands, **attributes})

    @cached_property
    def match_type(self) -> Any:
        """The class of `fields`: a dataclass with the functional's parameters, in order."""
        return make_dataclass(
            "".join(map(str.capitalize, self.name.split("_"))) + "Match",
            [(name, self._field_type(name)) for name in self.functional.signature.parameters],
            frozen=True,
        )

    def field_names(self) -> dict[str, str]:
        """The fields of a match with their types in words."""
        return {f.name: _spelled(f.type) for f in fields(self.match_type)}

    def _field_type(self, name: str) -> Any:
        if name not in self.functional.operands:
            return self.functional.hints[name]
        return Node | None if name in self.functional.optional else Node


def _spelled(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("ptir.ir.node.", "")


def _with_and_without_symbols(types: Types) -> Iterator[Types]:
    """The types, all sizes known if they can be, and then all sizes symbols."""
    symbols = sorted(frozenset().union(*(t.symbols for t in types.values())))
    sizes = dict(zip(symbols, _primes(), strict=False))
    known = {name: t.substitute(sizes) for name, t in types.items()}
    yield known
    yield {
        name: t.with_shape([Dim.symbol(f"D{size}") for size in t.static_shape])
        for name, t in known.items()
    }


def _primes() -> Iterator[int]:
    number = 13
    while True:
        if all(number % divisor for divisor in range(2, number)):
            yield number
        number += 2


def _variant(
    composite: Node, given: tuple[str, ...], fixed: Mapping[str, Any], shown: Mapping[str, Any]
) -> Variant | None:
    """The variant of a call, if all that the call depends on shows in its body."""
    template = Template(composite.attrs["body"])
    inputs = {node.attrs["slot"] for node in template.nodes if node.op is PARAM}
    several = len(template.program.results) > 1
    if several or template.root.op is PARAM or len(inputs) < len(given):
        return None
    places = {name: _place(template, value) for name, value in shown.items()}
    read = {name: place for name, place in places.items() if place is not None}
    return Variant(template, given, fixed, composite, read) if len(read) == len(shown) else None


def _place(template: Template, value: Any) -> Place | None:
    """Where in a body a value stands."""
    for node in template.nodes:
        if node.op is CONSTANT:
            number = uniform_value(node)
            if number is not None and number == value:
                return Place(node)
            continue
        for name, held in node.attrs.items():
            if isinstance(held, tuple) and value in held:
                return Place(node, name, held.index(value))
            if held == value and type(held) is type(value):
                return Place(node, name)
    return None
