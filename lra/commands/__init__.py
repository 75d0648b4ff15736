"""The commands. Each is a function of its options, next to the functions that add its arguments."""

from lra.commands import attention, bench, ci, data, kernels, leaderboard, runs, submissions, sweep, training  # noqa: F401  registers the commands
from lra.commands.command import REGISTERED, Command

GROUPS = {
    "leaderboard": "Make tables and pages from records, and records for others' tables.",
    "ci": "Compare a variant with a baseline: a gate for the repository that changes it.",
}
ORDER = (  # the order in the help and in docs/commands.md
    "tasks",
    "variants",
    "check",
    "new",
    "new-task",
    "prepare",
    "show",
    "export",
    "run",
    "sweep",
    "runs",
    "leaderboard build",
    "leaderboard table",
    "leaderboard submit",
    "leaderboard enter",
    "leaderboard validate",
    "compare",
    "reproduce",
    "ci baseline",
    "ci run",
    "kernels",
    "bench",
)
COMMANDS: dict[str, Command] = {
    command.name: command for command in sorted(REGISTERED, key=lambda command: ORDER.index(command.name))
}
