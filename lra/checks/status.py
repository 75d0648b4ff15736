"""Keeps the results of the last `lra check` of each variant. They are valid until the code changes."""

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path

import jax

import lra.checks
import lra.models
from lra import settings
from lra.checks.runner import Result
from lra.errors import UserError
from lra.files import sha256, sha256_text, write_atomically
from lra.models.attention import Variant
from lra.tasks.prepared import home


@functools.cache
def code_of(package: str) -> str:
    """A hash of all files of a package."""
    return sha256_text("".join(sha256(path) for path in sorted(Path(package).parent.rglob("*.py"))))


def key(variant: Variant) -> str:
    """A hash of all code that decides the results of the checks."""
    outside = settings.words(settings.from_outside())
    try:
        own = variant.source_sha256 or sha256(Path(variant.file))
    except UserError:  # a variant that no record could keep
        own = variant.where
    return sha256_text(
        " ".join([own, code_of(lra.models.__file__), code_of(lra.checks.__file__), jax.__version__, outside])
    )


def file_of(variant: Variant) -> Path:
    """The file with the results of a variant."""
    return home() / "checks" / f"{variant.name}.json"


def save(variant: Variant, results: Sequence[Result]) -> None:
    """Writes the results of a variant.

    Raises:
      UserError: the file could not be written.
    """
    content = {"key": key(variant), "results": [dataclasses.asdict(result) for result in results]}
    write_atomically(file_of(variant), json.dumps(content, indent=1).encode())


def summary(variant: Variant) -> str:
    """The stored results of a variant in a few words."""
    try:
        content = json.loads(file_of(variant).read_bytes())
        if content["key"] != key(variant):
            return "changed since"
        statuses = [result["status"] for result in content["results"]]
    except FileNotFoundError:
        return "not checked"
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return "unreadable"
    return in_words(statuses)


def in_words(statuses: Sequence[str]) -> str:
    """The number of checks with each status, e.g. "20 hold, 1 excepted"."""
    if set(statuses[1:]) == {"not run"}:
        return f"{statuses[0]}: cannot be called"
    words = {"fails": "fail", "holds": "hold", "excepted": "excepted", "not run": "not run"}
    return ", ".join(f"{statuses.count(status)} {word}" for status, word in words.items() if status in statuses)
