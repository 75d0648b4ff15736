"""s4d: a diagonal state space model for each channel, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.attention.state_space import complex_of, hippo, pair
from lra.models.kernels.recurrence import constant_convolution
from lra.models.oracles.s4d import oracle
from lra.models.precision import Linear

INITS = ("lin", "inv", "legs", "dfout")


@register_attention(
    "s4d",
    oracle=oracle,
    small={"state": 4},
    wide=(
        "log_decay",
        "frequency",
        "log_step",
    ),  # they make a decay and an angle a token, which add up over the sequence
    paper="Gu et al. 2022, 2206.11893",
    cost="L N d",
    reads_positions=True,
)
class S4D(nnx.Module):
    """y = K * u + D u in each channel, with the kernel K_l = 2 Re(sum_n C_n (exp(step A_n) - 1) / A_n exp(step A_n l));
    then GELU and the GLU (V g + v) * sigmoid(W g + w).

    A_n = -exp(log_decay_n) + i frequency_n, discretised by zero-order hold (section 3). B is taken into C. Each channel
    has its own A, C and step. The backward direction has the same A and step, and its own C. Its kernel begins one
    token after the current one, so that a token counts once. The authors' code does all this too. The gate is that of
    S4's block, without its dropout between GELU and GLU. Padding enters as 0. Its tokens count for the decay.

    Args:
      state: N, the number of states in each channel. It counts both members of each conjugate pair, of which one is
        kept. The default is the authors'; their configurations for LRA have 4 on text and 64 on images.
      init: where A starts, n = 0 ... N/2 - 1. The real part is -1/2. The imaginary part is pi n with "lin", the
        authors' S4D-Lin and the default; N/pi (N / (2n + 1) - 1) with "inv", their S4D-Inv; and with "legs", their
        S4D-LegS, the eigenvalues of HiPPO-N, where C starts times the absolute values of HiPPO's B in the basis of the
        eigenvectors, of at most 2. With "dfout" (Solozabal et al. 2025, 2508.20441) exp(step A) starts on the discrete
        Fourier domain: its angle is 2 pi (n + h / d) / N in channel h of d. The angle is then the parameter, which does
        not depend on the step. The paper has one decay for each channel; this has one for each state here too.
      step_min, step_max: step sizes start between them, uniform in their logarithm. The defaults are the authors'. With
        "dfout" the step is the paper's xi, the decay of a channel.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        state: int = 64,
        init: str = "lin",
        step_min: float = 1e-3,
        step_max: float = 1e-1,
        rngs: nnx.Rngs,
    ):
        if state < 2 or state % 2:
            raise UsageError(f"s4d.state = {state} must be even and at least 2")
        if init not in INITS:
            raise UsageError(f"s4d.init = '{init}' is none of {', '.join(INITS)}")
        if not 0 < step_min <= step_max:
            raise UsageError(f"s4d.step_min = {step_min} must be above 0 and at most s4d.step_max = {step_max}")
        self.discrete = init == "dfout"
        sizes = (shape.dim, state // 2)
        frequency, b = begin(init, state, shape.dim)
        normal = lambda: jax.random.normal(rngs.params(), (2, *sizes)) * 2**-0.5  # forward and backward
        self.log_decay = nnx.Param(jnp.full(sizes, jnp.log(0.5)))
        self.frequency = nnx.Param(jnp.broadcast_to(jnp.asarray(frequency, jnp.float32), sizes))
        self.c = pair(jnp.asarray(b) * jax.lax.complex(normal(), normal()))
        low, high = np.log(step_min), np.log(step_max)
        self.log_step = nnx.Param(jax.random.uniform(rngs.params(), (shape.dim, 1), minval=low, maxval=high))
        self.d = nnx.Param(jax.random.normal(rngs.params(), (shape.dim,)))
        self.glu = Linear(shape.dim, 2 * shape.dim, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        u = jnp.where(mask[..., None], x, 0)
        parameters = (self.log_decay, self.frequency, self.log_step, self.d)
        log_decay, frequency, log_step, d = (y.get_value().astype(jnp.float32) for y in parameters)
        step = jnp.exp(log_step)
        log_a = jax.lax.complex(-step * jnp.exp(log_decay), frequency if self.discrete else step * frequency)
        weights = 2 * complex_of(self.c) * step * jnp.expm1(log_a) / log_a
        after = jnp.pad(jnp.flip(u, 1), ((0, 0), (1, 0), (0, 0)))[:, :-1]  # backward from the token after each
        both = jnp.concatenate([u, after], -1)
        y = constant_convolution(jnp.tile(log_a, (2, 1)), jnp.concatenate(weights), both)
        forward, backward = jnp.split(y, 2, -1)
        y = forward + jnp.flip(backward, 1) + d * u
        return nnx.glu(self.glu(nnx.gelu(y.astype(x.dtype)))).astype(x.dtype)


def begin(init: str, state: int, dim: int) -> tuple[Float[np.ndarray, "#dim half"], Float[np.ndarray, " #half"]]:
    """Where the frequencies start, and the absolute values of B."""
    n = np.arange(state // 2)
    if init == "legs":
        eigenvalues, vectors = hippo(state)
        b = vectors.conj().T @ np.sqrt(2 * np.arange(state) + 1)
        return eigenvalues.imag[None], np.minimum(np.abs(b), 2)
    if init == "dfout":
        return 2 * np.pi / state * (n + np.arange(dim)[:, None] / dim), np.ones(1)
    return (np.pi * n if init == "lin" else state / np.pi * (state / (2 * n + 1) - 1))[None], np.ones(1)
