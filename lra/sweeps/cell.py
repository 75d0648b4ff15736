"""The cells of a sweep: specs that were checked, the runs that they are, and what is known of these runs."""

import dataclasses
import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from lra.errors import UsageError, UserError
from lra.files import create, sha256_text, visible
from lra.leaderboard import store
from lra.plan import Plan, traced, untraced
from lra.spec import RunSpec
from lra.sweeps.job import Job
from lra.tasks import TASKS, Source
from lra.tasks.prepared import Prepared, load

MOST_LISTED = 20  # mistakes in an error


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a sweep.

    Attributes:
      steps: its train steps.
      plan: its model may be untraced; None for a cell that is only looked at.
    """

    run: str
    spec: RunSpec
    steps: int
    plan: Plan | None = None

    @property
    def name(self) -> str:
        """The cell in words."""
        spec = self.spec
        seeds = ",".join(map(str, spec.seeds))
        own = f" ({', '.join(store.shortened(spec.overrides))})" if spec.overrides else ""
        return f"{spec.task} {spec.variant}{own} {spec.protocol} seeds {seeds}"

    def job(self, results: Path, kernels: str, checkpoint_every: float) -> Job:
        """The cell as it travels; arguments as for `execute`."""
        assert self.plan
        return Job(self.run, self.spec, str(results), self.plan.sources or {}, kernels, checkpoint_every)

    def command(self, results: Path) -> str:
        """The command that runs this cell alone."""
        spec = self.spec
        words = ["lra", "run", "--task", TASKS[spec.task].stands_in_for or spec.task, "--variant", spec.variant]
        words += ["--protocol", spec.protocol, "--seeds", ",".join(map(str, spec.seeds)), "--results", str(results)]
        words += [word for line in spec.overrides for word in ("--gin", line)]
        words += [word for path in spec.imports for word in ("--import", path)]
        return shlex.join(words)


class Glance(msgspec.Struct):
    """The little that a sweep reads of a record. Whether the rest is valid is seen when tables are made."""

    class Seed(msgspec.Struct):
        class Test(msgspec.Struct):
            accuracy: float

        test: Test | None

    status: str
    error: str | None
    seeds: list[Seed]

    @property
    def accuracy(self) -> float | None:
        """The mean test accuracy of the seeds that did not diverge; None without any."""
        scores = [seed.test.accuracy for seed in self.seeds if seed.test]
        return sum(scores) / len(scores) if scores else None


def glance(path: Path) -> Glance | None:
    """What a sweep reads of a record; None if it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Glance)
    except (OSError, msgspec.DecodeError):
        return None


def recorded(results: Path, runs: Iterable[str]) -> dict[str, Glance]:
    """The records of some runs in a results folder that are complete: not those of runs that failed."""
    wanted = {*runs}
    paths = [path for path in store.files_in(store.folder_of(results)) if store.run_in(path) in wanted]
    read = {store.run_in(path): glance(path) for path in paths}
    return {run: seen for run, seen in read.items() if seen and seen.status in ("ok", "diverged")}


def cells_of(specs: Sequence[RunSpec]) -> list[Cell]:
    """The cells of some specs, each once, without traces of their models.

    Raises:
      UsageError: specs are wrong, or a task is not prepared; the message has each mistake once.
    """
    cells: dict[str, Cell] = {}
    by_source: dict[Source, Prepared] = {}
    plans: dict[RunSpec, Plan] = {}  # by the spec without its seeds, on which nothing else of a plan depends
    mistakes: dict[str, list[str]] = {}
    for spec in specs:
        alike = dataclasses.replace(spec, seeds=(0,))
        try:
            if alike not in plans:
                plans[alike] = untraced(alike)
            plan = dataclasses.replace(plans[alike], spec=dataclasses.replace(plans[alike].spec, seeds=spec.seeds))
            if plan.source not in by_source:
                by_source[plan.source] = load(plan.task, plan.source, plan.prepare_command)
            run = plan.run_id(by_source[plan.source].data_sha256)
            cells.setdefault(run, Cell(run, plan.spec, plan.train.steps, plan))
        except UserError as error:
            mistakes.setdefault(str(error), []).append(f"{spec.task} {spec.variant} {spec.protocol}")
    raise_all(mistakes)
    return [*cells.values()]


def check_models(cells: Sequence[Cell], advance: Callable[[Cell], None] = lambda cell: None) -> None:
    """Traces the model of each cell, so that what a variant refuses is known before anything is trained.

    Raises:
      UsageError: a variant raised; the message has each mistake once.
    """
    mistakes: dict[str, list[str]] = {}
    known: set[tuple[str, str]] = set()
    for cell in cells:
        assert cell.plan
        alike = cell.plan.variant.name, cell.plan.config
        if alike not in known:
            known.add(alike)
            try:
                traced(cell.plan)
            except UserError as error:
                mistakes.setdefault(str(error), []).append(cell.name)
        advance(cell)
    raise_all(mistakes)


def raise_all(mistakes: dict[str, list[str]]) -> None:
    if not mistakes:
        return
    listed = [f"{error} ({of[0]}{f' and {len(of) - 1} more' if of[1:] else ''})" for error, of in mistakes.items()]
    more = f"; and {len(listed) - MOST_LISTED} more" if listed[MOST_LISTED:] else ""
    first = f"{len(listed)} mistakes, nothing was run: " if listed[1:] else ""
    raise UsageError(first + "; ".join(listed[:MOST_LISTED]) + more)


def listing(results: Path, cells: Sequence[Cell]) -> Path:
    """The file that lists the cells of a sweep, for those who look at it from elsewhere."""
    return results / "sweeps" / f"{sha256_text(' '.join(sorted(cell.run for cell in cells)))[:12]}.json"


def keep(results: Path, cells: Sequence[Cell]) -> None:
    """Lists the cells of a sweep in the results folder."""
    kept = [{"run": cell.run, "spec": cell.spec.to_json(), "steps": cell.steps} for cell in cells]
    create(listing(results, cells), json.dumps(kept))


def kept(results: Path) -> list[Cell]:
    """The cells of all sweeps that were begun in a results folder, each once.

    Raises:
      UserError: none was.
    """
    cells: dict[str, Cell] = {}
    folder = results / "sweeps"
    for path in visible(folder.glob("*.json")) if folder.is_dir() else ():
        for one in json.loads(path.read_bytes()):
            cells.setdefault(one["run"], Cell(one["run"], RunSpec.from_json(one["spec"]), one["steps"]))
    if not cells:
        raise UserError(f"no sweep was begun in {results}; name its folder with --results")
    return [*cells.values()]
