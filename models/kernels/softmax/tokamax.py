"""Softmax attention by tokamax, where it is installed: attention to all keys, or causal, on GPU and TPU."""

from functools import partial
from typing import Any

from jaxtyping import Array

from lra.models.kernels.backends import platform
from lra.models.kernels.softmax import library
from lra.models.kernels.softmax.operands import Operands, Static

# Its own default falls back to XLA without a word. "xla" computes the same on any device.
IMPLEMENTATION: dict[str, tuple[str, ...]] = {"gpu": ("mosaic", "triton"), "tpu": ("mosaic",)}


def admits(static: Static, x: Operands) -> None:
    """Raises NotImplementedError for what libraries lack, without tokamax, and for masks on a TPU."""
    library.admits(static, x)
    try:
        installed()
    except ImportError as error:
        raise NotImplementedError(f"tokamax cannot be imported: {error}") from error
    if platform() not in IMPLEMENTATION:
        raise NotImplementedError(f"tokamax has no kernel for {platform()}")
    if platform() == "tpu" and x.mask is not None:
        raise NotImplementedError("a mask: tokamax takes no lengths on a TPU")


def installed() -> Any:
    """The module, which takes a while to import. It would read the command line, which is ours."""
    import tokamax
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["lra"])
    return tokamax


def attention(x: library.Dense) -> Array:
    return installed().dot_product_attention(
        x.q, x.k, x.v, is_causal=x.causal, key_value_seq_lengths=x.lengths, implementation=IMPLEMENTATION[platform()]
    )  # fmt: skip


forward = partial(library.forward, attention)
backward = partial(library.backward, attention)
