"""Other implementations of the same ops, if they are installed: those of JAX and of other libraries."""

import importlib.util
from collections.abc import Callable

import jax

from lra import settings
from lra.bench.cases import Case
from lra.bench.timing import Timing


def peers(case: Case) -> dict[str, Callable]:
    """Functions of a case's arrays that compute the same as the op, by the name of the library.

    "copy" is a bound: it only moves the same bytes.
    """
    platform = settings.device().platform
    peers: dict[str, Callable] = {}
    if case.name == "softmax dense":
        if platform == "gpu":
            peers["cudnn"] = lambda q, k, v: jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
        if platform == "tpu":
            peers["splash"] = splash
        if importlib.util.find_spec("tokamax"):
            import tokamax

            peers["tokamax"] = lambda q, k, v: tokamax.dot_product_attention(q, k, v)
    if case.name.startswith("recurrence"):
        peers["copy"] = lambda x, log_a: (x + 1) * log_a  # reads and writes as many bytes as the op
    return peers


def splash(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """JAX's own kernel for TPU, dense. Its tiles have 512, 256 or 128 tokens, whichever divides the length."""
    from jax.experimental.pallas.ops.tpu import splash_attention as splash_

    length, heads = q.shape[1:3]
    block = next(size for size in (512, 256, 128) if length % size == 0)
    blocks = splash_.BlockSizes(
        block_q=block, block_kv=block, block_kv_compute=block, block_q_dkv=block, block_kv_dkv=block,
        block_kv_dkv_compute=block, block_q_dq=block, block_kv_dq=block,
    )  # fmt: skip
    mask = splash_.MultiHeadMask([splash_.FullMask((length, length))] * heads)
    kernel = splash_.make_splash_mha(mask, head_shards=1, q_seq_shards=1, block_sizes=blocks)
    by_heads = lambda x: x.transpose(0, 2, 1, 3)
    scaled = q * q.shape[-1] ** -0.5
    return by_heads(jax.vmap(kernel)(by_heads(scaled), by_heads(k), by_heads(v)))


def flash_linear_attention(case: Case) -> dict[str, Timing]:
    """The times of flash-linear-attention's Triton kernels, by direction; empty if the library is not installed.

    They run in PyTorch on the same device with random arrays. Triton warms up and takes the median
    (triton.testing.do_bench).
    """
    missing = not all(map(importlib.util.find_spec, ("torch", "fla", "triton")))
    if missing or not case.name.startswith("linear") or settings.device().platform != "gpu":
        return {}
    import torch
    import triton
    from fla.ops.gla import chunk_gla
    from fla.ops.linear_attn import chunk_linear_attn
    from fla.ops.simple_gla import chunk_simple_gla

    shapes = [x.shape for x in case.args]
    arrays = [torch.randn(*shape, device="cuda", dtype=torch.bfloat16, requires_grad=True) for shape in shapes[:3]]
    if len(shapes) == 4:
        raw = torch.randn(*shapes[3], device="cuda")
        decay = torch.nn.functional.logsigmoid(3 + raw).squeeze(-1).requires_grad_()
        op = chunk_simple_gla if case.name.endswith("head") else chunk_gla
        forward = lambda: op(*arrays, g=decay, scale=1.0)[0]
        arrays.append(decay)
    elif case.name.endswith("causal"):
        forward = lambda: chunk_linear_attn(*arrays, scale=1.0, normalize=False)[0]
    else:
        return {}  # the library has no bidirectional op
    cotangent = torch.randn_like(arrays[2])

    def both() -> None:
        torch.autograd.grad(forward(), arrays, cotangent)

    times = {"forward": forward, "forward+backward": both}
    return {name: Timing(triton.testing.do_bench(f, return_mode="median") / 1e3, 0.0) for name, f in times.items()}
