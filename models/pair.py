"""The model for pairs of documents: one encoder for both documents, and LRA's head on the two vectors that it gives."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from lra.errors import unknown
from lra.models.attention import Variant
from lra.models.encoder import Encoder, EncoderConfig
from lra.models.precision import Linear

INTERACTIONS = {"concat": 2, "nli": 4}  # each with the number of vectors that the head reads


@dataclasses.dataclass(frozen=True)
class PairConfig:
    """How the vectors a and b of two documents are combined.

    Attributes:
      interaction: "concat" gives the head [a, b], as LRA's released configurations do; it is the default. "nli" gives
        it [a, b, a * b, a - b], as LRA's paper says (2011.04006, appendix A.1.3).
    """

    interaction: str = "concat"

    def __post_init__(self) -> None:
        if self.interaction not in INTERACTIONS:
            raise unknown("interaction", self.interaction, INTERACTIONS)


class PairClassifier(nnx.Module):
    """One encoder for both documents, and a head of Dense, ReLU, Dense (half as wide), ReLU, Dense."""

    def __init__(
        self,
        config: EncoderConfig,
        pair: PairConfig,
        variant: Variant,
        vocab_size: int,
        max_length: int,
        num_classes: int,
        rngs: nnx.Rngs,
        options: Any = None,
        dtype: DTypeLike = jnp.float32,
    ):
        self.interaction = pair.interaction
        self.encoder = Encoder(config, variant, vocab_size, max_length, rngs, options, dtype)
        self.hidden = Linear(INTERACTIONS[pair.interaction] * config.dim, config.mlp_dim, rngs=rngs)
        self.half = Linear(config.mlp_dim, config.mlp_dim // 2, rngs=rngs)
        self.out = Linear(config.mlp_dim // 2, num_classes, preferred_element_type=jnp.float32, rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "batch 2 length"], lengths: Int[Array, "batch 2"]
    ) -> Float[Array, "batch classes"]:
        """Logits. `lengths` has the numbers of real tokens at the start of the documents."""
        vectors = self.encoder(tokens.reshape(-1, tokens.shape[-1]), lengths.reshape(-1))
        a, b = jnp.moveaxis(vectors.reshape(-1, 2, vectors.shape[-1]), 1, 0)
        parts = (a, b) if self.interaction == "concat" else (a, b, a * b, a - b)
        x = nnx.relu(self.hidden(jnp.concatenate(parts, -1)))
        return self.out(nnx.relu(self.half(x)))
