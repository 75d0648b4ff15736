"""The records in a folder."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from lra.errors import UsageError, UserError
from lra.leaderboard.reading import read
from lra.leaderboard.record import Record


def folder_of(results: Path) -> Path:
    return results / "records"


def find(results: Path, run: str) -> Record | None:
    """The finished record of a run; one that failed or ran out of memory does not count.

    Raises:
      UserError: the file is not a record.
    """
    for path in folder_of(results).glob(f"*.{run}.json"):
        record = read(path)
        if record.status in ("ok", "diverged"):
            return record
    return None


def locate(name: str, folders: Iterable[Path]) -> Path:
    """The file of a record, by its path, or, in the first folder that has it, by its name or run or how that begins.

    Raises:
      UsageError: there is none, or a beginning is that of several runs; names them.
    """
    if Path(name).is_file():
        return Path(name)
    searched = []
    for folder in folders:
        place = place_of(folder)
        files = sorted(path for path in place.glob("*.json") if path.name == name or run_in(path).startswith(name))
        if len(files) > 1:
            raise UsageError(f"{name} is how several runs begin: {', '.join(map(run_in, files))}")
        if files and name:
            return files[0]
        searched.append(str(place))
    raise UsageError(f"{name} is neither a file nor a run recorded in {' or '.join(searched)}")


def run_in(path: Path) -> str:
    return path.stem.rpartition(".")[2]


def place_of(folder: Path) -> Path:
    """Where the records are, of a folder of results or of nothing but records."""
    return folder_of(folder) if folder_of(folder).is_dir() else folder


def load(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """All records of some folders, of results or of nothing but records, in an order that does not depend on the disk.

    Of two records of one run the one with predictions counts, else the one of the folder that was named first.

    Returns:
      the records, each run once, and what was left out: a line for each file that is no record.
    """
    by_run: dict[str, tuple[tuple[bool, int, bytes], Record]] = {}
    left_out = []
    for number, folder in enumerate(folders):
        for path in sorted(place_of(folder).glob("*.json")):
            try:
                record = read(path)
            except UserError as error:
                left_out.append(str(error))
                continue
            order = (not has_predictions(record), number, msgspec.json.encode(record, order="sorted"))
            if record.run not in by_run or order < by_run[record.run][0]:
                by_run[record.run] = order, record
    return [by_run[run][1] for run in sorted(by_run)], left_out


def has_predictions(record: Record) -> bool:
    return any(seed.predictions for seed in record.seeds)
