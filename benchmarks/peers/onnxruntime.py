"""ONNX Runtime on processors, with its own operator for attention, whose keys and values stay."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.weights import Array

FORM = "onnx"


def available(dtype: str) -> str | None:
    return None if dtype == "f32" else f"has no {dtype} products on processors"


def load(path: Path, dtype: str, threads: int) -> "Model":
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return Model(ort.InferenceSession(path / "model.onnx", options, ["CPUExecutionProvider"]))


class Model:
    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        given = {i.name: i.shape for i in session.get_inputs()}
        self.caches = [name for name in given if name.startswith("past_")]
        self.sizes = given[self.caches[0]]
        self.binding = session.io_binding()
        self.past = 0

    def prefill(self, ids: Array, room: int) -> Array:
        self.past = 0
        _, heads, _, depth = self.sizes
        for name in self.caches:
            cache = ort.OrtValue.ortvalue_from_numpy(
                np.zeros((len(ids), heads, room, depth), np.float32)
            )
            self.binding.bind_ortvalue_input(name, cache)
            self.binding.bind_ortvalue_output(name.removeprefix("past_"), cache)
        return self._advance(ids)

    def decode(self, ids: Array) -> Array:
        return self._advance(ids[:, None])

    def _advance(self, ids: Array) -> Array:
        B, T = ids.shape
        total = self.past + T
        positions = np.broadcast_to(np.arange(self.past, total), (B, T))
        bind = self.binding.bind_cpu_input
        bind("ids", ids.astype(np.int64))
        bind("positions", np.ascontiguousarray(positions))
        bind("seqlens_k", np.full(B, total - 1, np.int32))
        bind("total", np.array(total, np.int32))
        self.binding.bind_output("logits")
        self.session.run_with_iobinding(self.binding)
        self.past = total
        return self.binding.get_outputs()[-1].numpy()
