"""The models of the benchmark in PyTorch, as one writes them there, with the parameters of this project's models.

Attention is `scaled_dot_product_attention`. The recurrence of s5 has no loop over tokens: chunks are multiplied by
matrices of powers, which takes 0.6 times as long as a convolution by FFT.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lra.models.encoder import EncoderConfig, sinusoids

EPSILON = 1e-6  # of layer norms, as in Flax
CHUNK = 32  # tokens of the recurrence that are multiplied at once: the fastest of 16, 32 and 64


class Heads(nn.Module):
    """Query, key, value and output projections; `mix` works on [batch, heads, length, head_dim]."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.heads, self.rate = config.heads, config.attention_dropout
        self.q, self.k, self.v = (nn.Linear(config.dim, config.qkv_dim, bias=False) for _ in "qkv")
        self.out = nn.Linear(config.qkv_dim, config.dim, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        return self.out(self.mix(q, k, v, mask).transpose(1, 2).flatten(2))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        raise NotImplementedError


class Transformer(Heads):
    def __init__(self, config: EncoderConfig, options: Any):
        super().__init__(config)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        rate = self.rate if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None], dropout_p=rate)


class Performer(Heads):
    """FAVOR+. The directions are not drawn anew."""

    def __init__(self, config: EncoderConfig, options: Any):
        super().__init__(config)
        self.epsilon = options.epsilon
        self.core = nn.Module()
        self.core.register_buffer("projection", torch.empty(options.features, config.qkv_dim // config.heads))

    def features(self, x: Tensor, over: tuple[int, ...], mask: Tensor | None = None) -> Tensor:
        projection: Tensor = self.core.projection
        x = x * x.shape[-1] ** -0.25
        exponent = x @ projection.T - x.square().sum(-1, keepdim=True) / 2
        if mask is not None:
            exponent = exponent.masked_fill(~mask, -math.inf)
        y = torch.exp(exponent - exponent.amax(over, keepdim=True)) + self.epsilon
        return (y if mask is None else y.masked_fill(~mask, 0)) * len(projection) ** -0.5

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        phi_q, phi_k = self.features(q, (3,)), self.features(k, (2, 3), mask[:, None, :, None])
        below = phi_q @ phi_k.sum(2)[..., None]
        return phi_q @ (phi_k.transpose(2, 3) @ v) / below


class S5(nn.Module):
    def __init__(self, config: EncoderConfig, options: Any):
        super().__init__()
        dim, half = config.dim, (options.state or config.qkv_dim) // 2
        sizes = dict(eigenvalues=(2, half), b=(2, half, dim), c=(2, 2, dim, half), d=(dim,), log_step=(half,))
        for name, size in sizes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(size)))
        self.gate, self.clip = nn.Linear(dim, dim), options.clip

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        real, imag = self.eigenvalues
        eigenvalues = torch.complex(real.clamp(max=-1e-4) if self.clip else real, imag)
        log_a = eigenvalues * self.log_step.exp()
        b = (torch.expm1(log_a) / eigenvalues)[:, None] * torch.complex(*self.b)
        u = x.masked_fill(~mask[..., None], 0).transpose(1, 2)  # padding is at the end
        states = both_ways(log_a, torch.complex(b.real @ u, b.imag @ u))
        y = sum(2 * (re @ h.real - im @ h.imag) for re, im, h in zip(*self.c, states)).transpose(1, 2)
        g = F.gelu(y + self.d * x, approximate="tanh")
        return g * torch.sigmoid(self.gate(g))


def both_ways(log_a: Tensor, x: Tensor) -> list[Tensor]:
    """The states f_i = a f_{i-1} + x_i and g_i = a g_{i+1} + x_i of [batch, channels, length].

    The sequence is cut into chunks. Products with powers of a give the states within each, and then those between them.
    """
    batch, channels, length = x.shape
    chunks = -(-length // CHUNK)
    x = F.pad(x, (0, chunks * CHUNK - length)).unflatten(2, (chunks, CHUNK)).permute(1, 3, 0, 2)
    x = x.reshape(channels, CHUNK, batch * chunks)
    within, between = lower_powers(log_a, CHUNK), lower_powers(CHUNK * log_a, chunks)
    since_before = torch.exp(log_a[:, None] * torch.arange(1, CHUNK + 1))
    ways = []
    for reverse in (False, True):
        turned = (lambda y: y.mT) if reverse else (lambda y: y)
        h = (turned(within) @ x).unflatten(2, (batch, chunks))
        ends = h[:, 0 if reverse else -1] @ turned(between).mT
        came_from = F.pad(ends[..., 1:], (0, 1)) if reverse else F.pad(ends[..., :-1], (1, 0))
        powers = since_before.flip(1) if reverse else since_before
        h = h + powers[:, :, None, None] * came_from[:, None]
        ways.append(h.permute(2, 0, 3, 1).flatten(2)[..., :length])
    return ways


def lower_powers(log_a: Tensor, n: int) -> Tensor:
    """a^(i-j) for j <= i, else 0: [channels, n, n]."""
    since = torch.arange(n)[:, None] - torch.arange(n)
    return torch.where(since < 0, 0, torch.exp(log_a[:, None, None] * since.clamp(min=0)))


ATTENTION: dict[str, Callable[..., nn.Module]] = {"transformer": Transformer, "performer": Performer, "s5": S5}


class MLP(nn.Module):
    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.hidden, self.out = nn.Linear(config.dim, config.mlp_dim), nn.Linear(config.mlp_dim, config.dim)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.out(self.drop(F.gelu(self.hidden(x), approximate="tanh"))))


class Block(nn.Module):
    def __init__(self, config: EncoderConfig, variant: str, options: Any):
        super().__init__()
        self.norm_attention, self.norm_mlp = (nn.LayerNorm(config.dim, EPSILON) for _ in range(2))
        self.attention, self.mlp = ATTENTION[variant](config, options), MLP(config)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.drop(self.attention(self.norm_attention(x), mask))
        return x + self.mlp(self.norm_mlp(x))


class Encoder(nn.Module):
    """The encoder with a learned CLS token, which both recipes have."""

    def __init__(self, config: EncoderConfig, variant: str, options: Any, vocab_size: int, max_length: int):
        super().__init__()
        assert config.pool == "cls"
        self.embedding, self.cls = nn.Embedding(vocab_size, config.dim), nn.Parameter(torch.empty(config.dim))
        table = torch.from_numpy(sinusoids(max_length + 1, config.dim))
        if config.positions == "learned":
            self.positions = nn.Parameter(table)
        else:
            self.register_buffer("positions", table, persistent=False)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, variant, options) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim, EPSILON)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        x = torch.cat([self.cls.expand(len(tokens), 1, -1), self.embedding(tokens)], 1)
        mask = torch.arange(x.shape[1]) < lengths[:, None] + 1
        x = self.drop(x + self.positions[: x.shape[1]])
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)[:, 0]


class Classifier(nn.Module):
    def __init__(self, config: EncoderConfig, variant: str, options: Any, vocab: int, max_length: int, classes: int):
        super().__init__()
        self.encoder = Encoder(config, variant, options, vocab, max_length)
        self.hidden, self.out = nn.Linear(config.dim, config.mlp_dim), nn.Linear(config.mlp_dim, classes)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return self.out(F.relu(self.hidden(self.encoder(tokens, lengths))))


NAMES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}


def load(model: nn.Module, arrays: Mapping[tuple[Any, ...], np.ndarray]) -> None:
    """Copies the variables of this project's model, by path, into PyTorch's. Every one must have a place."""
    state = {}
    for path, array in arrays.items():
        *place, name = map(str, path)
        value = torch.from_numpy(np.array(array.T if name == "kernel" else array))
        state[".".join([*place, NAMES.get(name, name) if place[-1] != "core" else name])] = value
    model.load_state_dict(state)
