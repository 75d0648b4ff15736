"""The runs of a results folder: those that have a record, and those that were begun alone."""

import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path

from lra import run_folder
from lra.claims import FAILED, Observer, Said, look
from lra.errors import UsageError, UserError
from lra.files import visible
from lra.leaderboard import store
from lra.leaderboard.reading import read
from lra.leaderboard.record import Record
from lra.leaderboard.tracks import changes
from lra.spec import FILE, RunSpec
from lra.storage import is_remote
from lra.tracks import tracks


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of a results folder. None stands for what is not known: the folder has neither a record nor a spec of it.

    Attributes:
      changes: what is not the protocol's, without options of the variant.
      options: those options of the variant, and settings from outside, that are not the protocol's.
      status: in words: how it ended, where it runs, or at which step it was stopped. A run whose machine was lost runs
        for those who look once.
      accuracy: the mean test accuracy of the seeds that did not diverge, as a share; None without any.
      date: UTC, ISO 8601.
      record: the file of its record.
    """

    run: str
    task: str | None
    protocol: str | None
    changes: tuple[str, ...]
    variant: str | None
    options: tuple[str, ...]
    seeds: tuple[int, ...] | None
    status: str
    accuracy: float | None
    date: str
    record: Path | None


def runs_in(results: Path) -> tuple[list[Run], list[str]]:
    """The runs of a results folder by date, and a line for each file that is no valid record.

    A run whose record was put away is left out, though its checkpoint is still there.

    Raises:
      UserError: a folder may not be read.
    """
    runs, left_out = [], []
    files = store.files_in(store.records_folder(results))
    for path in files:
        try:
            runs.append(recorded(read(path), path))
        except UserError as error:
            left_out.append(str(error))
    known = {store.run_in(path) for path in (*files, *store.files_in(store.put_away_folder(results)))}
    claims = {run: said for run, (_, said) in look(results).items()}
    steps = {folder.name: step for folder, step in checkpoints(results)}
    observer = Observer()
    for run in ({*claims} | {*steps}) - known:
        said = claims.get(run)
        lives = said is not None and observer.lives(said)
        runs.append(unrecorded(results / "runs" / run, steps.get(run), said, lives))
    return sorted(runs, key=lambda run: (run.date, run.run)), left_out


def recorded(record: Record, path: Path) -> Run:
    """The run of a record."""
    changed = changes(record, tracks().get(record.protocol.name))
    shares = [seed.test.accuracy for seed in record.seeds if seed.test]
    seeds = tuple(seed.seed for seed in record.seeds)
    status = f"{record.status}: {record.error}" if record.error else record.status
    if shares and len(shares) < len(seeds):
        status += f", {len(seeds) - len(shares)} of {len(seeds)} seeds diverged"
    return Run(
        record.run, record.task.name, record.protocol.name, changed.others, record.variant.name,
        changed.variant + changed.environment, seeds, status, sum(shares) / len(shares) if shares else None,
        record.measured.finished_at, path,
    )  # fmt: skip


def checkpoints(results: Path) -> Iterator[tuple[Path, int]]:
    """The folder of each run that has a checkpoint, and the step of the newest one."""
    if is_remote(results):
        for path in visible((results / "runs").glob("*.tar")):
            yield path.with_suffix(""), run_folder.look_into(path)[0]
        return
    for place in visible((results / "runs").glob("*/checkpoint")):
        if steps := [int(path.name) for path in place.iterdir() if path.name.isdigit()]:
            yield place.parent, max(steps)


def unrecorded(folder: Path, step: int | None, said: Said | None, lives: bool) -> Run:
    """The run of a folder without a record.

    Args:
      step: of the newest checkpoint; None without any.
      said: what the claim of the process says that trains it, or trained it last; None if there is no claim.
      lives: whether that process does.
    """
    if said and lives:
        status = f"running, {f'step {said.step} of {said.steps}, ' if said.steps else ''}{said.where}"
    elif said and said.state == FAILED:
        status = f"failed: {said.reason}"
    else:
        status = f"stopped at step {step or 0}"
    shared = folder.with_suffix(".tar") if is_remote(folder) else None
    date = ""
    for path in [shared] if shared else [folder / "checkpoint" / str(step), folder / FILE]:
        if path.exists():
            when = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
            date = when.isoformat(timespec="seconds")
            break
    try:
        text = run_folder.look_into(shared)[1] or "" if shared else (folder / FILE).read_text("utf-8")
        spec = RunSpec.from_json(text)
    except (OSError, UnicodeDecodeError, UsageError):  # an earlier lra made the folder, or the run has just begun
        return Run(folder.name, None, None, (), None, (), None, status, None, date, None)
    own = f"{spec.variant}."
    options = tuple(line.removeprefix(own) for line in spec.overrides if line.startswith(own))
    others = tuple(line for line in spec.overrides if not line.startswith(own))
    return Run(
        folder.name, spec.task, spec.protocol, others, spec.variant, options, spec.seeds, status, None, date, None
    )  # fmt: skip
