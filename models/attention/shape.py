"""The sizes that a variant is built for."""

import dataclasses

from lra.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes that a variant is built for.

    Attributes:
      dim: width of the tokens that are mixed.
      qkv_dim: width of queries, keys and values over all heads.
      max_length: tokens of the longest sequence, the [CLS] token included.
      dropout: rate at which attention probabilities are dropped, for variants that have any.
      layer, layers: which layer of how many this is, from 0; 0 of 1 for a variant not registered as `by_layer`.

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
        return self.qkv_dim // self.heads

    def admit(self, length: int, name: str) -> None:
        """For variants with something in them for every position.

        Raises:
          UsageError: there are more tokens than the variant was built for.
        """
        if length > self.max_length:
            raise UsageError(f"{name} was built for at most {self.max_length} tokens and got {length}")
