"""The records in a results folder."""

import json
from collections.abc import Iterable
from pathlib import Path

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


def load(results: Iterable[Path]) -> list[Record]:
    """All records of some results folders, in an order that does not depend on the file system.

    Raises:
      UserError: a file is not a record.
    """
    records = [read(path) for folder in results for path in sorted(folder_of(folder).glob("*.json"))]
    # of two records of one run, the first in an order of their own, whatever folder they came from
    records.sort(key=lambda record: json.dumps(record, sort_keys=True), reverse=True)
    unique = {record["run"]: record for record in records}
    return [unique[run] for run in sorted(unique)]
