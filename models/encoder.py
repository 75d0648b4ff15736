"""LRA's encoder: pre-LN Transformer blocks around any variant (Tay et al. 2021, 2011.04006, and its released code)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from lra.errors import UsageError, unknown
from lra.models.attention import Shape, Variant
from lra.models.dropout import BY_PLACE, OTHERS, Dropout, reseed
from lra.models.precision import Linear

MOST_LAYERS = 1_000  # each is traced by itself, so that more would take minutes without a word
POOLING = ("mean", "cls", "first", "none")
POSITIONS = ("sinusoidal", "learned", "none")


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the encoder.

    Attributes:
      layers: blocks of attention and MLP.
      dim: width of the token representations.
      heads: attention heads; they divide qkv_dim.
      qkv_dim: width of queries, keys and values over all heads.
      mlp_dim: hidden width of the blocks' MLPs and of the classifier's head.
      dropout: the rate at which embeddings and the outputs of blocks are dropped.
      attention_dropout: the rate at which attention probabilities are dropped, where a variant has any.
      pool: "mean" over the real tokens, "cls", the representation of a learned token before the others, or "first",
        that of the first token, which is what LRA's code makes of CLS where it encodes pairs. "none" keeps them all,
        for tasks with a label for each token.
      positions: "sinusoidal", "learned" or "none".
      remat: whether the backward pass computes the inside of each block again, so that a train step keeps only what
        goes from block to block: less memory, more time.
    """

    layers: int = 4
    dim: int = 512
    heads: int = 8
    qkv_dim: int = 512
    mlp_dim: int = 1024
    dropout: float = 0.1
    attention_dropout: float = 0.1
    pool: str = "mean"
    positions: str = "sinusoidal"
    remat: bool = False

    def __post_init__(self) -> None:
        for name in ("layers", "dim", "heads", "qkv_dim", "mlp_dim"):
            least = 0 if name == "layers" else 1  # without layers, only the embeddings are pooled
            if (size := getattr(self, name)) < least:
                raise UsageError(f"encoder.{name} = {size} is not at least {least}")
        if self.layers > MOST_LAYERS:
            raise UsageError(f"encoder.layers = {self.layers} is more than {MOST_LAYERS:,}")
        for name in ("dropout", "attention_dropout"):
            if not 0 <= (rate := getattr(self, name)) < 1:
                raise UsageError(f"encoder.{name} = {rate} is not a rate of at least 0 and less than 1")
        if self.qkv_dim % self.heads:
            raise UsageError(f"encoder.qkv_dim = {self.qkv_dim} does not divide by encoder.heads = {self.heads}")
        for what, name, known in (("pooling", self.pool, POOLING), ("positions", self.positions, POSITIONS)):
            if name not in known:
                raise unknown(what, name, known)


def sinusoids(length: int, dim: int) -> Float[np.ndarray, "length dim"]:
    """The fixed position table, sines and cosines interleaved (Vaswani et al. 2017, section 3.5)."""
    angles = np.arange(length)[:, None] * np.exp(np.arange(0, dim, 2) * -(np.log(10_000.0) / dim))
    table = np.zeros((length, dim), np.float32)
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles)[:, : dim // 2]
    return table


class MLP(nnx.Module):
    """Dense, GELU, dropout, Dense, dropout."""

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        inits: dict[str, Any] = {
            "kernel_init": nnx.initializers.xavier_uniform(),
            "bias_init": nnx.initializers.normal(1e-6),
        }
        self.hidden = Linear(config.dim, config.mlp_dim, **inits, rngs=rngs)
        self.out = Linear(config.mlp_dim, config.dim, **inits, rngs=rngs)
        self.drop_hidden = Dropout(config.dropout, rngs=rngs)
        self.drop_out = Dropout(config.dropout, rngs=rngs)

    def __call__(self, x: Float[Array, "... dim"]) -> Float[Array, "... dim"]:
        return self.drop_out(self.out(self.drop_hidden(nnx.gelu(self.hidden(x)))))


class Block(nnx.Module):
    """x + attention(LN(x)), then x + MLP(LN(x)). Norms are computed in float32."""

    def __init__(
        self, config: EncoderConfig, variant: Variant, max_length: int, layer: int, rngs: nnx.Rngs, options: Any = None
    ):
        rate = config.attention_dropout
        shape = Shape(config.dim, config.qkv_dim, config.heads, max_length, rate, layer, config.layers)
        self.norm_attention = nnx.LayerNorm(config.dim, rngs=rngs)
        self.variant = variant
        self.attention: Any = variant.build(shape, rngs, options)
        self.drop = Dropout(config.dropout, rngs=rngs)
        self.norm_mlp = nnx.LayerNorm(config.dim, rngs=rngs)
        self.mlp = MLP(config, rngs)

    def __call__(
        self, x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"], carry: Any
    ) -> tuple[Float[Array, "batch length dim"], Any]:
        mixed, carry = self.variant.mix(self.attention, self.norm_attention(x).astype(x.dtype), mask, carry)
        x = x + self.drop(mixed)
        return x + self.mlp(self.norm_mlp(x).astype(x.dtype)), carry


class Encoder(nnx.Module):
    """Tokens to one vector a sequence; to one a token without pooling.

    Args:
      max_length: tokens of the longest sequence of the task.
      options: of the variant, an instance of `variant.options`; None for the defaults.
      dtype: the compute type; `lra.models.precision` says what stays in float32.
    """

    def __init__(
        self,
        config: EncoderConfig,
        variant: Variant,
        vocab_size: int,
        max_length: int,
        rngs: nnx.Rngs,
        options: Any = None,
        dtype: DTypeLike = jnp.float32,
    ):
        self.pool, self.dtype = config.pool, jnp.dtype(dtype)
        self.max_length = max_length
        length = max_length + (config.pool == "cls")
        self.embedding = nnx.Embed(vocab_size, config.dim, embedding_init=nnx.initializers.normal(1.0), rngs=rngs)
        self.cls = nnx.Param(jnp.zeros(config.dim)) if config.pool == "cls" else None
        learned = config.positions == "learned"
        table = nnx.initializers.normal(0.02)
        self.positions = nnx.Param(table(rngs.params(), (length, config.dim))) if learned else None
        self.sinusoids = config.positions == "sinusoidal"
        self.drop = Dropout(config.dropout, rngs=rngs)
        self.blocks = nnx.List([Block(config, variant, length, layer, rngs, options) for layer in range(config.layers)])
        self.norm = nnx.LayerNorm(config.dim, rngs=rngs)
        self.remat = config.remat

    def __call__(
        self, tokens: Int[Array, "batch length"], lengths: Int[Array, " batch"]
    ) -> Float[Array, "batch *length dim"]:
        if tokens.shape[1] > self.max_length:
            raise UsageError(f"the model was built for at most {self.max_length} tokens and got {tokens.shape[1]}")
        x, mask = self.embedding(tokens.astype(jnp.int32)), jnp.arange(tokens.shape[1]) < lengths[:, None]
        if self.cls is not None:
            x = jnp.concatenate([jnp.broadcast_to(self.cls.get_value(), (len(x), 1, x.shape[2])), x], 1)
            mask = jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)
        if self.sinusoids:
            x = x + sinusoids(*x.shape[1:])
        elif self.positions is not None:
            x = x + self.positions.get_value()[: x.shape[1]]
        x = self.drop(x.astype(self.dtype))
        carry = None
        run = nnx.remat(Block.__call__) if self.remat else Block.__call__
        for block in self.blocks:
            x, carry = run(block, x, mask, carry)
        x = self.norm(x)
        if self.pool == "none":
            return x.astype(self.dtype)
        return (masked_mean(x, mask) if self.pool == "mean" else x[:, 0]).astype(self.dtype)


def masked_mean(x: Float[Array, "batch length dim"], mask: Bool[Array, "batch length"]) -> Float[Array, "batch dim"]:
    """The mean over the real tokens; LRA's own code divides by the padded length."""
    total = jnp.where(mask[..., None], x, 0).sum(1)
    return total / jnp.maximum(mask.sum(1), 1)[:, None]


class Classifier(nnx.Module):
    """The encoder with LRA's head: Dense, ReLU, Dense."""

    def __init__(
        self,
        config: EncoderConfig,
        variant: Variant,
        vocab_size: int,
        max_length: int,
        num_classes: int,
        rngs: nnx.Rngs,
        options: Any = None,
        dtype: DTypeLike = jnp.float32,
    ):
        self.encoder = Encoder(config, variant, vocab_size, max_length, rngs, options, dtype)
        self.hidden = Linear(config.dim, config.mlp_dim, rngs=rngs)
        self.out = Linear(config.mlp_dim, num_classes, preferred_element_type=jnp.float32, rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "batch length"], lengths: Int[Array, " batch"]
    ) -> Float[Array, "batch *length classes"]:
        """Logits; `lengths` counts the real tokens at the start of each row."""
        return self.out(nnx.relu(self.hidden(self.encoder(tokens, lengths))))


def begin_step(model: nnx.Module, key: Array, step: Int[Array, ""]) -> None:
    """Makes all randomness of a training step a function of the key; modules with a method `redraw` are told."""
    by_place, redraw = jax.random.split(key)
    reseed(model, by_place, BY_PLACE)
    begin_part(model, key, jnp.int32(0))
    redrawn = [module for _, module in nnx.iter_modules(model) if hasattr(module, "redraw")]
    for index, module in enumerate(redrawn):
        module.redraw(jax.random.fold_in(redraw, index), step)


def begin_part(model: nnx.Module, key: Array, part: Int[Array, ""]) -> None:
    """Makes what a model draws in a part of a batch a function of the key of the step and the part.

    What is dropped by place is the same in parts and in whole (`part_of_batch`). This is for variants that draw
    otherwise.
    """
    reseed(model, jax.random.fold_in(key, part), *OTHERS)
