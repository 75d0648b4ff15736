"""The baseline: one JSON file, made to be committed, with all that a comparison needs. Nothing in it is executed."""

import json
import re
from pathlib import Path
from typing import Any, TypedDict

from lra.bindings import SCHEDULES, literal
from lra.errors import UsageError, UserError
from lra.files import write_atomically
from lra.leaderboard.record import misfit

SCHEMA = 1
ANEW = "'lra ci baseline' makes a new baseline"
AWAY = "move it away, and 'lra ci baseline NAME' makes a new one"
# a parameter, and a value without a name in it: gin would import modules and call functions for others
BINDING = re.compile(r"[A-Za-z_][\w.]*\.[A-Za-z_]\w*\s*=\s*(?P<value>.+)")


class Budget(TypedDict):
    """What is measured, and at which sizes."""

    task: str
    protocol: str
    bindings: list[str]  # gin bindings given by hand; those below come before or after them
    training: list[str]  # before: a short training
    seeds: list[int]  # trained together
    step: list[str]  # after: the training step whose operations, memory and time are taken
    pairs: int  # steps of the Transformer and of the variant that one process times in turns
    processes: int  # that time again; a baseline takes twice as many


BUDGET = Budget(
    task="listops",
    protocol="demo",
    bindings=[],
    training=["train.steps = 120", "train.eval_every = 120", "cosine.cycle = 100"],
    seeds=list(range(8)),
    step=["listops.max_length = 256", "train.batch_size = 2"],
    pairs=100,
    processes=4,
)


class Program(TypedDict):
    """What a compiler says of a training step."""

    operations: float | None  # None where it does not say
    bytes: int | None  # arguments and temporaries


class Trained(TypedDict):
    """One seed's score on the test split; None if it diverged."""

    seed: int
    accuracy: float | None
    loss: float | None


class Measured(TypedDict):
    """What is known of a variant."""

    parameters: dict[str, int]  # "listops, demo" to the number
    programs: dict[str, Program]  # by target, and "traced": before any compiler
    checks: dict[str, str]  # name to status
    step_time: list[list[float]]  # ratios to the Transformer's, one a process, in rounds apart in time
    training: list[Trained]


class Baseline(TypedDict):
    schema: int
    hardware: dict[str, Any]
    versions: dict[str, str]  # of the packages
    compilers: dict[str, dict[str, str]]  # by target: the packages that decide what its compiler says
    budget: Budget
    data_sha256: str  # of the prepared task
    variants: dict[str, Measured]


def write(baseline: Baseline, path: Path) -> None:
    """Writes a baseline, whole or not at all.

    Raises:
      UserError: it could not be written.
    """
    text = json.dumps(baseline, indent=1, allow_nan=False)
    # numbers of a list on one line: a reviewer sees which quantity changed
    text = re.sub(r"\[\s+([-\d.e,\s]+?)\s+\]", lambda found: "[" + " ".join(found[1].split()) + "]", text)
    write_atomically(path, text + "\n")


def read(path: Path) -> Baseline:
    """Reads and checks a baseline.

    Raises:
      UserError: it is not there, or is none of this version; names the file and what is wrong.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"there is no {path}; 'lra ci baseline NAME' makes one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a baseline ({error}); {AWAY}") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA or type(schema) is not int:
        raise UserError(f"{path} has schema version {schema!r}, this version of lra reads {SCHEMA}; {AWAY}")
    if problem := misfit(found, Baseline, "baseline") or contradiction(found):
        raise UserError(f"{path}: {problem}; {AWAY}")
    return found


def contradiction(baseline: Baseline) -> str | None:
    """What is wrong with a baseline of the right shape; None if nothing is."""
    budget = baseline["budget"]
    for binding in (*budget["bindings"], *budget["training"], *budget["step"]):
        if not plain(binding):
            return f"baseline.budget has '{binding}', which is not NAME.PARAMETER = a plain value"
    for field, count in (("pairs", budget["pairs"]), ("processes", budget["processes"])):
        if not 1 <= count <= 1000:
            return f"baseline.budget.{field} is not from 1 to 1,000"
    if not 1 <= len(budget["seeds"]) <= 1000:
        return "baseline.budget.seeds has not from 1 to 1,000 seeds"
    for name, measured in baseline["variants"].items():
        if not all(measured["step_time"]) or min(map(min, measured["step_time"])) <= 0:
            return f"baseline.variants.{name}.step_time has no ratios above 0"
        if [trained["seed"] for trained in measured["training"]] != budget["seeds"]:
            return f"baseline.variants.{name}.training has other seeds than the budget"
    return None if baseline["variants"] else "baseline.variants is empty"


def plain(binding: str) -> bool:
    """Whether a gin binding sets a parameter to a number, a text, or a list of such."""
    found = BINDING.fullmatch(binding.strip())
    try:
        return found is not None and "\n" not in binding and literal(binding, found["value"]) not in SCHEDULES
    except UserError:
        return False


def admit_bindings(bindings: list[str]) -> list[str]:
    """The bindings given by hand, if a baseline may keep them.

    Raises:
      UsageError: one is not a plain value.
    """
    for binding in bindings:
        if not plain(binding):
            raise UsageError(f"--gin '{binding}': a baseline keeps plain values only, as in 'train.steps = 500'")
    return bindings
