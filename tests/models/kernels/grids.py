"""The grids of GPU kernels in a compiled program: how many blocks of threads each starts along x, y and z."""

import re

import jax
from jax._src.interpreters import mlir
from jax._src.lib import mosaic_gpu_dialect
from jaxlib.mlir import ir

MOST = (2**31 - 1, 65_535, 65_535)  # blocks along each axis that CUDA starts


def grids(compiled: jax.stages.Compiled) -> list[tuple[int, ...]]:
    """The grid of each kernel, in the order of the program's text."""
    modules = re.findall(r'custom_call_target="mosaic_gpu_v2".*? module = "([^"]*)"', compiled.as_text())
    return [grid_of(unescaped(text)) for text in modules]


def unescaped(text: str) -> bytes:
    r"""The bytes of a string as MLIR prints it: \AB is a byte, \\ a backslash."""
    one = lambda match: "\\" if match[1] == "\\" else chr(int(match[1], 16))
    return re.sub(r"\\(\\|[0-9A-F]{2})", one, text).encode("latin-1")


def grid_of(bytecode: bytes) -> tuple[int, ...]:
    found: list[tuple[int, ...]] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name.endswith("gpu.launch"):
            blocks = (x for x in op.operands if str(x.type) == "index")
            found.append(tuple(next(blocks).owner.attributes["value"].value for _ in range(3)))
        return ir.WalkResult.ADVANCE

    with mlir.make_ir_context() as context:
        mosaic_gpu_dialect.register_dialect(context)
        context.allow_unregistered_dialects = True
        ir.Module.parse(bytecode).operation.walk(visit)
    (grid,) = found
    return grid
