"""Softmax attention in Mosaic GPU kernels for NVIDIA Hopper: a forward kernel, and two backward kernels, one by queries
and one by keys.

A block of threads has 64 or 128 queries (or keys) of one head. It walks the tiles that a pattern leaves of their line,
while another warpgroup copies these into shared memory. Logits and probabilities stay in registers, [queries, keys] or,
for the gradients of keys, transposed. Tiles past an example's last real key are not visited.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lra.models.kernels.softmax.gpu_backward import Given, gradient_of_queries, gradients_of_keys
from lra.models.kernels.softmax.gpu_block import HIDDEN, Inputs, Setting
from lra.models.kernels.softmax.gpu_forward import attend
from lra.models.kernels.softmax.gpu_walk import WIDTHS, size, walk, width
from lra.models.kernels.softmax.operands import Gradient, Kept, Operands, Static
from lra.models.kernels.softmax.pattern import tiles


def admits(static: Static, x: Operands) -> None:
    """Raises NotImplementedError for types but bfloat16 and float16, wide heads and a bias."""
    types = {y.dtype.name for y in (x.q, x.k, x.v)}
    if len(types) > 1 or not types <= {"bfloat16", "float16"}:
        raise NotImplementedError(
            f"{', '.join(sorted(types))}: q, k and v must be bfloat16, or all float16; "
            "Hopper's tensor cores would round float32 to TF32"
        )
    widest = max(x.q.shape[-1], x.v.shape[-1])
    if widest > WIDTHS[-1]:
        raise NotImplementedError(f"heads {widest} wide: registers hold no more than {WIDTHS[-1]}")
    if x.bias is not None:
        raise NotImplementedError("bias: its gradient is a matrix of all pairs, which the kernels never hold")


def forward(
    static: Static, x: Operands
) -> tuple[Float[Array, "batch queries heads value_dim"], Float[Array, "batch queries heads"]]:
    queries, keys, value_dim = x.q.shape[1], x.k.shape[1], x.v.shape[-1]
    s = setting(static, x, backward=False)
    rows, across = s.size.rows, s.size.across
    lines = tiles(static.pattern, queries, keys, rows, across)
    out, lse = attend(inputs(x, rows, across), walk(lines, len(x.q), ends(x), across), s)
    return out[:, :queries, :, :value_dim], lse[:, :, :queries].swapaxes(1, 2)


def backward(static: Static, kept: Kept, dy: Gradient) -> tuple[Array, Array, Array, None]:
    """The gradients of q, k and v."""
    x = kept.x
    queries, keys, head_dim, value_dim = x.q.shape[1], x.k.shape[1], x.q.shape[-1], x.v.shape[-1]
    s = setting(static, x, backward=True)
    rows, across = s.size.rows, s.size.across
    padded = inputs(x, rows, rows)  # `across` divides `rows`
    given = Given(
        pad(kept.lse.swapaxes(1, 2) / np.log(2), {2: rows}),
        pad(dy.delta.swapaxes(1, 2), {2: rows}),
        pad(dy.d_out, {1: rows}, {3: padded.v.shape[-1]}),
    )
    lines = tiles(static.pattern, queries, keys, rows, across)
    real_keys = ends(x)
    d_q = gradient_of_queries(padded, walk(lines, len(x.q), real_keys, across), given, s)
    lines = tiles(static.pattern, queries, keys, across, rows).transposed(-(-keys // rows))
    columns = walk(lines, len(x.q), None, across, transposed=True)
    if real_keys is not None:  # a column of padded keys alone has no tile to walk
        real = jnp.arange(len(lines.counts)) * rows < real_keys
        columns = columns._replace(counts=jnp.where(real, columns.counts, 0))
    if padded.allowed is not None:
        padded = padded._replace(allowed=padded.allowed.swapaxes(2, 3))
    d_k, d_v = gradients_of_keys(padded, columns, given, s)
    return d_q[:, :queries, :, :head_dim], d_k[:, :keys, :, :head_dim], d_v[:, :keys, :, :value_dim], None


def setting(static: Static, x: Operands, backward: bool) -> Setting:
    head_dim, widest = x.q.shape[-1], width(max(x.q.shape[-1], x.v.shape[-1]))
    crowded = x.allowed is not None or x.seeds is not None
    chosen = size(static.pattern, x.q.shape[1], x.k.shape[1], widest, crowded, backward)
    return Setting(chosen, head_dim**-0.5, static.rate, static.interpret)


def inputs(x: Operands, block_q: int, block_k: int) -> Inputs:
    head_dim, value_dim = width(x.q.shape[-1]), width(x.v.shape[-1])
    mask, allowed = None if x.mask is None else x.mask.swapaxes(1, 2), x.allowed
    if mask is not None and allowed is not None:  # `allowed` takes over the mask
        allowed, mask = allowed & mask[:, :, None], None
    return Inputs(
        pad(x.q, {1: block_q}, {3: head_dim}),
        pad(x.k, {1: block_k}, {3: head_dim}),
        pad(x.v, {1: block_k}, {3: value_dim}),
        None if mask is None else pad(jnp.where(mask, 0.0, HIDDEN), {2: block_k}),  # the pattern hides added keys
        None if allowed is None else pad(allowed.astype(jnp.int8), {2: block_q, 3: block_k}),
        x.seeds,
    )


def pad(x: Array, multiples: dict[int, int], sizes: dict[int, int] | None = None) -> Array:
    """x with zeros behind it: the axes in `multiples` up to the next multiple, those in `sizes` up to a size."""
    to = {axis: -(-x.shape[axis] // multiple) * multiple for axis, multiple in multiples.items()} | (sizes or {})
    return jnp.pad(x, [(0, to.get(axis, n) - n) for axis, n in enumerate(x.shape)])


def ends(x: Operands) -> Int[Array, "batch 1"] | None:
    """The end of each example's keys that some head may see; None if there is no mask."""
    if x.mask is None:
        return None
    return jnp.where(x.mask.any(2), jnp.arange(1, x.mask.shape[1] + 1), 0).max(1, keepdims=True)
