"""Softmax attention in XLA. No score outlives its part: the backward pass recomputes the scores from the denominators.

The work is that of the tiles which the pattern leaves. Keys and values are gathered to the lines of queries that see
them. Their gradients go back by a table too: a scatter would be slow, and would add up in no fixed order.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from lra.models.kernels.blocks import from_blocks, into_blocks, pad_to_multiple
from lra.models.kernels.softmax import dropout
from lra.models.kernels.softmax.operands import Gradient, Kept, Operands, Static
from lra.models.kernels.softmax.schedule import Part, Schedule, Table, schedule
from lra.models.kernels.turns import cache, in_turn


def admits(static: Static, x: Operands) -> None:
    """XLA admits all operands."""


def forward(
    static: Static, x: Operands
) -> tuple[Float[Array, "batch queries heads value_dim"], Float[Array, "batch queries heads"]]:
    order = order_of(static, x)
    return turns(lambda x: forward_at_once(static, order, *x), order, (x,))


def backward(static: Static, kept: Kept, dy: Gradient) -> tuple[Array, Array, Array, Array | None]:
    order = order_of(static, kept.x)
    return turns(lambda x: backward_at_once(static, order, Kept(*x[:2]), x[2]), order, (*kept, dy))


def order_of(static: Static, x: Operands) -> Schedule:
    whole = x.allowed is not None or x.bias is not None
    return schedule(static.pattern, x.q.shape[1], x.k.shape[1], whole, cache())


def turns(f: Callable[[Any], Any], order: Schedule, x: tuple[Any, ...]) -> Any:
    """f(x) for a few examples and heads at a time. Operands that hold all pairs are in memory anyway: with them, all
    are computed at once.
    """
    operands, *more = x
    if operands.allowed is not None or operands.bias is not None:
        return f(x)
    seeds = operands.seeds

    def part(x: Any, _: None) -> Any:
        operands, *more = x
        return f((operands if seeds is None else operands._replace(seeds=operands.seeds[:, 0]), *more))

    columns = operands if seeds is None else operands._replace(seeds=seeds[:, None])
    return in_turn(part, order.scores, (columns, *more))


def forward_at_once(static: Static, order: Schedule, x: Operands) -> tuple[Array, Array]:
    tiled = in_tiles(order, x)

    def part(carry: None, which: Part) -> tuple[None, tuple[Array, Array]]:
        _, _, v, logits, drop = scores(static, order, tiled, which)
        top = logits.max(-1, keepdims=True)
        top = jnp.where(jnp.isfinite(top), top, 0)  # -inf - -inf is NaN
        weights = jnp.exp(logits - top)
        total = weights.sum(-1, keepdims=True)
        seen = total > 0
        total = jnp.where(seen, total, 1)
        out = product("bnhqk,bnkhe->bnhqe", drop(weights).astype(v.dtype), v) / total
        lse = jnp.where(seen, jnp.log(total) + top, -jnp.inf)[..., 0]
        return carry, (jnp.swapaxes(out.astype(v.dtype), 2, 3), jnp.swapaxes(lse, 2, 3))

    results = [over_parts(part, None, group.parts)[1] for group in order.groups]
    out, lse = (take(jnp.concatenate(lines, 1), order.place) for lines in zip(*results))
    return from_blocks(out, x.q.shape[1]), from_blocks(lse, x.q.shape[1])


def backward_at_once(
    static: Static, order: Schedule, kept: Kept, dy: Gradient
) -> tuple[Array, Array, Array, Array | None]:
    x = kept.x
    tiled = in_tiles(order, x)
    rows = [into_blocks(y, order.block_q) for y in (kept.lse, dy.delta, dy.d_out)]
    by_row = lambda y: jnp.swapaxes(y, 2, 3)[..., None]
    scale = scale_of(x.q)

    def part(place: Table, sums: Any, which: Part) -> tuple[Any, list[Array]]:
        q, k, v, logits, drop = scores(static, order, tiled, which)
        lse, delta, d_out = (take(y, which.lines) for y in rows)
        p = jnp.exp(logits - by_row(lse))
        d_p = drop(product("bnqhe,bnkhe->bnhqk", d_out, v))
        d_logits = p * (d_p - by_row(delta))
        d_products = d_logits.astype(q.dtype)
        d_k = product("bnhqk,bnqhd->bnkhd", d_products, q) * scale
        d_v = product("bnhqk,bnqhe->bnkhe", drop(p).astype(d_out.dtype), d_out)
        sums = [y + fold(z, which.folds, place, order.block_k) for y, z in zip(sums, (d_k, d_v))]
        d_q = product("bnhqk,bnkhd->bnhqd", d_products, k) * scale
        lines = [jnp.swapaxes(d_q.astype(q.dtype), 2, 3)]
        if x.bias is not None:
            one = [axis for axis, size in ((0, x.bias.shape[0]), (2, x.bias.shape[1])) if size == 1]
            lines.append(d_logits.sum(one, keepdims=True))
        return sums, lines

    sums, results = [jnp.zeros(y.shape, jnp.float32) for y in (tiled.k, tiled.v)], []
    for group in order.groups:
        sums, lines = over_parts(lambda *args, place=group.place: part(place, *args), sums, group.parts)
        results.append(lines)
    d_q, *d_pairs = (take(jnp.concatenate(lines, 1), order.place) for lines in zip(*results))
    d_bias = None
    if x.bias is not None:
        d_bias = joined(jnp.moveaxis(d_pairs[0], 1, 2), 2)[:, :, : x.q.shape[1]].astype(x.bias.dtype)
    d_k, d_v = (from_blocks(y, x.k.shape[1]).astype(of.dtype) for y, of in zip(sums, (x.k, x.v)))
    return from_blocks(d_q, x.q.shape[1]), d_k, d_v, d_bias


def in_tiles(order: Schedule, x: Operands) -> Operands:
    """The operands in tiles: [batch, tiles, block, ...], pairs [batch, lines, ..., keys]."""
    keys = lambda y: into_blocks(y, order.block_k)

    def lines(pairs: Array | None) -> Array | None:
        if pairs is None:
            return None
        y = pad_to_multiple(pairs, order.block_q, 2)
        return jnp.moveaxis(y.reshape(*y.shape[:2], -1, order.block_q, y.shape[3]), 2, 1)

    return x._replace(
        q=into_blocks(x.q, order.block_q), k=keys(x.k), v=keys(x.v), mask=None if x.mask is None else keys(x.mask),
        allowed=lines(x.allowed), bias=lines(x.bias),
    )  # fmt: skip


def scores(
    static: Static, order: Schedule, x: Operands, part: Part
) -> tuple[Array, Array, Array, Float[Array, "batch lines heads queries keys"], Callable[[Array], Array]]:
    """The queries, keys and values of a part, [batch, lines, ..., heads, width]; its logits; and a function that drops
    from an array like them.
    """
    q = take(x.q, part.lines)
    beside = lambda y: joined(take(y, part.tiles), 2)
    k, v = beside(x.k), beside(x.v)
    logits = product("bnqhd,bnkhd->bnhqk", q, k) * scale_of(q)
    if x.bias is not None:
        logits += take(x.bias, part.lines)
    for seen in (
        None if part.kind is None else seen_by_pattern(order.masks, part.kind),
        None if x.mask is None else jnp.swapaxes(beside(x.mask), 2, 3)[:, :, :, None],
        None if x.allowed is None else take(x.allowed, part.lines),
    ):
        if seen is not None:
            logits = jnp.where(seen, logits, -jnp.inf)
    if x.seeds is None:
        return q, k, v, logits, lambda y: y
    row = positions(part.lines, order.block_q)
    column = joined(positions(part.tiles, order.block_k), 1)
    keep = dropout.kept(x.seeds[:, None, :, None, None], row[:, None, :, None], column[:, None, None, :], static.rate)
    return q, k, v, logits, lambda y: jnp.where(keep, y / (1 - static.rate), 0)


def seen_by_pattern(masks: np.ndarray, kind: Int[Table, "lines width"]) -> Array:
    """[lines or 1, 1, queries, keys of all tiles of a line]"""
    if isinstance(kind, np.ndarray) and (kind == kind[0]).all():
        kind = kind[:1]
    seen = masks[kind] if isinstance(kind, np.ndarray) else jnp.asarray(masks)[kind]
    return jnp.asarray(seen).swapaxes(1, 2).reshape(len(kind), 1, masks.shape[1], -1)


def take(x: Array, table: Int[Table, "*shape"]) -> Array:
    """The tiles of a table: [batch, tiles, ...] to [batch, *shape, ...]."""
    tiles = x.shape[1]
    if tiles == table.size == 1 or (isinstance(table, np.ndarray) and np.array_equal(table.ravel(), np.arange(tiles))):
        return x.reshape(len(x), *table.shape, *x.shape[2:])
    return x.at[:, table].get(mode="promise_in_bounds")


def fold(
    x: Float[Array, "batch lines keys heads width"], folds: Sequence[Table], place: Table, block: int
) -> Float[Array, "batch tiles block heads width"]:
    """The sums of all that belongs to one key tile, for each of them: the transpose of `take`."""
    if len(place) == 1:
        return x.sum(1, keepdims=True)
    x = into_blocks(joined(x, 1), block)
    sums = [x.at[:, table].get(mode="fill", fill_value=0).sum(2) for table in folds]
    return take(jnp.concatenate(sums, 1), place)


def over_parts(f: Callable[[Any, Part], tuple[Any, Any]], carry: Any, parts: Part) -> tuple[Any, Any]:
    """The last carry of f, and the results of f for all lines, [batch, lines, ...]."""
    if len(parts.lines) == 1:
        return f(carry, jax.tree.map(lambda table: table[0], parts))
    carry, results = lax.scan(f, carry, jax.tree.map(jnp.asarray, parts))
    return carry, jax.tree.map(lambda y: joined(jnp.moveaxis(y, 0, 1), 1), results)


def joined(x: Array, axis: int) -> Array:
    """x with this axis and the next as one."""
    return x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])


def positions(tiles: Int[Table, "*shape"], block: int) -> Int[Array, "*shape block"]:
    return jnp.asarray(tiles, jnp.int32)[..., None] * block + jnp.arange(block, dtype=jnp.int32)


def product(equation: str, x: Array, y: Array) -> Array:
    return jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)


def scale_of(q: Array) -> float:
    return max(q.shape[-1], 1) ** -0.5
