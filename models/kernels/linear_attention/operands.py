"""What the backends of linear attention with decay, or causal, are given."""

from typing import NamedTuple

from jaxtyping import Array, Float


class Operands(NamedTuple):
    """The arrays of an attention. Kernels get `log_decay` with the batch of the others, XLA also with a batch of 1."""

    q: Float[Array, "batch length heads key_dim"]
    k: Float[Array, "batch length heads key_dim"]
    v: Float[Array, "batch length heads value_dim"]
    log_decay: Float[Array, "#batch #length heads #key_dim"] | None


class Static(NamedTuple):
    """What is known when a program is traced."""

    reverse: bool = False  # whether the state goes from the end to the start
    interpret: bool = False
