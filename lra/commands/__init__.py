"""What the commands do, each as a function of its options."""

from lra.commands.attention import check, new, variants
from lra.commands.bench import bench
from lra.commands.ci import ci_baseline, ci_run
from lra.commands.data import export, prepare, show, tasks
from lra.commands.leaderboard import leaderboard_build
from lra.commands.submissions import compare, leaderboard_submit, leaderboard_validate, reproduce
from lra.commands.training import run

__all__ = [
    "bench",
    "check",
    "ci_baseline",
    "ci_run",
    "compare",
    "export",
    "leaderboard_build",
    "leaderboard_submit",
    "leaderboard_validate",
    "new",
    "prepare",
    "reproduce",
    "run",
    "show",
    "tasks",
    "variants",
]
