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

    Of two records of one run the one with predictions counts, else the one of the folder that was named first.

    Returns:
      the records, each run once, and what was left out: a line for each file that is no record.
    """
    found: dict[str, tuple[tuple[bool, int, str], Record]] = {}
    left_out = []
    for number, folder in enumerate(folders):
        place = folder_of(folder) if folder_of(folder).is_dir() else folder
        for path in sorted(place.glob("*.json")):
            try:
                record = read(path)
            except UserError as error:
                left_out.append(str(error))
                continue
            order = (not has_predictions(record), number, json.dumps(record, sort_keys=True))
            if record["run"] not in found or order < found[record["run"]][0]:
                found[record["run"]] = order, record
    return [found[run][1] for run in sorted(found)], left_out


def has_predictions(record: Record) -> bool:
    return any(seed["predictions"] for seed in record["seeds"])
