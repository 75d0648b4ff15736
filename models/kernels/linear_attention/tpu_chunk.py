"""What the tokens of one chunk of one head give each other on TPU, by their decays, and its gradient.

Rows are tokens. The chunk's tokens read the state before the chunk and add to the state after it. `come` is the decay
from the beginning of the chunk up to and including a token, `go` the decay after a token until the end of the chunk,
and `kept` the decay of the whole chunk.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import tpu as pltpu

from lra.models.kernels.linear_attention.xla import LEAST
from lra.models.kernels.mosaic_tpu import NT, TN, dot


def places(rows: int, columns: int) -> tuple[jax.Array, jax.Array]:
    """The row and the column of each entry."""
    return lax.broadcasted_iota(jnp.int32, (rows, columns), 0), lax.broadcasted_iota(jnp.int32, (rows, columns), 1)


def up_to(chunk: int, reverse: bool) -> jax.Array:
    """Whether row i sees column j."""
    i, j = places(chunk, chunk)
    return j >= i if reverse else j <= i


class TokenDecay(NamedTuple):
    """No decay, or one for each token."""

    weights: jax.Array  # [chunk, chunk], the decay from token j to i, 0 where i does not see j
    come: jax.Array | float = 1.0  # [chunk, 1]
    go: jax.Array | float = 1.0  # [chunk, 1]
    kept: jax.Array | float = 1.0  # [1, 1]
    reverse: bool = False

    @staticmethod
    def of_heads(ref: Any, chunk: int, heads: int, reverse: bool) -> Callable[[int], "TokenDecay"]:
        """A function that gives the decay of each head, from log-decays [chunk, heads], or from None.

        The exponents are differences of sums. Multiples of 2^-10 and the small rest are summed separately, and the sums
        of the former are exact.
        """
        seen = up_to(chunk, reverse)
        ones = jnp.where(seen, 1.0, 0.0)
        if ref is None:
            return lambda h: TokenDecay(ones)
        decay = ref[...]
        clipped = jnp.maximum(decay, LEAST)
        coarse = jnp.round(clipped * 1024) * 2.0**-10
        parts = (coarse, clipped - coarse)
        columns = [dot(ones, x) for x in parts]
        rows = [dot(x, ones, ((0,), (1,))) for x in parts]
        come, go = jnp.exp(dot(ones, decay)), jnp.exp(dot(1 - ones, decay))
        kept = jnp.exp(decay.sum(0, keepdims=True))

        def of_head(h: int) -> TokenDecay:
            one = slice(h, h + 1)
            between = sum(c[:, one] - r[one] for c, r in zip(columns, rows))
            weights = jnp.where(seen, jnp.exp(jnp.minimum(between, 0.0)), 0.0)
            return TokenDecay(weights, come[:, one], go[:, one], kept[:, one], reverse)

        return of_head

    def scores(self, q: jax.Array, k: jax.Array) -> jax.Array:
        """[chunk, chunk] from q and k [chunk, dim]."""
        return dot(q, k, NT, q.dtype) * self.weights

    def backward(
        self, q: jax.Array, k: jax.Array, scores: jax.Array, d_scores: jax.Array, come: jax.Array, go: jax.Array,
        kept: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
        """Gradients of q and k through the scores, and, for `store`, those of the log-decays.

        Args:
          come: [chunk, dim], what passes from the state to each token.
          go: [chunk, dim], what passes from each token to the state.
          kept: [1, dim], what passes through the whole chunk.
        """
        d = d_scores * self.weights
        i, j = places(*d.shape)
        pairs = jnp.where(i == j, 0.0, scores * d_scores)
        change = (pairs - pairs.T).sum(1, keepdims=True) + (come - go).sum(1, keepdims=True)
        last = places(*change.shape)[0] == (0 if self.reverse else len(change) - 1)
        through = kept.sum(1, keepdims=True) + go.sum(keepdims=True)
        return dot(d, k, dtype=k.dtype), dot(d, q, TN, q.dtype), change + jnp.where(last, through, 0.0)

    @staticmethod
    def store(ref: Any, h: int, change: jax.Array) -> None:
        ref[:, h : h + 1] = change

    @staticmethod
    def finish(ref: Any, reverse: bool) -> None:
        """Sums the changes: what passes a token is what comes in from there on, less what goes out from there on before
        the end.
        """
        ref[...] = dot(jnp.where(up_to(len(ref), reverse), 1.0, 0.0), ref[...], TN)


class ChannelDecay(NamedTuple):
    """One decay for each channel of a token.

    The chunk is halved again and again. At each level a half is seen by the half after it, through the boundary between
    them. The decay from a key to the boundary goes into the key, the decay from there to a query into the query. Every
    exponent is a sum of log-decays, of twice as many tokens at each next level.
    """

    later: list[jax.Array]  # of each level, from pairs of tokens on: whether a token is in the later half
    decays: list[jax.Array]  # of each level, [chunk, dim]: from the boundary to a token, or from it to the boundary
    come: jax.Array  # [chunk, dim]
    go: jax.Array  # [chunk, dim]
    kept: jax.Array  # [1, dim]
    reverse: bool

    @staticmethod
    def of_heads(ref: Any, chunk: int, heads: int, reverse: bool) -> Callable[[int], "ChannelDecay"]:
        """A function that gives the decay of each head, from log-decays [chunk, heads dim]."""
        dim = ref.shape[1] // heads

        def of_head(h: int) -> ChannelDecay:
            come = total = ref[:, h * dim : (h + 1) * dim]
            go = jnp.zeros_like(come)
            row = places(chunk, dim)[0]
            levels = []
            for level in range(chunk.bit_length() - 1):
                later = (row >> level & 1) == (0 if reverse else 1)
                levels.append((later, jnp.exp(jnp.where(later, come, go))))
                other = swap(total, level)
                come, go = come + jnp.where(later, other, 0.0), go + jnp.where(later, 0.0, other)
                total = total + other
            return ChannelDecay(
                [x for x, _ in levels], [x for _, x in levels], jnp.exp(come), jnp.exp(go), jnp.exp(total[:1]), reverse
            )

        return of_head

    def scores(self, q: jax.Array, k: jax.Array) -> jax.Array:
        (i, j), chunk = places(len(q), len(q)), len(q)
        out = jnp.where(i == j, (wide(q) * wide(k)).sum(1, keepdims=True), 0.0)
        seen = up_to(chunk, self.reverse)
        for level, (later, decay) in enumerate(zip(self.later, self.decays)):
            x = jnp.where(later, wide(q), wide(k)) * decay
            out = out + jnp.where(seen & ((i ^ j) >> level == 1), dot(x, x, NT, q.dtype), 0.0)
        return out

    def backward(
        self, q: jax.Array, k: jax.Array, scores: jax.Array, d_scores: jax.Array, come: jax.Array, go: jax.Array,
        kept: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
        """As in TokenDecay. It undoes the sums of log-decays from the longest to the shortest."""
        i, j = places(*d_scores.shape)
        own = jnp.where(i == j, d_scores, 0.0).sum(1, keepdims=True)
        d = jnp.where(up_to(len(q), self.reverse) & (i != j), d_scores, 0.0)
        d = d + d.T  # q's rows meet k's, and k's q's
        dtype, q, k = q.dtype, wide(q), wide(k)
        d_q, d_k = own * k, own * q
        total = jnp.where(places(*q.shape)[0] == 0, kept, 0.0)
        for level in reversed(range(len(self.decays))):
            later, decay = self.later[level], self.decays[level]
            total = total + swap(jnp.where(later, come, go) + total, level)
            x = jnp.where(later, q, k) * decay
            d_x = dot(jnp.where((i ^ j) >> level == 1, d, 0.0), x, dtype=dtype)
            d_decay, d_x = x * d_x, d_x * decay
            d_q, d_k = d_q + jnp.where(later, d_x, 0.0), d_k + jnp.where(later, 0.0, d_x)
            come, go = come + jnp.where(later, d_decay, 0.0), go + jnp.where(later, 0.0, d_decay)
        return d_q, d_k, come + total

    @staticmethod
    def store(ref: Any, h: int, gradient: jax.Array) -> None:
        dim = gradient.shape[1]
        ref[:, h * dim : (h + 1) * dim] = gradient

    @staticmethod
    def finish(ref: Any, reverse: bool) -> None:
        """Nothing is left to do."""


def swap(x: jax.Array, level: int) -> jax.Array:
    """Rows i and j of x exchanged, where i and j differ in the bit `level`."""
    row, size = places(*x.shape)[0], 1 << level
    return jnp.where((row >> level & 1) == 1, pltpu.roll(x, size, 0), pltpu.roll(x, len(x) - size, 0))


def wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)
