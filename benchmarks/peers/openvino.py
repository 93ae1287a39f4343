"""OpenVINO on processors. Weights and cache keep the element type that is compared; its defaults
would narrow the cache and quantise activations.
"""

from pathlib import Path

import numpy as np
import openvino as ov

from benchmarks.weights import Array

FORM = "openvino"
WIDE = {"f32": "f32", "bf16": "bf16"}


def available(dtype: str) -> str | None:
    return None


def load(path: Path, dtype: str, threads: int) -> "Model":
    core = ov.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": WIDE[dtype],
        "KV_CACHE_PRECISION": WIDE[dtype],
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    return Model(core.compile_model(path / "model.xml", "CPU", settings))


class Model:
    def __init__(self, compiled: ov.CompiledModel) -> None:
        self.request = compiled.create_infer_request()
        self.past = 0

    def prefill(self, ids: Array, room: int) -> Array:
        self.request.reset_state()
        self.past = 0
        return self._advance(ids)

    def decode(self, ids: Array) -> Array:
        return self._advance(ids[:, None])

    def _advance(self, ids: Array) -> Array:
        B, T = ids.shape
        total = self.past + T
        given = {
            "ids": ids.astype(np.int64),
            "positions": np.broadcast_to(np.arange(self.past, total), (B, T)).copy(),
            "beam_idx": np.arange(B, dtype=np.int32),
            "mask": np.tri(T, total, self.past, dtype=bool)[None, None],
        }
        self.past = total
        return self.request.infer(given, share_inputs=True, share_outputs=True)["logits"]
