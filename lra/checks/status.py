"""Keeps the results of the last `lra check` of each variant and its bindings. They are valid until the code changes."""

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
from lra.recipe import merged
from lra.tasks.prepared import home


@functools.cache
def code_of(package: str) -> str:
    """A hash of all files of a package."""
    return sha256_text("".join(sha256(path) for path in sorted(Path(package).parent.rglob("*.py"))))


class NotKnown(Exception):
    """There are no valid results. The message says why in two words."""


def code_of_variant(variant: Variant) -> str:
    """The hash of a variant's own code."""
    try:
        return variant.source_sha256 or sha256(Path(variant.file))
    except UserError:  # a variant that no record could keep
        return variant.where


def key(own: str) -> str:
    """A hash of all code that decides the results of the checks; `own` is the hash of the variant's own code."""
    outside = settings.words(settings.from_outside())
    return sha256_text(
        " ".join([own, code_of(lra.models.__file__), code_of(lra.checks.__file__), jax.__version__, outside])
    )


def file_of(name: str, overrides: Sequence[str]) -> Path:
    """The file with the results of a variant under some bindings."""
    suffix = f"-{sha256_text(json.dumps(merged(sorted(overrides))))[:12]}" if overrides else ""
    return home() / "checks" / f"{name}{suffix}.json"


def save(variant: Variant, results: Sequence[Result], overrides: Sequence[str] = ()) -> None:
    """Writes the results of a variant.

    Raises:
      UserError: the file could not be written.
    """
    content = {"key": key(code_of_variant(variant)), "results": [dataclasses.asdict(result) for result in results]}
    write_atomically(file_of(variant.name, overrides), json.dumps(content, indent=1).encode())


def load(name: str, own: str, overrides: Sequence[str] = ()) -> list[Result]:
    """The results that were saved; `own` is the hash of the variant's own code. The variant need not be registered.

    Raises:
      NotKnown: there are none, or they are of other code.
    """
    try:
        content = json.loads(file_of(name, overrides).read_bytes())
        if content["key"] != key(own):
            raise NotKnown("changed since")
        return [Result(**result | {"details": tuple(result["details"])}) for result in content["results"]]
    except FileNotFoundError as error:
        raise NotKnown("not checked") from error
    except (UserError, OSError, ValueError, KeyError, TypeError) as error:
        raise NotKnown("unreadable") from error


def summary(variant: Variant) -> str:
    """The stored results of a variant in a few words."""
    try:
        return in_words([result.status for result in load(variant.name, code_of_variant(variant))])
    except NotKnown as why:
        return str(why)


def in_words(statuses: Sequence[str]) -> str:
    """The number of checks with each status, e.g. "20 hold, 1 excepted"."""
    if set(statuses[1:]) == {"not run"}:
        return f"{statuses[0]}: cannot be called"
    words = {"fails": "fail", "holds": "hold", "excepted": "excepted", "not run": "not run"}
    return ", ".join(f"{statuses.count(status)} {word}" for status, word in words.items() if status in statuses)
