"""What the checks say of the variant in a record, for the record that is handed in."""

import contextlib
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lra
from lra import extension
from lra.checks import status
from lra.checks.runner import Result, check_variant
from lra.errors import UserError
from lra.leaderboard.record import Checks, Record
from lra.models.attention import VARIANTS
from lra.reproduction import is_here, provide_variant

LONGEST = 300  # characters of a finding in a record


def checks_of(record: Record, trust: bool, advance: Callable[[int], Any]) -> Checks | None:
    """What `lra check` finds of a record's variant under the options of the run; None for the project's own variants.

    The results of the last `lra check` are taken if they are of this source. Otherwise the checks are run.

    Args:
      trust: whether the source in the record may be executed.
      advance: called with 1 after each check that was run.

    Raises:
      UserError: the checks have to be run and the source may not be executed, or it fails.
    """
    name, source_sha256 = record.variant.name, record.variant.source_sha256
    if source_sha256 is None:
        return None
    options = [line for line in record.protocol.overrides if line.startswith(f"{name}.")]
    try:
        results = status.load(name, source_sha256, options)
    except status.NotKnown:
        results = run_checks(record, options, trust, advance)
    return summarised(results, [*(record.variant.sources or {})])


def run_checks(record: Record, options: Sequence[str], trust: bool, advance: Callable[[int], Any]) -> list[Result]:
    """The results of all checks of a record's variant; arguments and errors as for `checks_of`."""
    name, source_sha256 = record.variant.name, record.variant.source_sha256
    extension.load_installed()
    if not trust and not is_here(name, source_sha256 or ""):
        words = " ".join([f"lra check --import FILE {name}", *(f"--gin '{line}'" for line in options)])
        raise UserError(
            f"'{name}' comes from outside, and there are no results of checks of the source in this record; run "
            f"'{words}' if FILE has not changed since the run, or say --trust to execute and check that source"
        )
    with tempfile.TemporaryDirectory() as folder:
        provide_variant(record, Path(folder), trust)
        results = check_variant(name, options, advance)
        with contextlib.suppress(UserError):  # they are run again the next time
            status.save(VARIANTS[name], results, options)
    return results


def summarised(results: Sequence[Result], files: Sequence[str]) -> Checks:
    """The results as a record has them.

    Args:
      files: the files of the variant; where they lay on this machine is left out.
    """
    folders = re.compile(rf"(?<![\w./])/(?:.*?/)?(?={'|'.join(map(re.escape, files))})") if files else None

    def first(result: Result) -> str:
        text = result.reason or result.details[0]
        return (folders.sub("", text) if folders else text)[:LONGEST]

    def with_status(name: str) -> dict[str, str]:
        return {result.check: first(result) for result in results if result.status == name}

    holds = tuple(result.check for result in results if result.status in ("holds", "does not apply"))
    return Checks(
        lra=lra.__version__, holds=holds, fails=with_status("fails"), excepted=with_status("excepted"),
        not_run=with_status("not run"),
    )  # fmt: skip
