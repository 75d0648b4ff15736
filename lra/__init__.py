"""Long Range Arena: tasks, attention variants and a leaderboard that anyone can make again."""

from pathlib import Path as _Path
from typing import Any as _Any

__version__ = "0.1.0"
# the names that lra.api offers; `__init__.pyi` declares them for type checkers and editors
_API = (
    "Plan", "RunSpec", "board", "build_model", "check", "load_task", "prepare", "records", "register_attention",
    "resolve", "rows", "run", "sweep",
)  # fmt: skip

# In a checkout that is not installed, the packages lra.tasks, lra.models, ... are folders beside this one.
if not (_Path(__file__).parent / "tasks").exists():
    __path__.append(str(_Path(__file__).resolve().parent.parent))


def __getattr__(name: str) -> _Any:
    """Imports the API at its first use, since importing JAX and Flax takes seconds."""
    if name not in _API:
        raise AttributeError(f"module 'lra' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module("lra.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
