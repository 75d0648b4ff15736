"""The file of a benchmark: rows by their keys, written after each, so that a stopped benchmark goes on."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lra.environment import hardware, versions
from lra.errors import UserError
from lra.files import write_atomically


class Report:
    """Rows of a benchmark on this hardware, found by the columns `keys`.

    Args:
      again: forgets what the file has.

    Raises:
      UserError: the file is of other hardware or of other versions, or none of ours.
    """

    def __init__(self, path: Path, keys: Sequence[str], minutes: float | None, again: bool):
        self.path, self.keys = path, tuple(keys)
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.hardware = {**hardware(), **versions()}
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        if path.exists() and not again:
            try:
                old = json.loads(path.read_text())
                rows = {self.key(row): row for row in old["rows"]}
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path} is no file of this benchmark; remove it, or --again replaces it") from None
            if old["hardware"] != self.hardware:
                raise UserError(f"{path} is of other hardware or other versions; move it, or --again replaces it")
            self.rows = rows

    def key(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.keys)

    def wants(self, **key: Any) -> bool:
        """Whether a row is missing and there is time for it."""
        late = self.deadline is not None and time.monotonic() > self.deadline
        return self.key(key) not in self.rows and not late

    def add(self, row: dict[str, Any]) -> None:
        self.rows[self.key(row)] = row
        content = {"hardware": self.hardware, "rows": list(self.rows.values())}
        write_atomically(self.path, json.dumps(content, indent=1) + "\n")
