"""The Python API, `import lra`: the functions behind the commands, for notebooks, sweeps and other harnesses."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flax import nnx

from lra.checks import check_variant as check
from lra.errors import UserError
from lra.execution import execute, recorded
from lra.families import FAMILY
from lra.leaderboard import board as boards
from lra.leaderboard import store
from lra.leaderboard.board import REFERENCE, Board
from lra.leaderboard.record import Record
from lra.leaderboard.rows import rows as rows_of
from lra.models.attention import register_attention
from lra.plan import Plan, resolve
from lra.proof.choice import AUTO
from lra.recipe import task_and_source
from lra.spec import RunSpec, seeds_of
from lra.storage import path_of
from lra.tasks import ARENA, Split, prepared
from lra.tracks import tracks

if TYPE_CHECKING:
    from lra.sweeps.executor import Executor

__all__ = [
    "Plan", "RunSpec", "board", "build_model", "check", "load_task", "prepare", "records", "register_attention",
    "resolve", "rows", "run", "sweep",
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
    """Writes a task's examples to disk if they are not prepared yet.

    >>> folder = lra.prepare("listops", "demo", ["listops.train = 1000"])  # doctest: +SKIP

    Args:
      protocol: the protocol that sets the sizes; None for the task's defaults.
      overrides: gin bindings, e.g. "listops.train = 1000".
      read_from: the publisher's files, a folder or an archive; None generates the examples, or asks TFDS.
      workers: the number of processes; the examples do not depend on it.
      force: whether to replace examples that are prepared already.

    Returns:
      the folder of the prepared task.

    Raises:
      UsageError: `workers` is less than 1.
      UserError: the examples cannot be obtained that way, or the folder already holds other examples.
    """
    chosen, source = task_and_source(task, protocol, overrides)
    path = None if read_from is None else Path(read_from)
    prepared.prepare(chosen, source, read_from=path, workers=workers, force=force)
    return prepared.folder_of(chosen, source)


def load_task(task: str, protocol: str | None = None, overrides: Sequence[str] = ()) -> dict[str, Split]:
    """The arrays of a prepared task by split: "train", "validation", "test".

    A split has these memory-mapped arrays, which `torch.from_numpy` takes too:

    * `inputs`: uint8[examples, max_length], or [examples, 2, max_length] for pairs, right-padded with zeros;
    * `lengths`: int32[examples], or [examples, 2] for pairs; only the lengths say what is padding;
    * `labels`: int32[examples], or [examples, max_length] with -1 for none where each token has a label;
    * `bins`: uint8 of the shape of `labels`, the level of difficulty of each label; None for a task that tells none.

    >>> lra.load_task("listops", "demo")["train"].inputs.shape  # doctest: +SKIP
    (20000, 48)

    Raises:
      UserError: the task is not prepared with these parameters, or a file is damaged; the message names the command
        that prepares the task.
    """
    chosen, source = task_and_source(task, protocol, overrides)
    return prepared.load(chosen, source, f"lra.prepare({task!r}, {protocol!r}, {overrides!r})").splits


def build_model(spec: RunSpec, seed: int = 0) -> nnx.Module:
    """The model with which a seed begins its training, in evaluation mode.

    The model takes tokens, uint8 or int32[batch, length], and lengths, int32[batch]; for pairs [batch, 2, length] and
    [batch, 2]. It returns logits, float32[batch, classes]. Under `train.compute_type = 'bfloat16'` its parameters are
    those that a run computes with.

    >>> model = lra.build_model(lra.RunSpec("listops", "local", "demo"))  # doctest: +SKIP
    >>> logits = model(split.inputs[:4], split.lengths[:4])  # doctest: +SKIP

    Raises:
      UsageError, UserError: as `resolve`; or `seed` is no seed.
    """
    (seed,) = seeds_of(seed)
    plan = resolve(spec)
    model = plan.fresh_model(seed)
    nnx.update(model, plan.narrowed(nnx.state(model, nnx.Param)))
    model.eval()
    return model


def run(spec: RunSpec, results: str | Path = "lra-results", *, again: bool = False, kernels: str = AUTO) -> Record:
    """Trains and scores all seeds of a spec, and writes and returns the record.

    A run that has a record is not repeated; its record is returned. A run that was stopped continues.

    >>> record = lra.run(lra.RunSpec("listops", "local", "demo", seeds=(0, 1, 2)))  # doctest: +SKIP

    Args:
      results: the folder for records, checkpoints and logs, also in a storage: "s3://bucket/results".
      again: whether to repeat a run that has a record, and replace the record.
      kernels: "auto" takes for each op of the train step the fastest implementation that is proven right on this
        device; "xla" or another name takes that one.

    Raises:
      UsageError, UserError: as `resolve`.
      UserError: the task is not prepared, the memory or the disk is full, or the variant has no source file.
    """
    results = path_of(results)
    plan = resolve(spec)
    data = prepared.load(plan.task, plan.source, plan.prepare_command)
    before = None if again else recorded(plan, data, results)
    return before or execute(plan, data, results, anew=again, kernels=kernels)


def sweep(
    specs: Iterable[RunSpec],
    results: str | Path = "lra-results",
    *,
    executor: "Executor | str" = "local",
    jobs: int | None = None,
    kernels: str = AUTO,
) -> list[Record]:
    """Runs the specs that have no record, each in a process of its own, and returns the records of all.

    Several sweeps of the same specs share the work. What was stopped continues.

    >>> specs = [lra.RunSpec("listops", name, "demo", (0, 1, 2)) for name in ("local", "s5")]
    >>> records = lra.sweep(specs, jobs=2)  # doctest: +SKIP

    Args:
      results: the folder for records, checkpoints and logs, or an address such as s3://bucket/folder.
      executor: where the processes run, as `lra sweep --executor` takes it, or an object of `lra.sweeps`.
      jobs: the most that run at once; None for what the executor thinks best.
      kernels: as for `run`.

    Raises:
      UsageError, UserError: some specs are wrong, and nothing was run; or cells failed, and all others have records.
    """
    from lra.sweeps.executor import executor_of
    from lra.sweeps.fill import fill

    specs, folder = list(specs), path_of(results)
    where = executor_of(executor) if isinstance(executor, str) else executor
    done = fill(specs, folder, where, jobs, kernels=kernels)
    done.require_success()
    runs = {entry.cell.run for entry in done.entries}
    return [record for record in store.load([folder])[0] if record.run in runs]


def records(folder: str | Path = "lra-results") -> list[Record]:
    """The records of a folder, sorted by run.

    Args:
      folder: a results folder, or a folder that holds records directly.

    Raises:
      UserError: there is no such folder, or files in it are not valid records; the message names all of them.
    """
    folder = path_of(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; lra.run makes it")
    loaded, left_out = store.load([folder])
    if left_out:
        raise UserError("; ".join(left_out))
    return loaded


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """A flat table with a row for each seed of each record.

    Accuracies are shares of all examples of a split, losses mean nats. Both are None for a seed that diverged.

    >>> pandas.DataFrame(lra.rows(lra.records()))  # doctest: +SKIP
    """
    return [row for record in records for row in rows_of(record)]


def board(records: Iterable[Record], reference: str = REFERENCE) -> Board:
    """The leaderboard of some records as numbers: tables by task, data and protocol, and overviews.

    >>> lra.board(lra.records()).tables[0].rows[0].mean  # doctest: +SKIP

    Args:
      reference: the variant that each row is compared with.
    """
    return boards.make_board(records, tracks(), reference, arena=ARENA, families=FAMILY)
