"""The file that `lra new` writes: a variant that runs. Comments mark the places to change."""

import keyword

RESERVED = {*keyword.kwlist, "q", "k", "v", "mask", "jnp", "register_attention", "all"}

TEXT = '''\
# CHANGE marks what to make your own; then: lra check --import {name}.py {name}
import jax
import jax.numpy as jnp

from lra.models.attention import register_attention


# CHANGE: where it is published, and what `lra check` holds it to: how time and memory grow with the length L,
# and whether the order of the tokens matters to it.
@register_attention("{name}", paper="mine", cost="L^2 d", memory="L^2", reads_positions=False)
def {name}(q, k, v, mask, temperature: float = 1.0):
    """q, k, v: [batch, length, heads, head_dim]; mask: [batch, length], True for a real token."""
    # CHANGE: what each token takes from the others. Arguments like `temperature` are set by
    # --gin '{name}.temperature = 2.0'; what stands in the padding must not matter.
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) / (temperature * q.shape[-1] ** 0.5)
    logits = jnp.where(mask[:, None, None, :], logits, jnp.finfo(logits.dtype).min)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), v)
'''


def variant(name: str) -> str:
    """The text of the file for a variant of that name."""
    return TEXT.format(name=name)
