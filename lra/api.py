"""What `import lra` offers: the functions behind the commands, for notebooks, sweeps and other harnesses."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from lra import checks
from lra.checks import Result
from lra.errors import UserError
from lra.leaderboard import board as boards
from lra.leaderboard import store
from lra.leaderboard.board import REFERENCE, Board
from lra.leaderboard.record import Record
from lra.leaderboard.rows import rows as rows_of
from lra.models.attention import register_attention
from lra.plan import Plan, resolve
from lra.recipe import task_and_source
from lra.spec import RunSpec
from lra.tasks import Split, prepared
from lra.tracks import tracks
from lra.trainer import execute, recorded

__all__ = [
    "Plan", "RunSpec", "board", "build_model", "check", "load_task", "prepare", "records", "register_attention",
    "resolve", "rows", "run",
]  # fmt: skip


def prepare(
    task: str,
    protocol: str | None = None,
    overrides: Sequence[str] = (),
    *,
    read_from: str | Path | None = None,
    workers: int = 1,
    force: bool = False,
) -> Path:
    """Writes a task's examples to disk, if they are not there yet; the folder of the prepared task.

    Args:
      protocol: whose sizes to take; None for the task's own.
      overrides: gin bindings, e.g. "listops.train = 1000".
      read_from: the publisher's files, a folder or an archive; None generates the examples, or asks TFDS.
      force: replaces what is prepared.

    Raises:
      UserError: the examples cannot be had that way, or others are prepared there already.
    """
    chosen, source = task_and_source(task, protocol, overrides)
    path = None if read_from is None else Path(read_from)
    prepared.prepare(chosen, source, read_from=path, workers=workers, force=force)
    return prepared.folder_of(chosen, source)


def load_task(task: str, protocol: str | None = None, overrides: Sequence[str] = ()) -> dict[str, Split]:
    """The arrays of a prepared task by split: "train", "validation", "test".

    A split has `inputs`, uint8[examples, max_length] (for pairs [examples, 2, max_length]), right-padded with zeros;
    `lengths`, int32[examples] (for pairs [examples, 2]), which alone says what is padding; and `labels`,
    int32[examples]. The arrays are memory-mapped.

    Raises:
      UserError: it is not prepared with these parameters, or a file is damaged; names the command that prepares it.
    """
    chosen, source = task_and_source(task, protocol, overrides)
    return prepared.load(chosen, source, f"lra.prepare({task!r}, {protocol!r}, {overrides!r})").splits


def build_model(spec: RunSpec, seed: int = 0) -> nnx.Module:
    """The model of a run, its parameters drawn from a seed as in training; in evaluation mode.

    It is called with tokens, uint8 or int32[batch, length] (for pairs [batch, 2, length]), and lengths, int32[batch]
    (for pairs [batch, 2]); it returns logits, float32[batch, classes].

    Raises:
      UsageError, UserError: as `resolve`.
    """
    model = resolve(spec).fresh_model(seed)
    model.eval()
    return model


def run(spec: RunSpec, results: str | Path = "lra-results", *, again: bool = False) -> Record:
    """Trains and scores all seeds of a spec and writes its record; a run that has a record is not run again.

    Args:
      results: the folder for records, checkpoints and logs.
      again: runs it all the same, and replaces the record.

    Raises:
      UsageError, UserError: as `resolve`; the task is not prepared; the device's memory or the disk is full.
    """
    plan = resolve(spec)
    data = prepared.load(plan.task, plan.source, plan.prepare_command)
    before = None if again else recorded(plan, data, Path(results))
    return before or execute(plan, data, Path(results), anew=again)


def check(name: str, overrides: Sequence[str] = (), advance: Callable[[int], Any] = lambda count: None) -> list[Result]:
    """Runs all checks of a registered variant; each result has `check`, `status` and `details`.

    Args:
      overrides: gin bindings of its options.
      advance: called with 1 after each check.

    Raises:
      UsageError: there is no such variant, or an override is not valid.
    """
    return checks.check_variant(name, overrides, advance)


def records(folder: str | Path = "lra-results") -> list[Record]:
    """The records of a folder, of results or of nothing but records, in the order of their runs.

    Raises:
      UserError: there is no such folder, or a file in it is no record; names all that are none.
    """
    if not Path(folder).is_dir():
        raise UserError(f"there is no folder {folder}; lra.run makes it")
    found, left_out = store.load([Path(folder)])
    if left_out:
        raise UserError("; ".join(left_out))
    return found


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """A flat table of records, a row for each seed, which `pandas.DataFrame` takes as it is.

    Accuracies are shares of all examples of a split, losses mean nats; both are None for a seed that diverged.
    """
    return [row for record in records for row in rows_of(record)]


def board(records: Iterable[Record], reference: str = REFERENCE) -> Board:
    """The leaderboard of some records: tables by task, data and protocol, and overviews, as numbers.

    Args:
      reference: the variant with which each row is compared.
    """
    return boards.make_board(records, tracks(), reference)
