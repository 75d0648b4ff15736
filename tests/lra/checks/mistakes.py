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


@defect("bfloat16", wide=("gain",))
class one_whose_wide_parameter_makes_its_output_float32(Whole):
    """What stays in float32 makes float32 of all that it meets."""

    def __init__(self, shape, *, rngs):
        super().__init__(shape, rngs=rngs)
        self.gain = nnx.Param(jnp.ones(shape.dim))

    def __call__(self, x, mask):
        h = self.into(x)[:, :, None]
        return self.out(softmax(h, h, h, mask)[:, :, 0]) * self.gain.get_value()


@defect("bfloat16", wide=("log_stepp",))
class a_wide_name_that_is_misspelt(Whole):
    def __call__(self, x, mask):
        h = self.into(x)[:, :, None]
        return self.out(softmax(h, h, h, mask)[:, :, 0])


def running_sum(x, dtype):
    """The sums of the tokens up to each, one after the other."""
    add = lambda total, token: (total + token.astype(dtype),) * 2
    return jnp.moveaxis(jax.lax.scan(add, jnp.zeros_like(x[:, 0], dtype), jnp.moveaxis(x, 1, 0))[1], 0, 1)


@defect("bfloat16", cost="L d", memory="L", causal=True, reads_positions=True)
class a_sum_that_stops_growing(Whole):
    """The mean of the gates so far. In bfloat16 a sum of 256 does not grow by what is less than 1."""

    def __call__(self, x, mask):
        h = jnp.where(mask[..., None], nnx.sigmoid(self.into(x)), 0)
        count = jnp.maximum(jnp.cumsum(mask, 1), 1)[..., None]
        return self.out((running_sum(h, x.dtype) / count).astype(x.dtype))


@defect("bfloat16", cost="L d", memory="L", reads_positions=True)
class a_step_that_is_rounded(Whole):
    """Positions enter by an angle a token, which is a parameter: rounded, it is another angle a thousand tokens on."""

    def __init__(self, shape, *, rngs):
        super().__init__(shape, rngs=rngs)
        self.log_step = nnx.Param(jnp.linspace(-3.0, -1.0, shape.qkv_dim))

    def __call__(self, x, mask):
        angle = jnp.arange(x.shape[1])[:, None] * jnp.exp(self.log_step.get_value().astype(jnp.float32))
        h = jnp.where(mask[..., None], self.into(x), 0)
        mean = h.sum(1, keepdims=True) / jnp.maximum(mask.sum(1), 1)[:, None, None]
        return self.out((jnp.cos(angle) * h + mean).astype(x.dtype))


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


@jax.custom_vjp
def plus(x, bias):
    return x + bias.astype(x.dtype)


plus.defvjp(
    lambda x, bias: (plus(x, bias), bias),
    lambda bias, g: (g, running_sum(g.reshape(1, -1, g.shape[-1]), g.dtype)[0, -1].astype(bias.dtype)),
)


@defect("bfloat16", cost="L d", memory="L", reads_positions=False)
class a_gradient_that_stops_growing(Whole):
    """The gradient of a bias is the sum over all tokens, here token by token in the type of the tokens."""

    def __init__(self, shape, *, rngs):
        super().__init__(shape, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(shape.qkv_dim))

    def __call__(self, x, mask):
        h = jnp.where(mask[..., None], self.into(x), 0)
        mean = h.sum(1, keepdims=True) / jnp.maximum(mask.sum(1), 1)[:, None, None]
        return self.out(plus(h, self.bias.get_value()) + mean.astype(x.dtype))
