"""s5: one linear state space model for all channels, its state matrix diagonal, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.attention.state_space import complex_of, hippo, pair
from lra.models.kernels.recurrence import bidirectional_state_space
from lra.models.oracles.s5 import oracle
from lra.models.precision import Linear

ACTIVATIONS = ("half_glu1", "half_glu2")


@register_attention(
    "s5",
    oracle=oracle,
    small={"state": 8, "blocks": 2},
    wide=("eigenvalues", "log_step"),  # their product is a decay and an angle a token, which add up over the sequence
    paper="Smith et al. 2023, 2208.04933",
    cost="L N d",
    reads_positions=True,
)
class S5(nnx.Module):
    """x_i = A x_{i-1} + B u_i, y_i = 2 Re(C x_i) + D u_i; then gated: g * sigmoid(W g + w) with g = GELU(y).

    A = exp(Lambda step), B = (A - 1) / Lambda B~, by zero-order hold. Lambda, B~ and C are complex, and each state has
    a step size. The backward direction runs the same A and B, and C has columns for the states of both directions:
    their outputs are summed. The current token enters both, so that it counts itself twice. The authors' code does all
    this too.

    Args:
      state: the number of states. It counts both members of each conjugate pair, of which one is kept. The default,
        None, is qkv_dim, which makes the layer as large as softmax attention. The authors' scripts have 16 to 256
        states, both at a width of 128.
      blocks: the number of equal HiPPO-N matrices along the diagonal; Lambda starts as their eigenvalues. Each matrix
        has a size of state / blocks, an even number. B~ and C start as those of real matrices in the basis of the
        eigenvectors. The authors' scripts have 8 to 16 blocks; the default is 8.
      step_min, step_max: step sizes start between them, uniform in their logarithm. The defaults are the authors'.
      clip: keeps Re(Lambda), a free parameter, at most -10^-4. Where it is positive, the state grows without bounds.
        The default is to clip; the authors do so on Image only.
      activation: what the gate multiplies, by the authors' names: g with "half_glu1", the default, and y itself with
        "half_glu2", which the authors take on ListOps and Text.

    Padding leaves the states as they are. In the authors' code they run over the padding.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        state: int | None = None,
        blocks: int = 8,
        step_min: float = 1e-3,
        step_max: float = 1e-1,
        clip: bool = True,
        activation: str = "half_glu1",
        rngs: nnx.Rngs,
    ):
        size = shape.qkv_dim if state is None else state
        if blocks < 1 or size < 1 or size % (2 * blocks):
            raise UsageError(f"s5.state = {size} does not divide into s5.blocks = {blocks} of an even size")
        if not 0 < step_min <= step_max:
            raise UsageError(f"s5.step_min = {step_min} must be above 0 and at most s5.step_max = {step_max}")
        if activation not in ACTIVATIONS:
            raise UsageError(f"s5.activation = '{activation}' is none of {', '.join(ACTIVATIONS)}")
        self.clip, self.gates_gelu = clip, activation == "half_glu1"
        eigenvalues, vectors = hippo(size // blocks)
        basis = np.kron(np.eye(blocks), vectors)  # [size, size / 2]
        normal = lambda *sizes: jax.random.normal(rngs.params(), sizes) * size**-0.5
        self.eigenvalues = pair(jnp.asarray(np.tile(eigenvalues, blocks)))
        self.b = pair(basis.conj().T @ normal(size, shape.dim))
        self.c = pair(jax.lax.complex(normal(2, shape.dim, size), normal(2, shape.dim, size)) @ basis)
        self.d = nnx.Param(jax.random.normal(rngs.params(), (shape.dim,)))
        low, high = np.log(step_min), np.log(step_max)
        self.log_step = nnx.Param(jax.random.uniform(rngs.params(), (size // 2,), minval=low, maxval=high))
        self.gate = Linear(shape.dim, shape.dim, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        eigenvalues, step = complex_of(self.eigenvalues), jnp.exp(self.log_step.get_value().astype(jnp.float32))
        if self.clip:
            eigenvalues = jax.lax.complex(jnp.minimum(eigenvalues.real, -1e-4), eigenvalues.imag)
        log_a = eigenvalues * step
        b = (jnp.expm1(log_a) / eigenvalues)[:, None] * complex_of(self.b)
        y = bidirectional_state_space(log_a, b, 2 * complex_of(self.c), x, mask)
        y = (y + self.d.get_value().astype(jnp.float32) * x).astype(x.dtype)
        g = nnx.gelu(y)
        return ((g if self.gates_gelu else y) * nnx.sigmoid(self.gate(g))).astype(x.dtype)
