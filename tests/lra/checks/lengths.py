"""Small variants that are right for two dozen tokens and wrong for more, and the checks that must find them.

Blocks, windows, tables, counters and sums are larger than what one tries by hand.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from .defects import Whole, blocks, defect, softmax, window

LINEAR = {"cost": "L d", "memory": "L"}


def phi(x):
    return nnx.elu(x) + 1


def kernelised(q, k, v, mask):
    """Correct linear attention, to which defects are added."""
    q, k = phi(q), jnp.where(mask[..., None, None], phi(k), 0)
    state, total = jnp.einsum("bkhm,bkhd->bhmd", k, v), k.sum(1)
    return jnp.einsum("bqhm,bhmd->bqhd", q, state) / (jnp.einsum("bqhm,bhm->bqh", q, total) + 1e-6)[..., None]


def causal(q, k, v, mask, chunk=128, ahead=0):
    """Correct causal linear attention in chunks, if no token sees what is `ahead` of it."""
    length = q.shape[1]
    q, k, v, real = (blocks(x, chunk) for x in (phi(q), phi(k), v, mask))
    k = jnp.where(real[..., None, None], k, 0)
    v = jnp.concatenate([v, jnp.ones_like(v[..., :1])], -1)  # the last is the sum of weights
    states = jnp.cumsum(jnp.einsum("bcjhm,bcjhd->bchmd", k, v).astype(jnp.float32), 1).astype(v.dtype)
    before = jnp.pad(states, [(0, 0), (1, 0), *[(0, 0)] * 3])[:, ahead : ahead + states.shape[1]]
    inside = jnp.einsum("bcihm,bcjhm->bchij", q, k) * jnp.tri(chunk, dtype=q.dtype)
    out = jnp.einsum("bcihm,bchmd->bcihd", q, before) + jnp.einsum("bchij,bcjhd->bcihd", inside, v)
    out = out.reshape(out.shape[0], -1, *out.shape[3:])[:, :length]
    return out[..., :-1] / (out[..., -1:] + 1e-6)


# --- keys


@defect("reach", **LINEAR)
def the_first_keys_only(q, k, v, mask):
    return kernelised(q, k[:, :64], v[:, :64], mask[:, :64])


@defect("padding content", **LINEAR)
def padding_masked_up_to_a_limit(q, k, v, mask):
    return kernelised(q, k, v, mask | (jnp.arange(q.shape[1]) >= 128))


@defect("padding amount", **LINEAR)
def the_last_block_dropped_unless_full(q, k, v, mask):
    length = q.shape[1]
    whole = length if length < 64 else length // 64 * 64
    return kernelised(q, k[:, :whole], v[:, :whole], mask[:, :whole])


@defect("padding amount", **LINEAR)
def one_past_a_power_of_two_loses_a_token(q, k, v, mask):
    length = q.shape[1]
    whole = length - 1 if length > 64 and length % 128 == 1 else length
    return kernelised(q, k[:, :whole], v[:, :whole], mask[:, :whole])


@defect("reach", **LINEAR)
def the_last_of_thousands_is_never_a_key(q, k, v, mask):
    return kernelised(q, k, v, mask & (jnp.arange(q.shape[1]) < 4096))


@defect("reach")
class a_window_wider_than_its_reach(nnx.Module):
    def __init__(self, shape, *, rngs):
        pass

    def __call__(self, q, k, v, mask):
        return softmax(q, k, v, mask, window(q.shape[1], 41))

    def reach(self, length):
        i = np.arange(length)
        return np.abs(i[:, None] - i) <= 40


@defect("reach")
class a_window_narrower_than_its_reach(a_window_wider_than_its_reach):
    def __call__(self, q, k, v, mask):
        return softmax(q, k, v, mask, window(q.shape[1], 39))


@defect("reach")
def a_window_without_a_reach(q, k, v, mask):
    return softmax(q, k, v, mask, window(q.shape[1], 100))


@defect("reach", **LINEAR, reads_positions=True)
class a_state_that_no_chunk_hands_on(Whole):
    """A decay, which fades out honestly, is cut off at chunks of 1,024 tokens."""

    def __call__(self, x, mask):
        h = blocks(jnp.where(mask[..., None], self.into(x), 0), min(1024, x.shape[1]))
        combine = lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1])
        decay = jnp.full_like(h, 0.99)
        both = [jax.lax.associative_scan(combine, (decay, h), axis=2, reverse=reverse)[1] for reverse in (False, True)]
        return self.out(sum(both).reshape(x.shape[0], -1, h.shape[-1])[:, : x.shape[1]])


# --- chunks


@defect("causality", **LINEAR, causal=True, reads_positions=True)
def a_chunk_that_sees_the_next(q, k, v, mask):
    return causal(q, k, v, mask, ahead=0 if q.shape[1] <= 64 else 1)


@defect("causality", **LINEAR, causal=True, reads_positions=True)
def the_last_token_of_a_chunk_sees_the_next(q, k, v, mask):
    length = q.shape[1]
    at = jnp.arange(length)
    leak = ((at % 128 == 127) & (at < length - 1))[:, None, None]
    return causal(q, k, v, mask) + jnp.where(leak, jnp.roll(jnp.where(mask[..., None, None], v, 0), -1, 1), 0)


@defect("padding content", **LINEAR)
class a_chunk_that_is_real_if_a_token_is(nnx.Module):
    def __init__(self, shape, *, chunk: int = 128, rngs):
        self.chunk = chunk

    def __call__(self, q, k, v, mask):
        if q.shape[1] > self.chunk:
            chunks = blocks(mask, self.chunk)
            mask = jnp.broadcast_to(chunks.any(2, keepdims=True), chunks.shape).reshape(len(mask), -1)[:, : q.shape[1]]
        return kernelised(q, k, v, mask)


@defect("causality", **LINEAR)
def causal_where_it_is_long(q, k, v, mask):
    return causal(q, k, v, mask) if q.shape[1] > 64 else kernelised(q, k, v, mask)


# --- positions


def table(positions, x):
    """A random table of positions, as wide as x."""
    return jax.random.normal(jax.random.key(0), (20_000, x.shape[-1])).astype(x.dtype)[positions]


class Positions(Whole):
    """Linear attention that adds positions to its tokens."""

    def __call__(self, x, mask):
        h = self.into(x)
        h = (h + table(self.positions(x.shape[1]), h))[:, :, None]
        return self.out(kernelised(h, h, h, mask)[:, :, 0])


@defect("order", **LINEAR, reads_positions=True)
class positions_that_start_anew(Positions):
    def positions(self, length):
        return jnp.arange(length) % 512


@defect("order", **LINEAR, reads_positions=True)
class positions_that_start_anew_at_a_round_number(Positions):
    def positions(self, length):
        return jnp.arange(length) % 1000


@defect("order", **LINEAR, reads_positions=True)
class positions_cut_off(Positions):
    def positions(self, length):
        return jnp.minimum(jnp.arange(length), 511)


@defect("order", **LINEAR, reads_positions=True)
class positions_in_bfloat16(Positions):
    def positions(self, length):
        return jnp.arange(length).astype(jnp.bfloat16).astype(jnp.int32)


@defect("order", **LINEAR, reads_positions=True)
class positions_in_float16(Positions):
    def positions(self, length):
        return jnp.arange(length).astype(jnp.float16).astype(jnp.int32)


@defect("order", **LINEAR, reads_positions=True)
class positions_in_int8(Positions):
    def positions(self, length):
        return jnp.arange(length).astype(jnp.int8).astype(jnp.int32) + 128


@defect("order", **LINEAR)
class positions_from_a_limit_on(Positions):
    def positions(self, length):
        return jnp.maximum(jnp.arange(length), 300)


# --- numbers


@defect("lengths", **LINEAR, causal=True, reads_positions=True)
class a_decay_that_overflows(Whole):
    def __call__(self, x, mask):
        decay = 0.5 * jnp.arange(x.shape[1], dtype=jnp.float32)[:, None]
        h = jnp.where(mask[..., None], self.into(x), 0).astype(jnp.float32)
        return self.out((jnp.exp(-decay) * jnp.cumsum(jnp.exp(decay) * h, 1)).astype(x.dtype))


@defect("lengths", **LINEAR, causal=True, reads_positions=True)
class a_mean_by_a_difference_of_sums(Whole):
    """The mean of the last eight tokens, of numbers that are not around 0."""

    def __call__(self, x, mask):
        h = jnp.where(mask[..., None], self.into(x) + 1000, 0)
        total = jnp.pad(jnp.cumsum(h, 1), [(0, 0), (8, 0), (0, 0)])
        count = jnp.minimum(jnp.arange(1, x.shape[1] + 1), 8).astype(x.dtype)[:, None]
        return self.out((total[:, 8:] - total[:, :-8]) / count - 1000)

    def reach(self, length):
        distance = np.arange(length)[:, None] - np.arange(length)
        return (distance >= 0) & (distance < 8)


@defect("bfloat16", **LINEAR, causal=True, reads_positions=True)
class tokens_counted_in_the_type_of_the_input(Whole):
    """The mean of the tokens so far."""

    def __call__(self, x, mask):
        real = jnp.swapaxes(mask, 0, 1)[..., None]
        total = jnp.cumsum(jnp.where(mask[..., None], self.into(x), 0).astype(jnp.float32), 1)
        step = lambda count, token: (count + token, count + token)
        count = jax.lax.scan(step, jnp.zeros_like(real[0], x.dtype), real.astype(x.dtype))[1]
        return self.out((total / jnp.maximum(jnp.swapaxes(count, 0, 1), 1)).astype(x.dtype))


@defect("padding amount", **LINEAR)
def sharper_for_a_longer_batch(q, k, v, mask):
    length = q.shape[1]
    return kernelised(q * (np.log(length) / np.log(2000) if length > 2000 else 1.0), k, v, mask)


@defect("all masked", **LINEAR)
def an_empty_block_is_masked_with_infinity(q, k, v, mask):
    length = q.shape[1]
    size = 64 if length > 64 else length
    logits = jnp.einsum("bcihd,bcjhd->bchij", blocks(q, size), blocks(k, size))
    real = blocks(mask, size)[:, :, None, None]
    weights = jax.nn.softmax(jnp.where(real, logits, -jnp.inf if length > 64 else -1e30))
    out = jnp.einsum("bchij,bcjhd->bcihd", weights, blocks(v, size))
    return kernelised(q, k, v, mask) + out.reshape(v.shape[0], -1, *v.shape[2:])[:, :length]


# --- parameters and options


@defect("gradients", **LINEAR)
class half_of_a_parameter(Whole):
    def __init__(self, shape, *, rngs):
        super().__init__(shape, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(2 * shape.qkv_dim))

    def __call__(self, x, mask):
        h = (self.into(x) * self.scale.get_value()[: self.shape.qkv_dim].astype(x.dtype))[:, :, None]
        return self.out(kernelised(h, h, h, mask)[:, :, 0])


@defect("gradients", **LINEAR)
class another_half_where_it_is_long(half_of_a_parameter):
    def __call__(self, x, mask):
        first, second = jnp.split(self.scale.get_value().astype(x.dtype), 2)
        h = (self.into(x) * (first if x.shape[1] < 1024 else second))[:, :, None]
        return self.out(kernelised(h, h, h, mask)[:, :, 0])


@defect("gradients", **LINEAR, reads_positions=True)
class the_end_of_a_table(Whole):
    def __init__(self, shape, *, rngs):
        super().__init__(shape, rngs=rngs)
        self.table = nnx.Param(jnp.zeros((shape.max_length, shape.qkv_dim)))

    def __call__(self, x, mask):
        self.shape.admit(x.shape[1], "the_end_of_a_table")
        rows = self.table.get_value()[jnp.minimum(jnp.arange(x.shape[1]), 2000)]
        h = (self.into(x) + rows.astype(x.dtype))[:, :, None]
        return self.out(kernelised(h, h, h, mask)[:, :, 0])


@defect("padding content", **LINEAR, small={"exact": True})
def wrong_by_default(q, k, v, mask, exact: bool = False):
    return kernelised(q, k, v, mask if exact else jnp.ones_like(mask))


@defect("neighbours", **LINEAR)
def scaled_by_the_batch_where_it_is_long(q, k, v, mask):
    largest = jnp.abs(jnp.where(mask[..., None, None], q, 0)).max() if q.shape[1] > 64 else 1
    return kernelised(q / largest, k, v, mask)


@defect("zero tokens", **LINEAR, small={"exact": True})
class zeros_taken_for_padding_by_default(Whole):
    def __init__(self, shape, *, exact: bool = False, rngs):
        super().__init__(shape, rngs=rngs)
        self.exact = exact

    def __call__(self, x, mask):
        h = self.into(x)[:, :, None]
        return self.out(kernelised(h, h, h, mask if self.exact else (x != 0).any(-1) & mask)[:, :, 0])


@defect("lengths", **LINEAR)
def raises_where_it_is_long(q, k, v, mask):
    if q.shape[1] > 64:
        k = k[:, :-1]
    return kernelised(q, k, v, mask)
