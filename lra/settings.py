"""Settings of JAX, XLA, Flax and NumPy from outside that decide numbers: environment variables, and callers' code.

Settings that JAX can set for a while are fixed here, so that nobody's settings change a run. All others that may change
a bit belong to the identity of a run, as section `environment` of its configuration. docs/configuration.md lists both.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flax
import jax

import lra
from lra.errors import UserError
from lra.models.kernels import backends

Settings = tuple[tuple[str, Any], ...]  # names and values, sorted by name

# by the name of JAX's context manager; the values are JAX's defaults
FIXED: dict[str, Any] = {
    # decide numbers
    "enable_x64": False,
    "default_prng_impl": "threefry2x32",
    "threefry_partitionable": True,
    "enable_custom_prng": False,
    "default_matmul_precision": None,
    "numpy_dtype_promotion": "standard",
    "softmax_custom_jvp": False,
    "allow_f16_reductions": True,
    "disable_jit": False,
    # raise where a run must go on: a seed that diverges is a result
    "debug_nans": False,
    "debug_infs": False,
    "debug_key_reuse": False,
    "numpy_rank_promotion": "allow",
    "legacy_prng_key": "allow",
    "check_tracer_leaks": False,
    "transfer_guard": "allow",
    "no_execution": False,
    "no_tracing": False,
}
VARIABLES = (  # environment variables that XLA and its libraries, or NumPy, read by themselves
    "XLA_FLAGS",
    "LIBTPU_INIT_ARGS",
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
)
FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")  # those that are lists of flags
# JAX's settings without a context manager. Others than these count as changed if their environment variable is set.
DEFAULTS = {
    "jax_random_seed_offset": 0,
    "jax_high_dynamic_range_gumbel": False,
    "eager_constant_folding": False,
    "jax_disable_most_optimizations": False,
    "jax_optimization_level": "UNKNOWN",
    "jax_exec_time_optimization_effort": 0.0,
    "jax_memory_fitting_effort": 0.0,
}
# no number depends on these: logs and dumps, tracebacks, caches, the transport between hosts, and which devices there
# are, since the record names them
HARMLESS = re.compile(
    r"--xla_(dump_|hlo_profile|force_host_platform_device_count).*"
    r"|jax_(.*log.*|.*dump.*|.*cache.*|.*traceback.*|.*timeout.*|.*cross_host.*|.*coordinat.*|.*distributed.*"
    r"|.*visible_devices|platforms|platform_name|default_device|check_proxy_envs|pprint_use_color|explain_.*"
    r"|export_.*|serialization_version|enable_preemption_service|array_garbage_collection_guard|enable_checks"
    r"|pallas_verbose_errors|captured_constants_.*|hlo_source_.*|source_url_schema|cpu_enable_async_dispatch"
    r"|transfer_guard.*|thread_guard|num_cpu_devices)"
    r"|FLAX_(PROFILE|FILTER_FRAMES|MAX_REPR_DEPTH)"
)


@contextlib.contextmanager
def fixed() -> Iterator[None]:
    """Holds the settings FIXED at their values in this thread."""
    with contextlib.ExitStack() as stack:
        for name, value in FIXED.items():
            if hasattr(jax, name):  # JAX drops some in time
                stack.enter_context(getattr(jax, name)(value))
        yield


def from_outside(variables: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process that may change a bit, are not fixed, and are not JAX's defaults.

    A backend that `backends.use` asks for counts as one.

    Args:
      variables: the environment variables.

    Raises:
      UserError: XLA_FLAGS names a file that cannot be read.
    """
    settings: dict[str, Any] = {name: variables[name].strip() for name in VARIABLES if variables.get(name, "").strip()}
    settings |= {name: flags(name, settings[name]) for name in FLAGS if name in settings}
    for name, value in jax.config.values.items():
        known = name.removeprefix("jax_") in FIXED or HARMLESS.fullmatch(name)
        changed = value != DEFAULTS[name] if name in DEFAULTS else name.upper() in variables
        if changed and not known:
            settings[name] = value if isinstance(value, int | float | str | None) else str(value)
    of_flax = [name for name in variables if name.isupper() and hasattr(flax.config, name.lower())]
    settings |= {name: variables[name] for name in of_flax if not HARMLESS.fullmatch(name)}
    if backend := backends.requested():
        settings["backend"] = backend
    plain = lambda value: ascii(value)[1:-1] if isinstance(value, str) else value
    return tuple(sorted((name, plain(value)) for name, value in settings.items() if value != ""))


def flags(name: str, text: str) -> str:
    """A list of flags in one notation: sorted, each flag once, without those that no number depends on.

    >>> flags("XLA_FLAGS", "--xla_b=1 --xla_dump_to=/tmp  --xla_a=2 --xla_b=3")
    '--xla_a=2 --xla_b=3'
    """
    if not text.startswith("-"):
        try:
            text = Path(text).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise UserError(f"{name}={text} names a file of flags that cannot be read ({error}); unset it") from error
    by_name = {flag.partition("=")[0]: flag for flag in text.split() if not HARMLESS.fullmatch(flag)}
    return " ".join(by_name[flag] for flag in sorted(by_name))


def require() -> None:
    """Ends what cannot work in this process before anything starts.

    Raises:
      UserError: JAX has no device, Flax has a setting under which no variant can be built, or the locale cannot name
        the folder of this program, whose files JAX names in every operation.
    """
    device()
    try:
        lra.__file__.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"this locale cannot name {lra.__file__!a}; set PYTHONUTF8=1") from error
    if flax.config.flax_hijax_variable:
        raise UserError("FLAX_HIJAX_VARIABLE is set: no variant can be built under this setting of Flax; unset it")


def devices() -> list[jax.Device]:
    """The devices that this process computes on, all of one kind.

    Raises:
      UserError: there is none that the environment variable JAX_PLATFORMS admits.
    """
    try:
        return backends.devices()
    except Exception as error:  # JAX raises RuntimeError, or AssertionError without words
        platforms = jax.config.values["jax_platforms"]
        asked = f"JAX_PLATFORMS={platforms}" if platforms else "the default device"
        reason = " ".join(str(error).split("(set JAX_PLATFORMS")[0].split()) or "no such device is at hand"
        raise UserError(f"{asked}: JAX cannot use it ({reason[:200]}); unset it, or say JAX_PLATFORMS=cpu") from error


def device() -> jax.Device:
    """One of the devices, for what is alike on all of them. Raises as `devices`."""
    return devices()[0]


def words(settings: Settings) -> str:
    """Settings as one would write them in a shell.

    >>> words((("XLA_FLAGS", "--xla_a=1"), ("jax_random_seed_offset", 3)))
    "XLA_FLAGS='--xla_a=1' JAX_RANDOM_SEED_OFFSET=3"
    """
    return " ".join(f"{name.upper()}={value!r}" for name, value in settings) or "no settings from outside"
