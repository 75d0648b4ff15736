"""Positions as angles: queries and keys whose inner products depend on the distance."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from lra.models.attention.shape import Shape


def rotate(x: Float[Array, "batch length heads head_dim"]) -> Float[Array, "batch length heads head_dim"]:
    """Channels 2c and 2c + 1 of token n, as a complex number, times exp(i n theta_c). theta goes from 1 to 10^-4."""
    theta = 10_000.0 ** -np.linspace(0, 1, x.shape[-1] // 2, dtype=np.float32)
    return rotate_pairs(x, (jnp.arange(x.shape[1])[:, None] * theta)[:, None])


def rotate_pairs(
    x: Float[Array, "*batch channels"], angle: Float[Array, "*#batch pairs"]
) -> Float[Array, "*batch channels"]:
    """Channels 2c and 2c + 1, as a complex number, times exp(i angle_c), in float32."""
    even, odd = x[..., 0::2].astype(jnp.float32), x[..., 1::2].astype(jnp.float32)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([even * cos - odd * sin, odd * cos + even * sin], -1).reshape(x.shape)


def frequencies(shape: Shape) -> nnx.Param[Float[Array, "heads head_dim"]]:
    """The angle of a token in each channel, to be learned. It begins at 10,000^(-2 c / qkv_dim) in channel c of all
    heads together.
    """
    theta = 10_000.0 ** (-2 / shape.qkv_dim * np.arange(shape.qkv_dim))
    return nnx.Param(jnp.float32(theta.reshape(shape.heads, -1)))


def turn(
    x: Float[Array, "batch length heads head_dim"], theta: nnx.Param[Float[Array, "heads head_dim"]]
) -> Float[Array, "batch length heads width"]:
    """[x cos(theta t), x sin(theta t)], whose inner products have cos(theta (t-s)) in each channel."""
    angle = jnp.arange(x.shape[1])[:, None, None] * theta.get_value().astype(jnp.float32)
    return jnp.concatenate([x * jnp.cos(angle), x * jnp.sin(angle)], -1)
