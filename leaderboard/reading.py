"""Reads records from files that anyone may have written. Shape and contradictions are checked."""

from pathlib import Path
from typing import Any

from lra.errors import UserError
from lra.leaderboard.integrity import contradiction
from lra.leaderboard.record import SCHEMA, Record
from lra.leaderboard.strict import decode, shaped
from lra.names import is_name

MOST_BYTES = 32 << 20
AWAY = "move it out of the folder, or run it again"


def read(path: Path) -> Record:
    """Reads and checks a record. A record of an older schema is converted to the current one.

    Raises:
      UserError: the file is not a record, has a newer schema, or contradicts itself; the message names the file and
        the problem.
    """
    record = parse(path)
    if problem := contradiction(record):
        raise UserError(f"{path}: {problem}; {AWAY}")
    return record


def parse(path: Path) -> Record:
    """Reads a record and checks its shape only. The record may contradict itself.

    Raises:
      UserError: the file is not a record, or has a newer schema.
    """
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise UserError(f"{path} has {size >> 20} MiB, a record has at most {MOST_BYTES >> 20}; {AWAY}")
        content = decode(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file; 'lra runs' lists the records of a folder") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; name the files of records in it, as in {path}/*.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a record ({error}); {AWAY}") from error
    if isinstance(content, dict) and content.get("kind") == "external":
        raise UserError(
            f"{path} is a result from elsewhere, no record of a run; only 'lra leaderboard validate' and 'build' read "
            "it, from a file named external-NAME.json"
        )
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise UserError(f"{path} has schema version {schema}, this lra reads up to {SCHEMA}; take a newer lra")
    if type(schema) is not int or schema < 1:
        raise UserError(f"{path} has schema version {schema!r}, this version of lra reads {SCHEMA}; {AWAY}")
    try:
        migrate(content, schema)
        record = shaped(content, Record, "record")
    except UserError as error:
        raise UserError(f"{path}: {error}; {AWAY}") from error
    for name in (record.task.name, record.variant.name, record.protocol.name):
        if schema >= 4 and not is_name(name):
            raise UserError(f"{path}: '{name}' is no name of a task, variant or protocol; {AWAY}")
    return record


def with_path(source: Any, name: str) -> Any:
    """The sources of a variant whose record has but one text; None if it has none."""
    return source if source is None else {f"{name}.py": source}


def migrate(content: dict[str, Any], schema: int) -> None:
    """Adds the fields that later schemas have to the content of an old record, in place.

    Raises:
      UserError: the content lacks a part that the fields belong to.
    """
    try:
        if schema < 2:
            content["task"] |= {"files": None, "test_labels": None}
            for seed in content["seeds"]:
                seed["predictions"] = None
        if schema < 3:
            name = content["task"]["name"]
            original = name.removeprefix("synthetic_")
            content["task"] |= {
                "unlearnt": 0.5 if name == "pathx" else None,
                "stands_in_for": None if original == name else original,
            }
            content |= {"parameter_tree_sha256": None}
        if schema < 4:
            variant = content["variant"]
            source = variant.pop("source", None) if schema < 2 else variant.pop("source")
            content |= {"variant": variant | {"sources": with_path(source, variant["name"])}}
        if schema < 5:
            content |= {"variant": content["variant"] | {"checks": None}}
        if schema < 6:
            content |= {"measured": content["measured"] | {"kernels": None}}
        if schema < 7:
            content |= {"schema": SCHEMA, "task": content["task"] | {"difficulty": None}}
            for seed in content["seeds"]:
                seed["by_level"] = None
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"record of schema {schema} without its parts ({error})") from error
