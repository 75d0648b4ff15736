"""The check of the compute type: what training in bfloat16 comes to, beside training in float32."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lra.checks.check import InNoLayer, check
from lra.checks.compare import not_finite
from lra.checks.long import Long, at_length
from lra.checks.subject import MASK, SOME, Mask, Subject, Tokens, Tree, X, normal, quick_jit
from lra.models.precision import ATTENTION, narrowed

# The project's own variants measure at most 0.033 (reformer, where a rounded token falls into another bucket; 0.009
# elsewhere), 0.10 (cosformer, where it leaves a single rectified feature; 0.07 elsewhere), and 0.002.
OUTPUTS = 0.05
GRADIENTS = 0.15
LOSS = 0.01
SMALL = 0.05  # of the largest gradient: where a parameter's own is smaller, it may be nothing but rounding errors
STEPS, LAST, RATE = 100, 20, 1e-2


class Training(NamedTuple):
    """What some steps of training come to, all in float32. The first axis is the step.

    Attributes:
      gradients: those of parameters and tokens by name.
    """

    losses: Float[np.ndarray, " steps"]
    outputs: Float[np.ndarray, "steps batch length dim"]
    gradients: dict[str, Float[np.ndarray, "steps ..."]]


@check(
    "bfloat16",
    "computes and trains in bfloat16 as in float32: outputs to 5 %, gradients to 15 %, and after a hundred steps the "
    "loss to 1 % of the first",
    "it is refused, or trains worse, under train.compute_type = 'bfloat16'",
)
def bfloat16(s: Subject) -> Iterator[str]:
    names = {str(name) for path, _ in nnx.to_flat_state(s.params) for name in path}
    for name in s.variant.wide:
        if name not in names:
            yield InNoLayer(f"it declares that '{name}' stays in float32, and has no parameter or module of that name")
    other = Subject(s.variant, s.shape, s.options, seed=1)
    targets = 2 * np.asarray(s.compiled(other.params, X, MASK))  # which can be learned
    yield from lost_in_bfloat16(s, X[SOME], MASK[SOME], targets[SOME], STEPS)
    yield from at_length(s, lost_in_a_long_row)


def lost_in_a_long_row(long: Long, seed: int) -> Iterator[str]:
    x, mask = long.tokens(seed)[:, : long.middle], long.mask()[:, : long.middle]
    targets = 1 + normal(*x.shape, seed=6)  # not 0 in the mean, so that the gradients of tokens add up
    return lost_in_bfloat16(long.subject, x, mask, targets, 1)


def lost_in_bfloat16(s: Subject, x: Tokens, mask: np.ndarray, targets: Tokens, steps: int) -> Iterator[str]:
    """The findings on the outputs and gradients of a layer, and on its losses in training."""
    exact, rough = (trained(s, x, mask, targets, steps, dtype) for dtype in (jnp.float32, jnp.bfloat16))
    if wrong := not_finite(rough.outputs[0], mask):
        yield wrong
        return
    if (error := size((rough.outputs - exact.outputs)[0][mask]) / size(exact.outputs[0][mask])) > OUTPUTS:
        yield f"the outputs are {error:.0%} away from those in float32"
    largest = max(size(gradient[0]) for gradient in exact.gradients.values())
    for name, gradient in rough.gradients.items():
        expected = exact.gradients[name][0]
        if not np.isfinite(gradient[0]).all():
            yield f"the gradient of {name} is not finite"
        elif (error := size(gradient[0] - expected) / max(size(expected), SMALL * largest)) > GRADIENTS:
            yield f"the gradient of {name} is {error:.0%} away from that in float32"
    if steps == 1 or not np.isfinite(exact.losses).all():
        return
    more = (rough.losses[-LAST:].mean() - exact.losses[-LAST:].mean()) / exact.losses[0]
    if not more <= LOSS:
        yield f"after {steps} steps of training, the loss is {more:.1%} of the first loss above that in float32"


def size(x: np.ndarray) -> float:
    """The root of the mean square; not 0, so that one may divide by it."""
    return float(np.sqrt(np.square(x, dtype=float).mean())) or 1e-30


def trained(s: Subject, x: Tokens, mask: Mask, targets: Tokens, steps: int, dtype: DTypeLike) -> Training:
    """Trains a layer in a compute type, by Adam, to give the targets at the real tokens."""
    optimizer = optax.adam(RATE)

    def loss_of(params: Tree, x: Array) -> tuple[Array, Array]:
        narrow = narrowed(nnx.State({ATTENTION: params}), dtype, s.variant.wide).get(ATTENTION, params)
        y = s.f(narrow, x.astype(dtype), mask).astype(jnp.float32)
        return jnp.square(y - targets).mean(where=mask[..., None]), y

    def step(state: tuple[Tree, Tree], _: None) -> tuple[tuple[Tree, Tree], tuple[Array, Array, tuple[Tree, Array]]]:
        params, moments = state
        (loss, y), gradients = jax.value_and_grad(loss_of, (0, 1), has_aux=True)(params, jnp.asarray(x))
        updates, moments = optimizer.update(gradients[0], moments, params)
        return (optax.apply_updates(params, updates), moments), (loss, y, gradients)

    state = s.params, optimizer.init(s.params)
    _, (losses, outputs, (of_params, of_tokens)) = quick_jit(lambda state: jax.lax.scan(step, state, length=steps))(
        state
    )
    named = {".".join(map(str, path)): np.asarray(leaf.get_value()) for path, leaf in nnx.to_flat_state(of_params)}
    return Training(np.asarray(losses), np.asarray(outputs), {"the input": np.asarray(of_tokens)} | named)
