"""Pallas's Mosaic GPU in one spelling for JAX 0.10 to 0.12, on the device and in the interpreter.

The interpreter computes a kernel's matrix products plainly and ignores layouts; barriers, copies and warpgroups are the
kernel's own.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

LANE = plgpu.LoweringSemantics.Lane  # the default of JAX 0.10 only; layouts are written out
LAYOUT = plgpu.Layout.WGMMA  # a matrix in registers; .reduce(1) has a number a row, .reduce(0) one a column
LOAD_TAKES_AN_INDEX = inspect.signature(plgpu.load).parameters.get("idx") is not None


def interpreted(interpret: bool) -> Any:
    """The value of `interpret=`. The interpreter looks for races."""
    from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams  # JAX 0.10 does not export it

    return InterpretGPUParams(detect_races=True) if interpret else None


def swizzled(shape: tuple[int, ...], dtype: Any, swizzle: int | None = None) -> Any:
    """Shared memory that tensor cores read. `swizzle` is in bytes; None takes the widest that the last axis allows."""
    item = jnp.dtype(dtype).itemsize
    if swizzle is None:
        swizzle = next(s for s in (128, 64, 32) if shape[-1] * item % s == 0)
    transforms = (plgpu.TilingTransform((8, swizzle // item)), plgpu.SwizzleTransform(swizzle))
    return plgpu.SMEM(shape, dtype, transforms=transforms)


class Registers:
    """What differs between the device and the interpreter for values in registers and tensor cores."""

    def __init__(self, interpret: bool):
        self.interpret = interpret

    def load(self, ref: Any, layout: Any = LAYOUT, optimized: bool = True) -> jax.Array:
        """The numbers in shared memory, or in global memory if not `optimized`."""
        if self.interpret:
            return ref[...]
        index = ((),) if LOAD_TAKES_AN_INDEX else ()
        return plgpu.load(ref, *index, layout=layout, optimized=optimized)

    def full(self, shape: tuple[int, ...], value: float, layout: Any = LAYOUT, dtype: Any = jnp.float32) -> jax.Array:
        return self.cast(jnp.full(shape, value, dtype), layout)

    def cast(self, x: jax.Array, layout: Any) -> jax.Array:
        return x if self.interpret else plgpu.layout_cast(x, layout)

    def iota(self, shape: tuple[int, ...], axis: int, layout: Any = LAYOUT) -> jax.Array:
        if self.interpret:
            return lax.broadcasted_iota(jnp.int32, shape, axis)
        return plgpu.broadcasted_iota(jnp.int32, shape, axis, layout=layout)

    def dot(
        self, a: Any, b: Any, shape: tuple[int, ...], add_to: jax.Array | None = None, a_t: bool = False,
        b_t: bool = False,
    ) -> jax.Array:  # fmt: skip
        """a b (+ add_to) of `shape` in float32.

        `a` is in shared memory or in registers of 16 bits, `b` in shared memory. The result has a multiple of 64 rows.
        If both are in shared memory, they must have one swizzle.
        """
        if self.interpret:
            x, y = a if isinstance(a, jax.Array) else a[...], b[...]
            x, y = x.T if a_t else x, y.T if b_t else y
            plgpu.commit_smem()  # without it the race detector sees these reads collide with the next copy's writes
            out = jnp.dot(x.astype(jnp.float32), y.astype(jnp.float32))
            return out if add_to is None else add_to + out
        a = a.transpose((1, 0)) if a_t else a
        b = b.transpose((1, 0)) if b_t else b
        if add_to is not None:
            return pl.run_state(lambda acc: plgpu.wgmma(acc, a, b))(plgpu.ACC.init(add_to))

        def product(acc: Any) -> jax.Array:
            plgpu.wgmma(acc, a, b)
            return acc[...]

        return pl.run_scoped(product, plgpu.ACC((shape[0], shape[1]), jnp.float32))


def rows(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """x, which has one number a row, broadcast to a matrix of `shape`."""
    return lax.broadcast_in_dim(x, shape, [0])


def columns(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """x, which has one number a column, broadcast to a matrix of `shape`."""
    return lax.broadcast_in_dim(x, shape, [1])
