"""mega: gated attention of a single head to an exponential moving average of the tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.multihead import AttentionDropout
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.blocks import from_blocks, into_blocks
from lra.models.kernels.pointwise import attend_pointwise
from lra.models.kernels.recurrence import constant_convolution
from lra.models.kernels.softmax import Dropout, attend
from lra.models.oracles.mega import oracle
from lra.models.precision import Linear

QUERIES = 512  # queries at a time: the biases of all pairs would take memory quadratic in the length
FUNCTIONS = ("softmax", "laplace")
MU, SIGMA = np.sqrt(1 / 2), np.sqrt(1 / (4 * np.pi))  # parameters of the Laplace function


def toeplitz(x: Float[Array, " columns+rows-1"], rows: int) -> Float[Array, "rows columns"]:
    """out[i, j] = x[rows - 1 - i + j], without a gather, whose transpose would be a scatter."""
    width = len(x)
    repeated = jnp.broadcast_to(jnp.pad(x, (0, 1)), (rows, width + 1)).reshape(-1)
    return repeated[rows - 1 : rows - 1 + rows * width].reshape(rows, width)[:, : width - rows + 1]


@register_attention(
    "mega",
    oracle=oracle,
    small={"state": 3},
    wide=("delta", "alpha"),  # they make the decay of the moving average, which adds up over the sequence
    paper="Ma et al. 2023, 2209.10655",
    cost="L^2 d",
    reads_positions=True,
)
class Mega(nnx.Module):
    """The moving average equipped gated attention unit, without the FFN after it: the encoder's block has an MLP.

    X' = silu(EMA(X) + omega X). With Z = silu(X' W_z): Q = kappa Z + mu, and K likewise with its own kappa and mu; V =
    silu(X W_v); O = f(Q, K) V; r = silu(X' W_r); u = sigmoid(X' W_u); H = silu(X' W_h + (r * O) U_h). The output is u *
    (H - X): the block adds the X of before its norm, which makes the paper's u * H + (1 - u) * X. All W have biases.

    The EMA is multi-dimensional and damped. In each channel it has N states, h_i = p beta x_i + (1 - p sigmoid(alpha))
    h_{i-1} with p = sigmoid(delta), and gives the sum of gamma h_i / sqrt(N). The two directions have their own
    parameters and are summed, so that a token counts itself in both. Padding enters as 0. Its tokens count for the
    decay, and for distances.

    Args:
      state: N, the number of states in each channel of the EMA. The default is the one in the authors' scripts for LRA.
      query_dim: z, the width of Q and K. The default, None, is half of qkv_dim, the authors' ratio on LRA.
      value_dim: v, the width of V. The default, None, is twice qkv_dim, the authors' ratio on LRA.
      attention: f. "softmax" is the softmax of Q K^T / sqrt(z) + bias. "laplace" is the Laplace function of Q K^T / n +
        bias for n real keys, which is not normalised. The authors take softmax for text, which is the default, and
        Laplace for images.
      chunk: the number of tokens in a chunk, within which attention stays; the cost is then "L c d" (Mega-chunk). The
        default, 0, attends to the whole sequence, as the authors' runs on text do. The EMA crosses chunks.
      bias: whether the logits have a bias, a learned number for each distance up to max_length or up to the chunk's
        length. The default is the authors'.

    omega and the silu around it are in the authors' code, not in the paper. The EMA of that code ends, on LRA, after
    1,024 tokens; this one does not end.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        state: int = 16,
        query_dim: int | None = None,
        value_dim: int | None = None,
        attention: str = "softmax",
        chunk: int = 0,
        bias: bool = True,
        rngs: nnx.Rngs,
    ):
        z = max(shape.qkv_dim // 2, 1) if query_dim is None else query_dim
        v = 2 * shape.qkv_dim if value_dim is None else value_dim
        for name, value, least in (("state", state, 1), ("query_dim", z, 1), ("value_dim", v, 1), ("chunk", chunk, 0)):
            if value < least:
                raise UsageError(f"mega.{name} = {value} must be at least {least}")
        if attention not in FUNCTIONS:
            raise UsageError(f"mega.attention = '{attention}' is neither 'softmax' nor 'laplace'")
        self.shape, self.attention, self.chunk = shape, attention, chunk
        dim, init = shape.dim, nnx.initializers.normal(0.02)
        normal = lambda scale, *sizes: nnx.Param(scale * jax.random.normal(rngs.params(), sizes))
        self.delta, self.alpha = normal(0.2, 2, dim, state), normal(0.2, 2, dim, state)
        self.beta = nnx.Param((-1.0) ** jnp.arange(state) + 0.02 * jax.random.normal(rngs.params(), (2, dim, state)))
        self.gamma, self.omega = normal(1.0, 2, dim, state), normal(1.0, dim)
        linear = functools.partial(Linear, kernel_init=init, rngs=rngs)
        self.z, self.v, self.r = linear(dim, z), linear(dim, v), linear(dim, v)
        self.u, self.h, self.out = linear(dim, dim), linear(dim, dim), linear(v, dim, use_bias=False)
        self.kappa, self.mu = normal(0.02, 2, z), nnx.Param(jnp.zeros((2, z)))
        self.distances = normal(0.02, 2 * (chunk or shape.max_length) - 1) if bias else None
        self.dropout = AttentionDropout(shape.dropout, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        x = jnp.where(mask[..., None], x, 0)
        omega, kappas, mus = (y.get_value().astype(jnp.float32) for y in (self.omega, self.kappa, self.mu))
        averaged = nnx.silu(self.average(x) + omega * x).astype(x.dtype)
        z, v = nnx.silu(self.z(averaged)), nnx.silu(self.v(x))
        q, k = (z * kappa + mu for kappa, mu in zip(kappas, mus))
        attended = self.attend(q.astype(x.dtype), k.astype(x.dtype), v.astype(x.dtype), mask)
        r, u = nnx.silu(self.r(averaged)), nnx.sigmoid(self.u(averaged))
        h = nnx.silu(self.h(averaged) + self.out((r * attended).astype(x.dtype)))
        return (u * (h - x)).astype(x.dtype)

    def average(self, x: Float[Array, "batch length dim"]) -> Float[Array, "batch length dim"]:
        parameters = (self.delta, self.alpha, self.beta, self.gamma)
        delta, alpha, beta, gamma = (jnp.concatenate(y.get_value().astype(jnp.float32)) for y in parameters)
        p = nnx.sigmoid(delta)
        lost = jnp.minimum(p * nnx.sigmoid(alpha), 1 - jnp.finfo(jnp.float32).eps)  # the log of 0 is infinite
        both = jnp.concatenate([x, jnp.flip(x, 1)], -1)
        y = constant_convolution(jnp.log1p(-lost), p * beta * gamma * gamma.shape[-1] ** -0.5, both)
        forward, backward = jnp.split(y, 2, -1)
        return forward + jnp.flip(backward, 1)

    def attend(
        self,
        q: Float[Array, "batch length z"],
        k: Float[Array, "batch length z"],
        v: Float[Array, "batch length v"],
        mask: Bool[Array, "batch length"],
    ) -> Float[Array, "batch length v"]:
        """f(Q, K) V: in chunks, or for a long sequence without chunks some queries at a time."""
        length, dropout = q.shape[1], self.dropout()
        if self.chunk:
            chunk = min(self.chunk, length)
            q, k, v, mask = (into_blocks(y, chunk) for y in (q, k, v, mask))
            return from_blocks(self.attend_block(q, k, v, mask, self.biases(0, chunk, chunk), dropout), length)
        if self.distances is not None:
            self.shape.admit(length, "mega")
        if length <= QUERIES:
            return self.attend_block(q, k, v, mask, self.biases(0, length, length), dropout)

        @jax.checkpoint
        def rows(part: tuple[Array, Array]) -> Array:
            index, queries = part
            biases = self.biases(index * QUERIES, QUERIES, length)
            return self.attend_block(queries, k, v, mask, biases, dropout.fold_in(index))

        parts = jnp.moveaxis(into_blocks(q, QUERIES), 1, 0)
        return from_blocks(jnp.moveaxis(jax.lax.map(rows, (jnp.arange(len(parts)), parts)), 0, 1), length)

    def biases(self, start: Array | int, rows: int, columns: int) -> Float[Array, "rows columns"] | None:
        """The biases of the queries start, start + 1, ... to all keys, by distance. The last rows may belong to no
        query.
        """
        if self.distances is None:
            return None
        table = jnp.pad(self.distances.get_value().astype(jnp.float32), (rows, rows))
        first = (len(table) - 1) // 2 - start - (rows - 1)
        return toeplitz(jax.lax.dynamic_slice(table, (first,), (columns + rows - 1,)), rows)

    def attend_block(
        self,
        q: Float[Array, "*blocks queries z"],
        k: Float[Array, "*blocks keys z"],
        v: Float[Array, "*blocks keys v"],
        real: Bool[Array, "*blocks keys"],
        biases: Float[Array, "queries keys"] | None,
        dropout: Dropout,
    ) -> Float[Array, "*blocks queries v"]:
        """f(Q, K) V with f and the sums in float32. The output is 0 where there is no real key."""

        def laplace(products: Float[Array, "*blocks 1 queries keys"]) -> Float[Array, "*blocks 1 queries keys"]:
            logits = products / jnp.maximum(real.sum(-1), 1)[..., None, None, None]
            logits = logits if biases is None else logits + biases
            return (1 + jax.lax.erf((logits - MU) / (SIGMA * np.sqrt(2)))) / 2

        q, k, v = (y[..., None, :] for y in (q, k, v))
        if self.attention == "softmax":
            out = attend(q, k, v, mask=real[..., None], bias=biases, dropout=dropout, lse=False)[0]
        else:
            out = attend_pointwise(laplace, q, k, v, real, dropout)
        return out[..., 0, :].astype(v.dtype)
