"""A call of an op in a program that was traced: everything but the numbers."""

import functools
import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from lra.files import sha256_text
from lra.models.kernels import backends
from lra.models.kernels.backends import Op

HIDDEN = ("interpret", "dtype")  # what does not count, and what the operands say


class Call(NamedTuple):
    """A call of an op, of one seed. It can be pickled.

    Attributes:
      op: the op's name.
      module: the op's module.
      static: what the op knows when a program is traced.
      operands: the op's operands, a named tuple of shapes and types, with None for those that are not there.
      seeds: how many of these calls `vmap` makes one.
    """

    op: str
    module: str
    static: Any
    operands: Any
    seeds: int

    @property
    def key(self) -> str:
        """A hash of the call, the same in all processes and versions."""
        static = [(name, value) for name, value in self.static._asdict().items() if name not in HIDDEN]
        return sha256_text(repr((self.op, static, sorted(self.shapes().items()), self.seeds)))[:16]

    @property
    def words(self) -> str:
        """Op, types and shapes, as a table shows them."""
        by_kind: dict[str, list[str]] = {}
        for name, kind in self.shapes().items():
            by_kind.setdefault(kind, []).append(name)
        arrays = ", ".join(f"{' '.join(names)} {kind}" for kind, names in by_kind.items())
        details = [f"{name} {value!r:.60}" for name, value in self.static._asdict().items() if name not in HIDDEN]
        seeds = [f"{self.seeds} seeds"] if self.seeds > 1 else []
        return f"{self.op} of {arrays}; {', '.join([*details, *seeds])}"

    def shapes(self) -> dict[str, str]:
        """Type and shape of each operand, as "float32[8,1024,4,64]"."""
        written = lambda x: f"{x.dtype}[{','.join(map(str, x.shape))}]"
        return {name: written(x) for name, x in self.operands._asdict().items() if x is not None}

    def load(self) -> Op:
        """The op with its implementations."""
        return importlib.import_module(self.module).OP

    def rivals(self, platform: str) -> Iterator[tuple[str, str]]:
        """The implementations beside XLA for devices of a platform, each with why it does not admit the operands; empty
        if it does.
        """
        for name, backend in self.load().backends.items():
            if name == "xla":
                continue
            if not backends.is_for(name, platform):
                continue
            try:
                backend.admits(self.static, self.operands)
            except NotImplementedError as error:
                yield name, str(error)
            else:
                yield name, ""


def call_of(op: Op, static: Any, x: Any, seeds: int) -> Call:
    """The call of an op that is being traced."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), x)
    return Call(op.name, op.module, static._replace(interpret=False), shapes, seeds)


def drawn(call: Call) -> Any:
    """Random operands of a call, the same every time. With several seeds each leaf has a leading axis of seeds."""
    draw = functools.partial(call.load().draw, call.static, call.operands)
    each = [draw(np.random.default_rng(seed)) for seed in range(call.seeds)]
    return each[0] if call.seeds == 1 else jax.tree.map(lambda *leaves: np.stack(leaves), *each)
