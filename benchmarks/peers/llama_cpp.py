"""llama.cpp through the C functions of its Python package, for what the package adds is not its
speed. Its cache holds f16, as it does unless told otherwise.
"""

from ctypes import c_int32
from pathlib import Path
from typing import Any

import llama_cpp as llama
import numpy as np

from benchmarks.weights import Array

FORM = "gguf"
CHUNK = 512  # tokens in one batch, its own default for the work of one step


def available(dtype: str) -> str | None:
    return None


def load(path: Path, dtype: str, threads: int) -> "Model":
    llama.llama_backend_init()
    _silence()
    return Model(path, threads)


@llama.llama_log_callback
def _quiet(level: int, text: bytes, data: object) -> None:
    """It tells of each tensor."""


def _silence() -> None:
    llama.llama_log_set(_quiet, None)


class Model:
    def __init__(self, path: Path, threads: int) -> None:
        self.model = llama.llama_model_load_from_file(
            str(path).encode(), llama.llama_model_default_params()
        )
        if not self.model:
            raise RuntimeError(f"llama.cpp could not load {path}")
        self.threads = threads
        vocab = llama.llama_model_get_vocab(self.model)
        self.vocab_size = llama.llama_vocab_n_tokens(vocab)
        self.contexts: dict[tuple[int, int], Any] = {}
        self.context = None
        self.past = 0

    def prefill(self, ids: Array, room: int) -> Array:
        size = len(ids), room
        if size not in self.contexts:
            self.contexts[size] = self._new_context(*size)
        self.context, self.past = self.contexts[size], 0
        llama.llama_memory_clear(llama.llama_get_memory(self.context), False)
        return self._advance(ids)

    def decode(self, ids: Array) -> Array:
        return self._advance(ids[:, None])

    def _new_context(self, sequences: int, room: int) -> Any:
        params = llama.llama_context_default_params()
        params.n_ctx = sequences * room
        params.n_seq_max = sequences
        params.n_batch = max(CHUNK, sequences * room)
        params.n_ubatch = CHUNK
        params.n_threads = params.n_threads_batch = self.threads
        return llama.llama_init_from_model(self.model, params)

    def _advance(self, ids: Array) -> Array:
        B, T = ids.shape
        batch = llama.llama_batch_init(B * T, 0, 1)
        batch.n_tokens = B * T
        for at, (sequence, step) in enumerate(np.ndindex(B, T)):
            batch.token[at] = int(ids[sequence, step])
            batch.pos[at] = self.past + step
            batch.n_seq_id[at] = 1
            batch.seq_id[at][0] = sequence
            batch.logits[at] = step == T - 1
        code = llama.llama_decode(self.context, batch)
        llama.llama_batch_free(batch)
        if code:
            raise RuntimeError(f"llama_decode says {code}")
        self.past += T
        return np.stack([self._logits(T * (b + 1) - 1) for b in range(B)])

    def _logits(self, at: int) -> Array:
        row = llama.llama_get_logits_ith(self.context, c_int32(at))
        return np.ctypeslib.as_array(row, shape=(self.vocab_size,))
