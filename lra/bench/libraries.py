"""Other libraries that compute cases of the kernel benchmark.

A library may need other versions than lra, and then has an environment of its own. So this file imports nothing of lra,
and the Python of that environment runs it:

    python libraries.py FOLDER      FOLDER has case.json and arrays.npz, and gets results.npz and times.json

How each is called was compared with this project's ops on a CPU, in the libraries' own plain JAX. Their kernels have
not been run.
"""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Facts = dict[str, Any]  # of a case: its name, head_dim and radius
Function = Callable[..., Any]


class Library(NamedTuple):
    """A library.

    Attributes:
      module: what is imported.
      platforms: the devices that it has kernels for.
      cases: the names of the cases that it has.
      function: takes the facts of such a case, and returns a function of its arrays.
      torch: whether it computes in PyTorch, and not in JAX.
    """

    module: str
    platforms: tuple[str, ...]
    cases: tuple[str, ...]
    function: Callable[[Facts], Function]
    torch: bool = False


def fa4_jax(facts: Facts) -> Function:
    from fa4_jax import flash_attn

    window = {} if facts["radius"] is None else {"window_size": (facts["radius"], facts["radius"])}
    return lambda q, k, v: flash_attn(q, k, v, **window)


def tokamax(facts: Facts) -> Function:
    from absl import flags
    from tokamax import dot_product_attention

    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["tokamax"])  # it would read the command line
    window, kernels = (facts["radius"], facts["radius"]), ("mosaic", "triton")  # not XLA, its own last resort
    return lambda q, k, v: dot_product_attention(q, k, v, local_window_size=window, implementation=kernels)


def jax_linear_attention(facts: Facts) -> Function:
    from jla.ops import linear_attention

    kind = "gla" if facts["name"] == BY_CHANNEL else "simple_gla"

    def function(q: Any, k: Any, v: Any, log_decay: Any = None) -> Any:
        if log_decay is None:
            log_decay = np.zeros((*q.shape[:3], 1), np.float32)
        decay = log_decay if kind == "gla" else log_decay[..., 0]
        return linear_attention(kind, q, k, v, g=decay, scale=1.0, impl="mosaic_gpu")[0]

    return function


def deltanet_tpu(facts: Facts) -> Function:
    from deltanet_tpu import chunk_gla

    def function(q: Any, k: Any, v: Any, log_decay: Any = None) -> Any:
        log_decay = np.zeros((*q.shape[:3], 1), np.float32) if log_decay is None else log_decay
        return chunk_gla(q, k, v, log_decay, scale=1.0)

    return function


def flash_linear_attention(facts: Facts) -> Function:
    from fla.ops.gla import chunk_gla
    from fla.ops.linear_attn import chunk_linear_attn
    from fla.ops.simple_gla import chunk_simple_gla

    functions: dict[str, Function] = {
        CAUSAL: lambda q, k, v: chunk_linear_attn(q, k, v, scale=1.0, normalize=False)[0],
        BY_HEAD: lambda q, k, v, g: chunk_simple_gla(q, k, v, g=g.squeeze(-1), scale=1.0)[0],
        BY_CHANNEL: lambda q, k, v, g: chunk_gla(q, k, v, g=g, scale=1.0)[0],
    }
    return functions[facts["name"]]


DENSE, WINDOW = "softmax dense", "softmax window"
CAUSAL, BY_HEAD, BY_CHANNEL = "linear causal", "linear decay a head", "linear decay a channel"
LIBRARIES = {
    "fa4-jax": Library("fa4_jax", ("gpu",), (DENSE, WINDOW), fa4_jax),
    "tokamax": Library("tokamax", ("gpu",), (WINDOW,), tokamax),  # dense, it is an implementation of the op
    "jax-linear-attention": Library("jla", ("gpu",), (CAUSAL, BY_HEAD, BY_CHANNEL), jax_linear_attention),
    "deltanet-tpu": Library("deltanet_tpu", ("tpu",), (CAUSAL, BY_HEAD, BY_CHANNEL), deltanet_tpu),
    "flash-linear-attention": Library(
        "fla", ("gpu",), (CAUSAL, BY_HEAD, BY_CHANNEL), flash_linear_attention, torch=True
    ),
}


def main(folder: Path) -> None:
    """Computes and times the case in a folder. Its arrays are in float32, and the case says their types."""
    case = json.loads((folder / "case.json").read_text("utf-8"))
    with np.load(folder / "arrays.npz") as file:
        arrays = [file[f"arr_{index}"] for index in range(len(file.files))]
    library = LIBRARIES[case["library"]]
    function = library.function(case)
    measure = by_torch if library.torch else by_jax
    results, seconds, spread = measure(function, arrays, case)
    np.savez(folder / "results.npz", *results)
    (folder / "times.json").write_text(json.dumps({"seconds": seconds, "spread": spread}), "utf-8")


def by_jax(function: Function, arrays: list[np.ndarray], case: Facts) -> tuple[list[np.ndarray], float, float]:
    """Results, and seconds as `lra.bench.timing` takes them."""
    import jax
    import jax.numpy as jnp

    spec = importlib.util.spec_from_file_location("timing", Path(__file__).with_name("timing.py"))
    assert spec
    assert spec.loader
    timing = importlib.util.module_from_spec(spec)
    sys.modules["timing"] = timing
    spec.loader.exec_module(timing)
    *args, cotangent = (jnp.asarray(x, dtype) for x, dtype in zip(arrays, case["types"]))

    def both(*args: Any) -> Any:
        out, pull = jax.vjp(function, *args)
        return out, *pull(cotangent.astype(out.dtype))

    run = both if case["direction"] == "forward+backward" else function
    results = [np.asarray(x, np.float32) for x in jax.tree.leaves(jax.jit(run)(*args))]
    time = timing.in_turns({"own": timing.repeated(run, tuple(args))})["own"]
    return results, time.seconds, time.spread


def by_torch(function: Function, arrays: list[np.ndarray], case: Facts) -> tuple[list[np.ndarray], float, float]:
    """Results, and the median of the seconds that Triton takes."""
    import torch
    import triton

    tensors = [torch.tensor(x, device="cuda", dtype=getattr(torch, name)) for x, name in zip(arrays, case["types"])]
    args, cotangent = [x.requires_grad_() for x in tensors[:-1]], tensors[-1]

    def run() -> tuple[Any, ...]:
        out = function(*args)
        backward = case["direction"] == "forward+backward"
        return (out, *torch.autograd.grad(out, args, cotangent.to(out.dtype))) if backward else (out,)

    results = [x.detach().float().cpu().numpy() for x in run()]
    return results, triton.testing.do_bench(run, return_mode="median") / 1e3, 0.0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
