"""mamba3: mamba2's recurrence by the trapezoidal rule, with states that turn by angles of the token, both ways."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.angles import rotate_pairs
from lra.models.attention.multihead import merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.attention.ways import WAYS, both_ways, matrix_state, step_bias, turned
from lra.models.kernels.recurrence import close_gaps, open_gaps
from lra.models.oracles.mamba3 import oracle


@register_attention(
    "mamba3",
    oracle=oracle,
    small={"state": 4},
    # the first makes steps, which with decays and angles add up over the sequence; norms and biases cost little
    wide=("dt_bias", "norm_b", "norm_c", "b_bias", "c_bias"),
    paper="Lahoti et al. 2026, 2603.15569",
    cost="L N d",
    reads_positions=True,
)
class Mamba3(nnx.Module):
    """h_t = a_t h_{t-1} + (1 - lambda_t) dt_t a_t B_{t-1} x_{t-1}^T + lambda_t dt_t B_t x_t^T, y_t = h_t^T C_t + D x_t
    in each head, with a_t = exp(dt_t A_t): the trapezoidal rule where mamba2 has lambda = 1.

    z, x, B, C, dt, A, lambda, theta = u W_in; dt = softplus(dt + bias); A = -(1 + A) where that A is positive, else -1
    / (1 - A), at most -10^-4; lambda = sigmoid(lambda). B and C are RMSNorm(.) * scale + a bias for each head. Then the
    first half of their channels turns in pairs, by the sum of dt pi tanh(theta) up to the token: the state is complex,
    and so can keep count, which a decay alone cannot. The output is (y * silu(z)) W_out.

    The paper's layer is causal. As in mamba2 here, each direction has its own dt, A, lambda, theta, D and biases. They
    share all other parameters, and their y are summed, so that a token counts itself twice. The heads are the
    encoder's, of any width; the authors' are 64 wide.

    Args:
      state: N, the width of B and C. The default is the one in the authors' code.
      expand: the width of x and z is expand qkv_dim. The default is the one in the authors' code.

    Gaps in the mask are closed first, since a token's weight depends on the step of the token after it; padding has
    dt = 0. It is the authors' layer with a single input and output (SISO); what their code has beside that is left out:
    several of both (MIMO), groups of heads, and a norm before W_out, which is off by default.
    """

    def __init__(self, shape: Shape, *, state: int = 128, expand: int = 2, rngs: nnx.Rngs):
        for name, value, least in (("state", state, 4), ("expand", expand, 1)):
            if value < least:
                raise UsageError(f"mamba3.{name} = {value} must be at least {least}")
        width, heads = expand * shape.qkv_dim, shape.heads
        self.heads, self.state, self.width = heads, state, width
        self.into = projection(shape.dim, 2 * width + 2 * state + WAYS * (3 * heads + state // 4), rngs)
        self.dt_bias = step_bias((WAYS, heads), rngs)
        self.norm_b, self.norm_c = (nnx.RMSNorm(state, epsilon=1e-5, rngs=rngs) for _ in "bc")
        self.b_bias, self.c_bias = (nnx.Param(jnp.ones((WAYS, heads, state))) for _ in "bc")
        self.skip = nnx.Param(jnp.ones((WAYS, heads)))  # D
        self.out = projection(width, shape.dim, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        (batch, length, _), width, n, heads = x.shape, self.width, self.state, self.heads
        parts = jnp.split(self.into(close_gaps(x, mask)), (width, 2 * width, 2 * width + n, 2 * width + 2 * n), -1)
        z, value, b, c, own = parts
        own = turned(own.reshape(batch, length, WAYS, -1)).astype(jnp.float32)
        dt, a, gate, theta = jnp.split(own, (heads, 2 * heads, 3 * heads), -1)
        real = both_ways(jnp.arange(length) < mask.sum(1, keepdims=True))[..., None]
        dt = jnp.where(real, nnx.softplus(dt + self.dt_bias.get_value().astype(jnp.float32)), 0)
        log_decay = -dt * jnp.maximum(nnx.relu(a) + 1 / (1 + nnx.relu(-a)), 1e-4)
        now, before = nnx.sigmoid(gate) * dt, nnx.sigmoid(-gate) * dt  # the weights of B_t x_t and of B_{t-1} x_{t-1}
        later = jnp.pad(before[:, 1:], ((0, 0), (0, 1), (0, 0), (0, 0)))

        angle = 2 * jnp.pi * add_turns(dt[..., None] * jnp.tanh(theta)[..., None, :] / 2)

        def of_heads(y: Array, norm: nnx.RMSNorm, bias: nnx.Param) -> Float[Array, "batch length ways heads state"]:
            y = both_ways(norm(y.astype(jnp.float32)))[..., None, :] + bias.get_value().astype(jnp.float32)
            turning, still = jnp.split(y, (2 * angle.shape[-1],), -1)
            return jnp.concatenate([rotate_pairs(turning, angle), still], -1).astype(x.dtype)

        b, c = of_heads(b, self.norm_b, self.b_bias), of_heads(c, self.norm_c, self.c_bias)
        value = both_ways(split_heads(value, heads))
        # from t + 1 on, both weights of B_t x_t have decayed alike; at t itself only the first is there
        y = matrix_state(c, b, ((now + later)[..., None] * value).astype(x.dtype), log_decay)
        own_weight = jnp.einsum("blwhn,blwhn->blwh", c, b, preferred_element_type=jnp.float32) * later
        y = y + (self.skip.get_value().astype(jnp.float32) - own_weight)[..., None] * value
        y = merge_heads(turned(y).sum(2)) * nnx.silu(z)
        return open_gaps(self.out(y.astype(x.dtype)), mask).astype(x.dtype)


def add_turns(x: Float[Array, "batch length *rest"]) -> Float[Array, "batch length *rest"]:
    """The sums of x up to each token, without their whole parts, so that no sum is large and loses digits."""

    def add(one: Array, two: Array) -> Array:
        total = one + two
        return total - jnp.round(total)

    return jax.lax.associative_scan(add, x, axis=1)
