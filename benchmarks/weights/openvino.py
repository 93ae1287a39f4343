"""The weights as an OpenVINO model with its cache inside, which its exporters make of language
models: variables that grow along the sequence, in the pattern that its processor plugin fuses.

`ids` [B, T], `positions` [B, T], `beam_idx` [B] (who goes on with whose cache), `mask`
[1, 1, T, C + T] of booleans → `logits` [B, vocab] of the last position.
"""

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino.op import util

from benchmarks.weights import Array
from benchmarks.weights.gptrs import Weights

FILE = "model.xml"


def write(weights: Weights, path: Path) -> None:
    ov.save_model(Graph(weights).build(), path / FILE, compress_to_fp16=False)


class Graph:
    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.sinks: list[ov.Node] = []
        self.variables: list[util.Variable] = []
        self.ids = _parameter("ids", [-1, -1], ov.Type.i64)
        self.positions = _parameter("positions", [-1, -1], ov.Type.i64)
        self.beam = _parameter("beam_idx", [-1], ov.Type.i32)
        self.mask = _parameter("mask", [1, 1, -1, -1], ov.Type.boolean)

    def build(self) -> ov.Model:
        tokens = self.weight("tok_embeddings.weight")
        x = op.gather(tokens, self.ids, 0)
        x = op.add(x, op.gather(self.weight("pos_embeddings"), self.positions, 0))
        self.batch = op.gather(op.shape_of(self.ids), [0], 0)
        for i in range(self.weights.shape.layers):
            x = self.block(x, i)
        last = self.norm(op.gather(x, -1, 1), "final_ln")
        logits = op.matmul(last, tokens, transpose_a=False, transpose_b=True)
        logits.output(0).set_names({"logits"})
        given = [self.ids, self.positions, self.beam, self.mask]
        return ov.Model([op.result(logits)], self.sinks, given, self.variables, "gpt2")

    def block(self, x: ov.Node, i: int) -> ov.Node:
        at = f"blocks.{i}"
        x = op.add(x, self.attention(self.norm(x, f"{at}.ln_1"), i))
        wide = self.linear(self.norm(x, f"{at}.ln_2"), f"{at}.feed_forward", "in")
        wide = op.gelu(wide, approximation_mode="tanh")
        return op.add(x, self.linear(wide, f"{at}.feed_forward", "out"))

    def attention(self, x: ov.Node, i: int) -> ov.Node:
        at, s = f"blocks.{i}.attention", self.weights.shape
        parts = op.split(self.linear(x, at, "qkv"), 2, 3).outputs()
        query, key, value = (self.by_head(part) for part in parts)
        key, value = self.extended(key, f"key.{i}"), self.extended(value, f"value.{i}")
        mixed = op.scaled_dot_product_attention(query, key, value, self.mask)
        joined = op.reshape(op.transpose(mixed, [0, 2, 1, 3]), [0, 0, s.embed], special_zero=True)
        return self.linear(joined, at, "out")

    def by_head(self, x: ov.Output) -> ov.Node:
        """[B, T, E] → [B, H, T, D]."""
        s = self.weights.shape
        return op.transpose(
            op.reshape(x, [0, 0, s.heads, s.depth], special_zero=True), [0, 2, 1, 3]
        )

    def extended(self, new: ov.Node, name: str) -> ov.Node:
        """The variable of this name and `new` behind it."""
        s = self.weights.shape
        info = util.VariableInfo()
        info.data_shape = ov.PartialShape([-1, s.heads, -1, s.depth])
        info.data_type = ov.Type.f32
        info.variable_id = name
        variable = util.Variable(info)
        empty = op.concat([self.batch, [s.heads], [0], [s.depth]], 0)
        held = op.read_value(op.broadcast(np.float32(0), empty), variable)
        both = op.concat([op.gather(held, self.beam, 0), new], 2)
        self.sinks.append(op.assign(both, variable))
        self.variables.append(variable)
        return both

    def linear(self, x: ov.Node, at: str, which: str) -> ov.Node:
        """Weights as [out, in], as they come from Torch."""
        weight = self.weight(f"{at}.w_{which}", turned=True)
        product = op.matmul(x, weight, transpose_a=False, transpose_b=True)
        return op.add(product, self.weight(f"{at}.b_{which}"))

    def norm(self, x: ov.Node, at: str) -> ov.Node:
        centred = op.mvn(x, [-1], True, 1e-5, "inside_sqrt")
        return op.add(op.multiply(centred, self.weight(f"{at}.gamma")), self.weight(f"{at}.beta"))

    def weight(self, name: str, *, turned: bool = False) -> ov.Node:
        """Narrow ones are widened in the graph; the plugin chooses whether it does that."""
        array = self.weights[name]
        constant = _constant(np.ascontiguousarray(array.T if turned else array))
        return constant if array.dtype == np.float32 else op.convert(constant, ov.Type.f32)


def _parameter(name: str, shape: list[int], kind: ov.Type) -> ov.Node:
    made = op.parameter(ov.PartialShape(shape), kind, name)
    made.output(0).set_names({name})
    return made


def _constant(array: Array) -> ov.Node:
    if array.dtype == np.float32:
        return op.constant(array)
    return op.constant(array.astype(np.float32), ov.Type.bf16)  # back to what it was
