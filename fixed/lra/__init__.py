"""Long Range Arena: tasks, attention variants and a leaderboard that anyone can make again."""

from pathlib import Path as _Path

__version__ = "0.1.0"

# Imported straight from a checkout (a shell or a script in its top folder), the packages inside lra are beside it.
if not (_Path(__file__).parent / "tasks").exists():
    __path__.append(str(_Path(__file__).resolve().parent.parent))
