"""Compares what an implementation gives with what XLA gives in float32, output by output and gradient by gradient."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from lra.proof.call import Call

# By the narrowest type of the operands: the most that a result may be off (see `off`). An error of 1 % is too much in
# every type; what rounding does is below a third of that.
TOLERANCES = {"float32": 1e-4, "complex64": 1e-4, "float16": 2e-3, "bfloat16": 6e-3}
ELEMENT = 20  # a single number may be off by so many times the tolerance

Results = Mapping[str, Array]


def function_of(call: Call, implementation: str, static: Any = None) -> Callable[[Any], Any]:
    """The op as a function of its operands, which have a leading axis of seeds if there are several."""
    run, static = call.load().run, static or call.static
    one = lambda x: run(implementation, static, x)
    return one if call.seeds == 1 else jax.vmap(one)


def with_gradients(function: Callable[[Any], Any]) -> Callable[[Any], dict[str, jax.Array]]:
    """A function of operands that returns the outputs and the gradients of all real and complex operands, by name.

    The gradients are those of a fixed random weighting of all outputs.
    """

    def named(x: Any) -> dict[str, jax.Array]:
        inexact, rest = apart(x)
        out, pull = jax.vjp(lambda inexact: function(joined(x, inexact, rest)), inexact)
        leaves, tree = jax.tree.flatten(out)
        weights = [normal(leaf, index) for index, leaf in enumerate(leaves)]
        (gradients,) = pull(jax.tree.unflatten(tree, weights))
        outputs = {f"output {index}" if index else "output": leaf for index, leaf in enumerate(leaves)}
        return outputs | {f"gradient of {name}": leaf for name, leaf in gradients.items()}

    return named


def apart(x: Any) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """The operands that have gradients, and the others, by name."""
    leaves = {name: leaf for name, leaf in x._asdict().items() if leaf is not None}
    inexact = {name: leaf for name, leaf in leaves.items() if jnp.issubdtype(leaf.dtype, jnp.inexact)}
    return inexact, {name: leaf for name, leaf in leaves.items() if name not in inexact}


def joined(like: Any, inexact: Mapping[str, jax.Array], rest: Mapping[str, jax.Array]) -> Any:
    """Operands of those that `apart` has taken apart."""
    return like._replace(**inexact, **rest)


def normal(like: jax.Array, index: int) -> jax.Array:
    """Random numbers of an array's shape and type."""
    key = jax.random.key(index)
    kind = like.dtype if jnp.issubdtype(like.dtype, jnp.complexfloating) else jnp.float32
    return jax.random.normal(key, like.shape, kind).astype(like.dtype)


def widened(call: Call, x: Any) -> tuple[Any, Any]:
    """`static` and the operands, with every real number in float32."""
    wide = lambda leaf: leaf.astype(np.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
    static = call.static
    if "dtype" in static._fields and jnp.issubdtype(static.dtype, jnp.floating):
        static = static._replace(dtype=jnp.float32)
    return static, jax.tree.map(wide, x)


def tolerance(call: Call) -> float:
    """How much the results of a call may be off."""
    inexact = apart(call.operands)[0].values()
    return max(TOLERANCES[leaf.dtype.name] for leaf in inexact if leaf.dtype.name in TOLERANCES)


def wrong(given: Results, expected: Results, most: Mapping[str, float], seeds: int) -> str:
    """What is wrong with an implementation's results, in words; empty if nothing is.

    Args:
      most: how much each result may be off.
      seeds: the leading axis of all arrays, if there are several.
    """
    for name in sorted(expected, key=lambda name: (not name.startswith("output"), name)):
        mine, values = given[name], expected[name]
        if mine.shape != values.shape:
            return f"the {name} has shape {mine.shape}, not {values.shape}"
        lost, more = lost_and_more(mine, values)
        if lost:
            places = np.argwhere(np.isfinite(values) & ~np.isfinite(mine))
            return f"the {name} is not finite at {places[0].tolist()} and {len(places) - 1:,} more places"
        if more:
            return f"the {name} is finite where XLA's is not"
        if (error := off(mine, values, seeds)) > most[name]:
            return f"the {name} is off by {100 * error:.2g} %, {100 * most[name]:.2g} % are allowed"
    return ""


@jax.jit
def lost_and_more(given: Inexact[Array, "*shape"], expected: Inexact[Array, "*shape"]) -> tuple[Array, Array]:
    """Whether an array has a number less, and whether it has one more, than is expected."""
    is_there, should_be = jnp.isfinite(given), jnp.isfinite(expected)
    return (should_be & ~is_there).any(), (is_there & ~should_be).any()


def off(given: Inexact[Array, "*shape"], expected: Inexact[Array, "*shape"], seeds: int = 1) -> float:
    """How much an array is off, as a share: the largest of all examples. Where it is not finite, it is not compared.

    For an example it is the root of the mean square of the differences, over that of the numbers expected, or ELEMENTth
    of the largest single difference, if that is more. An example whose numbers are small beside those of the others is
    not held to its own size: a hundredth of the others' squares is added.
    """
    leading = 1 if seeds == 1 else 2  # the axes of seeds and examples
    count = int(np.prod(expected.shape[:leading])) if expected.ndim >= leading + 2 else 1
    return float(_off(given, expected, count)) if expected.size else 0.0


@functools.partial(jax.jit, static_argnums=2)
def _off(given: Array, expected: Array, count: int) -> Array:
    finite = jnp.isfinite(expected)
    target = jnp.where(finite, expected, 0).reshape(count, -1)
    apart = jnp.abs(jnp.where(finite, given, 0).reshape(count, -1) - target)
    target = jnp.abs(target)
    largest = jnp.maximum(target.max(), jnp.finfo(jnp.float32).tiny)
    target, apart = target / largest, apart / largest  # squares of small numbers would be 0
    square = jnp.square(target).mean(1)
    size = jnp.sqrt(square + square.mean() / 100)
    size = jnp.maximum(size, jnp.finfo(jnp.float32).tiny)
    single = (apart / (target + size[:, None])).max() / ELEMENT
    return jnp.maximum((jnp.sqrt(jnp.square(apart).mean(1)) / size).max(), single)
