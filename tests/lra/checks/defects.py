"""Small variants with the defects that published code has, and the checks that must find them.

Most are those of the original Long Range Arena's baselines and of the code of papers that compare themselves with it
(its local, sparse, Longformer, Linformer, linear, Performer, Reformer, Sinkhorn and Synthesizer models; Nystromformer,
cosFormer, Luna and the state-space models' classifiers).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lra.models.attention import VARIANTS, register_attention
from lra.models.attention.multihead import projection


@dataclasses.dataclass(frozen=True)
class Defect:
    """A defect: what is registered, how, and the check that finds it."""

    check: str
    target: Callable[..., Any]
    metadata: dict[str, Any]


DEFECTS: dict[str, Defect] = {}


def defect(check: str, **metadata: Any) -> Callable[..., Any]:
    """Files a variant under the name of its defect; tests register it when they need it."""

    def add(target: Callable[..., Any]) -> Callable[..., Any]:
        DEFECTS[target.__name__] = Defect(check, target, {"cost": "L^2 d", "memory": "L^2"} | metadata)
        return target

    return add


def register(name: str) -> str:
    entry = DEFECTS[name]
    register_attention(name, **entry.metadata)(entry.target)
    return name


def softmax(q, k, v, mask, bias=0.0):
    """Correct attention, to which defects are added."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5 + bias
    logits = jnp.where(mask[:, None, None, :], logits, -1e30)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), v)


def linear(phi_q, phi_k, v):
    state = jnp.einsum("bkhm,bkhd->bhmd", phi_k, v)
    return jnp.einsum("bqhm,bhmd->bqhd", phi_q, state) / jnp.einsum("bqhm,bhm->bqh", phi_q, phi_k.sum(1))[..., None]


class Whole(nnx.Module):
    """A mixer (x, mask) with one matrix before it and one after it."""

    def __init__(self, shape, *, rngs):
        self.shape = shape
        self.into, self.out = projection(shape.dim, shape.qkv_dim, rngs), projection(shape.qkv_dim, shape.dim, rngs)


# --- LRA's local attention: [block, blocks] for [blocks, block], so that every n-th token is attended to


@defect("reach", reads_positions=True)
class local_that_is_strided(nnx.Module):
    def __init__(self, shape, *, rngs):
        pass

    def __call__(self, q, k, v, mask):
        batch, length, *rest = q.shape
        pad = -length % 4
        cut = lambda x: jnp.pad(x, [(0, 0), (0, pad), *[(0, 0)] * (x.ndim - 2)]).reshape(batch, 4, -1, *x.shape[2:])
        fold = lambda x: jnp.moveaxis(cut(x), 2, 1).reshape(-1, 4, *x.shape[2:])
        out = softmax(fold(q), fold(k), fold(v), fold(mask)).reshape(batch, -1, 4, *rest)
        return jnp.moveaxis(out, 1, 2).reshape(batch, -1, *rest)[:, :length]

    def reach(self, length):
        block = np.arange(length) // 4
        return block[:, None] == block


# --- its linear attention and Linformer: the padding is attended to


@defect("padding content", cost="L d", memory="L")
def linear_that_leaks(q, k, v, mask):
    return linear(nnx.elu(q) + 1, nnx.elu(k) + 1, v)


@defect("padding amount", cost="L d", memory="L")
def linear_masked_before_its_feature_map(q, k, v, mask):
    return linear(nnx.elu(q) + 1, nnx.elu(k * mask[..., None, None]) + 1, v * mask[..., None, None])


@defect("padding content", cost="L d", memory="L", reads_positions=True)
class linformer_that_leaks(nnx.Module):
    def __init__(self, shape, *, rngs):
        self.shape = shape
        self.e = nnx.Param(jax.random.normal(rngs.params(), (3, shape.max_length)))

    def __call__(self, q, k, v, mask):
        self.shape.admit(q.shape[1], "linformer_that_leaks")
        k, v = (jnp.einsum("bnhd,kn->bkhd", x, self.e.get_value()[:, : q.shape[1]].astype(x.dtype)) for x in (k, v))
        return softmax(q, k, v, jnp.ones(k.shape[:2], bool))


# --- its Sparse Transformer: patterns cut down to their lower triangle, in an encoder, in a dense matrix


def window(length: int, radius: int) -> jax.Array:
    i = jnp.arange(length)
    return jnp.where(jnp.abs(i[:, None] - i) <= radius, 0, -1e30)


@defect("causality", reads_positions=True)
def sparse_that_is_causal(q, k, v, mask):
    return softmax(q, k, v, mask, jnp.where(jnp.tri(q.shape[1], dtype=bool), 0, -1e30))


@defect("operations", cost="L w d", reads_positions=True)
def window_in_a_dense_matrix(q, k, v, mask):
    return softmax(q, k, v, mask, window(q.shape[1], 2))


@defect("memory", memory="L")
def all_of_the_matrix_at_once(q, k, v, mask):
    return softmax(q, k, v, mask)


# --- its Longformer: projections for global tokens, but no global token


@defect("reach", reads_positions=True)
class longformer_without_global_tokens(nnx.Module):
    def __init__(self, shape, *, rngs):
        pass

    def __call__(self, q, k, v, mask):
        return softmax(q, k, v, mask, window(q.shape[1], 2))

    def reach(self, length):
        i = np.arange(length)
        return (np.abs(i[:, None] - i) <= 2) | (i == 0) | (i[:, None] == 0)


@defect("gradients")
class projections_that_nothing_uses(Whole):
    def __init__(self, shape, *, rngs):
        super().__init__(shape, rngs=rngs)
        self.into_global = projection(shape.dim, shape.qkv_dim, rngs)

    def __call__(self, x, mask):
        h = self.into(x)[:, :, None]
        return self.out(softmax(h, h, h, mask)[:, :, 0])


# --- its image tasks: a pixel of value 0 is padding


@defect("zero tokens")
class zeros_taken_for_padding(Whole):
    def __call__(self, x, mask):
        h = self.into(x)[:, :, None]
        return self.out(softmax(h, h, h, (x != 0).any(-1) & mask)[:, :, 0])


# --- its classifier: the mean over all positions


@defect("padding amount", cost="L d", memory="L")
class mean_over_the_padding(Whole):
    def __call__(self, x, mask):
        h = jnp.where(mask[..., None], self.into(x), 0)
        return self.out(h + h.mean(1, keepdims=True))


# --- its Sinkhorn attention: the weights of the sort are summed out, so every "sorted" block is the sum of all


def blocks(x: jax.Array, size: int = 4) -> jax.Array:
    x = jnp.pad(x, [(0, 0), (0, -x.shape[1] % size), *[(0, 0)] * (x.ndim - 2)])
    return x.reshape(x.shape[0], -1, size, *x.shape[2:])


@defect("oracle", oracle=lambda *inputs: VARIANTS["sinkhorn"].oracle(*inputs), reads_positions=True)
class sinkhorn_that_sorts_nothing(nnx.Module):
    def __init__(self, shape, *, block: int = 4, iterations: int = 5, temperature: float = 0.75, rngs):
        inside = VARIANTS["sinkhorn"].make(shape, block=block, rngs=rngs)
        self.__dict__.update({name: value for name, value in vars(inside).items() if isinstance(value, nnx.Param)})

    def __call__(self, q, k, v, mask):
        real = mask[..., None, None]
        summed = lambda x: blocks(jnp.where(real, x, 0)).sum(1, keepdims=True)
        pairs = lambda x: jnp.concatenate([blocks(x), jnp.broadcast_to(summed(x), blocks(x).shape)], 2)
        fold = lambda x: x.reshape(-1, *x.shape[2:])
        both = jnp.concatenate([blocks(mask), jnp.ones_like(blocks(mask))], 2)
        out = softmax(fold(blocks(q)), fold(pairs(k)), fold(pairs(v)), fold(both))
        return out.reshape(q.shape[0], -1, *q.shape[2:])[:, : q.shape[1]]


# --- its Reformer


@defect("order")
def heads_scrambled_by_a_reshape(q, k, v, mask):
    batch, length, heads, width = q.shape
    scramble = lambda x: x.reshape(batch, heads, length, width).swapaxes(1, 2)
    return softmax(scramble(q), scramble(k), scramble(v), mask)


@defect("oracle", oracle=lambda *inputs: VARIANTS["transformer"].oracle(*inputs))
def logits_multiplied_by_the_root(q, k, v, mask):
    return softmax(q * q.shape[-1], k, v, mask)


@defect("operations", cost="L c d", reads_positions=True)
def chunks_fixed_in_number(q, k, v, mask):
    """Ten chunks, however long the sequence: it stays quadratic."""
    length, size = q.shape[1], -(-q.shape[1] // 10)
    fold = lambda x: blocks(x, size).reshape(-1, size, *x.shape[2:])
    return softmax(*map(fold, (q, k, v, mask))).reshape(q.shape[0], -1, *q.shape[2:])[:, :length]


class Rotation(nnx.Variable):
    pass


@defect("randomness")
class rotations_from_one_key(nnx.Module):
    def __init__(self, shape, *, rngs):
        self.rotation = Rotation(jax.random.normal(jax.random.key(0), (shape.head_dim,)))

    def redraw(self, key, step):
        self.rotation.set_value(jax.random.normal(jax.random.key(0), self.rotation.get_value().shape))

    def __call__(self, q, k, v, mask):
        return softmax(q * self.rotation.get_value().astype(q.dtype), k, v, mask)


# --- its Performer: no random features; its authors' redraw, seeded with the queries; a maximum for each key


@defect("oracle", oracle=lambda *inputs: VARIANTS["performer"].oracle(*inputs), cost="L m d", memory="L")
class performer_without_random_features(nnx.Module):
    def __init__(self, shape, *, epsilon: float = 1e-6, rngs):
        self.projection = Rotation(jax.random.normal(rngs.params(), (6, shape.head_dim)))

    def __call__(self, q, k, v, mask):
        return linear(nnx.relu(q) + 1e-3, jnp.where(mask[..., None, None], nnx.relu(k) + 1e-3, 0), v)


@defect("neighbours", cost="L m d", memory="L")
def features_seeded_with_the_data(q, k, v, mask):
    key = jax.random.key((jnp.abs(jnp.where(mask[..., None, None], q, 0)).sum() * 1e3).astype(jnp.int32))
    w = jax.random.normal(key, (6, q.shape[-1]), q.dtype)
    phi = lambda x: jnp.exp(jnp.einsum("blhd,md->blhm", x, w) - (x * x).sum(-1, keepdims=True) / 2)
    return linear(phi(q), jnp.where(mask[..., None, None], phi(k), 0), v)


@defect("oracle", oracle=lambda *inputs: VARIANTS["performer"].oracle(*inputs), cost="L m d", memory="L")
class a_maximum_for_each_key(nnx.Module):
    def __init__(self, shape, *, epsilon: float = 0.0, rngs):
        self.projection = Rotation(jax.random.normal(rngs.params(), (6, shape.head_dim)))

    def __call__(self, q, k, v, mask):
        w = self.projection.get_value().astype(q.dtype)
        exponent = lambda x: jnp.einsum("blhd,md->blhm", x, w) / 2**0.5 - (x * x).sum(-1, keepdims=True) / 4
        phi = lambda x: jnp.exp(exponent(x) - exponent(x).max(-1, keepdims=True))
        return linear(phi(q), jnp.where(mask[..., None, None], phi(k), 0), v)


# --- its Synthesizer: a matrix of the length squared in each head


@defect("parameters", reads_positions=True)
class a_matrix_of_all_positions(nnx.Module):
    def __init__(self, shape, *, rngs):
        self.bias = nnx.Param(jnp.zeros((shape.heads, shape.max_length, shape.max_length)))

    def __call__(self, q, k, v, mask):
        length = q.shape[1]
        return softmax(q, k, v, mask, self.bias.get_value()[:, :length, :length].astype(q.dtype))


# --- other papers' code


@defect("neighbours")
def scaled_by_the_whole_batch(q, k, v, mask):
    """As Nystromformer's first initialisation of the pseudo-inverse."""
    return softmax(q / jnp.abs(jnp.where(mask[..., None, None], q, 0)).sum(1).max(), k, v, mask)


@defect("neighbours")
def cut_to_the_longest_of_the_batch(q, k, v, mask):
    """As Luna's option for its extra sequence."""
    longest = mask.sum(1).max()
    return softmax(q, k, v, mask, jnp.where(jnp.arange(q.shape[1]) % 5 == longest % 5, -1.0, 0))


@defect("padding amount", cost="L d", memory="L", reads_positions=True)
def angles_by_the_padded_length(q, k, v, mask):
    """As cosFormer's code."""
    angle = jnp.pi / 2 * jnp.arange(q.shape[1], dtype=q.dtype) / q.shape[1]
    turn = lambda x: nnx.softplus(x) * jnp.cos(angle)[:, None, None]
    return linear(turn(q), jnp.where(mask[..., None, None], turn(k), 0), v)


@defect("padding content", cost="L d", memory="L", reads_positions=True)
class padding_read_by_the_backward_scan(Whole):
    """As the classifiers of S4, S5 and LRU: the scan from the end meets the padding first."""

    def __call__(self, x, mask):
        step = lambda state, u: (0.5 * state + u, 0.5 * state + u)
        h = jnp.swapaxes(self.into(x), 0, 1)
        forward, backward = (jax.lax.scan(step, jnp.zeros_like(h[0]), h, reverse=way)[1] for way in (False, True))
        return self.out(jnp.swapaxes(forward + backward, 0, 1))


@defect("padding amount", cost="L log L d", memory="L", reads_positions=True)
class convolution_that_wraps_around(Whole):
    """An FFT of the length, not of twice the length."""

    def __call__(self, x, mask):
        h = jnp.where(mask[..., None], self.into(x), 0).astype(jnp.float32)
        kernel = 0.9 ** jnp.arange(h.shape[1], dtype=jnp.float32)
        out = jnp.fft.irfft(jnp.fft.rfft(h, axis=1) * jnp.fft.rfft(kernel)[:, None], h.shape[1], axis=1)
        return self.out(out.astype(x.dtype))


@defect("gradients", cost="L d", memory="L")
def elu_that_overflows(q, k, v, mask):
    """exp of a large number in the branch not taken: its gradient is 0 times infinity."""
    phi = lambda x: jnp.where(x > 0, x + 1, jnp.exp(x))
    return linear(phi(q), jnp.where(mask[..., None, None], phi(k), 0), v)


@defect("all masked")
def softmax_of_nothing(q, k, v, mask):
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(jnp.where(mask[:, None, None, :], logits, -jnp.inf)), v)


@defect("dropout")
class dropout_that_is_never_off(nnx.Module):
    def __init__(self, shape, *, rngs):
        self.rate = shape.dropout

    def __call__(self, q, k, v, mask):
        kept = jax.random.bernoulli(jax.random.key(0), 1 - self.rate, v.shape)
        return softmax(q, k, jnp.where(kept, v, 0), mask)


@defect("dropout")
def dropout_that_is_ignored(q, k, v, mask, dropout=None):
    return softmax(q, k, v, mask)
