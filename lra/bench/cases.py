"""The cases of the kernel benchmark: an op at one size, with the operations and bytes that it needs."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lra import settings
from lra.models.kernels import backends
from lra.models.kernels.linear_attention import linear_attention
from lra.models.kernels.linear_attention import op as linear_op
from lra.models.kernels.recurrence import diagonal_recurrence
from lra.models.kernels.recurrence import op as recurrence_op
from lra.models.kernels.softmax import FULL, Window, attend
from lra.models.kernels.softmax import op as softmax_op

WIDTH = 1024  # heads x head_dim
WINDOW = 16  # a window covers 1 / WINDOW of the sequence
FILLS = {
    "gpu": (1 << 17, 132),
    "tpu": (1 << 17, 2),
    "cpu": (1 << 11, 2),
}  # by platform: the tokens, and the batch x heads, that occupy all cores


class Case(NamedTuple):
    """One op at one size.

    Attributes:
      function: takes the name of a backend and returns a function of the arrays `args`.
      operations: the floating-point operations that the forward pass needs.
      bytes: the traffic that the forward pass needs: each input is read once and each output is written once.
      backends: those of the op that are for the device at hand.
      radius: of a window.
    """

    name: str
    length: int
    head_dim: int
    function: Callable[[str], Callable]
    args: tuple[jax.Array, ...]
    operations: float
    bytes: float
    backends: tuple[str, ...] = ("xla",)
    radius: int | None = None


NAMES = (
    "softmax dense", "softmax window", "linear", "linear causal", "linear decay a head", "linear decay a channel",
    "recurrence real", "recurrence complex",
)  # fmt: skip


def cases(name: str, length: int, head_dims: tuple[int, ...] = (64, 128)) -> Iterator[Case]:
    """The cases of a name at a length, one for each head dimension. Only one case's arrays exist at a time."""
    family = name.split()[0]
    for head_dim in head_dims[: 1 if family == "recurrence" else None]:
        yield {"softmax": softmax, "linear": linear, "recurrence": recurrence}[family](name, length, head_dim)


def sizes(length: int, head_dim: int) -> tuple[int, int]:
    """The batch size and the number of heads that occupy the device at hand."""
    tokens, chains = FILLS.get(settings.device().platform, FILLS["cpu"])
    heads = (WIDTH if tokens > 1 << 12 else 2 * head_dim) // head_dim
    return max(tokens // length, -(-chains // heads), 1), heads


def of_device(op: backends.Op) -> tuple[str, ...]:
    """The backends of an op that are for the device at hand."""
    return tuple(name for name in op.backends if backends.is_for(name, settings.device().platform))


def normal(shape: tuple[int, ...], count: int, dtype: Any = jnp.bfloat16) -> tuple[jax.Array, ...]:
    return tuple(jax.random.normal(jax.random.key(i), shape, dtype) for i in range(count))


def softmax(name: str, length: int, head_dim: int) -> Case:
    batch, heads = sizes(length, head_dim)
    radius = length // WINDOW // 2
    pattern = FULL if name.endswith("dense") else Window(radius, radius)
    seen = (
        length**2
        if pattern is FULL
        else sum(min(i + radius, length - 1) - max(i - radius, 0) + 1 for i in range(length))
    )
    args = normal((batch, length, heads, head_dim), 3)
    function = lambda backend: lambda q, k, v: attend(q, k, v, pattern=pattern, lse=False, backend=backend)[0]
    return Case(
        name, length, head_dim, function, args,
        operations=4.0 * batch * heads * head_dim * seen, bytes=4 / 3 * size(args),
        backends=of_device(softmax_op.OP), radius=None if pattern is FULL else radius,
    )  # fmt: skip


def linear(name: str, length: int, head_dim: int) -> Case:
    batch, heads = sizes(length, head_dim)
    q, k, v = normal((batch, length, heads, head_dim), 3)
    q, k = jax.nn.elu(q) + 1, jax.nn.elu(k) + 1
    args: tuple[jax.Array, ...] = (q, k, v)
    if "decay" in name:
        width = 1 if name.endswith("head") else head_dim
        args += (jax.nn.log_sigmoid(3 + jax.random.normal(jax.random.key(3), (batch, length, heads, width))),)
    causal = name != "linear"

    def function(backend: str) -> Callable:
        def f(q: jax.Array, k: jax.Array, v: jax.Array, log_decay: jax.Array | None = None) -> jax.Array:
            return linear_attention(q, k, v, log_decay=log_decay, causal=causal, backend=backend)

        return f

    return Case(
        name, length, head_dim, function, args,
        operations=4.0 * batch * heads * length * head_dim**2, bytes=size(args) + size((v,)),
        backends=of_device(linear_op.OP if causal else linear_op.OF_ALL_KEYS),
    )  # fmt: skip


def recurrence(name: str, length: int, head_dim: int) -> Case:
    batch = max(1, sizes(length, head_dim)[0])
    shape, complex_ = (batch, length, WIDTH), name.endswith("complex")
    real = -jnp.abs(normal(shape, 1, jnp.float32)[0])
    x, phase, other = normal(shape, 3, jnp.float32)
    args = (jax.lax.complex(x, other), jax.lax.complex(real, phase)) if complex_ else (x, real)
    return Case(
        name, length, head_dim, lambda backend: lambda x, log_a: diagonal_recurrence(log_a, x, backend=backend), args,
        operations=(8.0 if complex_ else 2.0) * np.prod(shape), bytes=size(args) + size(args[:1]),
        backends=of_device(recurrence_op.OP),
    )  # fmt: skip


def size(arrays: tuple[jax.Array, ...]) -> float:
    """The bytes of some arrays."""
    return float(sum(x.size * x.dtype.itemsize for x in arrays))
