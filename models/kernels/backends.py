"""Which backend an op gets, XLA or a Pallas kernel, and what the module of a backend has."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
from jax.custom_batching import custom_vmap

NAMES = ("xla", "plain", "mosaic_tpu", "mosaic_gpu", "cudnn", "tokamax")
# the platforms of those that are not for all
PLATFORMS: dict[str, tuple[str, ...]] = {
    "mosaic_tpu": ("tpu",), "mosaic_gpu": ("gpu",), "cudnn": ("gpu",), "tokamax": ("gpu", "tpu"),
}  # fmt: skip


class Backend(Protocol):
    """What `xla.py`, `tpu.py` and `gpu.py` in the folder of an op have: three functions, `backward` among them unless
    JAX differentiates `forward` itself (see Differentiable).

    The op's `operands.py` has the types of what they are given. `static` is what is known when a program is traced:
    a named tuple that is hashable and has a field `interpret`. `x` is a named tuple of arrays.
    """

    def admits(self, static: Any, x: Any, /) -> None:
        """Returns if `forward` and `backward` can compute the op for these operands.

        Raises:
          NotImplementedError: they cannot. The message says why.
        """

    def forward(self, static: Any, x: Any, /) -> Any:
        """The op's output. The op calls it only with operands that `admits` lets pass, and so it raises nothing."""


@runtime_checkable
class Differentiable(Backend, Protocol):
    """A backend that computes the gradient itself. JAX differentiates the others."""

    def backward(self, static: Any, kept: Any, dy: Any, /) -> Any:
        """The gradients of the operands. Raises nothing where `forward` does not.

        Args:
          kept: what the op keeps of the forward pass: named arrays, operands or outputs.
          dy: the gradient of the output, or what the op has made of it for all backends.
        """


class Static(Protocol):
    """What `choose` needs of an op's `static`."""

    @property
    def interpret(self) -> bool:
        """Whether Pallas's interpreter runs the kernel's instructions one by one, on any device, for tests."""

    def _replace(self, *, interpret: bool) -> Any:
        """The same but for that."""


S = TypeVar("S", bound=Static)


class Op(NamedTuple):
    """A function of arrays that several backends compute.

    Attributes:
      name: in tables, records and messages.
      module: where it is called OP, so that another process finds it.
      backends: those that the op has, "xla" among them.
      run: (name of a backend, static, x) -> the output. It can be differentiated.
      draw: (static, shapes, NumPy's generator) -> random operands of these shapes and types, for a proof.
    """

    name: str
    module: str
    backends: Mapping[str, Backend]
    run: Callable[[str, Any, Any], Any]
    draw: Callable[[Any, Any, Any], Any]


Decide = Callable[[Op, Any, Any], str]  # (op, static, x) to the name of a backend that admits them


class Request(NamedTuple):
    name: str
    interpret: bool = False


_request: ContextVar[Request | None] = ContextVar("backend", default=None)
_decide: ContextVar[Decide | None] = ContextVar("decide", default=None)


@contextmanager
def use(name: str, interpret: bool = False) -> Iterator[None]:
    """All ops that are traced inside run on this backend, unless their own `backend` says otherwise.

    Tracing is what counts: a function that jit has traced before stays on the backend of that time.
    """
    token = _request.set(Request(known(name), interpret))
    try:
        yield
    finally:
        _request.reset(token)


@contextmanager
def deciding(decide: Decide) -> Iterator[None]:
    """The function decides which backend each op gets that is traced inside, unless `use` or the op's caller does."""
    token = _decide.set(decide)
    try:
        yield
    finally:
        _decide.reset(token)


def requested() -> str | None:
    """The backend that `use` asks for here; None outside of it."""
    request = _request.get()
    return request.name if request else None


def devices() -> list[jax.Device]:
    """The devices that may compute: the one that a caller has set as JAX's default device, or else all of this host."""
    chosen = jax.config.values["jax_default_device"]
    return jax.local_devices(backend=chosen) if chosen is None or isinstance(chosen, str) else [chosen]


def device() -> jax.Device:
    """One of `devices`, for what is alike on all of them."""
    return devices()[0]


def platform() -> str:
    """The platform that a program is traced for: that of the mesh, if one has a device, or of `device()`."""
    target = jax.sharding.get_abstract_mesh().abstract_device
    return device().platform if target is None else target.platform


def is_for(name: str, platform: str) -> bool:
    """Whether a backend is for the devices of a platform."""
    return platform in PLATFORMS.get(name, (platform,))


def known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"backend '{name}' is none of {', '.join(NAMES)}")
    return name


def choose(op: Op, backend: str | None, static: S, x: Any) -> tuple[str, S]:
    """The name of the backend that runs an op, and `static` for it.

    It is the backend that was asked for, by its name or by `use`, or else what `deciding` says, or else XLA.

    Args:
      backend: the name that the caller of the op gives, if any; it goes before `use`.

    Raises:
      ValueError: there is no backend of that name.
      NotImplementedError: the backend asked for does not admit the operands, or the op has no such backend.
    """
    request = _request.get()
    if backend is not None:
        request = Request(known(backend), request.interpret if request else False)
    if request is not None:
        if request.name not in op.backends:
            raise NotImplementedError(f"{op.name} has no backend '{request.name}', only {', '.join(op.backends)}")
        op.backends[request.name].admits(static, x)
        return request.name, static._replace(interpret=request.interpret)
    decide = _decide.get()
    return (decide(op, static, x) if decide else "xla"), static


def folds_vmap(f: Callable) -> Callable:
    """f, whose arguments and results are arrays (or None) with a first axis of one size, the batch. Under vmap the
    mapped axis joins the batch. Without that, vmap would make a loop of a Pallas call with prefetched scalars.
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
