"""The records in a folder."""

import json
from collections.abc import Iterable
from pathlib import Path

from lra.errors import UserError
from lra.leaderboard.record import Record, read


def folder_of(results: Path) -> Path:
    return results / "records"


def find(results: Path, run: str) -> Record | None:
    """The finished record of a run; one that failed or ran out of memory does not count.

    Raises:
      UserError: the file is not a record.
    """
    for path in folder_of(results).glob(f"*.{run}.json"):
        record = read(path)
        if record["status"] in ("ok", "diverged"):
            return record
    return None


def load(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """All records of some folders, of results or of nothing but records, in an order that does not depend on the disk.

    Returns:
      the records, each run once, and what was left out: a line for each file that is no record.
    """
    records, left_out = [], []
    places = [folder_of(folder) if folder_of(folder).is_dir() else folder for folder in folders]
    for path in sorted({path for place in places for path in place.glob("*.json")}):
        try:
            records.append(read(path))
        except UserError as error:
            left_out.append(str(error))
    # of two records of one run the one with predictions, else the first in an order of their own
    records.sort(key=lambda record: json.dumps(record, sort_keys=True), reverse=True)
    unique = {record["run"]: record for record in sorted(records, key=kept)}
    return [unique[run] for run in sorted(unique)], left_out


def kept(record: Record) -> bool:
    """Whether the predictions are in it."""
    return any(seed["predictions"] for seed in record["seeds"])
