"""Checks that the parts of a record agree: hashes, labels, and scores recomputed from the predictions.

Nothing in the record is executed, and no model is needed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from lra.errors import UserError
from lra.files import sha256_text, sha256_texts
from lra.leaderboard.predictions import (
    NONE,
    Packed,
    accuracy_by_level,
    by_example,
    file_sha256,
    labels_file_sha256,
    unpack,
)
from lra.leaderboard.record import BINS, LABELS, Record, TaskInfo, run_of

SEEDS = 1000  # the most seeds of a record
FILES = 1000  # the most files of a variant
CHARACTERS = 16 << 20  # the most characters of all files of a variant


def contradiction(record: Record) -> str | None:
    """The first contradiction in a record, in words; None if there is none."""
    try:
        return next(contradictions(record), None)
    except UserError as error:
        return str(error)


def contradictions(record: Record) -> Iterator[str]:
    """All contradictions in a record, in words.

    Raises:
      UserError: labels or predictions cannot be unpacked.
    """
    task, variant, seeds = record.task, record.variant, record.seeds
    numbers = [seed.seed for seed in seeds]
    if len(seeds) > SEEDS:
        yield f"it has {len(seeds):,} seeds, a record has at most {SEEDS:,}"
    if len(set(numbers)) < len(numbers):
        yield "a seed is in it twice"
    if sha256_text(record.config) != record.config_sha256:
        yield "config_sha256 is not that of its configuration"
    if variant.sources is not None:
        yield from contradictions_of_sources(variant.sources, variant.source_sha256)
    if (checks := variant.checks) is not None:
        names = [*checks.holds, *checks.fails, *checks.excepted, *checks.not_run]
        if variant.source_sha256 is None:
            yield "it has variant.checks, and its variant is not from outside"
        if len(set(names)) < len(names):
            yield "variant.checks has two results of one check"
    if record.status in ("ok", "diverged") and run_of(record) != record.run:
        yield "run is not the hash of what the record says was run"
    if any(len(values) != len(seeds) for line in record.curve for values in (line.loss, line.accuracy) if seeds):
        yield "a line of the curve has not one value a seed"
    if (record.status == "ok") != any(seed.status == "ok" for seed in seeds):
        yield f"status is {record.status!r}, those of its seeds are not"
    if task.unlearnt is not None and not 0 <= task.unlearnt <= 1:
        yield "task.unlearnt is not a share"
    for seed in seeds:
        scores = [seed.test, seed.validation]
        if any(score and not 0 <= score.accuracy <= 1 for score in scores):
            yield f"an accuracy of seed {seed.seed} is not a share"
        if (seed.status == "ok") != (seed.test is not None):
            yield f"seed {seed.seed} is {seed.status!r}, its test score says otherwise"
    if task.files is None or task.test_labels is None:
        return  # a record of schema 1
    found = [*contradictions_of_task(task)]
    yield from found
    for seed in seeds:
        if (seed.by_level is None) != (task.difficulty is None or seed.test is None):
            yield f"seed {seed.seed} has by_level, or not, where its task says otherwise"
        if (seed.predictions is None) != (seed.test is None):
            yield f"seed {seed.seed} has a test score or predictions, not both"
        if seed.predictions is None or seed.test is None or found:
            continue
        yield from contradictions_of_answers(task, seed.seed, seed.test.accuracy, seed.by_level, seed.predictions)


def contradictions_of_task(task: TaskInfo) -> Iterator[str]:
    """What is wrong with the test labels of a task and their difficulty, in words.

    Raises:
      UserError: they cannot be unpacked.
    """
    assert task.files is not None
    assert task.test_labels is not None
    if sha256_text("".join(f"{name} {digest}\n" for name, digest in task.files.items())) != task.data_sha256:
        yield "data_sha256 is not the hash of the task's files"
    labels = by_example(unpack(task.test_labels, "task.test_labels"), task.examples.test)
    if labels_file_sha256(labels) != task.files.get(LABELS):
        yield f"task.test_labels are not those of the data ({LABELS} has another hash)"
    if not (labels >= 0).any():
        yield "no test example has a label"
        return
    if (difficulty := task.difficulty) is None:
        return
    bins = by_example(unpack(difficulty.test_bins, "task.difficulty.test_bins"), task.examples.test)
    levels = len(difficulty.levels)
    if not len(difficulty.trained) == len(difficulty.floor) == levels or not 0 < levels < NONE:
        yield "task.difficulty has not one value a level"
        return
    if any(not 0 <= floor <= 1 for floor in difficulty.floor):
        yield "a floor of task.difficulty is not a share"
    if bins.shape != labels.shape or not 0 <= bins.min() <= bins.max() < levels:
        yield "task.difficulty.test_bins are not those of the labels"
        return
    if file_sha256(bins.astype(np.uint8)) != task.files.get(BINS):
        yield f"task.difficulty.test_bins are not those of the data ({BINS} has another hash)"


def contradictions_of_floor(task: TaskInfo) -> Iterator[str]:
    """The reason that the floor of a task is none of its test labels.

    Raises:
      UserError: the labels cannot be unpacked.
    """
    assert task.test_labels is not None
    answers = by_example(unpack(task.test_labels, "task.test_labels"), task.examples.test)
    labels = Counter(answers[answers >= 0].tolist())
    if all(share != task.floor.test for share in (n / labels.total() for n in labels.values())):
        yield f"the floor {task.floor.test} is not the share of a label among the test examples"


def contradictions_of_answers(
    task: TaskInfo, seed: int, accuracy: float, by_level: tuple[float | None, ...] | None, answers: Packed
) -> Iterator[str]:
    """What is wrong with the scores of a seed, which are computed again from its predictions, in words.

    Args:
      task: one of which `contradictions_of_task` finds nothing.

    Raises:
      UserError: the predictions cannot be unpacked.
    """
    assert task.test_labels is not None
    labels = by_example(unpack(task.test_labels, "task.test_labels"), task.examples.test)
    predictions = unpack(answers, f"the predictions of seed {seed}")
    if predictions.size != labels.size:
        yield f"seed {seed} has {predictions.size:,} predictions for {labels.size:,} labels"
        return
    predictions = predictions.reshape(labels.shape)
    there = labels >= 0
    right = predictions[there] == labels[there]
    if (share := int(right.sum()) / right.size) != accuracy:
        yield f"the test accuracy of seed {seed} is {accuracy}, its predictions have {share}"
    if task.difficulty is None:
        return
    bins = by_example(unpack(task.difficulty.test_bins, "task.difficulty.test_bins"), task.examples.test)
    if by_level != accuracy_by_level(predictions, labels, bins, len(task.difficulty.levels)):
        yield f"by_level of seed {seed} is not what its predictions have"


def contradictions_of_sources(sources: Mapping[str, str], sha256: str | None) -> Iterator[str]:
    """What is wrong with the texts of a variant, which `lra reproduce --trust` writes to a folder, in words."""
    if not 0 < len(sources) <= FILES:
        yield f"variant.sources has {len(sources):,} files, not 1 to {FILES:,}"
    for path in sources:
        if not is_path(path):
            yield f"variant.sources has a file {path!r:.100}, which is no path of a Python or gin file below a folder"
    if sum(map(len, sources.values())) > CHARACTERS:
        yield f"variant.sources has more than {CHARACTERS:,} characters"
    files = {path.casefold() for path in sources}
    if len(files) < len(sources):
        yield "variant.sources has two files of one path"
    if inside := [path for path in sources for above in parents(path.casefold()) if above in files]:
        yield f"variant.sources has {inside[0]!r:.100} inside a file"
    if sha256_texts(sources) != sha256:
        yield "variant.source_sha256 is not that of the sources"


def is_path(path: str) -> bool:
    """Whether a path names a Python or gin file below a folder, on every system. No part of it begins with a dot."""
    parts = path.split("/")
    fine = lambda part: part.isprintable() and part.strip(" .") == part != "" and not {*'\\:*?"<>|'} & {*part}
    return path.endswith((".py", ".gin")) and len(parts) <= 32 and all(fine(part) and len(part) <= 80 for part in parts)


def parents(path: str) -> list[str]:
    """The folders above a path."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
