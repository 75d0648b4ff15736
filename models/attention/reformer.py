"""reformer: softmax attention among tokens that locality-sensitive hashing sorts next to each other."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from lra.errors import UsageError
from lra.models.attention.multihead import AttentionDropout, merge_heads, projection, split_heads
from lra.models.attention.registry import register_attention
from lra.models.attention.shape import Shape
from lra.models.kernels.blocks import pad_to_multiple
from lra.models.kernels.softmax import attend, merge
from lra.models.oracles.reformer import oracle


class Rotations(nnx.Variable):
    """The random directions of the hashes. They are kept with the parameters and never trained."""


def factors_of(buckets: int) -> tuple[int, ...]:
    """The number of values of each hash. One hash makes up to 128 buckets; above that, two hashes of even sizes make at
    least as many as asked for.
    """
    if buckets <= 128:
        return (buckets,)
    first = 2 * math.ceil(math.sqrt(buckets) / 2)
    return (first, 2 * math.ceil(buckets / (2 * first)))


@jax.custom_vjp
def permute(x: Array, order: Array, inverse: Array) -> Array:
    """x[order] along axis 1. `order` has the first axes of x. The gradient is a gather too, with the inverse order."""
    return jnp.take_along_axis(x, order.reshape(*order.shape, *[1] * (x.ndim - order.ndim)), 1)


permute.defvjp(
    lambda x, order, inverse: (permute(x, order, inverse), (order, inverse)),
    lambda orders, g: (permute(g, orders[1], orders[0]), None, None),
)


@register_attention(
    "reformer",
    oracle=oracle,
    small={"chunk": 4, "buckets": 6},
    paper="Kitaev et al. 2020, 2001.04451",
    cost="L log L d",
    reads_positions=True,
    exceptions={"zero tokens": "tokens are hashed by their direction, and zero has none"},
)
class Reformer(nnx.Module):
    """LSH attention (section 2). Queries and keys are one projection. Keys have norm 1, and logits are not divided by
    sqrt(head_dim).

    In each round the bucket of a token is argmax([x R; -x R]) with R random. Tokens are sorted by bucket, then by
    position, with the padding last, and cut into chunks. A token sees its chunk and the chunks next to it, whatever the
    buckets in them. The softmax is over all tokens that it meets in any round. A token met several times counts once,
    in the first round of these. Appendix A comes to the same: it subtracts log N for a pair that meets N times; the
    authors' code counts such a pair N times. A token sees itself only if it meets no other.

    Args:
      chunk: the number of tokens in a chunk. The default is that of the authors' configuration for images of 12,288
        tokens.
      rounds: the number of hashes; each sorts and cuts the tokens anew. The default is that of the same configuration.
      buckets: the number of buckets of a hash, which is even; above 128 it is made of two hashes. The default, None, is
        2 max_length / chunk, twice as many as there are chunks, as in the authors' code.
      before, after: the numbers of chunks that a token sees before and after its own. The first chunk has none before
        it and the last none after it, where the authors' code goes on at the other end. The defaults, 1 and 0, are
        those of the same configuration.
      redraw_every: training steps between new rotations; 0 keeps the first. Evaluation uses the rotations drawn last.
        The default, 1, is the authors': they draw anew in each step.

    LRA's own code mixes up heads and positions, multiplies logits by sqrt(head_dim), and fixes the number of chunks.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        chunk: int = 128,
        rounds: int = 2,
        buckets: int | None = None,
        before: int = 1,
        after: int = 0,
        redraw_every: int = 1,
        rngs: nnx.Rngs,
    ):
        least = {"chunk": (chunk, 1), "rounds": (rounds, 1), "before": (before, 0), "after": (after, 0)}
        for name, (value, minimum) in least.items():
            if value < minimum:
                raise UsageError(f"reformer.{name} = {value} must be at least {minimum}")
        if buckets is not None and (buckets < 2 or buckets % 2):
            raise UsageError(f"reformer.buckets = {buckets} must be even and at least 2")
        self.chunk, self.before, self.after, self.redraw_every = chunk, before, after, redraw_every
        self.factors = factors_of(buckets or 2 * math.ceil(shape.max_length / chunk))
        self.qk, self.v = (projection(shape.dim, shape.qkv_dim, rngs) for _ in range(2))
        self.out = projection(shape.qkv_dim, shape.dim, rngs)
        self.heads, self.dropout = shape.heads, AttentionDropout(shape.dropout, rngs)
        size = (shape.heads, shape.head_dim, rounds, sum(self.factors) // 2)
        self.rotations = Rotations(jax.random.normal(rngs.params(), size))

    def redraw(self, key: Key[Array, ""], step: Int[Array, ""]) -> None:
        """Draws new rotations if it is time. The trainer calls it at the beginning of each training step."""
        if self.redraw_every:
            old = self.rotations.get_value()
            new = lambda: jax.random.normal(key, old.shape)
            self.rotations.set_value(jax.lax.cond(step % self.redraw_every == 0, new, lambda: old))

    def bucket(self, qk: Float[Array, "batch length heads head_dim"]) -> Int[Array, "batch length heads rounds"]:
        qk = jax.lax.stop_gradient(qk).astype(jnp.float32)
        rotated = jnp.einsum("blhd,hdrn->blhrn", qk, self.rotations.get_value())
        bucket, start = jnp.zeros(rotated.shape[:-1], int), 0
        for size in self.factors:
            part = rotated[..., start : start + size // 2]
            bucket = bucket * size + jnp.concatenate([part, -part], -1).argmax(-1)
            start += size // 2
        return bucket

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch length dim"]:
        chunk = min(self.chunk, x.shape[1])
        qk, v = (pad_to_multiple(split_heads(project(x), self.heads), chunk) for project in (self.qk, self.v))
        real = pad_to_multiple(mask, chunk)
        bucket = jnp.where(real[..., None, None], self.bucket(qk), math.prod(self.factors))
        order = jnp.argsort(bucket, axis=1, stable=True)  # [batch, length, heads, rounds]
        place = jnp.argsort(order, axis=1)
        rounds = order.shape[-1]

        def chunks(x: Array) -> Array:  # [batch, chunks, chunk, heads * rounds, ...]
            return x.reshape(x.shape[0], -1, chunk, self.heads * rounds, *x.shape[4:])

        def in_order(x: Array) -> Array:  # of [batch, length, heads, ...]
            x = jnp.broadcast_to(x[:, :, :, None], (*order.shape, *x.shape[3:]))
            return chunks(permute(x, order, place))

        def around(x: Array) -> Array:  # [batch, chunks, keys, ...]
            count = x.shape[1]
            x = jnp.pad(x, [(0, 0), (self.before, self.after), *[(0, 0)] * (x.ndim - 2)])
            return jnp.concatenate([x[:, i : i + count] for i in range(self.before + 1 + self.after)], 2)

        def pairs(x: Array) -> tuple[Array, Array]:  # of queries and of keys, to be broadcast
            return jnp.swapaxes(x, 2, 3)[..., None], jnp.swapaxes(around(x), 2, 3)[..., None, :]

        count = real.sum(1)[:, None]
        seen = (jnp.arange(real.shape[1]) < count).reshape(real.shape[0], -1, chunk)
        itself, other = pairs(chunks(order))
        allowed = around(seen)[:, :, None, None] & (itself != other)
        chunk_in = in_order(place // chunk)  # [.., rounds]: the chunk of a token in each round
        for r in range(rounds - 1):
            query, key = pairs(chunk_in[..., r])
            met = (key - query >= -self.before) & (key - query <= self.after)
            later = jnp.arange(self.heads * rounds) % rounds > r
            allowed &= ~(met & later[:, None, None])

        queries = in_order(qk)
        keys, values = around(scaled(queries)), around(in_order(v))
        parts = attend(queries, keys, values, allowed=allowed, dropout=self.dropout())
        out, lse = (permute(x.reshape(*order.shape, *x.shape[4:]), place, order) for x in parts)
        merged = merge([(out[:, :, :, r], lse[..., r]) for r in range(rounds)])
        alone = jnp.isneginf(lse).all(-1)[..., None]
        out = jnp.where(real[..., None, None], jnp.where(alone, v, merged), 0)
        return self.out(merge_heads(out[:, : x.shape[1]]))


def scaled(x: Float[Array, "... head_dim"]) -> Float[Array, "... head_dim"]:
    """x scaled to norm sqrt(head_dim), by which `attend` divides the logits."""
    wide = x.astype(jnp.float32)
    return (wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + 1e-6)).astype(x.dtype)
