"""The weights as llama.cpp reads them: one GGUF file, matrices as [out, in]."""

from pathlib import Path

import gguf
import numpy as np

from benchmarks.weights import Array
from benchmarks.weights.gptrs import Weights

TOP = {
    "token_embd.weight": "tok_embeddings.weight",
    "position_embd.weight": "pos_embeddings",
    "output_norm.weight": "final_ln.gamma",
    "output_norm.bias": "final_ln.beta",
}
BLOCK = {
    "attn_norm.weight": "ln_1.gamma",
    "attn_norm.bias": "ln_1.beta",
    "attn_qkv.weight": "attention.w_qkv",
    "attn_qkv.bias": "attention.b_qkv",
    "attn_output.weight": "attention.w_out",
    "attn_output.bias": "attention.b_out",
    "ffn_norm.weight": "ln_2.gamma",
    "ffn_norm.bias": "ln_2.beta",
    "ffn_up.weight": "feed_forward.w_in",
    "ffn_up.bias": "feed_forward.b_in",
    "ffn_down.weight": "feed_forward.w_out",
    "ffn_down.bias": "feed_forward.b_out",
}


def write(weights: Weights, path: Path) -> None:
    writer = gguf.GGUFWriter(path, "gpt2")
    _describe(writer, weights)
    for theirs, ours in TOP.items():
        _add(writer, theirs, weights[ours])
    for i in range(weights.shape.layers):
        for theirs, ours in BLOCK.items():
            array = weights[f"blocks.{i}.{ours}"]
            _add(writer, f"blk.{i}.{theirs}", array.T if array.ndim == 2 else array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, weights: Weights) -> None:
    s = weights.shape
    writer.add_block_count(s.layers)
    writer.add_context_length(s.context)
    writer.add_embedding_length(s.embed)
    writer.add_feed_forward_length(4 * s.embed)
    writer.add_head_count(s.heads)
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(s.vocab)
    writer.add_tokenizer_model("none")


def _add(writer: gguf.GGUFWriter, name: str, array: Array) -> None:
    """Matrices in their type, vectors as f32, which llama.cpp asks of them."""
    if array.ndim == 1 or array.dtype == np.float32:
        writer.add_tensor(name, np.ascontiguousarray(array, np.float32))
        return
    raw = np.ascontiguousarray(array).view(np.uint8)
    writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
