"""The baseline: one JSON file, made to be committed, with all that a comparison needs. Nothing in it is executed."""

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
# a parameter, and a value without a name in it: gin would import modules and call functions for others
BINDING = re.compile(r"[A-Za-z_][\w.]*\.[A-Za-z_]\w*\s*=\s*(?P<value>.+)")


class Workload(Part, frozen=True, kw_only=True):
    """What is measured, and at which sizes."""

    task: str
    protocol: str
    bindings: tuple[str, ...]  # gin bindings given by hand; those below come before or after them
    training: tuple[str, ...]  # before: a short training
    seeds: tuple[WholeNumber, ...]  # trained together
    step: tuple[str, ...]  # after: the training step whose operations, memory and time are taken
    pairs: WholeNumber  # steps of the Transformer and of the variant that one process times in turns
    processes: WholeNumber  # that time again; a baseline takes twice as many


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
    """What a compiler says of a training step."""

    operations: Number | None  # None where it does not say
    bytes: WholeNumber | None  # arguments and temporaries


class Trained(Part, frozen=True, kw_only=True):
    """One seed's score on the test split; None if it diverged."""

    seed: WholeNumber
    accuracy: Number | None
    loss: Number | None


class VariantBaseline(Part, frozen=True, kw_only=True):
    """What is known of a variant."""

    parameters: dict[str, WholeNumber]  # "listops, demo" to the number
    programs: dict[str, Program]  # by target, and "traced": before any compiler
    checks: dict[str, str]  # name to status
    step_time: tuple[tuple[Number, ...], ...]  # ratios to the Transformer's, one a process, in rounds apart in time
    training: tuple[Trained, ...]


class Baseline(Part, frozen=True, kw_only=True):
    """The whole file."""

    schema: WholeNumber
    hardware: dict[str, Any]
    versions: dict[str, str]  # of the packages
    compilers: dict[str, dict[str, str]]  # by target: the packages that decide what its compiler says
    workload: Workload
    data_sha256: str  # of the prepared task
    variants: dict[str, VariantBaseline]


def write(baseline: Baseline, path: Path) -> None:
    """Writes a baseline, whole or not at all.

    Raises:
      UserError: it could not be written.
    """
    text = json.dumps(as_json(baseline), indent=1, allow_nan=False)
    # numbers of a list on one line: a reviewer sees which quantity changed
    text = re.sub(r"\[\s+([-\d.e,\s]+?)\s+\]", lambda numbers: "[" + " ".join(numbers[1].split()) + "]", text)
    write_atomically(path, text + "\n")


def read(path: Path) -> Baseline:
    """Reads and checks a baseline.

    Raises:
      UserError: it is not there, or is none of this version; names the file and what is wrong.
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
    """What is wrong with a baseline of the right shape; None if nothing is."""
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
    """Whether a gin binding sets a parameter to a number, a text, or a list of such."""
    match = BINDING.fullmatch(binding.strip())
    try:
        return match is not None and "\n" not in binding and not REFERENCE.fullmatch(literal(binding, match["value"]))
    except UserError:
        return False


def admit_bindings(bindings: Sequence[str]) -> tuple[str, ...]:
    """The bindings given by hand, if a baseline may keep them.

    Raises:
      UsageError: one is not a plain value.
    """
    for binding in bindings:
        if not plain(binding):
            raise UsageError(f"--gin '{binding}': a baseline keeps plain values only, as in 'train.steps = 500'")
    return tuple(bindings)
