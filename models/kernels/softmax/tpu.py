"""Softmax attention in Mosaic TPU kernels: forward, and backward once by queries and once by keys.

Arrays are [batch, heads, head_dim, length] and tiles of logits [keys, queries]: the length fills the 128 lanes whatever
the head dimension, maxima and sums run over sublanes, and what belongs to a query, like its denominator, is a row.

A grid step is one tile for one or more heads. The tiles of a query (by keys: of a key) come one after the other and add
up in scratch memory (Dao et al. 2022, 2205.14135; backward by queries and by keys apart: Dao 2023, 2307.08691).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from lra.models.kernels.softmax.dropout import kept
from lra.models.kernels.softmax.pattern import Pattern
from lra.models.kernels.softmax.tpu_plan import Plan, plan, round_up

if TYPE_CHECKING:
    from lra.models.kernels.softmax.op import Operands, Static

FLOOR = -1e30  # below all logits, and above UNSEEN, so that exp(UNSEEN - FLOOR) is 0
UNSEEN = -2e30


def admits(x: "Operands", pattern: Pattern) -> None:
    """Raises NotImplementedError, with the reason, if the kernels cannot."""
    if x.bias is not None:
        raise NotImplementedError("bias: its gradient is a matrix of logits, which the kernels never hold")
    types = {y.dtype.name for y in (x.q, x.k, x.v)}
    if len(types) > 1 or not types <= {"bfloat16", "float32"}:
        raise NotImplementedError(f"{', '.join(sorted(types))}: all must be bfloat16, or all float32")
    plan_for(x, pattern)


def plan_for(x: "Operands", pattern: Pattern) -> Plan:
    widest = max(x.q.shape[-1], x.v.shape[-1]) * x.q.dtype.itemsize
    return plan(pattern, x.q.shape[1], x.k.shape[1], x.q.shape[2], widest)


def forward(
    static: "Static", x: "Operands"
) -> tuple[Float[Array, "batch queries heads value_dim"], Float[Array, "batch queries heads"]]:
    value_dim = x.v.shape[-1]
    scratch = [(1, jnp.float32), (1, jnp.float32), (value_dim, jnp.float32)]
    outs = [(value_dim, x.v.dtype), (1, jnp.float32)]
    out, lse = visit(forward_kernel, static, x, False, {}, outs, scratch)
    return out, lse[..., 0]


def backward(
    static: "Static",
    x: "Operands",
    lse: Float[Array, "batch queries heads"],
    delta: Float[Array, "batch queries heads"],
    d_out: Float[Array, "batch queries heads value_dim"],
) -> tuple[Array, Array, Array, None]:
    """lse: of `forward`, 0 for a query without a key; delta: sum over values of out d_out, less what reaches lse."""
    head_dim, value_dim = x.q.shape[-1], x.v.shape[-1]
    of_queries = {"lse": lse[..., None], "delta": delta[..., None], "d_out": d_out.astype(x.v.dtype)}
    (d_q,) = visit(d_queries_kernel, static, x, False, of_queries, [(head_dim, x.q.dtype)], [(head_dim, jnp.float32)])
    outs = [(head_dim, x.k.dtype), (value_dim, x.v.dtype)]
    d_k, d_v = visit(d_keys_kernel, static, x, True, of_queries, outs, [(n, jnp.float32) for n, _ in outs])
    return d_q, d_k, d_v, None


class Kernel(NamedTuple):
    """What is done when a line begins, with a head's tile of logits, and at the line's end."""

    start: Callable[[], None]
    add: Callable[[int, Array, Callable[[Array], Array]], None]  # head, logits [keys, queries], dropout
    finish: Callable[[], None]


def forward_kernel(x: dict[str, Any], out: Any, lse: Any, top: Any, total: Any, acc: Any) -> Kernel:
    def start() -> None:
        top[...] = jnp.full_like(top, FLOOR)
        total[...] = jnp.zeros_like(total)
        acc[...] = jnp.zeros_like(acc)

    def add(n: int, s: Array, drop: Callable[[Array], Array]) -> None:
        now = jnp.maximum(top[n], s.max(0, keepdims=True))
        p, fade = jnp.exp(s - now), jnp.exp(top[n] - now)
        top[n] = now
        total[n] = fade * total[n] + p.sum(0, keepdims=True)
        acc[n] = fade * acc[n] + dot(x["v"][n], drop(p), 1, 0)

    def finish() -> None:
        alone = total[...] == 0
        denominator = jnp.where(alone, 1, total[...])
        out[...] = (acc[...] / denominator).astype(out.dtype)
        lse[...] = jnp.where(alone, -jnp.inf, top[...] + jnp.log(denominator))

    return Kernel(start, add, finish)


def d_queries_kernel(x: dict[str, Any], d_q: Any, acc: Any) -> Kernel:
    def start() -> None:
        acc[...] = jnp.zeros_like(acc)

    def add(n: int, s: Array, drop: Callable[[Array], Array]) -> None:
        _, d_s = d_logits(x, n, s, drop)
        acc[n] += dot(x["k"][n], d_s, 1, 0)

    def finish() -> None:
        d_q[...] = (acc[...] * scale(x)).astype(d_q.dtype)

    return Kernel(start, add, finish)


def d_keys_kernel(x: dict[str, Any], d_k: Any, d_v: Any, acc_k: Any, acc_v: Any) -> Kernel:
    def start() -> None:
        acc_k[...] = jnp.zeros_like(acc_k)
        acc_v[...] = jnp.zeros_like(acc_v)

    def add(n: int, s: Array, drop: Callable[[Array], Array]) -> None:
        p, d_s = d_logits(x, n, s, drop)
        acc_v[n] += dot(x["d_out"][n], drop(p), 1, 1)
        acc_k[n] += dot(x["q"][n], d_s, 1, 1)

    def finish() -> None:
        d_k[...] = (acc_k[...] * scale(x)).astype(d_k.dtype)
        d_v[...] = acc_v[...].astype(d_v.dtype)

    return Kernel(start, add, finish)


def d_logits(x: dict[str, Any], n: int, s: Array, drop: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Probabilities of head n, and the gradient of its logits."""
    p = jnp.exp(s - x["lse"][n])
    return p, p * (drop(dot(x["v"][n], x["d_out"][n], 0, 0)) - x["delta"][n])


def dot(a: Array, b: Array, axis_a: int, axis_b: int) -> Array:
    """Of two matrices, along these axes, in float32; b, which may be an intermediate result, in the type of a."""
    exact = lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    axes = (((axis_a,), (axis_b,)), ((), ()))
    return lax.dot_general(a, b.astype(a.dtype), axes, precision=exact, preferred_element_type=jnp.float32)


def scale(x: dict[str, Any]) -> float:
    return x["q"].shape[-2] ** -0.5


class Tables(NamedTuple):
    """In scalar memory: a schedule; for each example the tiles up to its last real key; for each head a seed."""

    line: Any
    index: Any
    kind: Any
    real: Any
    seeds: Any


def visit(
    kernel: Callable[..., Kernel],
    static: "Static",
    x: "Operands",
    by_keys: bool,
    of_queries: dict[str, Array],
    outs: list[tuple[int, Any]],
    scratch: list[tuple[int, Any]],
) -> list[Array]:
    """Runs a kernel over the tiles of a pattern, in lines of keys or of queries.

    Args:
      of_queries: [batch, queries, heads, n], more for the kernel than q, k and v.
      outs, scratch: the size n and type of [batch, line's tokens, heads, n].
    """
    batch, queries, heads, _ = x.q.shape
    keys = x.k.shape[1]
    p = plan_for(x, static.pattern)
    schedule = p.by_keys if by_keys else p.by_queries
    steps = len(schedule.line)

    def place(b: Any, r: Any, t: Any, tables: Tables) -> tuple[Any, Any]:
        """The tile of queries and that of keys; without a real key, one that is in memory already."""
        here, there = r + tables.line[t], tables.index[t]
        if by_keys:
            return jnp.where(here < tables.real[b], there, 0), here
        return here, jnp.minimum(there, jnp.maximum(tables.real[b] - 1, 0))

    def block_of(y: Array, side: int) -> pl.BlockSpec:
        length = (p.block_q, p.block_k)[side]
        of_all = y.shape[1] == 1 and heads > 1  # heads share it

        def at(b, g, r, t, *tables):  # type: ignore[no-untyped-def]
            return b, 0 if of_all else g, 0, place(b, r, t, Tables(*tables))[side]

        return pl.BlockSpec((None, 1 if of_all else p.heads, y.shape[2], length), at)

    blocks: dict[str, tuple[Array, pl.BlockSpec]] = {}
    for name, y in {"q": x.q, **of_queries}.items():
        y = tokens_last(y, p.block_q)
        blocks[name] = y, block_of(y, 0)
    of_keys = {"k": x.k, "v": x.v} | ({} if x.mask is None else {"mask": x.mask[..., None].astype(jnp.float32)})
    for name, y in of_keys.items():
        y = tokens_last(y, p.block_k)
        blocks[name] = y, block_of(y, 1)
    if len(schedule.masks):
        at_kind = lambda b, g, r, t, *tables: (jnp.maximum(Tables(*tables).kind[t] - 1, 0), 0, 0)
        blocks["cut"] = jnp.asarray(schedule.masks), pl.BlockSpec((None, p.block_k, p.block_q), at_kind)
    if x.allowed is not None:
        y = jnp.swapaxes(x.allowed, 2, 3).astype(jnp.int8)
        y = jnp.pad(y, [(0, 0), (0, 0), (0, -keys % p.block_k), (0, -queries % p.block_q)])
        shared = [n == 1 for n in y.shape[:2]]

        def at_pair(b, g, r, t, *tables):  # type: ignore[no-untyped-def]
            q_tile, k_tile = place(b, r, t, Tables(*tables))
            return 0 if shared[0] else b, 0 if shared[1] else g, k_tile, q_tile

        blocks["allowed"] = y, pl.BlockSpec((None, 1 if shared[1] else p.heads, p.block_k, p.block_q), at_pair)

    def body(*refs):  # type: ignore[no-untyped-def]
        tables, y = Tables(*refs[:5]), refs[5]
        start, add, finish = kernel(y, *refs[6:])
        b, g, r, t = (pl.program_id(n) for n in range(4))
        line = tables.line[t]
        q_tile, k_tile = (tables.index[t], r + line) if by_keys else (r + line, tables.index[t])
        pl.when((t == 0) | (tables.line[jnp.maximum(t - 1, 0)] != line))(start)

        def tile(cut: bool) -> None:
            for n in range(p.heads):
                of_head = lambda name, n=n: y[name][n if y[name].shape[0] > 1 else 0]
                s = dot(y["k"][n], y["q"][n], 0, 0) * scale(y)
                if cut:
                    s = jnp.where(y["cut"][...] != 0, s, UNSEEN)
                if "mask" in y:
                    s = jnp.where(of_head("mask").T > 0, s, UNSEEN)
                if "allowed" in y:
                    s = jnp.where(of_head("allowed") != 0, s, UNSEEN)
                drop = lambda p: p
                if static.rate:
                    row = q_tile * p.block_q + lax.broadcasted_iota(jnp.int32, (1, p.block_q), 1)
                    column = k_tile * p.block_k + lax.broadcasted_iota(jnp.int32, (p.block_k, 1), 0)
                    stays = kept(tables.seeds[b * heads + g * p.heads + n], row, column, static.rate)
                    drop = lambda p, stays=stays: jnp.where(stays, p * (1 / (1 - static.rate)), 0)
                add(n, s, drop)

        real = k_tile < tables.real[b]
        if (schedule.kind == 0).any():
            pl.when(real & (tables.kind[t] == 0))(lambda: tile(cut=False))
        if (schedule.kind > 0).any():
            pl.when(real & (tables.kind[t] > 0))(lambda: tile(cut=True))
        pl.when((t == steps - 1) | (tables.line[jnp.minimum(t + 1, steps - 1)] != line))(finish)

    block, length = (p.block_k, keys) if by_keys else (p.block_q, queries)
    shapes = [jax.ShapeDtypeStruct((batch, heads, n, round_up(length, block)), dtype) for n, dtype in outs]
    results = pl.pallas_call(
        body,
        out_shape=shapes,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=len(Tables._fields),
            grid=(batch, heads // p.heads, schedule.repeats, steps),
            in_specs=[{name: spec for name, (_, spec) in blocks.items()}],
            out_specs=[block_of(shape, int(by_keys)) for shape in shapes],
            scratch_shapes=[pltpu.VMEM((p.heads, n, block), dtype) for n, dtype in scratch],
        ),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")),
        interpret=static.interpret,
    )(
        schedule.line,
        schedule.index,
        schedule.kind,
        real_tiles(x, p.block_k),
        jnp.zeros(1, jnp.int32) if x.seeds is None else x.seeds.reshape(-1),
        {name: y for name, (y, _) in blocks.items()},
    )
    return [y[..., :length].transpose(0, 3, 1, 2) for y in results]


def tokens_last(y: Array, block: int) -> Array:
    """[batch, length, heads, n] to [batch, heads, n, length], filled up with zeros to whole tiles."""
    return jnp.pad(y.transpose(0, 2, 3, 1), [(0, 0)] * 3 + [(0, -y.shape[1] % block)])


def real_tiles(x: "Operands", block_k: int) -> Array:
    """[batch]: how many tiles there are up to the one with the last real key of any head."""
    batch, keys = x.k.shape[:2]
    mask = jnp.ones((batch, keys), bool) if x.mask is None else x.mask.any(-1)
    return jnp.where(mask, jnp.arange(keys, dtype=jnp.int32) // block_k + 1, 0).max(1)
