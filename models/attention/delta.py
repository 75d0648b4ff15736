"""What the rows of the delta rule share: a layer whose state is corrected, in two ways."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.multihead import merge_heads, projection
from lra.models.attention.shape import Shape
from lra.models.attention.ways import WAYS, both_ways, convolution, convolve, step_bias, turned
from lra.models.kernels.delta_rule import delta_rule

Tokens = Float[Array, "batch length dim"]


class DeltaLayer(nnx.Module):
    """q, k, v = silu(conv(x W)), q and k of length 1, beta = sigmoid(x W_beta); in each head the delta rule with q /
    sqrt(head_dim), in two ways that are summed; RMSNorm in each head; the output is y W_o.

    A subclass may say how the state decays and how the output is gated.

    Padding is 0 before the convolution, which has no bias, and has beta = 0 and no decay: it passes the state on.
    """

    def __init__(self, name: str, shape: Shape, *, conv: int, negative: bool, steps: int = 1, rngs: nnx.Rngs):
        for option, value in (("conv", conv), ("steps", steps)):
            if value < 1:
                raise UsageError(f"{name}.{option} = {value} must be at least 1")
        self.heads, self.steps, self.largest = shape.heads, steps, 2.0 if negative else 1.0
        self.sizes = (shape.qkv_dim, (1 + steps) * shape.qkv_dim)  # where k and v begin
        width = (1 + 2 * steps) * shape.qkv_dim
        self.into = projection(shape.dim, width, rngs)
        self.conv, _ = convolution((conv, WAYS, width), rngs)
        self.beta = projection(shape.dim, WAYS * shape.heads * steps, rngs)
        self.norm = nnx.RMSNorm(shape.qkv_dim // shape.heads, epsilon=1e-5, rngs=rngs)
        self.out = projection(shape.qkv_dim, shape.dim, rngs)

    def __call__(self, x: Tokens, mask: Bool[Array, "batch length"]) -> Tokens:
        batch, length, _ = x.shape
        real = both_ways(mask)[..., None]
        qkv = jnp.where(real, both_ways(self.into(x)), 0)
        qkv = nnx.silu(convolve(qkv, self.conv, None, before=self.conv.shape[0] - 1))
        q, k, v = jnp.split(qkv, self.sizes, -1)
        beta = self.largest * nnx.sigmoid(self.beta(x).astype(jnp.float32))
        beta = turned(beta.reshape(batch, length, WAYS, -1))
        log_decay = self.log_decay(x)
        y = self.rule(unit(self.split(q)), unit(self.split(k)), self.split(v), beta, log_decay, real)
        y = self.norm(turned(y).sum(2).astype(jnp.float32))
        return self.out(self.gated(x, merge_heads(y)).astype(x.dtype)).astype(x.dtype)

    def split(self, x: Float[Array, "batch length ways width"]) -> Float[Array, "batch length ways heads head_dim"]:
        """Heads, the steps of a token one after the other."""
        return x.reshape(*x.shape[:3], -1, self.sizes[0] // self.heads)

    def rule(self, q: Array, k: Array, v: Array, beta: Array, log_decay: Array | None, real: Array) -> Array:
        """The delta rule with `steps` steps a token: the state decays in the first, and is read after the last."""

        def in_steps(x: Array, first: int = 0) -> Array:
            """[batch, length * steps, ways * heads, ...]: what a token has for its steps from `first` on, else 0."""
            x = x.reshape(*x.shape[:3], -1, self.heads, *x.shape[4:])  # [batch, length, ways, steps, heads, ...]
            others = (first, self.steps - first - x.shape[3])
            x = jnp.swapaxes(jnp.pad(x, [others if axis == 3 else (0, 0) for axis in range(x.ndim)]), 2, 3)
            return x.reshape(x.shape[0], x.shape[1] * self.steps, WAYS * self.heads, *x.shape[5:])

        beta = in_steps(jnp.where(real, beta, 0))
        decay = None if log_decay is None else in_steps(jnp.where(real[..., None], log_decay, 0))
        q = in_steps(q * q.shape[-1] ** -0.5, self.steps - 1)
        y = delta_rule(q, in_steps(k), in_steps(v), beta, log_decay=decay)
        return y.reshape(len(y), -1, self.steps, WAYS, self.heads, y.shape[-1])[:, :, -1]

    def log_decay(self, x: Tokens) -> Float[Array, "batch length ways heads #head_dim"] | None:
        """How the state decays before it is corrected, in the order of each way; None for not at all."""
        return None

    def gated(self, x: Tokens, y: Float[Array, "batch length qkv_dim"]) -> Float[Array, "batch length qkv_dim"]:
        return y


def unit(x: Float[Array, "... head_dim"]) -> Float[Array, "... head_dim"]:
    """x / sqrt(|x|^2 + 1e-6)."""
    wide = x.astype(jnp.float32)
    return (wide * jax.lax.rsqrt((wide * wide).sum(-1, keepdims=True) + 1e-6)).astype(x.dtype)


class Decay(nnx.Module):
    """log_decay = -exp(log_a) softplus(x W + dt_bias) for each head and way, and for each channel if `channels`."""

    def __init__(self, shape: Shape, channels: int, project: Callable[[Tokens], Array], rngs: nnx.Rngs):
        self.project = project
        heads = (WAYS, shape.heads)
        self.dt_bias = step_bias((*heads, channels), rngs)
        # the authors draw from 0, which has no logarithm
        self.log_a = nnx.Param(jnp.log(jax.random.uniform(rngs.params(), (*heads, 1), minval=1e-3, maxval=16.0)))

    def __call__(self, x: Tokens) -> Float[Array, "batch length ways heads channels"]:
        dt_bias, log_a = (y.get_value().astype(jnp.float32) for y in (self.dt_bias, self.log_a))
        dt = self.project(x).astype(jnp.float32).reshape(*x.shape[:2], *dt_bias.shape)
        return turned(-jnp.exp(log_a) * nnx.softplus(dt + dt_bias))
