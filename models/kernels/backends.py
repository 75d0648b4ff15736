"""Which implementation of an op runs: XLA's, or a Pallas kernel where it was asked for or has passed its tests."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import jax
from jax.custom_batching import custom_vmap

NAMES = ("xla", "mosaic_tpu", "mosaic_gpu")

# (op, beginning of the device's kind) to the backends that are tried before XLA. An entry means that the tests and
# the benchmark of docs/kernels.md were run on that device: none has been so far.
DEFAULTS: dict[tuple[str, str], tuple[str, ...]] = {}


class Backend(NamedTuple):
    """`interpret`: run the kernel's instructions one by one on any machine, for tests."""

    name: str = "xla"
    interpret: bool = False


_asked_for: ContextVar[Backend | None] = ContextVar("backend", default=None)


@contextmanager
def use(name: str, interpret: bool = False) -> Iterator[None]:
    """All ops that are traced inside run on this backend, unless their own `backend` says otherwise.

    Tracing is what counts: a function that jit has traced before stays on the backend of that time.
    """
    token = _asked_for.set(Backend(known(name), interpret))
    try:
        yield
    finally:
        _asked_for.reset(token)


def known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"backend '{name}' is none of {', '.join(NAMES)}")
    return name


def choose(op: str, backend: str | None, admits: Mapping[str, Callable[[], None]]) -> Backend:
    """The backend asked for, by name or by `use`, or else the first default of this device that can.

    Args:
      admits: for each backend of the op, a function that raises NotImplementedError, with the reason, if it cannot.

    Raises NotImplementedError: the backend asked for cannot, or the op has no such backend.
    """
    asked_for = _asked_for.get()
    if backend is not None:
        asked_for = Backend(known(backend), asked_for.interpret if asked_for else False)
    if asked_for is not None:
        if asked_for.name not in admits:
            raise NotImplementedError(f"{op} has no backend '{asked_for.name}', only {', '.join(admits)}")
        admits[asked_for.name]()
        return asked_for
    kind = jax.devices()[0].device_kind
    for (of, beginning), names in DEFAULTS.items():
        if of == op and kind.startswith(beginning):
            for name in names:
                try:
                    admits[name]()
                except NotImplementedError:
                    continue
                return Backend(name)
    return Backend()


def folds_vmap(f: Callable) -> Callable:
    """f, of arrays (or None) with a batch as first axis, all of one size, to arrays likewise: under vmap the mapped
    axis joins the batch, where that of a Pallas call with prefetched scalars would become a loop.
    """
    g = custom_vmap(f)

    @g.def_vmap
    def rule(size, mapped, *args):  # type: ignore[no-untyped-def]
        def fold(x, is_mapped):  # type: ignore[no-untyped-def]
            if not is_mapped:
                x = jax.numpy.broadcast_to(x, (size, *x.shape))
            return x.reshape(-1, *x.shape[2:])

        out = g(*(jax.tree.map(fold, x, m) for x, m in zip(args, mapped)))
        out = jax.tree.map(lambda x: x.reshape(size, -1, *x.shape[1:]), out)
        return out, jax.tree.map(lambda _: True, out)

    return g
