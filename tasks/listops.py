"""ListOps: evaluate a nested list of MIN, MAX, MED and SM over digits (Nangia & Bowman 2018, 1804.06028).

The law is that of LRA's own generator (2011.04006, section 2.2.1; the paper's "MEAN" is not in it). A node is a digit
with probability 3/4, else one of four operators with 2 to `max_args` arguments. At `max_depth` all nodes are digits. A
tree enters the data if its number of tokens lies strictly between `min_length` and `max_length`; an operator counts for
two, itself and its bracket. No tree enters twice.
"""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int

from lra.errors import UsageError, UserError
from lra.tasks.publisher import find, inside
from lra.tasks.task import SPLITS, Blocks, Sized, Split, Task, Warn
from lra.workers import in_order

PAD = 0
VOCABULARY = (*"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")
TOKEN_ID = {token: index for index, token in enumerate(VOCABULARY, start=1)}  # 0 is padding
FIRST_OPERATOR, CLOSE = TOKEN_ID["[MIN"], TOKEN_ID["]"]
ROOTS = 1 << 14  # trees drawn in a chunk, most of them too short; part of the law, since it decides the order
PUBLISHED = "storage.googleapis.com/long-range-arena/lra_release.gz, folder listops-1000"
BARREN_CHUNKS = 64  # after so many chunks in a row without a new tree, there are no more trees


@dataclasses.dataclass(frozen=True)
class ListOps(Sized):
    """The parameters of ListOps. The defaults are LRA's: those of lra_benchmarks/data/listops.py, and the sizes of its
    release.

    Attributes:
      min_length: trees have more tokens than this.
      max_length: trees have fewer tokens than this.
      max_depth: levels of a tree, digits included.
      max_args: arguments of an operator, at most.
      train: trees of the training split.
      validation: trees of the validation split.
      test: trees of the test split.
      seed: the seed of all trees.
    """

    min_length: int = 500
    max_length: int = 2000
    max_depth: int = 10
    max_args: int = 10
    train: int = 96_000
    validation: int = 2_000
    test: int = 2_000
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "max_length": (3, 1 << 20),
            "max_depth": (1, 64),
            "max_args": (2, 1 << 10),
            "seed": (0, (1 << 64) - 1),
        }
        for field in dataclasses.fields(self):
            low, high = limits.get(field.name, (field.name in SPLITS, 1 << 31))
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise UsageError(f"listops.{field.name} = {value!r} is not a whole number from {int(low)} to {high}")
        if self.min_length > self.max_length - 2:
            raise UsageError(
                f"no length lies strictly between listops.min_length = {self.min_length} and listops.max_length = "
                f"{self.max_length}"
            )

    @property
    def files(self) -> str:
        return inside(r"basic_(train|val|test)\.tsv", "listops-1000")

    def generate(self, workers: int = 1) -> Blocks:
        """New trees in the order of the chunks, dealt to train, then validation, then test."""
        seen: set[bytes] = set()
        sizes = self.sizes
        barren = 0
        chunks: Iterator[Split] = in_order(functools.partial(draw_chunk, self), itertools.count(), workers)
        for rows in chunks:
            new = []
            for row, digest in enumerate(map(digest_of, rows.inputs)):
                if digest not in seen:
                    seen.add(digest)
                    new.append(row)
            barren = 0 if new else barren + 1
            if barren == BARREN_CHUNKS:
                raise UserError(
                    f"listops has only {len(seen):,} different trees under these parameters and not "
                    f"{sum(self.sizes.values()):,}; widen listops.min_length and listops.max_length or ask for fewer"
                )
            fresh = rows[np.array(new, int)]
            for split in SPLITS:
                part, fresh = fresh[: sizes[split]], fresh[sizes[split] :]
                sizes[split] -= len(part)
                if len(part):
                    yield split, part
            if not any(sizes.values()):
                return

    def read(self, folder: Path, workers: int, warn: Warn) -> Blocks:
        """LRA's `basic_{train,val,test}.tsv`. Every expression is evaluated, and its value compared with its label."""
        for split, stem in zip(SPLITS, ("basic_train", "basic_val", "basic_test")):
            path = find(folder, f"listops-1000/{stem}.tsv", PUBLISHED)
            blocks: Iterator[Split] = in_order(functools.partial(read_lines, self, path), numbered_lines(path), workers)
            count = 0
            for block in blocks:
                count += len(block)
                yield split, block
            if count != self.sizes[split]:
                raise UserError(
                    f"{path} has {count:,} rows, {self.sizes[split]:,} were expected: fetch the file again, "
                    f"or say --gin 'listops.{split} = {count}' if it is meant to be so"
                )


def digest_of(row: Int[np.ndarray, " length"]) -> bytes:
    return hashlib.blake2b(row.tobytes(), digest_size=16).digest()


# --- The generator ---------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Level:
    """All nodes of one depth. Children of one parent are side by side, in the order of the parents."""

    root: Int[np.ndarray, " nodes"]
    operator: Int[np.ndarray, " nodes"]  # 0..3 in the order of VOCABULARY, -1 for a digit
    value: Int[np.ndarray, " nodes"]  # of digits; those of operators are set by `evaluate`
    arity: Int[np.ndarray, " nodes"]  # arguments of an operator, 0 for a digit

    def keep(self, nodes: np.ndarray) -> "Level":
        return Level(self.root[nodes], self.operator[nodes], self.value[nodes], self.arity[nodes])


def draw_chunk(spec: ListOps, index: int) -> Split:
    """The trees of chunk `index` that are of the right length.

    Each node takes one raw 64-bit word: a bit generator's raw words are the same in every release of NumPy, which the
    methods of np.random.Generator do not promise.
    """
    words = np.random.Philox(key=spec.seed, counter=[0, 0, index, 0])
    levels, lengths = grow(spec, words)
    fits = (spec.min_length < lengths) & (lengths < spec.max_length)
    rank = np.cumsum(fits) - 1
    levels = [level.keep(fits[level.root]) for level in levels]
    for level in levels:
        level.root = rank[level.root]
    evaluate(levels)
    return Split(
        write(levels, int(fits.sum()), spec.max_length),
        lengths[fits].astype(np.int32),
        levels[0].value.astype(np.int32),
    )


def grow(spec: ListOps, words: np.random.Philox) -> tuple[list[Level], Int[np.ndarray, " roots"]]:
    """Draws ROOTS trees one depth after the other, and counts their tokens. A tree that is too long stops growing."""
    lengths = np.zeros(ROOTS, np.int64)
    root = np.arange(ROOTS)
    levels = []
    for depth in range(1, spec.max_depth + 1):
        word = words.random_raw(len(root))
        low = word & np.uint64(0xFFFFFFFF)
        inner = (word >> np.uint64(62) == 0) & (depth < spec.max_depth)
        operator = np.where(inner, (word >> np.uint64(60)) & np.uint64(3), 0).astype(np.int8) - ~inner
        value = ((low * np.uint64(10)) >> np.uint64(32)).astype(np.int8)
        arity = np.where(inner, 2 + ((low * np.uint64(spec.max_args - 1)) >> np.uint64(32)).astype(np.int64), 0)
        levels.append(Level(root, operator, value, arity))
        lengths += np.bincount(root, 1 + inner, ROOTS).astype(np.int64)
        parents = inner & (lengths < spec.max_length)[root]
        root = np.repeat(root[parents], arity[parents])
        if not len(root):
            break
    return levels, lengths


def evaluate(levels: list[Level]) -> None:
    """Sets the value of every operator, from the deepest level up."""
    for level, below in zip(reversed(levels[:-1]), reversed(levels[1:])):
        inner = np.flatnonzero(level.arity)
        if not len(inner):
            continue
        arity = level.arity[inner]
        first = np.cumsum(arity) - arity
        # arguments as rows, the places after the last filled with 10, which sorts behind every digit
        column = np.arange(int(arity.sum())) - np.repeat(first, arity)
        rows = np.full((len(inner), int(arity.max())), 10, np.int8)
        rows[np.repeat(np.arange(len(inner)), arity), column] = below.value
        rows.sort(axis=1)
        at = np.arange(len(inner))
        low, high = rows[at, (arity - 1) // 2], rows[at, arity // 2]
        results = (
            rows[:, 0],
            rows[at, arity - 1],
            (low + high) // 2,
            np.add.reduceat(below.value, first, dtype=np.int64) % 10,
        )
        level.value[inner] = np.choose(level.operator[inner], results)


def write(levels: list[Level], rows: int, max_length: int) -> Int[np.ndarray, "rows max_length"]:
    """The trees as token ids, each in reading order."""
    sizes = [np.ones(0, np.int64)] * len(levels)
    for depth in reversed(range(len(levels))):
        arity = levels[depth].arity
        sizes[depth] = np.ones(len(arity), np.int64)
        inner = np.flatnonzero(arity)
        if len(inner):
            first = np.cumsum(arity[inner]) - arity[inner]
            sizes[depth][inner] = 2 + np.add.reduceat(sizes[depth + 1], first)
    tokens = np.zeros(rows * max_length, np.uint8)
    position = np.arange(rows) * max_length
    for level, size, below in zip(levels, sizes, [*sizes[1:], np.ones(0, np.int64)]):
        is_inner = level.arity > 0
        tokens[position] = np.where(is_inner, FIRST_OPERATOR + level.operator, TOKEN_ID["0"] + level.value)
        tokens[position[is_inner] + size[is_inner] - 1] = CLOSE
        arity = level.arity[is_inner]
        before = np.cumsum(below) - below  # tokens of all nodes to the left in the row below
        starts = before[np.cumsum(arity) - arity] if len(arity) else before
        position = np.repeat(position[is_inner] + 1 - starts, arity) + before
    return tokens.reshape(rows, max_length)


# --- LRA's files -----------------------------------------------------------------------------------------------


def numbered_lines(path: Path, block: int = 500) -> Iterator[list[tuple[int, bytes]]]:
    """Blocks of (line number from 1, line), without the header."""
    try:
        file = open(path, "rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    with file:
        if (header := file.readline().rstrip(b"\r\n")) != b"Source\tTarget":
            raise UserError(
                f"{path}, line 1: the header is {header[:40]!r}, not 'Source<TAB>Target'; is this LRA's file?"
            )
        numbered = enumerate(file, start=2)
        while lines := list(itertools.islice(numbered, block)):
            yield lines


def read_lines(spec: ListOps, path: Path, lines: list[tuple[int, bytes]]) -> Split:
    """Parses a block of lines.

    Raises:
      UserError: names the file, the line and what is wrong with it.
    """
    inputs = np.zeros((len(lines), spec.max_length), np.uint8)
    lengths, labels = np.zeros(len(lines), np.int32), np.zeros(len(lines), np.int32)
    for row, (number, line) in enumerate(lines):
        try:
            ids, label = parse_row(line)
            if len(ids) > spec.max_length:
                raise ValueError(f"{len(ids)} tokens are more than listops.max_length = {spec.max_length}")
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}: {error}; the file is damaged or not LRA's, fetch it again"
            ) from error
        inputs[row, : len(ids)], lengths[row], labels[row] = ids, len(ids), label
    return Split(inputs, lengths, labels)


def parse_row(line: bytes) -> tuple[list[int], int]:
    """Token ids and label of one line of LRA's files: "( ( ( [MAX 4 ) 3 ) ] )<TAB>4"."""
    if not line.endswith(b"\n"):
        raise ValueError("the line has no end, so the file is cut off")
    columns = line.rstrip(b"\r\n").split(b"\t")
    if len(columns) != 2:
        raise ValueError(f"{len(columns)} columns instead of 2")
    if columns[1] not in (b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"):
        raise ValueError(f"the label {columns[1][:20]!r} is not a digit")
    source = columns[0].replace(b"(", b" ").replace(b")", b" ").decode("ascii", "replace").split()
    try:
        ids = [TOKEN_ID[token] for token in source]
    except KeyError as error:
        raise ValueError(f"{error.args[0][:20]!r} is not a token of ListOps") from None
    if (value := value_of(ids)) != (label := int(columns[1])):
        raise ValueError(f"the expression is worth {value}, the label says {label}")
    return ids, label


def value_of(ids: Iterable[int]) -> int:
    """The value of an expression.

    Raises:
      ValueError: the brackets do not match, or an operator has no arguments.
    """
    stack: list[list[int]] = [[]]
    operators: list[int] = []
    for token in ids:
        if token < FIRST_OPERATOR:
            stack[-1].append(token - TOKEN_ID["0"])
        elif token < CLOSE:
            operators.append(token - FIRST_OPERATOR)
            stack.append([])
        else:
            if not operators:
                raise ValueError("a bracket closes that was never opened")
            arguments, operator = sorted(stack.pop()), operators.pop()
            if not arguments:
                raise ValueError("an operator has no arguments")
            middle = len(arguments) // 2
            stack[-1].append(
                (
                    arguments[0],
                    arguments[-1],
                    (arguments[middle] + arguments[(len(arguments) - 1) // 2]) // 2,
                    sum(arguments) % 10,
                )[operator]
            )
    if operators:
        raise ValueError("a bracket is not closed")
    if len(stack[0]) != 1:
        raise ValueError(f"{len(stack[0])} expressions instead of one")
    return stack[0][0]


def show(ids: Int[np.ndarray, " length"]) -> str:
    """The tree with one operator a line: its digits and its value. Its operators are below it and further in."""
    tokens = iter(int(token) for token in ids)

    def node(operator: int, depth: int) -> tuple[int, list[str]]:
        words: list[str] = []
        below: list[str] = []
        parts = [operator]
        for token in tokens:
            if token == CLOSE:
                break
            if token < FIRST_OPERATOR:
                words.append(VOCABULARY[token - 1])
                parts.append(token)
            else:
                value, lines = node(token, depth + 1)
                words.append(f"({value})")
                parts.append(TOKEN_ID[str(value)])
                below += lines
        value = value_of([*parts, CLOSE])
        return value, [f"{'  ' * depth}{VOCABULARY[operator - 1]} {' '.join(words)} ] = {value}", *below]

    first = next(tokens)
    return VOCABULARY[first - 1] if first < FIRST_OPERATOR else "\n".join(node(first, 0)[1])


LISTOPS = Task(
    name="listops",
    version="1.0.0",
    summary="nested MIN, MAX, MED and SM of digits; ten classes",
    source=ListOps,
    classes=tuple("0123456789"),
    # padding, 15 tokens, and the out-of-vocabulary row that LRA's models have and no valid example uses
    vocab_size=17,
    citation="Nangia & Bowman 2018 (arXiv 1804.06028); Tay et al. 2021 (arXiv 2011.04006)",
    licence="generated here (Apache-2.0)",
    show=show,
    published=PUBLISHED,
    data_sha256="4a4abc7d667a1c81ce441576c1b1f550be55ae584488c571b6e3969bfd1c1e5d",
)
