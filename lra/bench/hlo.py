"""Counts what a compiled program does: operations, bytes moved, elements written, from its optimised HLO.

XLA's own `cost_analysis` counts the body of a loop once, and says nothing at all where the compiler has no device.
"""

import math
import re
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np

ARRAY = re.compile(r"\b(pred|token|opaque|[a-z]+\d\w*)\[([\d,<=]*)\](?:\{([^}]*)\})?")
LINE = re.compile(r"\s+(ROOT )?%(\S+) = (\(.*?\)|\S+) ([a-z][\w-]*)\((.*)$")
HEAD = re.compile(r"(?:ENTRY )?%(\S+) \(.*\{$")
NAME = re.compile(r"%([\w.-]+)")
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}|true_computation=(\S+), false_computation=(\S+)")

# these name arrays that are there already
NAMES = (
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id",
    "opt-barrier", "optimization-barrier", "copy-done", "slice-done", "dynamic-slice-done", "async-done",
    "async-update",
)  # fmt: skip
STARTS = ("slice-start", "dynamic-slice-start")  # their types have the operands, then the result
# these move numbers and compute none
MOVES = (
    "broadcast", "reshape", "transpose", "slice", "dynamic-slice", "dynamic-update-slice", "concatenate", "pad",
    "copy", "copy-start", *STARTS, "iota", "reverse", "gather", "convert", "bitcast-convert", "custom-call",
)  # fmt: skip
CALLS = {"fusion": "calls", "call": "to_apply", "async-start": "calls"}  # by opcode: the attribute with what they call
PARTS = (*STARTS, "dynamic-slice", "slice", "gather")  # these read a part of their first operand
UPDATES = {"dynamic-update-slice": 1, "scatter": 2}  # these write a part of their first operand, as large as this one


class Cost(NamedTuple):
    """What a program does in one run.

    Attributes:
      operations: on numbers; a multiply-add is two.
      bytes: that are read from the device's memory and written to it.
      elements: the numbers that are written to the device's memory.
    """

    operations: int = 0
    bytes: int = 0
    elements: int = 0


class Array(NamedTuple):
    """An array as its type is written.

    Attributes:
      inside: whether it is in a memory inside the chip, as the layouts for TPUs say.
    """

    shape: tuple[int, ...]
    bits: int
    inside: bool

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Instruction(NamedTuple):
    """A line of a computation.

    Attributes:
      arrays: its results.
      operands: the names of the instructions with its arguments.
      rest: the attributes; the number of a parameter, the value of a constant.
    """

    name: str
    opcode: str
    arrays: list[Array]
    operands: list[str]
    rest: str

    def named(self, attribute: str) -> str:
        """The name of the computation in an attribute."""
        found = re.search(rf"\b{attribute}=%([\w.-]+)", self.rest)
        assert found, f"{self.opcode} without {attribute}: {self.rest}"
        return found[1]

    def numbers(self, attribute: str) -> list[int]:
        """The numbers of an attribute, such as `{0,2}`, or `["0","2"]` in a configuration; none without it."""
        found = re.search(rf'\b{attribute}"?[=:][{{\[]([\d,"]*)[}}\]]', self.rest)
        return [int(number) for number in re.findall(r"\d+", found[1])] if found else []


class Computation:
    """Instructions in the order in which they run. The root has the result."""

    def __init__(self) -> None:
        self.instructions: dict[str, Instruction] = {}
        self.root = ""

    def operand(self, instruction: Instruction, place: int) -> Instruction:
        return self.instructions[instruction.operands[place]]

    @cached_property
    def users(self) -> dict[str, list[tuple[Instruction, int]]]:
        """By the name of an instruction: who has it as an argument, and at which place."""
        users: dict[str, list[tuple[Instruction, int]]] = {name: [] for name in self.instructions}
        for instruction in self.instructions.values():
            for place, operand in enumerate(instruction.operands):
                users[operand].append((instruction, place))
        return users

    @cached_property
    def parameters(self) -> dict[int, str]:
        """The names of the parameters, by number."""
        return {int(i.rest): i.name for i in self.instructions.values() if i.opcode == "parameter"}


def cost(text: str) -> Cost:
    """What a program does.

    The body of a loop counts once for each iteration, or once if the compiler does not know how many there are, as in
    the loop over the training steps. An array in place of which a part is written or read counts by that part. On a
    TPU, memory inside the chip does not count.

    Args:
      text: `Compiled.as_text()`.
    """
    program = Program(text)
    return program.cost(program.entry)


class Program:
    """The computations of a program, by name."""

    def __init__(self, text: str):
        self.computations: dict[str, Computation] = {}
        self.cost = cache(self.cost)  # type: ignore[method-assign]
        self.operations = cache(self.operations)  # type: ignore[method-assign]
        now = Computation()
        for line in text.splitlines():
            if match := LINE.match(line):
                root, name, kind, opcode, rest = match.groups()
                operands, _, attributes = rest.partition("), ")
                if opcode in ("parameter", "constant"):
                    operands, attributes = "", operands.rstrip(")")
                now.instructions[name] = Instruction(name, opcode, arrays(kind), NAME.findall(operands), attributes)
                now.root = name if root else now.root
            elif match := HEAD.match(line):
                now = self.computations[match[1]] = Computation()
                if line.startswith("ENTRY"):
                    self.entry = match[1]

    def cost(self, name: str) -> Cost:
        """What a computation does whose instructions run one after the other."""
        computation, total = self.computations[name], Cost()
        for instruction in computation.instructions.values():
            total = Cost(*map(sum, zip(total, self.cost_of(computation, instruction))))
        return total

    def cost_of(self, computation: Computation, i: Instruction) -> Cost:
        if i.opcode == "while":
            count = self.trips(computation, i)
            return Cost(*(count * sum(both) for both in zip(*map(self.cost, map(i.named, ("condition", "body"))))))
        if i.opcode == "conditional":
            return max(map(self.cost, branches(i)))
        if i.opcode in ("call", "async-start"):
            return self.cost(i.named(CALLS[i.opcode]))
        if i.opcode in NAMES:
            return Cost()
        read = sum(
            self.read(computation, i, place)
            for place, operand in enumerate(i.operands)
            if not any(array.inside for array in computation.instructions[operand].arrays)
        )
        written = [
            (size, size * array.bits // 8)
            for array, size in zip(results(i), self.written(computation, i.name))
            if not array.inside
        ]
        elements, bytes_written = map(sum, zip((0, 0), *written))
        return Cost(self.operations_of(computation, i), read + bytes_written, elements)

    def trips(self, computation: Computation, loop: Instruction) -> int:
        """The iterations of a loop; 1 if they are not known.

        The compilers for CPU and GPU state them. That for TPUs does not: there they are the constant that the
        condition compares a counter with, which begins at 0.
        """
        if known := re.search(r'known_trip_count":\{"n":"(\d+)"', loop.rest):
            return int(known[1])
        condition = self.computations[loop.named("condition")]
        root = condition.instructions[condition.root]
        if root.opcode == "compare" and "direction=LT" in root.rest:
            bound = condition.operand(root, 1)
            if bound.opcode == "constant" and bound.rest.isdigit():
                return int(bound.rest)
        return 1

    def read(self, computation: Computation, user: Instruction, place: int) -> int:
        """The bytes that an instruction reads of an argument."""
        operand = computation.operand(user, place)
        whole = sum(array.size * array.bits // 8 for array in operand.arrays)
        if place == 0 and user.opcode in UPDATES:
            return 0
        if place == 0 and user.opcode in PARTS:
            return min(whole, sum(array.size * array.bits // 8 for array in results(user)))
        if user.opcode == "fusion":
            inner = self.computations[user.named("calls")]
            return min(whole, self.used(inner, inner.parameters[place]))
        return whole

    def used(self, computation: Computation, name: str) -> int:
        """The bytes of an array that the instructions of a fusion read."""
        total = 0
        for user, place in computation.users[name]:
            total += (
                self.used(computation, user.name) if user.opcode == "bitcast" else self.read(computation, user, place)
            )
        return total

    def written(self, computation: Computation, name: str, fused: bool = False) -> list[int]:
        """The elements that an instruction writes to each array of its result.

        Args:
          fused: whether the computation is a fusion's. An array that it makes itself is written as a whole.
        """
        i = computation.instructions[name]
        if i.opcode == "fusion":
            inner = self.computations[i.named("calls")]
            root = inner.instructions[inner.root]
            names = root.operands if root.opcode == "tuple" else [root.name]
            return [size for name in names for size in self.written(inner, name, fused=True)]
        if i.opcode == "bitcast" and computation.operand(i, 0).opcode in (*UPDATES, "bitcast"):
            return self.written(computation, i.operands[0], fused)
        if i.opcode in UPDATES and not (fused and self.made(computation, i.operands[0])):
            return [computation.operand(i, UPDATES[i.opcode]).arrays[0].size]
        return [array.size for array in results(i)]

    def made(self, computation: Computation, name: str) -> bool:
        """Whether a fusion makes an array, which is not one of its arguments."""
        i = computation.instructions[name]
        return self.made(computation, i.operands[0]) if i.opcode == "bitcast" else i.opcode != "parameter"

    def operations(self, name: str) -> int:
        """The operations of all instructions of a computation."""
        computation = self.computations[name]
        return sum(self.operations_of(computation, i) for i in computation.instructions.values())

    def operations_of(self, computation: Computation, i: Instruction) -> int:
        if i.opcode in CALLS:
            return self.operations(i.named(CALLS[i.opcode]))
        if i.opcode in NAMES or (i.opcode in MOVES and i.opcode != "custom-call"):
            return 0
        size, first = i.arrays[0].size, computation.operand(i, 0).arrays[0] if i.operands else i.arrays[0]
        if i.opcode == "dot" or (i.opcode == "custom-call" and "dot_dimension_numbers" in i.rest):
            contracted = i.numbers("lhs_contracting_dims") or i.numbers("lhs_contracting_dimensions")
            return 2 * size * math.prod(first.shape[axis] for axis in contracted)
        if i.opcode == "convolution" or (i.opcode == "custom-call" and "dim_labels=" in i.rest):
            return convolution(i, first, computation.operand(i, 1).arrays[0])
        if i.opcode == "custom-call":
            return 0
        if i.opcode == "reduce":
            return max(first.size - size, 0) * self.operations(i.named("to_apply"))
        if i.opcode == "reduce-window":
            return size * window_size(i) * self.operations(i.named("to_apply"))
        if i.opcode == "scatter":
            return computation.operand(i, 2).arrays[0].size * self.operations(i.named("to_apply"))
        if i.opcode == "sort":
            (axis,) = i.numbers("dimensions")
            return first.size * math.ceil(math.log2(max(first.shape[axis], 2)))
        if i.opcode == "fft":
            return int(5 * max(first.size, size) * math.log2(max(math.prod(i.numbers("fft_length")), 2)))
        return size


def arrays(text: str) -> list[Array]:
    """The arrays of a type.

    >>> arrays("(f32[3,4]{1,0:T(8,128)S(1)}, s32[])")
    [Array(shape=(3, 4), bits=32, inside=True), Array(shape=(), bits=32, inside=False)]
    """
    found = []
    for kind, shape, layout in ARRAY.findall(text):
        number = re.search(r"\d+", kind)
        bits = 8 if kind == "pred" else int(number[0]) if number else 0
        sizes = tuple(int(size.removeprefix("<=")) for size in shape.split(",") if size)
        found.append(Array(sizes, bits, "S(" in layout))
    return found


def results(i: Instruction) -> list[Array]:
    """The arrays that an instruction writes: those of its type without the source of a copy, and scratch memory."""
    if i.opcode == "copy-start":
        return i.arrays[:1]
    if i.opcode in STARTS:
        return i.arrays[len(i.operands) : len(i.operands) + 1]
    if i.opcode == "custom-call" and 'custom_call_target="__cu' in i.rest and i.arrays[-1].bits == 8:
        return i.arrays[:-1]  # of NVIDIA's libraries
    return i.arrays


def branches(i: Instruction) -> list[str]:
    """The computations of which a conditional runs one."""
    found = BRANCHES.search(i.rest)
    assert found, f"a conditional without branches: {i.rest}"
    return NAME.findall(" ".join(filter(None, found.groups())))


def window_size(i: Instruction) -> int:
    """The numbers in a window."""
    found = re.search(r"window={[^}]*\bsize=([\dx]+)", i.rest)
    return math.prod(map(int, found[1].split("x"))) if found else 1


def window(i: Instruction, part: str, axis: int, default: int) -> int:
    """The number of a window's part along an axis, as in `size=3x1`. Of `pad=3_3x0_0` those before count."""
    found = re.search(rf"window={{[^}}]*\b{part}=([-\dx_]+)", i.rest)
    return int(found[1].split("x")[axis].split("_")[0]) if found else default


def convolution(i: Instruction, left: Array, right: Array) -> int:
    """The operations of a convolution. Products with padding do not count: the compiler for TPUs makes convolutions
    of all products of matrices, some with more padding than numbers.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", i.rest)
    assert labels, f"a convolution without dim_labels: {i.rest}"
    of_left, of_right, of_out = labels.groups()
    positions = 1
    for axis in range(len(of_left) - 2):
        sizes = (
            x.shape[order.index(str(axis))]
            for x, order in zip((*i.arrays[:1], right, left), (of_out, of_right, of_left))
        )
        outputs, taps, inputs = sizes
        starts = np.arange(outputs) * window(i, "stride", axis, 1) - window(i, "pad", axis, 0)
        spread = window(i, "lhs_dilate", axis, 1)
        count = 0
        for tap in range(taps):
            reached = starts + tap * window(i, "rhs_dilate", axis, 1)
            count += int(((reached >= 0) & (reached <= (inputs - 1) * spread) & (reached % spread == 0)).sum())
        positions *= count
    groups = re.search(r"batch_group_count=(\d+)", i.rest)
    batch = left.shape[of_left.index("b")] // int(groups[1] if groups else 1)
    return 2 * positions * batch * right.shape[of_right.index("i")] * right.shape[of_right.index("o")]
