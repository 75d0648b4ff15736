"""Long Range Arena: tasks, attention variants and a leaderboard that anyone can make again."""

from pathlib import Path as _Path
from typing import Any as _Any

__version__ = "0.1.0"
# what lra.api offers; `__init__.pyi` says so to type checkers and editors
_API = (
    "Plan", "RunSpec", "board", "build_model", "check", "load_task", "prepare", "records", "register_attention",
    "resolve", "rows", "run",
)  # fmt: skip

# Imported straight from a checkout (a shell or a script in its top folder), the packages inside lra are beside it.
if not (_Path(__file__).parent / "tasks").exists():
    __path__.append(str(_Path(__file__).resolve().parent.parent))


def __getattr__(name: str) -> _Any:
    """The API is imported when it is first used: JAX and Flax take seconds."""
    if name not in _API:
        raise AttributeError(f"module 'lra' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module("lra.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
