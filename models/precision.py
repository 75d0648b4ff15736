"""The compute type: what a model computes in bfloat16 where a run asks for it, and what stays in float32.

Parameters, gradients, the state of the optimiser, and sums over tokens stay in float32. Where the loss is computed,
once a step, the parameters of matrix products are cast to the compute type, and so are the tokens. Norms, softmaxes,
decays and logits are computed in float32.
"""

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lra.errors import UserError

# Outside of a block's attention only the kernels of matrix products are cast. The gradients of all others are sums over
# every token of a batch, and rounding their values saves nothing.
WIDE = ("embedding", "positions", "cls", "scale", "bias")
ATTENTION = "attention"  # the component of a path below which a variant says what stays wide
BFLOAT16_SINCE = 8.0  # NVIDIA's compute capability


def narrowed(params: nnx.State, dtype: DTypeLike, wide: Collection[str] = ()) -> nnx.State:
    """The parameters as a model computes with them. Called inside a function that is differentiated, it gives gradients
    in float32.

    Args:
      params: those of a model in float32.
      dtype: the compute type.
      wide: names of parameters or modules of the variant that stay in float32.
    """
    if jnp.dtype(dtype) == jnp.float32:
        return params
    return nnx.map_state(
        lambda path, x: x if is_wide(path, wide) else jax.tree.map(lambda leaf: cast(leaf, dtype), x), params
    )


def is_wide(path: Collection[str | int], wide: Collection[str]) -> bool:
    """Whether a parameter of a model stays in float32.

    >>> is_wide(("encoder", "blocks", 0, "attention", "log_step"), ("log_step",))
    True
    """
    return bool({*path} & {*(wide if ATTENTION in path else WIDE)})


def cast(x: Array, dtype: DTypeLike) -> Array:
    """A number of float32 in the compute type; anything else as it is."""
    return x.astype(dtype) if x.dtype == jnp.float32 else x


class Linear(nnx.Linear):
    """`nnx.Linear` with its bias added in float32, so that the gradient of the bias, a sum over all tokens, is summed
    in float32.

    The output has the type of the input, or `preferred_element_type`.
    """

    def __call__(self, inputs: Float[Array, "... inputs"], out_sharding: Any = None) -> Float[Array, "... outputs"]:
        dtype = self.preferred_element_type or inputs.dtype
        last = (((inputs.ndim - 1,), (0,)), ((), ()))
        y = jax.lax.dot_general(
            inputs, self.kernel.get_value(), last, preferred_element_type=dtype, out_sharding=out_sharding
        )
        return y if self.bias is None else (y.astype(jnp.float32) + self.bias.get_value()).astype(dtype)


def require(dtype: DTypeLike, device: jax.Device) -> None:
    """Ends a run whose compute type the device lacks.

    A CPU has every type: XLA computes there in float32 and rounds.

    Raises:
      UserError: it does.
    """
    capability = getattr(device, "compute_capability", "")
    try:
        lacks = jnp.dtype(dtype) == jnp.bfloat16 and float(capability) < BFLOAT16_SINCE
    except ValueError:  # no GPU, or one of AMD, which has names for them: all that JAX supports have bfloat16
        return
    if lacks:
        raise UserError(
            f"{device.device_kind} (compute capability {capability}) has no bfloat16, which GPUs have since "
            f"{BFLOAT16_SINCE}; say --gin \"train.compute_type = 'float32'\""
        )
