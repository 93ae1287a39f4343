"""The cache of keys and values that attention reads: its update."""

import numpy as np

from ptir import ops
from ptir.tensor import Tensor, arange

from . import check
from .benchmark import Array
from .define import Types, functional


@functional
def update_cache(cache: Tensor, new: Tensor, past: Tensor) -> Tensor:
    """cache [B, H, C, D] with new [B, H, T, D] written at positions `past[b] …`.

    past [B] holds integers. A position outside the capacity C is an error, never a wild write.
    """
    check.floating("update_cache", cache=cache, new=new)
    check.rank("update_cache", 4, cache=cache, new=new)
    check.integers("update_cache", past=past)
    for axis in (0, 1, 3):
        whose = f"axis {axis} of cache"
        check.size("update_cache", "new", new, axis, cache.shape[axis], whose)
    check.rank("update_cache", 1, past=past)
    check.size("update_cache", "past", past, 0, cache.shape[0], "the batch")
    positions = past.expand_dims(1) + arange(new.shape[2], past.dtype)  # (B, T)
    rows = positions[:, None, :, None].broadcast_to(new.shape)
    return ops.scatter(cache, rows, new, axis=2, kind="replace")


update_cache.example(cache="f32[2, 3, 9, 4]", new="f32[2, 3, 2, 4]", past="si32[2]")
update_cache.example(cache="f32[1, 1, 4, 2]", new="f32[1, 1, 1, 2]", past="si64[1]")


@update_cache.sampler
def _positions(types: Types, random: np.random.Generator) -> dict[str, Array]:
    """Any place with room behind it."""
    room = types["cache"].static_shape[2] - types["new"].static_shape[2]
    return {"past": random.integers(0, max(room, 0) + 1, types["past"].static_shape)}
