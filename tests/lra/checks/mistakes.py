"""Small variants with mistakes that one makes while writing a variant, and the checks that must find them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from .defects import Rotation, Whole, defect, softmax


@defect("shape")
def wrong_shape(q, k, v, mask):
    return v[:, :1]


@defect("shape")
def not_a_number(q, k, v, mask):
    return v / jnp.zeros_like(v)


@defect("shape")
def one_that_raises(q, k, v, mask):
    return jnp.einsum("bqhd,bkhd->bhqk", q, k[..., :1]) @ v


@defect("bfloat16")
def always_float32(q, k, v, mask):
    return softmax(*(x.astype(jnp.float32) for x in (q, k, v)), mask)


@defect("lengths")
def divided_by_the_other_tokens(q, k, v, mask):
    return softmax(q, k, v, mask) / (q.shape[1] - 1)


@defect("lengths", reads_positions=True)
class a_table_without_a_limit(Whole):
    def __init__(self, shape, *, rngs):
        super().__init__(shape, rngs=rngs)
        self.table = nnx.Param(jnp.zeros((shape.max_length, shape.qkv_dim)))

    def __call__(self, x, mask):
        h = (self.into(x) + self.table.get_value()[: x.shape[1]].astype(x.dtype))[:, :, None]
        return self.out(softmax(h, h, h, mask)[:, :, 0])


@defect("inputs")
class one_that_writes_into_its_input(Whole):
    def __call__(self, x, mask):
        if isinstance(x, np.ndarray):
            x *= 2
        h = self.into(x)[:, :, None]
        return self.out(softmax(h, h, h, mask)[:, :, 0])


class Count(nnx.Variable):
    pass


@defect("inputs")
class one_that_counts_its_calls(Whole):
    def __init__(self, shape, *, rngs):
        super().__init__(shape, rngs=rngs)
        self.calls = Count(jnp.zeros(()))

    def __call__(self, x, mask):
        self.calls.set_value(self.calls.get_value() + 1)
        h = self.into(x)[:, :, None]
        return self.out(softmax(h, h, h, mask)[:, :, 0])


@defect("order")
def positions_that_are_not_declared(q, k, v, mask):
    return softmax(q, k, v, mask, jnp.arange(q.shape[1], dtype=q.dtype))


@defect("order", reads_positions=True)
def positions_that_are_not_read(q, k, v, mask):
    return softmax(q, k, v, mask)


@defect("randomness")
class randomness_of_its_own(nnx.Module):
    def __init__(self, shape, *, rngs):
        self.scale = tuple(np.random.normal(size=shape.head_dim))  # noqa: NPY002

    def __call__(self, q, k, v, mask):
        return softmax(q * jnp.asarray(self.scale, q.dtype), k, v, mask)


@defect("transformations")
def a_host_function_without_a_rule_for_vmap(q, k, v, mask):
    same = jax.pure_callback(np.asarray, jax.ShapeDtypeStruct(v.shape, v.dtype), jax.lax.stop_gradient(v))
    return softmax(q, k, v + 0 * same, mask)


@defect("restore")
class a_key_that_no_checkpoint_holds(nnx.Module):
    def __init__(self, shape, *, rngs):
        self.key = Rotation(rngs.params())

    def __call__(self, q, k, v, mask):
        return softmax(q * jax.random.normal(self.key.get_value(), (q.shape[-1],), q.dtype), k, v, mask)
