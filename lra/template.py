"""The files that `lra new` and `lra new-task` write: a variant and a task that run. Comments mark what to change."""

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


TASK = '''\
# CHANGE marks what to make your own; then: lra prepare --import {name}.py {name} --protocol demo
import dataclasses

import numpy as np

from lra.tasks import Split, Task
from lra.tasks.outside import register_task
from lra.tasks.probe import Probe
from lra.tasks.words import Words

LETTERS = "abcdefgh"


@dataclasses.dataclass(frozen=True)
class Parameters(Probe):
    """CHANGE: all that decides the examples; --gin '{name}.max_length = 64' sets it. Probe has sizes and seed.

    Attributes:
      max_length: tokens of a sequence.
    """

    max_length: int = 32
    train: int = 20_000

    def draw(self, words: Words, count: int, trained: bool) -> Split:
        """CHANGE: so many examples. All that is random comes from `words`, so that they are the same everywhere."""
        inputs = words.below(len(LETTERS), (count, self.max_length))
        labels = words.below(2, count)
        inputs[:, -1] = np.where(labels, inputs[:, 0], (inputs[:, 0] + 1 + words.below(7, count)) % 8)
        lengths = np.full(count, self.max_length)
        return Split(inputs, lengths, labels)


# CHANGE: what a training takes, over what the protocol sets for all tasks; `lra run --protocol demo` follows it.
DEMO = """
encoder.layers = 2
encoder.dim = 64
encoder.heads = 4
encoder.qkv_dim = 64
encoder.mlp_dim = 128
encoder.pool = 'first'
cosine.warmup = 40
cosine.cycle = 360
train.steps = 400
train.batch_size = 64
train.log_every = 50
train.eval_every = 100
train.eval_batch_size = 250
"""

register_task(
    Task(
        name="{name}",
        version="1.0.0",  # CHANGE: whenever the same parameters give other examples
        summary="Are the first and the last letter the same?",
        source=Parameters,
        classes=("different", "same"),
        vocab_size=len(LETTERS),
        citation="",
        licence="",
        show=lambda ids: "".join(LETTERS[token] for token in ids.tolist()),
        recipes={{"demo": DEMO}},
    )
)
'''


def task(name: str) -> str:
    """The text of the file for a task of that name."""
    return TASK.format(name=name)
