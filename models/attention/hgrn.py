"""hgrn: a gated recurrence whose complex states turn, and forget less from layer to layer, both ways."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.models.attention.multihead import projection
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.recurrence import diagonal_recurrence
from lra.models.oracles.hgrn import oracle

Gamma = Float[Array, "layers qkv_dim"]


def bounded_gate(
    gate: Float[Array, "batch length qkv_dim"], gamma: Gamma | None, layer: int
) -> tuple[Float[Array, "batch length qkv_dim"], Float[Array, "batch length qkv_dim"]]:
    """1 - f and log f in float32, with the forget gate f = bound + (1 - bound) sigmoid(gate).

    The bound of layer l is the sum of the rows before l of softmax(Gamma) over the layers. It is 0 in the first layer,
    which needs no Gamma, and below 1 in the last.
    """
    gate = gate.astype(jnp.float32)
    if layer == 0:
        return nnx.sigmoid(-gate), nnx.log_sigmoid(gate)
    assert gamma is not None, "the layers below hand Gamma on"
    shares = nnx.softmax(gamma.astype(jnp.float32), 0)
    bound, rest = shares[:layer].sum(0), shares[layer:].sum(0)  # 1 - bound loses digits of rest
    return rest * nnx.sigmoid(-gate), jnp.log(bound + rest * nnx.sigmoid(gate))


@register_attention(
    "hgrn",
    oracle=oracle,
    paper="Qin et al. 2023, 2311.04823",
    cost="L d",
    reads_positions=True,
    by_layer=True,
    wide=("gamma", "theta", "norm"),  # bounds and angles of states, which add up over the sequence; a norm costs little
)
class HGRN(nnx.Module):
    """h_t = f_t exp(i theta) h_{t-1} + (1 - f_t) c_t in each channel, h and c complex; then (LayerNorm([Re h, Im h]) *
    silu(x W_g)) W_o.

    f = bound + (1 - bound) sigmoid(x W_f), with a lower bound that rises from layer to layer (section 3.2); c =
    silu(x W_c), real and imaginary parts; the angles theta are learned for each channel, and start as 10000^(-2n/d) in
    channel n of d. It has no options, and no heads. The first layer owns Gamma, of which the bounds are made, and hands
    it on to the others. A model of a single layer has none.

    Both directions share f and c, and each has its own angles, as in the authors' bidirectional module. Their states
    are summed, so that a token counts itself twice. On images the authors' module scans rows and columns; this one sees
    one sequence. The gate comes after the norm, as in their code; their text puts it before. Their module has biases;
    here only the norm has one. Padding leaves the states as they are.
    """

    def __init__(self, shape: Shape, *, rngs: nnx.Rngs):
        width, self.layer = shape.qkv_dim, shape.layer
        self.forget = projection(shape.dim, width, rngs)
        self.input, self.gate = (projection(shape.dim, 2 * width, rngs) for _ in "cg")
        self.theta = nnx.Param(jnp.tile(10_000.0 ** (-2 * jnp.arange(width) / width), (2, 1)))  # forward, backward
        self.norm = nnx.LayerNorm(2 * width, epsilon=1e-5, rngs=rngs)
        self.out = projection(2 * width, shape.dim, rngs)
        owner = shape.layer == 0 and shape.layers > 1
        self.gamma = nnx.Param(jnp.ones((shape.layers, width))) if owner else None

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"], carry: Gamma | None
    ) -> tuple[Float[Array, "batch length dim"], Gamma | None]:
        gamma = carry if self.gamma is None else self.gamma.get_value()
        forgotten, log_kept = bounded_gate(self.forget(x), gamma, self.layer)
        real = mask[..., None]
        re, im = jnp.split(nnx.silu(self.input(x)).astype(jnp.float32), 2, -1)
        new = jnp.where(real, forgotten * jax.lax.complex(re, im), 0)

        def states(theta: Float[Array, " qkv_dim"], direction: str) -> Array:
            log_a = jax.lax.complex(log_kept, jnp.broadcast_to(theta, log_kept.shape))
            return diagonal_recurrence(jnp.where(real, log_a, 0), new, direction=direction)

        forward, backward = self.theta.get_value().astype(jnp.float32)
        h = states(forward, "forward") + states(backward, "backward")
        y = self.norm(jnp.concatenate([h.real, h.imag], -1)) * nnx.silu(self.gate(x))
        return self.out(y.astype(x.dtype)).astype(x.dtype), gamma
