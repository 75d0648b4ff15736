"""Long Range Arena: tasks, attention variants and a leaderboard that anyone can make again."""

from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

__version__ = "0.1.0"
_API = (
    "Plan", "RunSpec", "board", "build_model", "check", "load_task", "prepare", "records", "register_attention",
    "resolve", "rows", "run",
)  # fmt: skip

# Imported straight from a checkout (a shell or a script in its top folder), the packages inside lra are beside it.
if not (_Path(__file__).parent / "tasks").exists():
    __path__.append(str(_Path(__file__).resolve().parent.parent))

if _TYPE_CHECKING:
    from lra.api import *  # noqa: F403


def __getattr__(name: str) -> _Any:
    """The API is imported when it is first used: JAX and Flax take seconds."""
    if name not in _API:
        raise AttributeError(f"module 'lra' has no attribute '{name}'")
    from lra import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
