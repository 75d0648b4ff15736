"""lru: the linear recurrent unit, a stable diagonal recurrence with normalised inputs, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.recurrence import bidirectional_state_space
from lra.models.oracles.lru import oracle
from lra.models.precision import Linear


@register_attention(
    "lru",
    oracle=oracle,
    small={"state": 5},
    wide=("nu", "theta", "log_gamma"),  # decay, angle and scale of a state, which add up over the sequence
    paper="Orvieto et al. 2023, 2303.06349",
    cost="L N d",
    reads_positions=True,
)
class LRU(nnx.Module):
    """x_i = lambda x_{i-1} + gamma (B u_i), y_i = Re(C x_i) + D u_i; then, with g = GELU(y), the GLU (V g + v) *
    sigmoid(W g + w).

    lambda = exp(-exp(nu) + i exp(theta)), B and C complex, and gamma = exp(log_gamma) are learned (sections 3.3 and
    3.4). log_gamma starts as the logarithm of sqrt(1 - |lambda|^2). States do not come in conjugate pairs.

    The paper's layer is causal on all tasks but Pathfinder and Path-X. Here, as in S5, the backward direction runs the
    same lambda, gamma and B, and C has columns for the states of both directions: their outputs are summed. The current
    token enters both, so that it counts itself twice. Padding leaves the states as they are.

    Args:
      state: the number of complex states. The default, None, is a third of qkv_dim, which gives the layer as many
        parameters as softmax attention has.
      r_min, r_max: |lambda|^2 starts uniform between r_min^2 and r_max^2. The defaults, 0 and 1, are the paper's unit
        disk. For long sequences the paper has a ring near 1.
      max_phase: the phase of lambda starts uniform between 0 and this angle, in radians. The default is the full
        circle. On Path-X the paper has small phases.
      half_glu: replaces the GLU by g * sigmoid(W g + w), which the paper has on Path-X. The default is the GLU.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        state: int | None = None,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * np.pi,
        half_glu: bool = False,
        rngs: nnx.Rngs,
    ):
        size = max(shape.qkv_dim // 3, 1) if state is None else state
        if size < 1:
            raise UsageError(f"lru.state = {state} must be at least 1")
        if not 0 <= r_min < r_max <= 1:
            raise UsageError(
                f"lru.r_min = {r_min} must be at least 0 and below lru.r_max = {r_max}, which is at most 1"
            )
        if max_phase <= 0:
            raise UsageError(f"lru.max_phase = {max_phase} must be above 0")
        self.half_glu = half_glu
        tiny = np.finfo(np.float32).tiny
        uniform = lambda: jax.random.uniform(rngs.params(), (size,), minval=tiny)
        normal = lambda scale, *sizes: nnx.Param(scale * jax.random.normal(rngs.params(), sizes))
        decay = -jnp.log(r_min**2 + uniform() * (r_max**2 - r_min**2)) / 2  # -log |lambda|
        self.nu = nnx.Param(jnp.log(decay))
        self.theta = nnx.Param(jnp.log(max_phase * uniform()))
        self.log_gamma = nnx.Param(jnp.log(-jnp.expm1(-2 * decay)) / 2)
        self.b = normal((2 * shape.dim) ** -0.5, 2, size, shape.dim)  # real and imaginary part
        self.c = normal(size**-0.5, 2, 2, shape.dim, size)  # real and imaginary part, forward and backward
        self.d = normal(1.0, shape.dim)
        self.glu = Linear(shape.dim, (1 if half_glu else 2) * shape.dim, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        parameters = (self.nu, self.theta, self.log_gamma, self.b, self.c, self.d)
        nu, theta, log_gamma, b, c, d = (parameter.get_value().astype(jnp.float32) for parameter in parameters)
        log_a = jax.lax.complex(-jnp.exp(nu), jnp.exp(theta))
        b = jnp.exp(log_gamma)[:, None] * jax.lax.complex(*b)
        y = bidirectional_state_space(log_a, b, jax.lax.complex(*c), x, mask) + d * x
        g = nnx.gelu(y.astype(x.dtype))
        dense = self.glu(g)
        gate, value = (dense, g) if self.half_glu else jnp.split(dense, 2, -1)
        return (nnx.sigmoid(gate) * value).astype(x.dtype)
