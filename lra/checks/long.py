"""A long layer of a variant: thousands of tokens, and the options that the variant has by default.

Blocks, windows and tables are larger than two dozen tokens. What goes wrong beyond them shows only here.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import Bool, Float

from lra.checks.check import Unchecked
from lra.checks.compare import not_finite
from lra.checks.growth import largest, operations, program
from lra.checks.subject import Subject, normal, options_of
from lra.errors import UserError
from lra.models.attention import Shape

# Path-X, the longest sequence of the protocols, has 16,384 tokens and [CLS]. The first length is taken that the variant
# admits and at which a row costs no more than this, whatever cost the variant declares.
LENGTHS = (16385, 4097, 1025, 257)
OPERATIONS = 2.5e9
NUMBERS = 2**26  # in the largest array
SHORTER = (129, 1021, 4096)  # tokens: one more than a power of two, a prime, a power of two


class Long:
    """A long layer. A batch is one row, so that few programs are compiled and each is cheap.

    Attributes:
      subject: the layer.
      length: its maximal length, in tokens.
      shorter: the lengths of shorter rows, in tokens.
      middle: one of these, or the length if there is none that is less than half of it.
      broken: why the layer cannot be used at its full length, in words; None if it can.
    """

    def __init__(self, subject: Subject):
        self.subject, self.length = subject, subject.shape.max_length
        self.shorter = [length for length in SHORTER if length < self.length - 1]
        self.middle = next((length for length in reversed(self.shorter) if length < self.length / 8), self.length)
        self.outputs = functools.cache(lambda seed=0: subject(self.tokens(seed), self.mask()))
        self.broken = self.fault()

    def fault(self) -> str | None:
        try:
            y = self.outputs()
        except Exception as error:
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
    """The long layer of a subject; None if the variant refuses all lengths, or they cost too much."""
    for small in (False, True):  # these widths may be too small for the defaults
        options = options_of(s.variant, s.overrides, small=small)
        for length in LENGTHS:
            shape = Shape(8, 16, 2, length, layer=s.shape.layer, layers=s.shape.layers)
            try:
                f, arguments = program(s.variant, shape, options)
                traced = jax.make_jaxpr(f)(*arguments)
            except UserError:
                continue
            if operations(traced) <= OPERATIONS and largest(traced) <= NUMBERS:
                return Long(Subject(s.variant, shape, options))
    return None


def at_length(s: Subject, probe: Callable[[Long, int], Iterator[str]]) -> Iterator[str]:
    """The findings of a probe of (long layer, seed) that it has with two seeds: one may be chance.

    Chance is that a rounding error moves a token to another bucket of a hash, and with it many others.
    """
    long = long_layer(s)
    if long is None:
        return
    if long.broken:
        yield Unchecked("'lengths' fails")
        return
    findings = list(probe(long, 0))
    if any(not isinstance(finding, Unchecked) for finding in findings):
        findings = list(probe(long, 1))
    for finding in findings:
        yield finding if isinstance(finding, Unchecked) else f"at {long.length:,} tokens: {finding}"
