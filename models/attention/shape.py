"""The sizes that a variant is built for."""

import dataclasses

from lra.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes that a variant is built for.

    Attributes:
      dim: the width of the tokens: a mixer gets x, [batch, length, dim], and returns the same shape.
      qkv_dim: the width inside: of queries, keys and values over all heads. It need not be `dim`: on some tasks it is
        narrower, so that a variant with more matrices keeps within the parameter budget.
      heads: the number of heads. They divide `qkv_dim`.
      max_length: the tokens of the task's longest sequence, the [CLS] token included. Inputs may be shorter.
      dropout: the rate at which attention probabilities are dropped in training, for variants that have any.
      layer: the number of this layer, from 0. It is always 0 for a variant that is not registered as `by_layer` and
        takes no carry, so that all layers are built alike.
      layers: the number of layers. It is always 1 for such a variant.

    Raises:
      UsageError: the heads do not divide the width.
    """

    dim: int
    qkv_dim: int
    heads: int
    max_length: int
    dropout: float = 0.0
    layer: int = 0
    layers: int = 1

    def __post_init__(self) -> None:
        if self.heads < 1 or self.qkv_dim % self.heads:
            raise UsageError(f"qkv_dim = {self.qkv_dim} does not divide by heads = {self.heads}")

    @property
    def head_dim(self) -> int:
        """The width of one head, qkv_dim / heads."""
        return self.qkv_dim // self.heads

    def admit(self, length: int, name: str) -> None:
        """For variants with something in them for every position.

        Raises:
          UsageError: there are more tokens than the variant was built for.
        """
        if length > self.max_length:
            raise UsageError(f"{name} was built for at most {self.max_length} tokens and got {length}")
