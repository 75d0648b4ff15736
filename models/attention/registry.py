"""The registry of attention variants and what a variant may look like."""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lra.errors import UsageError, UserError, blamed_on, line_in
from lra.families import FAMILY, OUTSIDE
from lra.files import sha256_texts
from lra.models.attention.elsewhere import refuse_others
from lra.models.attention.multihead import Core, MultiHead
from lra.models.attention.options import options_dict, options_type
from lra.models.attention.shape import Shape
from lra.models.source import Source, source_of
from lra.names import RULE, is_name
from lra.typed import shown

T = TypeVar("T", bound=Callable[..., Any])

FORMS = {
    ("q", "k", "v", "mask"): "heads",
    ("x", "mask", "carry"): "carrying mixer",
    ("x", "mask"): "mixer",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Variant:
    """A registered variant and its metadata; `register_attention` says what each means.

    Attributes:
      make: the function or class that was decorated.
      form: one of FORMS.
      options: a frozen dataclass of its keyword arguments; an instance of it configures a variant.
      file, line: where it is defined.
      is_own: whether the project itself registers it.
      source: the modules that it consists of; None for the project's own.
    """

    name: str
    make: Callable[..., Any]
    form: str
    options: type[Any]
    paper: str
    cost: str
    memory: str
    causal: bool
    reads_positions: bool
    by_layer: bool
    version: int
    small: Mapping[str, Any]
    wide: tuple[str, ...]
    oracle: Callable[..., Any] | None
    exceptions: Mapping[str, str]
    file: str
    line: int
    is_own: bool
    source: Source | None

    @property
    def family(self) -> str:
        return FAMILY[self.name] if self.is_own else OUTSIDE

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.line}"

    @property
    def sources(self) -> dict[str, str] | None:
        """The texts of all its modules and sizes, by their paths below one folder; None for the project's own.

        Raises:
          UserError: a text cannot be had, is not what was loaded, or leaves out what another cell defines.
        """
        where = f" ({self.where})" if self.line else ""
        return self.source.texts(f"variant '{self.name}'{where}") if self.source else None

    @property
    def source_sha256(self) -> str | None:
        """The hash of `sources`, and its errors."""
        return None if (sources := self.sources) is None else sha256_texts(sources)

    def build(self, shape: Shape, rngs: nnx.Rngs, options: Any = None) -> nnx.Module:
        """A module of (x, mask), or of (x, mask, carry); to be called through `mix`.

        The same arguments give the same module, whatever else has been built.

        Args:
          options: an instance of `self.options`; None for the defaults.
        """
        if not self.by_layer:
            shape = dataclasses.replace(shape, layer=0, layers=1)
        keywords = options_dict(self.options() if options is None else options)
        core: Any = Core(self.make, tuple(keywords.items()))
        if inspect.isclass(self.make):
            core = self.make(shape, rngs=rngs, **keywords)  # type: ignore[call-arg]
        return MultiHead(core, self, shape, rngs) if self.form == "heads" else core

    def mix(
        self,
        module: Any,
        x: Float[Array, "batch length dim"],
        mask: Bool[Array, "batch length"],
        carry: Any = None,
    ) -> tuple[Float[Array, "batch length dim"], Any]:
        """The mixed tokens, and what the module hands to the next layer: None unless it is a carrying mixer.

        Raises:
          UserError: it returned anything but an array like x.
        """
        if self.form != "carrying mixer":
            return self.like(x, module(x, mask)), None
        out = module(x, mask, carry)
        if not isinstance(out, tuple) or len(out) != 2:
            raise UserError(f"variant '{self.name}' ({self.where}) takes a carry and must return a pair (y, carry)")
        return self.like(x, out[0]), out[1]

    def like(self, x: Array, y: Any) -> Array:
        """What the variant returned, if it is an array of the shape and type that it was given.

        Raises:
          UserError: it is not; anything else may broadcast, or be promoted, without a word.
        """
        if isinstance(y, jax.Array) and y.shape == x.shape and y.dtype == x.dtype:
            return y
        describe = lambda a: f"{a.dtype} of shape {list(a.shape)}"
        got = describe(y) if isinstance(y, jax.Array) else f"a {type(y).__name__}"
        away = ""
        if isinstance(y, jax.Array) and y.shape == x.shape and x.dtype != jnp.float32:
            away = f": cast what it returns, or say train.compute_type = '{y.dtype}'"
        raise UserError(f"variant '{self.name}' ({self.where}) returned {got}; it must return {describe(x)}{away}")

    def line_of(self, error: Exception) -> str | None:
        """The last line of the variant's files that led to an error; None if none did."""
        files = {self.file} | ({module.file for module in self.source.modules} if self.source else set())
        quoted = self.where if self.file in str(error) else None  # JAX quotes the traceback of what it calls back
        return line_in(files, error) or quoted

    def blame(self, error: Exception) -> UserError:
        """What was raised, with the line of the variant's files that led to it, if one did."""
        if isinstance(error, UserError):
            return error
        line = self.line_of(error)
        if not line:  # the disk is full, or a gradient fails, which is computed after the variant has returned
            return blamed_on(f"while variant '{self.name}' ({self.where}) was used, outside its file", error)
        return blamed_on(f"variant '{self.name}' failed at {line}", error)


VARIANTS: dict[str, Variant] = {}


def place_of(target: Callable[..., Any]) -> tuple[str, int]:
    """The file and line of a definition."""
    try:
        return inspect.getsourcefile(target) or "?", inspect.getsourcelines(target)[1]
    except (OSError, TypeError):  # typed at a prompt, or built by a program
        return "?", 0


def is_the_same_definition(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether a definition is another one made again, as when a cell of a notebook is run twice."""
    name = lambda target: getattr(target, "__qualname__", None)
    module = lambda target: getattr(target, "__module__", None)
    if name(one) is None or name(one) != name(other):
        return False
    return module(one) == module(other) or place_of(one)[0] == place_of(other)[0] != "?"


def register_attention(
    name: str,
    *,
    paper: str = "",
    cost: str = "",
    memory: str = "L",
    causal: bool = False,
    reads_positions: bool = False,
    by_layer: bool = False,
    version: int = 1,
    small: Mapping[str, Any] | None = None,
    wide: Sequence[str] = (),
    oracle: Callable[..., Any] | None = None,
    exceptions: Mapping[str, str] | None = None,
) -> Callable[[T], T]:
    """Registers an attention variant under a name; its keyword arguments become its options.

        @register_attention("window", paper="mine", cost="L w d")
        def window(q, k, v, mask, radius: int = 16):
            ...

    Such an option is set by `--gin 'window.radius = 32'`, and checked against the type of its annotation or default.

    What is decorated is one of

    * a function of `(q, k, v, mask)`, each of q, k, v `[batch, length, heads, head_dim]` and mask
      `[batch, length]`, True for a real token; it returns `[batch, length, heads, head_dim]` and gets its
      projections and heads from us. One that takes an argument `dropout` gets a `kernels.softmax.Dropout`;
    * a class of Flax NNX modules, made as `cls(shape, rngs=rngs)` with a `Shape` and called like such a function;
    * a class of Flax NNX modules called with `(x, mask)`, x `[batch, length, dim]`: the whole mixer;
    * one called with `(x, mask, carry)` that returns `(y, carry)`: what a layer hands to the next, None to the first.

    An attribute `deterministic` of a module is False in training and True in evaluation: Flax's `train()` and `eval()`
    set it, as in `nnx.Dropout`. Sizes of its own for a task are in `protocols/PROTOCOL/TASK/NAME.gin` beside its file.
    docs/own-variant.md has examples of both.

    A class may have a method `reach(length)`: bool[length, length], in NumPy, True where the output of token i
    depends on token j. Without one, every token is said to reach every other (every earlier one, if causal). One with
    a method `redraw(key, step)` is told when a training step begins, and may draw what it has at random anew.

    Args:
      paper: where it is published, e.g. "Choromanski et al. 2021, 2009.14794".
      cost: time in the length L, e.g. "L log L"; a power is read from it: "L^2 d" is quadratic.
      memory: memory in the length, likewise.
      causal: whether a token sees only those before it.
      reads_positions: whether the output depends on where a token stands, beyond what the tokens say of it.
      by_layer: whether its layers differ, or hand something on: whether `shape.layer` says which layer it is.
      version: to be raised whenever the same parameters give other outputs.
      small: parameters under which two dozen tokens show what the variant is; `lra check` uses them there, and the
        defaults for thousands of tokens.
      wide: names of parameters, or of modules, that stay in float32 where a run computes in bfloat16: steps, decays
        and what else must not be rounded.
      oracle: what the paper's formulas say, in float64 NumPy; see `lra.models.oracles`.
      exceptions: names of checks that need not hold, and why.

    Raises:
      UsageError: the name is taken or cannot be one, a default cannot be recorded, the signature is none of
        these, or `small` names an option that is not there.
    """

    if callable(name):
        raise UsageError('the decorator takes a name: @register_attention("my_attention")')
    if not is_name(name):
        raise UsageError(f"{shown(name)} is no name for a variant; {RULE}")
    caller = sys._getframe(1)
    own = caller.f_globals.get("__name__", "").startswith(f"{__package__}.")
    source = None if own else source_of(caller, name)

    def register(target: T) -> T:
        before = VARIANTS.get(name)
        if before and (before.is_own or not is_the_same_definition(before.make, target)):
            raise UsageError(
                f"an attention variant called '{name}' is registered already ({before.where}); choose another name"
            )
        refuse_others(name, target)
        call = target.__call__ if inspect.isclass(target) else target
        arguments = tuple(argument for argument in inspect.signature(call).parameters if argument != "self")
        form = next((form for names, form in FORMS.items() if arguments[: len(names)] == names), None)
        if form is None or (form != "heads" and not inspect.isclass(target)):
            raise UsageError(
                f"variant '{name}' takes ({', '.join(arguments)}); it must be a function or module of (q, k, v, mask), "
                "or a module of (x, mask) or of (x, mask, carry)"
            )
        try:
            options = options_type(f"{name}_options", target)
        except ValueError as error:
            raise UsageError(f"variant '{name}': {error}") from error
        if strange := sorted({*(small or {})} - {field.name for field in dataclasses.fields(options)}):
            raise UsageError(f"variant '{name}' has no option '{strange[0]}', which its `small` names")
        layered = by_layer or form == "carrying mixer"
        file, line = place_of(target)
        VARIANTS[name] = Variant(
            name, target, form, options, paper, cost, memory, causal, reads_positions, layered, version, small or {},
            tuple(wide), oracle, exceptions or {}, file, line, own, source,
        )  # fmt: skip
        return target

    return register
