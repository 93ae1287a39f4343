"""What rewriting costs: a program of 5,000 nodes, every rule of every pass, to the fixed point."""

from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

import numpy as np

from benchmarks import Row, measure
from ptir import ops, passes
from ptir.ir import Node, Program, Rule, constant, rewrite, tensor_type

NODES = 5_000
LIMIT = 500.0  # ms
MATRIX = tensor_type((8, 8), "f32")


def rows() -> list[Row]:
    """A program in which a rule fires at every fourth node or so, the same again when nothing is
    left to do, and the whole pipeline.
    """
    rules, program = every_rule(), block(NODES)
    settled = rewrite(program, rules)
    note = f"{len(rules)} rules, {len(program.nodes)} → {len(settled.nodes)} nodes"
    first = in_ms(measure("every rule", lambda: rewrite(program, rules), calls=1))
    verdict = "within" if first.median <= LIMIT else "over"
    first = replace(first, note=f"{note}; {verdict} the limit of {LIMIT:.0f} ms")
    again = measure("nothing to do", lambda: rewrite(settled, rules), calls=1)
    pipeline = passes.pipeline({})
    whole = measure("the pipeline", lambda: passes.apply(program, pipeline), calls=1)
    return [first, in_ms(again), in_ms(whole)]


def in_ms(row: Row) -> Row:
    times = {name: getattr(row, name) / 1e3 for name in ("median", "least", "most")}
    return replace(row, unit="ms", **times)


def every_rule() -> tuple[Rule, ...]:
    modules = [import_module(f"ptir.passes.{m.name}") for m in iter_modules(passes.__path__)]
    found = (rule for module in modules for rule in vars(module).get("RULES", ()))
    return tuple(dict.fromkeys(found))


def block(nodes: int) -> Program:
    """Normalise, contract, transpose, choose: over and over, until there are so many nodes."""

    def build(x: Node, weight: Node) -> Node:
        count = 0
        while count < nodes:
            x = _layer(x, weight, count)
            count += 18
        return x

    return Program.of([MATRIX, MATRIX], build)


def _layer(x: Node, weight: Node, number: int) -> Node:
    """Eighteen nodes."""
    total = ops.reduce(x, kind="sum", axes=[1], keepdims=True)
    count = ops.broadcast_to(constant(np.float32(8 + number % 2)), shape=(8, 1))
    centred = ops.sub(x, ops.broadcast_to(ops.div(total, count), shape=(8, 8)))
    scaled = ops.mul(centred, ops.broadcast_to(constant(np.float32(1)), shape=(8, 8)))
    turned = ops.transpose(ops.exp(ops.transpose(scaled, perm=(1, 0))), perm=(1, 0))
    product = ops.dot_general(turned, weight, contract_lhs=[1], contract_rhs=[0])
    wide = ops.reshape(ops.reshape(product, shape=(64,)), shape=(8, 8))
    above = ops.compare(wide, ops.broadcast_to(constant(np.float32(number)), shape=(8, 8)), op="gt")
    return ops.select(above, ops.tanh(wide), ops.neg(ops.neg(x)))
