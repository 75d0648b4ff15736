"""The file of a benchmark. It is written after each row, so that a stopped benchmark can continue."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lra.environment import hardware, versions
from lra.errors import UserError
from lra.files import check_writable, write_atomically


class Report:
    """The rows of a benchmark on this hardware.

    Args:
      keys: the columns that identify a row.
      minutes: no measurement begins after so many minutes; None for no limit.
      again: whether to drop the rows in the file.

    Raises:
      UserError: the file is from other hardware or versions, is not a report, or could not be written.
    """

    def __init__(self, path: Path, keys: Sequence[str], minutes: float | None, again: bool):
        self.path, self.keys = path, tuple(keys)
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.hardware = {**hardware(), **versions()}
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        check_writable(path)
        if path.exists() and not again:
            try:
                old = json.loads(path.read_bytes())
                rows = {self.key(row): row for row in old["rows"]}
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path} is no file of this benchmark; remove it, or --again replaces it") from None
            if old["hardware"] != self.hardware:
                raise UserError(f"{path} is of other hardware or other versions; move it, or --again replaces it")
            self.rows = rows

    def key(self, row: dict[str, Any]) -> tuple[Any, ...]:
        """The values of the key columns of a row."""
        return tuple(row[name] for name in self.keys)

    def wants(self, **key: Any) -> bool:
        """Whether the row of a key is missing and there is time to measure it."""
        late = self.deadline is not None and time.monotonic() > self.deadline
        return self.key(key) not in self.rows and not late

    def add(self, row: dict[str, Any]) -> None:
        """Adds a row and writes the file."""
        self.rows[self.key(row)] = row
        content = {"hardware": self.hardware, "rows": list(self.rows.values())}
        write_atomically(self.path, json.dumps(content, indent=1) + "\n")
