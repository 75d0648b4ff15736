"""The file of a benchmark. It is written after each row, so that a stopped benchmark can continue."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lra import environment
from lra.errors import UserError
from lra.files import check_writable, write_atomically


class Report:
    """The rows of a benchmark on this hardware.

    Args:
      keys: the columns that identify a row.
      minutes: no measurement begins after so many minutes; None for no limit.
      again: whether to drop the rows in the file.
      settings: what all rows have in common besides; None for a benchmark that has no settings.
      hardware: what decides the numbers; None for this machine and the versions of the packages.

    Raises:
      UserError: the file is from other hardware, versions or settings, is not a report, or could not be written.
    """

    def __init__(
        self,
        path: Path,
        keys: Sequence[str],
        minutes: float | None,
        again: bool,
        settings: dict[str, Any] | None = None,
        hardware: dict[str, Any] | None = None,
    ):
        self.path, self.keys = path, tuple(keys)
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.common: dict[str, Any] = {"hardware": hardware or {**environment.hardware(), **environment.versions()}}
        self.common |= {} if settings is None else {"settings": settings}
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        check_writable(path)
        if path.exists() and not again:
            try:
                old = json.loads(path.read_bytes())
                rows = {self.key(row): row for row in old["rows"]}
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path} is no file of this benchmark; remove it, or --again replaces it") from None
            for name, here in self.common.items():
                if old.get(name) != here:
                    raise UserError(f"{path} is of other {name} or versions; move it, or --again replaces it")
            self.rows = rows

    def key(self, row: dict[str, Any]) -> tuple[Any, ...]:
        """The values of the key columns of a row."""
        return tuple(row[name] for name in self.keys)

    @property
    def hardware(self) -> dict[str, Any]:
        """The device, the processor and the versions at hand."""
        return self.common["hardware"]

    @property
    def late(self) -> bool:
        """Whether no measurement may begin any more."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def wants(self, **key: Any) -> bool:
        """Whether the row of a key is missing and there is time to measure it."""
        return self.key(key) not in self.rows and not self.late

    @property
    def content(self) -> dict[str, Any]:
        """What the file has."""
        return {**self.common, "rows": list(self.rows.values())}

    def add(self, row: dict[str, Any]) -> None:
        """Adds a row and writes the file."""
        self.rows[self.key(row)] = row
        write_atomically(self.path, json.dumps(self.content, indent=1) + "\n")
