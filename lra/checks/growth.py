"""Checks of the cost of a variant: growth of operations and memory with the length, and parameter counts."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lra.checks.check import DoesNotApply, check
from lra.checks.subject import Subject, quick_jit
from lra.models.attention import Shape, Variant
from lra.parameter_budget import PROTOCOL, REFERENCE, allowed_excess, excess, parameter_counts

OPERATIONS_AT = (8192, 16384)  # tokens; long enough that the highest power of the length dominates
MEMORY_AT = (2048, 4096)  # tokens
TOLERANCE = 0.2  # of the exponent
MOVES = ("broadcast_in_dim", "dynamic_slice", "dynamic_update_slice", "reshape", "squeeze", "transpose")  # of numbers


def exponent(cost: str) -> float:
    """The power of L in a cost such as "L^1.5 d". A logarithm is ignored, since it is within the tolerance.

    >>> exponent("L^1.5 d"), exponent("L log L")
    (1.5, 1.0)

    Raises:
      DoesNotApply: the cost names no power of L.
    """
    power = re.search(r"\bL\b(?:\^([\d.]+))?", cost)
    if not power:
        raise DoesNotApply(f"what is declared, '{cost}', names no power of L")
    return float(power[1] or 1)


def operations(jaxpr: Any) -> float:
    """The number of arithmetic operations of a traced program. The body of a loop counts once for each iteration.

    XLA's own cost analysis counts the body of a loop only once, so that attention in blocks would look linear.
    """
    total = 0.0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        sizes = [math.prod(getattr(variable.aval, "shape", ())) for variable in (*equation.invars, *equation.outvars)]
        name, parameters = equation.primitive.name, equation.params
        inner = [x for x in jax.tree.leaves(list(parameters.values()), is_leaf=is_jaxpr) if is_jaxpr(x)]
        if inner:
            counts = [operations(x) for x in inner]
            total += max(counts) if name == "cond" else parameters.get("length", 1) * sum(counts)
        elif name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * sizes[-1] * math.prod(shape[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            total += 2 * sizes[-1] * sizes[1] / max(equation.outvars[0].aval.shape[1], 1)
        elif name in ("fft", "sort"):
            total += 5 * max(sizes) * math.log2(max(*equation.invars[0].aval.shape, 2))
        elif name == "gather":
            total += sizes[-1]  # the elements that are read, not the whole operand
        elif name not in MOVES:
            total += max(sizes)
    return total


def largest(jaxpr: Any) -> int:
    """The numbers in the largest array of a traced program."""
    numbers = [0]
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        numbers += [math.prod(getattr(variable.aval, "shape", ())) for variable in equation.outvars]
        parts = jax.tree.leaves(list(equation.params.values()), is_leaf=is_jaxpr)
        numbers += [largest(part) for part in parts if is_jaxpr(part)]
    return max(numbers)


def is_jaxpr(x: object) -> bool:
    return hasattr(x, "eqns") or hasattr(x, "jaxpr")


def program(variant: Variant, shape: Shape, options: Any) -> tuple[Any, Any]:
    """A layer as a function of (params, rest, x) for one row of its maximal length, and abstract arguments for it."""
    graph: list[Any] = []

    def build() -> tuple[Any, Any]:
        subject = Subject(variant, shape, options, scatter=0.0)
        graph.append(subject)
        return subject.params, subject.rest

    params, rest = jax.eval_shape(build)
    mask = np.ones((1, shape.max_length), bool)
    f = lambda params, rest, x: graph[0].outputs(graph[0].layers(params, rest), x, mask)[-1]
    return f, (params, rest, jax.ShapeDtypeStruct((1, shape.max_length, shape.dim), jnp.float32))


def resized(s: Subject, length: int) -> tuple[Any, Any]:
    """The program of the layer of a subject at another length."""
    shape = Shape(16, 16, 2, length, layer=s.shape.layer, layers=s.shape.layers)
    return program(s.variant, shape, s.options)


def grows(declared: float, at_both: Sequence[float], what: str, exact: bool) -> Iterator[str]:
    """The finding if a number grows with another power of the length than declared.

    Args:
      declared: the declared power.
      at_both: the numbers at a length and at twice that length.
      what: the name of the numbers.
      exact: whether slower growth is a finding too.
    """
    small, large = (max(number, 1) for number in at_both)
    seen = math.log2(large / small)
    if seen > declared + TOLERANCE or (exact and seen < declared - TOLERANCE):
        yield f"{what} grow as L^{seen:.2f}, declared is L^{declared:g}"


@check(
    "operations",
    "the number of operations grows with the length as declared",
    "it is not as cheap as it says, or cheaper than the paper's",
)
def operations_grow(s: Subject) -> Iterator[str]:
    power = exponent(s.variant.cost)
    counts = []
    for length in OPERATIONS_AT:
        f, arguments = resized(s, length)
        counts.append(operations(jax.make_jaxpr(f)(*arguments)))
    yield from grows(power, counts, "operations", exact=True)


@check(
    "memory",
    "the memory of a training step grows with the length no faster than declared",
    "long sequences do not fit",
)
def memory_grows(s: Subject) -> Iterator[str]:
    power = exponent(s.variant.memory)
    sizes = []
    for length in MEMORY_AT:
        f, (params, rest, x) = resized(s, length)
        loss = lambda params, rest, x, f=f: jnp.square(f(params, rest, x)).sum()
        compiled = quick_jit(jax.grad(loss, (0, 2))).lower(params, rest, x).compile()
        memory = compiled.memory_analysis()
        if memory is None:
            raise DoesNotApply("this backend does not tell how much memory a program takes")
        sizes.append(memory.temp_size_in_bytes)
    yield from grows(power, sizes, "bytes", exact=False)


@check(
    "parameters",
    "on every task, protocol paper has at most 10 % more parameters than with the Transformer",
    "LRA's rule for its table is broken: a larger model is compared with smaller ones",
    once=True,
)
def parameters(s: Subject) -> Iterator[str]:
    counts = parameter_counts(s.variant.name, s.overrides)
    for task, share in excess(counts, parameter_counts(REFERENCE)).items():
        if share > allowed_excess():
            file = f"protocols/{PROTOCOL}/{task}/{s.variant.name}.gin beside its own"
            way_out = f"; narrow it in {file}" if s.variant.source and not s.variant.source.cell else ""
            yield f"{task}: {counts[task]:,} parameters, {share:+.1%} of the Transformer's{way_out}"
