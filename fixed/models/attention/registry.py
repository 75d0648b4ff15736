"""The registry of attention variants and what a variant may look like."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import gin
from flax import nnx

from lra.errors import UsageError
from lra.models.attention.multihead import MultiHead

T = TypeVar("T", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes that a variant is built for.

    Attributes:
      dim: width of the tokens that are mixed.
      qkv_dim: width of queries, keys and values over all heads.
      max_length: tokens of the longest sequence, the [CLS] token included.
      dropout: rate at which attention probabilities are dropped, for variants that have any.
    """

    dim: int
    qkv_dim: int
    heads: int
    max_length: int
    dropout: float = 0.0

    @property
    def head_dim(self) -> int:
        return self.qkv_dim // self.heads


@dataclasses.dataclass(frozen=True)
class Variant:
    """A registered variant and its metadata."""

    name: str
    make: Callable[..., Any]
    on_heads: bool  # takes (q, k, v, mask); otherwise (x, mask)
    paper: str
    cost: str
    causal: bool
    reads_positions: bool
    version: int

    def build(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        """A module that maps x [batch, length, dim] and mask [batch, length] to [batch, length, dim]."""
        core: Any = self.make
        if inspect.isclass(self.make):
            core = self.make(shape, rngs=rngs)  # type: ignore[call-arg]
        return MultiHead(core, self.name, shape, rngs) if self.on_heads else core


VARIANTS: dict[str, Variant] = {}


def register_attention(
    name: str,
    *,
    paper: str = "",
    cost: str = "",
    causal: bool = False,
    reads_positions: bool = False,
    version: int = 1,
) -> Callable[[T], T]:
    """Registers an attention variant under a name; its keyword arguments become gin parameters `NAME.ARGUMENT`.

    What is decorated is one of

    * a function of `(q, k, v, mask)`, each of q, k, v `[batch, length, heads, head_dim]` and mask
      `[batch, length]`, True for a real token; it returns `[batch, length, heads, head_dim]` and gets its
      projections and heads from us. One that takes an argument `dropout` gets a `kernels.softmax.Dropout`;
    * a class of Flax NNX modules, made as `cls(shape, rngs=rngs)` with a `Shape` and called like such a function;
    * a class of Flax NNX modules called with `(x, mask)`, x `[batch, length, dim]`: the whole mixer.

    Args:
      paper: where it is published, e.g. "Choromanski et al. 2021, 2009.14794".
      cost: time in the length L, e.g. "L log L".
      causal: whether a token sees only those before it.
      reads_positions: whether the output depends on where a token stands, beyond what the tokens say of it.
      version: to be raised whenever the same parameters give other outputs.

    Raises:
      UsageError: the name is taken or the signature is none of these.
    """

    def register(target: T) -> T:
        if name in VARIANTS:
            raise UsageError(f"an attention variant called '{name}' is registered already; choose another name")
        call = target.__call__ if inspect.isclass(target) else target
        arguments = [argument for argument in inspect.signature(call).parameters if argument != "self"]
        on_heads = arguments[:4] == ["q", "k", "v", "mask"]
        if not on_heads and (arguments[:2] != ["x", "mask"] or not inspect.isclass(target)):
            raise UsageError(
                f"variant '{name}' takes ({', '.join(arguments)}); it must be a function or module of (q, k, v, mask), "
                "or a module of (x, mask)"
            )
        configurable = gin.configurable(name, module="attention")(target)
        VARIANTS[name] = Variant(name, configurable, on_heads, paper, cost, causal, reads_positions, version)
        return configurable

    return register
