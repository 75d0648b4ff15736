"""What is no registered variant: a name that a file here registers, and modules of other frameworks."""

import inspect
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flax import nnx

from lra.errors import UsageError, unknown

LARGEST = 1 << 20  # bytes of a file that is searched
FRAMEWORKS = {"flax": "Flax Linen", "haiku": "Haiku", "equinox": "Equinox", "torch": "PyTorch", "keras": "Keras"}


def unknown_variant(name: str, known: Iterable[str], what: str = "variant") -> UsageError:
    """The error for a name that no variant has. It offers the file here that registers it, or else the nearest name."""
    if name.endswith(".py"):
        return UsageError(f"'{name}' is a file and no {what}; say --import {shlex.quote(name)} and the variant's name")
    if (path := file_that_registers(name)) is not None:
        file = shlex.quote(str(path))
        return UsageError(f"no {what} is called '{name}' here, but {path} registers one: add --import {file}")
    return UsageError(f"{unknown(what, name, known)} (--import FILE loads one of your own)")


def file_that_registers(name: str) -> Path | None:
    """The Python file in the current folder that registers a variant of that name. The files are searched, not run."""
    call = re.compile(rf"register_attention\(\s*[\"']{re.escape(name)}[\"']")
    for path in sorted(Path().glob("*.py")):
        try:
            if path.stat().st_size <= LARGEST and call.search(path.read_text("utf-8", errors="replace")):
                return path
        except OSError:
            continue
    return None


def refuse_others(name: str, target: Any) -> None:
    """Raises UsageError if what is decorated is neither a function nor a class of Flax NNX."""
    kind = target if inspect.isclass(target) else type(target)
    other = next((FRAMEWORKS[top] for top in map(framework, kind.__mro__) if top in FRAMEWORKS), None)
    if not callable(target):
        found = f"of type {kind.__name__}"
    elif issubclass(kind, nnx.Module):
        if kind is target:
            return
        found = f"an object of class {kind.__name__}, not the class, of which each layer makes its own"
    elif other:
        found = f"a module of {other}"
    elif kind is target:
        found = "a class without a base"
    else:
        return
    raise UsageError(
        f"variant '{name}' is {found}; it must be a function of (q, k, v, mask), or a class of Flax NNX: "
        "class Mine(nnx.Module) with __init__(self, shape, *, rngs) and __call__(self, q, k, v, mask)"
    )


def framework(base: type) -> str:
    """The package that defines a class; empty for NNX and for what is none of a framework."""
    module = base.__module__
    return "" if module.startswith("flax.") and not module.startswith("flax.linen") else module.partition(".")[0]
