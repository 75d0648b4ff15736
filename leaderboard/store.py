"""Finds and loads the records in folders."""

import difflib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from lra.errors import UsageError, UserError
from lra.files import visible, writing
from lra.leaderboard import external
from lra.leaderboard.duplicates import without_repeats
from lra.leaderboard.reading import read
from lra.leaderboard.record import Record

BENCH = "bench-"  # files of `lra bench` may lie among the records
MOST_LISTED = 8  # runs in an error
MOST_NEAR = 3  # of which a wrong name may have been meant


def folder_of(results: Path) -> Path:
    """The folder of the records in a results folder."""
    return results / "records"


def put_away_folder(results: Path) -> Path:
    """The folder of the records of a results folder that no table and no list has."""
    return results / "put-away"


def find(results: Path, run: str) -> Record | None:
    """The record of a run in a results folder; None if there is none, or if the run failed or ran out of memory.

    Raises:
      UserError: the file is not a valid record.
    """
    for path in files_in(folder_of(results)):
        if run_in(path) != run:
            continue
        record = read(path)
        if record.status in ("ok", "diverged"):
            return record
    return None


def locate(name: str, folders: Iterable[Path]) -> Path:
    """The file of a record, in the first folder that has it.

    Args:
      name: the path of the file, its name, the run, or the first letters of the run; of a result from elsewhere too.

    Raises:
      UsageError: no record matches, or the runs of several records begin with `name`; the message names them, or the
        nearest ones.
    """
    if Path(name).is_file():
        return Path(name)
    folders = [*folders]
    searched = [records_folder(folder) for folder in folders]
    for inside in searched:
        files = [path for path in all_in(inside) if path.name == name or run_in(path).startswith(name)]
        if len(files) > 1:
            raise UsageError(f"several runs begin with '{name}': {listed(files)}")
        if files and name:
            return files[0]
    of_variant = [path for inside in searched for path in files_in(inside) if variant_in(path) == name]
    if of_variant:
        raise UsageError(f"'{name}' is a variant; name one of its runs: {listed(of_variant)}")
    lists = f"lra runs --results {shlex.quote(str(folders[0]))}"
    begun = {path.name.removesuffix(".tar") for folder in folders for path in visible((folder / "runs").glob("*"))}
    if name in begun:
        raise UsageError(f"run {name} has no record yet; '{lists}' tells its state")
    where = " or ".join(map(str, searched))
    near = nearest(name, [path for inside in searched for path in files_in(inside)])
    hint = f"; the nearest: {listed(near)}" if near else f"; '{lists}' lists the runs"
    raise UsageError(f"{name} is neither a file nor a run recorded in {where}{hint}")


def nearest(name: str, files: Sequence[Path]) -> list[Path]:
    """The records whose run, or the start of it, or variant, is most like a name; none if all are far from it."""

    def likeness(path: Path) -> float:
        words = run_in(path), run_in(path)[: len(name)], variant_in(path), path.name
        return max(difflib.SequenceMatcher(None, name, word).ratio() for word in words)

    near = sorted(((likeness(path), path) for path in files), key=lambda pair: (-pair[0], pair[1]))
    return [path for ratio, path in near[:MOST_NEAR] if ratio >= 0.6]


def listed(files: Sequence[Path]) -> str:
    """The runs of some records in words, with what tells them apart."""
    more = f" and {len(files) - MOST_LISTED} more" if files[MOST_LISTED:] else ""
    return "; ".join(map(in_words, files[:MOST_LISTED])) + more


def in_words(path: Path) -> str:
    try:
        record = read(path)
    except UserError:  # the name of its file is all that it says
        return run_in(path)
    protocol, count = record.protocol, len(record.seeds)
    facts = [record.variant.name, record.task.name, protocol.name, *shortened(protocol.overrides)]
    facts += [f"{count} seed{'s' * (count != 1)}", record.measured.finished_at[:10]]
    return f"{record.run} ({', '.join(facts)})"


def shortened(lines: Sequence[str], most: int = 2) -> list[str]:
    """The first of some lines, and how many more there are."""
    return [*lines[:most], *([f"{len(lines) - most} more"] if lines[most:] else [])]


def put_away(path: Path, results: Path) -> Path:
    """Moves the record of a run out of every table and list; returns where it is.

    Raises:
      UserError: a record of that name was put away before, or the file cannot be moved.
    """
    moved = put_away_folder(results) / path.name
    if moved.exists():
        raise UserError(f"{moved} is there already; move it elsewhere first")
    with writing(moved):
        moved.parent.mkdir(parents=True, exist_ok=True)
        path.rename(moved)
    return moved


def files_in(folder: Path) -> list[Path]:
    """The files of the records in a folder; without results from elsewhere, which may lie among them.

    Raises:
      UserError: as `all_in`.
    """
    return [path for path in all_in(folder) if not external.is_named(path)]


def all_in(folder: Path) -> list[Path]:
    """The files of the records and of the results from elsewhere in a folder, in order; none if there is no folder.

    Raises:
      UserError: the folder may not be read, so that records would be missing without a word.
    """
    try:
        return visible(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith(BENCH))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}; name another folder of records") from error


def variant_in(path: Path) -> str:
    """The variant in the name of a record's file."""
    return path.stem.rpartition(".")[0].rpartition(".")[2]


def run_in(path: Path) -> str:
    """The run in the name of a record's file."""
    return path.stem.rpartition(".")[2]


def records_folder(folder: Path) -> Path:
    """The folder that holds the records: the subfolder `records` if there is one, else the folder itself."""
    return folder_of(folder) if folder_of(folder).is_dir() else folder


def load(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """All records of some folders, sorted by run.

    Of records of one run that agree, one remains (`duplicates.without_repeats`). The order of the folders does not
    matter.

    Args:
      folders: results folders, or folders that hold records directly.

    Returns:
      the records, and a line for each file that is not a valid record.
    """
    records, left_out = [], []
    for folder in folders:
        for path in files_in(records_folder(folder)):
            try:
                records.append(read(path))
            except UserError as error:
                left_out.append(str(error))
    return without_repeats(records), left_out
