"""A long layer of a variant: thousands of tokens, and the options that the variant has by default.

Blocks, windows and tables are larger than two dozen tokens. What goes wrong beyond them shows only here.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from lra.checks.check import Unchecked, of_the_machine
from lra.checks.compare import not_finite
from lra.checks.growth import largest, operations, program
from lra.checks.subject import Subject, normal, options_of
from lra.errors import UserError
from lra.models.attention import Shape, Variant

# Path-X, the longest sequence of the protocols, has 16,384 tokens and [CLS]. The first length is taken that the variant
# admits and at which a row costs no more than this, whatever cost the variant declares.
LENGTHS = (16385, 4097, 2049, 1025, 257)
OPERATIONS = 1.35e9
NUMBERS = 2**26  # in the largest array
SHORTER = (129, 1021)  # tokens: one more than a power of two, and a prime; the first is less than all LENGTHS


class Long:
    """A long layer. A batch is one row, so that few programs are compiled and each is cheap.

    Attributes:
      subject: the layer.
      length: its maximal length, in tokens.
      shorter: the lengths of shorter rows, in tokens.
      middle: the longest of these, in tokens, or the length if there is none.
      broken: why the layer cannot be used at its full length, in words; None if it can.
    """

    def __init__(self, subject: Subject, length: int, broken: str | None = None):
        self.subject, self.length = subject, length
        self.shorter = [length for length in SHORTER if length < self.length - 1]
        self.middle = max(self.shorter, default=self.length)
        self.outputs = functools.cache(lambda seed=0: subject(self.tokens(seed), self.mask()))
        self.broken = broken or self.fault()

    def fault(self) -> str | None:
        """Why the layer cannot be used at its full length, in words."""
        try:
            y = self.outputs()
        except Exception as error:
            if of_the_machine(error):
                raise
            return str(self.subject.variant.blame(error))
        return not_finite(y, self.mask())

    def tokens(self, seed: int = 0) -> Float[np.ndarray, "1 length dim"]:
        """A row of random tokens."""
        return normal(1, self.length, self.subject.shape.dim, seed=seed)

    def mask(self, real: int | None = None) -> Bool[np.ndarray, "1 length"]:
        """The mask of a row with that many real tokens; None for a full row."""
        return np.arange(self.length)[None] < (self.length if real is None else real)

    def holes(self) -> Bool[np.ndarray, "1 length"]:
        """The mask of a row with padding between its tokens, and behind them from an odd place on."""
        some = np.random.default_rng(self.length).random((1, self.length)) < 0.7
        return some & self.mask(5 * self.length // 8 - 3)


@functools.lru_cache(maxsize=2)  # the checks of a variant follow each other, on two of its layers at most
def long_layer(s: Subject) -> Long | None:
    """The long layer of a subject.

    None if the variant refuses all lengths, if they cost too much, or if the layer below has the same program.
    """
    for small in (False, True):  # these widths may be too small for the defaults
        options = options_of(s.variant, s.overrides, small=small)
        for length in LENGTHS:
            shape = Shape(8, 16, 2, length, layer=s.shape.layer, layers=s.shape.layers)
            try:
                traced = trace(s.variant, shape, options)
            except UserError:
                continue
            except Exception as error:
                return Long(s, length, str(s.variant.blame(error)))
            if operations(traced) > OPERATIONS or largest(traced) > NUMBERS:
                continue
            if s.variant.form != "carrying mixer" and s.shape.layer > 0:
                below = trace(s.variant, dataclasses.replace(shape, layer=s.shape.layer - 1), options)
                if str(below) == str(traced):
                    return None
            return Long(Subject(s.variant, shape, options), length)
    return None


def trace(variant: Variant, shape: Shape, options: Any) -> Any:
    """The program of a layer for one row of its maximal length."""
    f, arguments = program(variant, shape, options)
    return jax.make_jaxpr(f)(*arguments)


def at_length(s: Subject, probe: Callable[[Long, int], Iterator[str]]) -> Iterator[str]:
    """The findings of a probe of (long layer, seed) that it has with two seeds: one may be chance.

    Chance is that a rounding error moves a token to another bucket of a hash, and with it many others.
    """
    long = long_layer(s)
    if long is None:
        return
    if long.broken:
        if "lengths" not in s.variant.exceptions:
            yield Unchecked("'lengths' fails")
        return
    findings = list(probe(long, 0))
    if any(not isinstance(finding, Unchecked) for finding in findings):
        findings = list(probe(long, 1))
    for finding in findings:
        yield finding if isinstance(finding, Unchecked) else f"at {long.length:,} tokens: {finding}"
