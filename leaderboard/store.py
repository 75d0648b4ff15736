"""Finds and loads the records in folders."""

from collections.abc import Iterable
from pathlib import Path

from lra.errors import UsageError, UserError
from lra.files import visible
from lra.leaderboard.duplicates import without_repeats
from lra.leaderboard.reading import read
from lra.leaderboard.record import Record


def folder_of(results: Path) -> Path:
    """The folder of the records in a results folder."""
    return results / "records"


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
      name: the path of the file, its name, the run, or the first letters of the run.

    Raises:
      UsageError: no record matches, or the runs of several records begin with `name`; the message names them.
    """
    if Path(name).is_file():
        return Path(name)
    searched = []
    for folder in folders:
        inside = records_folder(folder)
        files = [path for path in files_in(inside) if path.name == name or run_in(path).startswith(name)]
        if len(files) > 1:
            raise UsageError(f"several runs begin with {name}: {', '.join(map(run_in, files))}")
        if files and name:
            return files[0]
        searched.append(str(inside))
    raise UsageError(f"{name} is neither a file nor a run recorded in {' or '.join(searched)}")


def files_in(folder: Path) -> list[Path]:
    """The files of the records in a folder, in order; none if there is no such folder.

    Raises:
      UserError: the folder may not be read, so that records would be missing without a word.
    """
    try:
        return visible(path for path in folder.iterdir() if path.suffix == ".json")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}; name another folder of records") from error


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
