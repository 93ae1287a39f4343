"""The weights as an ONNX model with a cache: what ONNX Runtime's own exporter for language models
makes, grouped-query attention that writes its keys and values where they stay.

`ids` [B, T], `positions` [B, T]; `seqlens_k` [B] and `total` are those of the attention operator.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.weights import Array
from benchmarks.weights.gptrs import Weights

FILE = "model.onnx"


def write(weights: Weights, path: Path) -> None:
    path.mkdir()
    model = Graph(weights).build()
    onnx.save(model, path / FILE, save_as_external_data=True, location="weights.bin")


class Graph:
    """Rows [B·T, E] between the operators, so that each product with a weight is one `Gemm`."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def build(self) -> onnx.ModelProto:
        s = self.weights.shape
        tokens = self.op("Gather", self.weight("tok_embeddings.weight"), "ids")
        x = self.op("Add", tokens, self.op("Gather", self.weight("pos_embeddings"), "positions"))
        rest = self.constant("rest", np.array([-1]))
        self.batched = self.op("Concat", self.op("Shape", "ids"), rest, axis=0)  # B, T, -1
        self.flat = self.constant("flat", np.array([-1, s.embed]))
        x = self.op("Reshape", x, self.flat)
        for i in range(s.layers):
            x = self.block(x, i)
        x = self.op("Reshape", x, self.batched)
        last = self.op("Gather", x, self.constant("last", np.array(-1)), axis=1)
        head = self.weight("tok_embeddings.weight")
        self.op("Gemm", self.norm(last, "final_ln"), head, outputs=["logits"], transB=1)
        return self._model()

    def block(self, x: str, i: int) -> str:
        at = f"blocks.{i}"
        x = self.op("Add", x, self.attention(self.norm(x, f"{at}.ln_1"), i))
        wide = self.linear(self.norm(x, f"{at}.ln_2"), f"{at}.feed_forward", "in")
        wide = self.op("FastGelu", wide, domain="com.microsoft")
        return self.op("Add", x, self.linear(wide, f"{at}.feed_forward", "out"))

    def attention(self, x: str, i: int) -> str:
        at, s = f"blocks.{i}.attention", self.weights.shape
        qkv = self.op("Reshape", self.linear(x, at, "qkv"), self.batched)
        mixed = self.op(
            "GroupQueryAttention",
            *(qkv, "", "", f"past_key.{i}", f"past_value.{i}", "seqlens_k", "total"),
            outputs=[f"mixed.{i}", f"key.{i}", f"value.{i}"],
            domain="com.microsoft",
            num_heads=s.heads,
            kv_num_heads=s.heads,
        )
        return self.linear(self.op("Reshape", mixed, self.flat), at, "out")

    def linear(self, x: str, at: str, which: str) -> str:
        return self.op("Gemm", x, self.weight(f"{at}.w_{which}"), self.weight(f"{at}.b_{which}"))

    def norm(self, x: str, at: str) -> str:
        gamma, beta = self.weight(f"{at}.gamma"), self.weight(f"{at}.beta")
        return self.op("LayerNormalization", x, gamma, beta, epsilon=1e-5)

    def op(self, kind: str, *inputs: str, outputs: list[str] | None = None, **kwargs) -> str:
        """The first output of a new node."""
        outputs = outputs or [f"{kind}.{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **kwargs))
        return outputs[0]

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def constant(self, name: str, value: Array) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _model(self) -> onnx.ModelProto:
        s = self.weights.shape
        cache = ["B", s.heads, "C", s.depth]
        numbers, whole, narrow = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32
        past = [f"past_{what}.{i}" for i in range(s.layers) for what in ("key", "value")]
        given = [
            helper.make_tensor_value_info("ids", whole, ["B", "T"]),
            helper.make_tensor_value_info("positions", whole, ["B", "T"]),
            helper.make_tensor_value_info("seqlens_k", narrow, ["B"]),
            helper.make_tensor_value_info("total", narrow, []),
            *(helper.make_tensor_value_info(name, numbers, cache) for name in past),
        ]
        present = [name.removeprefix("past_") for name in past]
        results = [
            helper.make_tensor_value_info("logits", numbers, ["B", s.vocab]),
            *(helper.make_tensor_value_info(name, numbers, cache) for name in present),
        ]
        graph = helper.make_graph(self.nodes, "gpt2", given, results, list(self.constants.values()))
        versions = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=9)
