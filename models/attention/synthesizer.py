"""synthesizer: attention whose logits are learned, or read from each token alone."""

import math

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError
from lra.models.attention.multihead import AttentionDropout, merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.softmax import attend
from lra.models.oracles.synthesizer import oracle
from lra.models.precision import Linear

KINDS = ("dense", "random", "factorized_dense", "factorized_random")


@register_attention(
    "synthesizer",
    oracle=oracle,
    paper="Tay et al. 2021, 2005.00743",
    cost="L^2 d",
    memory="L^2",
    reads_positions=True,
    exceptions={"parameters": "a matrix of max_length x max_length for each head is what the random Synthesizer is"},
)
class Synthesizer(nnx.Module):
    """softmax(B) V with synthetic logits B[i, j] of each head, not divided by sqrt(head_dim) (section 3).

    Args:
      kind: what B is. "random", the default as in LRA's code: learned numbers, [max_length, max_length].
        "factorized_random": R R'^T with learned numbers R and R', each [max_length, rank]. "dense": W' relu(W x_i + b)
        + b', one number for each position j. "factorized_dense": the same net with a + n outputs, where a n >=
        max_length; B[i, j] is the product of output j // n of the first a and output j % n of the others.
      dot_product: whether to mix in the logits of attention: (1 - alpha) q k^T / sqrt(head_dim) + alpha B, with alpha
        learned (section 3.4 with two parts). alpha begins at 1/2. The default mixes them, as LRA's code does; with
        "random" the paper calls that Random + Vanilla.
      rank: the rank of B, for "factorized_random" only. The default is the paper's k.

    LRA's own code adds B and the logits of attention without alpha, and reshapes the dense B across heads.
    """

    def __init__(self, shape: Shape, *, kind: str = "random", dot_product: bool = True, rank: int = 8, rngs: nnx.Rngs):
        if kind not in KINDS:
            raise UsageError(f"synthesizer.kind = '{kind}' is none of {', '.join(KINDS)}")
        if rank < 1:
            raise UsageError(f"synthesizer.rank = {rank} must be at least 1")
        self.shape, self.kind, self.dot_product = shape, kind, dot_product
        heads, longest = shape.heads, shape.max_length
        init = nnx.initializers.xavier_uniform(batch_axis=0)
        parameter = lambda *size: nnx.Param(init(rngs.params(), (heads, *size)))
        if kind == "random":
            self.random = parameter(longest, longest)
        elif kind == "factorized_random":
            self.random, self.random2 = parameter(longest, rank), parameter(longest, rank)
        else:
            first = math.isqrt(longest - 1) + 1
            self.numbers = (first, -(-longest // first)) if kind == "factorized_dense" else (longest,)
            self.hidden = Linear(shape.dim, shape.qkv_dim, kernel_init=nnx.initializers.xavier_uniform(), rngs=rngs)
            self.dense = parameter(shape.head_dim, sum(self.numbers))
            self.dense_bias = nnx.Param(jnp.zeros((heads, sum(self.numbers))))
        if dot_product:
            self.q, self.k = (projection(shape.dim, shape.qkv_dim, rngs) for _ in "qk")
            self.mixture = nnx.Param(jnp.zeros(()))
        self.v, self.out = projection(shape.dim, shape.qkv_dim, rngs), projection(shape.qkv_dim, shape.dim, rngs)
        self.dropout = AttentionDropout(shape.dropout, rngs)

    def synthetic(self, x: Float[Array, "batch length dim"]) -> Float[Array, "#batch heads length length"]:
        """B."""
        length = x.shape[1]
        value = lambda parameter: parameter.get_value().astype(jnp.float32)
        if self.kind == "random":
            return value(self.random)[None, :, :length, :length]
        if self.kind == "factorized_random":
            rows, columns = (value(matrix)[:, :length] for matrix in (self.random, self.random2))
            return jnp.einsum("hir,hjr->hij", rows, columns)[None]
        hidden = split_heads(nnx.relu(self.hidden(x)), self.shape.heads).astype(jnp.float32)
        numbers = jnp.einsum("bihd,hdn->bhin", hidden, value(self.dense)) + value(self.dense_bias)[:, None]
        if self.kind == "factorized_dense":
            first, others = jnp.split(numbers, [self.numbers[0]], -1)
            numbers = (first[..., :, None] * others[..., None, :]).reshape(*numbers.shape[:-1], -1)
        return numbers[..., :length]

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        self.shape.admit(x.shape[1], "synthesizer")
        split = lambda project: split_heads(project(x), self.shape.heads)
        bias, v = self.synthetic(x), split(self.v)
        q = k = v[..., :0]  # whose products are 0
        if self.dot_product:
            alpha = nnx.sigmoid(self.mixture.get_value().astype(jnp.float32))
            q, k = ((1 - alpha) * split(self.q)).astype(x.dtype), split(self.k)
            bias = alpha * bias
        return self.out(
            merge_heads(attend(q, k, v, mask=mask[..., None], bias=bias, dropout=self.dropout(), lse=False)[0])
        )
