"""The cache of keys and values that attention reads: its update."""

import numpy as np

from ptir import ops
from ptir.ir import Size, SpecError
from ptir.tensor import Tensor, arange, full, stack

from . import check
from .benchmark import Array
from .define import Types, functional


@functional
def update_cache(cache: Tensor, k: Tensor, v: Tensor, past: Tensor, *, layer: int) -> Tensor:
    """cache [L, 2, S, H, C, D] with the keys and values of one layer, each [B, H, T, D], written
    into its first B sequences at positions `past[b] …`.

    past [B] holds integers. B is at most S. A position outside the capacity C is an error, never a
    wild write.
    """
    check.floating("update_cache", cache=cache, k=k, v=v)
    check.rank("update_cache", 6, cache=cache)
    check.rank("update_cache", 4, k=k, v=v)
    check.integers("update_cache", past=past)
    check.size("update_cache", "cache", cache, 1, 2, "keys and values")
    for name, new in (("k", k), ("v", v)):
        for axis, of in ((1, 3), (3, 5)):
            check.size("update_cache", name, new, axis, cache.shape[of], f"axis {of} of cache")
    for axis, what in ((0, "the batch"), (2, "the positions")):
        check.size("update_cache", "v", v, axis, k.shape[axis], f"{what} of k")
    check.rank("update_cache", 1, past=past)
    check.size("update_cache", "past", past, 0, k.shape[0], "the batch of k")
    layers = cache.shape[0]
    if not isinstance(layers, int) or not 0 <= layer < layers:
        raise SpecError("attribute", "update_cache", f"layer is {layer}, cache has {layers}")
    return ops.scatter_nd(cache, _places(k, past, layer), stack([k, v]), kind="replace")


def _places(k: Tensor, past: Tensor, layer: int) -> Tensor:
    """Where each row of keys and values goes: [2, B, H, T, 5], the first five axes of the cache."""
    B, H, T, _ = k.shape
    positions = past[:, None, None] + arange(T, past.dtype)  # (B, 1, T)
    axes = [
        full((), layer, past.dtype),
        _counted(2, 0, past),
        _counted(B, 1, past),
        _counted(H, 2, past),
        positions,
    ]
    return stack([axis.broadcast_to((2, B, H, T)) for axis in axes], axis=4)


def _counted(size: Size, axis: int, past: Tensor) -> Tensor:
    """0, 1, 2 … along one of four axes."""
    return arange(size, past.dtype).reshape(size, *[1] * (3 - axis))


update_cache.example(
    cache="f32[3, 2, 2, 3, 9, 4]", k="f32[2, 3, 2, 4]", v="f32[2, 3, 2, 4]", past="si32[2]", layer=1
)
update_cache.example(
    cache="f32[1, 2, 1, 1, 4, 2]", k="f32[1, 1, 1, 2]", v="f32[1, 1, 1, 2]", past="si64[1]", layer=0
)


@update_cache.sampler
def _samples(types: Types, random: np.random.Generator) -> dict[str, Array]:
    """Any place with room behind it."""
    room = types["cache"].static_shape[4] - types["k"].static_shape[2]
    return {"past": random.integers(0, max(room, 0) + 1, types["past"].static_shape)}
