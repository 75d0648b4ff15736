"""The baseline: a JSON file that is committed, with all that a comparison needs. Nothing in it is executed."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lra.errors import UsageError, UserError
from lra.files import write_atomically
from lra.leaderboard.config import REFERENCE, literal
from lra.leaderboard.record import as_json
from lra.leaderboard.strict import Number, Part, WholeNumber, decode, shaped

SCHEMA = 2
ANEW = "'lra ci baseline' makes a new baseline"
AWAY = "move it away, and 'lra ci baseline NAME' makes a new one"
# a parameter and a value; `plain` refuses a value that is not a literal
BINDING = re.compile(r"[A-Za-z_][\w.]*\.[A-Za-z_]\w*\s*=\s*(?P<value>.+)")


class Workload(Part, frozen=True, kw_only=True):
    """What is measured, and at which sizes."""

    task: str
    protocol: str
    bindings: tuple[str, ...]  # the gin bindings given by hand
    training: tuple[str, ...]  # bindings of the short training; `bindings` override them
    seeds: tuple[WholeNumber, ...]  # the seeds that are trained together
    step: tuple[str, ...]  # bindings of the measured train step; they override `bindings`
    pairs: WholeNumber  # pairs of train steps, Transformer and variant, that one process times
    processes: WholeNumber  # processes that time steps; a baseline takes twice as many


WORKLOAD = Workload(
    task="listops",
    protocol="demo",
    bindings=(),
    training=("train.steps = 120", "train.eval_every = 120", "cosine.cycle = 100"),
    seeds=tuple(range(8)),
    step=("listops.max_length = 256", "train.batch_size = 2"),
    pairs=100,
    processes=4,
)


class Program(Part, frozen=True, kw_only=True):
    """The cost of a train step according to a compiler."""

    operations: Number | None  # None if the compiler does not report it
    bytes: WholeNumber | None  # of arguments and temporaries; None as above


class Trained(Part, frozen=True, kw_only=True):
    """The score of a seed on the test split. Accuracy and loss are None if the seed diverged."""

    seed: WholeNumber
    accuracy: Number | None
    loss: Number | None


class VariantBaseline(Part, frozen=True, kw_only=True):
    """All that was measured of a variant."""

    parameters: dict[str, WholeNumber]  # by model, as in "listops, demo": the parameter count
    programs: dict[str, Program]  # by target; "traced" is the program before any compiler
    checks: dict[str, str]  # by name: the status
    step_time: tuple[tuple[Number, ...], ...]  # rounds of ratios to the Transformer's, one a process
    training: tuple[Trained, ...]


class Baseline(Part, frozen=True, kw_only=True):
    """The content of a baseline's file."""

    schema: WholeNumber
    hardware: dict[str, Any]
    versions: dict[str, str]  # of the packages
    compilers: dict[str, dict[str, str]]  # by target: the versions of its compiler's packages
    workload: Workload
    data_sha256: str  # of the prepared task
    variants: dict[str, VariantBaseline]


def write(baseline: Baseline, path: Path) -> None:
    """Writes a baseline atomically.

    Raises:
      UserError: the file could not be written.
    """
    text = json.dumps(as_json(baseline), indent=1, allow_nan=False)
    # lists of numbers on one line, so that a diff shows which quantity changed
    text = re.sub(r"\[\s+([-\d.e,\s]+?)\s+\]", lambda numbers: "[" + " ".join(numbers[1].split()) + "]", text)
    write_atomically(path, text + "\n")


def read(path: Path) -> Baseline:
    """Reads and checks a baseline.

    Raises:
      UserError: the file does not exist or is not a baseline of this version; the message names file and problem.
    """
    try:
        content = decode(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"there is no {path}; 'lra ci baseline NAME' makes one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a baseline ({error}); {AWAY}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA or type(schema) is not int:
        raise UserError(f"{path} has schema version {schema!r}, this version of lra reads {SCHEMA}; {AWAY}")
    try:
        baseline = shaped(content, Baseline, "baseline")
    except UserError as error:
        raise UserError(f"{path}: {error}; {AWAY}") from error
    if problem := contradiction(baseline):
        raise UserError(f"{path}: {problem}; {AWAY}")
    return baseline


def contradiction(baseline: Baseline) -> str | None:
    """The first problem in a baseline of the right shape; None if there is none."""
    workload = baseline.workload
    for binding in (*workload.bindings, *workload.training, *workload.step):
        if not plain(binding):
            return f"baseline.workload has '{binding}', which is not NAME.PARAMETER = a plain value"
    for field, count in (("pairs", workload.pairs), ("processes", workload.processes)):
        if not 1 <= count <= 1000:
            return f"baseline.workload.{field} is not from 1 to 1,000"
    if not 1 <= len(workload.seeds) <= 1000:
        return "baseline.workload.seeds has not from 1 to 1,000 seeds"
    for name, variant in baseline.variants.items():
        if not all(variant.step_time) or min(map(min, variant.step_time), default=0) <= 0:
            return f"baseline.variants.{name}.step_time has no ratios above 0"
        if tuple(trained.seed for trained in variant.training) != workload.seeds:
            return f"baseline.variants.{name}.training has other seeds than the workload"
    return None if baseline.variants else "baseline.variants is empty"


def plain(binding: str) -> bool:
    """Whether a gin binding sets a parameter to a literal."""
    match = BINDING.fullmatch(binding.strip())
    try:
        return match is not None and "\n" not in binding and not REFERENCE.fullmatch(literal(binding, match["value"]))
    except UserError:
        return False


def admit_bindings(bindings: Sequence[str]) -> tuple[str, ...]:
    """The bindings given by hand, after a check that a baseline may keep them.

    Raises:
      UsageError: the value of a binding is not plain.
    """
    for binding in bindings:
        if not plain(binding):
            raise UsageError(f"--gin '{binding}': a baseline keeps plain values only, as in 'train.steps = 500'")
    return tuple(bindings)
