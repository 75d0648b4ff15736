"""Reviews records that are submitted to the leaderboard. Nothing in a record is executed or imported."""

import ast
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lra.errors import UserError
from lra.leaderboard import external
from lra.leaderboard.config import (
    bindings_of,
    comparable,
    configuration_of,
    environment_of,
    is_outside,
    plain,
    values,
)
from lra.leaderboard.external import External
from lra.leaderboard.integrity import contradictions, contradictions_of_floor
from lra.leaderboard.reading import parse, read
from lra.leaderboard.record import Checks, Record, TaskInfo
from lra.leaderboard.statistics import above_floor
from lra.leaderboard.store import files_in, records_folder, shortened
from lra.leaderboard.tracks import LEARNING_RATE, broken
from lra.leaderboard.tuning import rate_of
from lra.models.attention import VARIANTS
from lra.plan import prepare_command, resolve
from lra.recipe import task_and_source
from lra.spec import RunSpec
from lra.tasks import TASKS, Source, Task
from lra.tasks.prepared import folder_of, read_manifest, with_files
from lra.tasks.task import fields_of, is_default
from lra.tracks import tracks, values_of_protocol

Records = Mapping[Path, Record]  # by file
SHOWN = 3  # the most differences that are shown
LONGEST = 1 << 20  # the most characters of all files of a variant


class Review(NamedTuple):
    """The review of a file. The record may enter if `reasons` is empty.

    Attributes:
      record: the record; None if the file is not a record.
      reasons: why the record may not enter.
      notes: what the tables will make of it, and what the review could not check.
    """

    file: Path
    record: Record | None
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def reviews(files: Sequence[Path], published: Path) -> list[Review]:
    """The review of each file.

    A record must not repeat a published record, nor an earlier one of `files` that may enter.

    Args:
      published: the folder of the published records.
    """
    there, results = records_in(published), results_in(published)
    entering: dict[Path, Record] = {}
    made = []
    for file in files:
        if external.is_named(file):
            made.append(review_result(file, results, there))
            continue
        others = {path: record for path, record in there.items() if path != file.resolve()}
        made.append(review(file, others, others | entering))
        if made[-1].record and not made[-1].reasons:
            entering[file.resolve()] = made[-1].record
    return made


def review_result(file: Path, there: dict[Path, External], published: Records) -> Review:
    """The review of a result from elsewhere. Its scores are computed again; what it declares is not checked.

    Args:
      there: the results that this one must not repeat, by file. If it may enter, it is added.
      published: the published records.
    """
    try:
        result = external.read(file, classes())
    except UserError as error:
        return Review(file, None, (str(error),), ())
    doubled = [
        f"the same answers of {result.about.name} are there already: {path}; to correct what it declares, replace that "
        "file"
        for path, one in there.items()
        if one.result == result.result and path != file.resolve()
    ]
    reasons = [*doubled, *gathered(faults_of_result(result, published))]
    if not reasons:
        there[file.resolve()] = result
    note = "its parameters, selection and training are as declared; it is shown in a table of its own and not ranked"
    return Review(file, None, tuple(reasons), () if reasons else (note,))


def faults_of_result(result: External, published: Records) -> Iterator[str]:
    """The reasons why a result from elsewhere without contradictions may not enter."""
    unknown = [*faults_of_task(result.task)]
    yield from unknown
    yield from faults_of_system(result.about.name)
    if out_of_range := [seed.seed for seed in result.seeds if not 0 <= seed.seed < 1 << 32]:
        yield f"seed {out_of_range[0]} is not from 0 to 2^32 - 1"
    if result.changes:
        yield f"its data are others than those of the task or the protocol: {', '.join(result.changes)}"
    elif not unknown:
        task, source = task_and_source(result.task.name, result.protocol, ())
        yield from faults_of_data(result.task, task, source, result.protocol, published)


def faults_of_system(name: str) -> Iterator[str]:
    """The reason that a system from elsewhere has the name of one of the project's own variants."""
    if is_own(name):
        yield f"'{name}' is the name of one of the arena's variants; take another, as pytorch_{name}"


def classes() -> dict[str, int]:
    """The number of classes of each task."""
    return {task.name: task.num_classes for task in TASKS.values()}


def results_in(folder: Path) -> dict[Path, External]:
    """The results from elsewhere in a folder, by path. `lra leaderboard build` reports the files that are skipped."""
    results = {}
    for path in external.files_in(records_folder(folder)):
        try:
            results[path.resolve()] = external.read(path, classes())
        except UserError:
            continue
    return results


def records_in(folder: Path) -> dict[Path, Record]:
    """The records in a folder, by path. `lra leaderboard build` reports the files that are skipped here."""
    records = {}
    for path in files_in(records_folder(folder)):
        try:
            records[path.resolve()] = read(path)
        except UserError:
            continue
    return records


def review(file: Path, published: Records, others: Records) -> Review:
    """The review of a file.

    Args:
      published: the published records; their data are known.
      others: the records that this one must not repeat.
    """
    try:
        record = parse(file)
    except UserError as error:
        return Review(file, None, (str(error),), ())
    # a record that contradicts itself is not examined further
    reasons = gathered(contradictions(record)) or gathered(faults(record, published, others))
    return Review(file, record, tuple(reasons), () if reasons else tuple(notes_on(record)))


def is_own(variant: str) -> bool:
    """Whether a name is that of one of the project's own variants."""
    return variant in VARIANTS and VARIANTS[variant].is_own


def notes_on(record: Record) -> Iterator[str]:
    """What the tables will make of a record that may enter, and what a review cannot check."""
    if settings := environment_of(record):
        yield f"it was trained under settings of its own: {', '.join(settings)}"
    if is_own(record.variant.name):
        yield f"{record.variant.name} is the project's own variant, which its tests hold to every check"
    else:
        yield (
            "the variant comes from outside: its number of parameters stands as submitted until "
            "'lra reproduce FILE --trust' has counted it again"
        )
        yield from notes_on_checks(record.variant.checks)
    yield from notes_on_seeds(record)


def notes_on_checks(checks: Checks | None) -> Iterator[str]:
    """Which checks a variant from outside holds, as its record says, and what that means for its row."""
    if checks is None:
        yield "which checks it holds is not recorded; 'lra leaderboard submit' of this lra writes that into the file"
        return
    kinds = {"fail": checks.fails, "not run": checks.not_run, "excepted": checks.excepted}
    total = len(checks.holds) + sum(map(len, kinds.values()))
    counts = "".join(f", {len(found)} {kind}" for kind, found in kinds.items() if found)
    text = f"of {total} checks {len(checks.holds)} hold{counts}, as submitted (lra {checks.lra})"
    if checks.fails:
        found = [f"{name} ({what})" for name, what in checks.fails.items()]
        text += f"; its row is not ranked, since it fails {'; '.join(shortened(found, SHOWN))}"
    yield text


def notes_on_seeds(record: Record) -> Iterator[str]:
    """What the tables make of a run whose seeds diverged or learnt nothing."""
    task = record.task
    shares = [seed.test.accuracy for seed in record.seeds if seed.test]
    lost, total = len(record.seeds) - len(shares), len(record.seeds)
    counts = "the floor" if task.unlearnt is None else f"{100 * task.unlearnt:.0f} %"
    if lost and not shares:
        all_of_them = f"all {total} seeds" if total > 1 else "its only seed"
        yield (
            f"{all_of_them} diverged: its row has no accuracy and stands below those that have one; "
            f"in averages and ranks it counts as {counts}"
        )
    elif lost:
        yield f"{lost} of {total} seeds diverged: in averages and ranks they count as {counts}"
    if shares and not above_floor(sum(shares) / len(shares), task.examples.test, task.floor.test):
        yield "its mean accuracy is not better than the floor by more than luck, and is marked so"


def gathered(reasons: Iterator[str]) -> list[str]:
    """All reasons. If the iterator raises a UserError, its message is the last reason."""
    known = []
    try:
        for reason in reasons:
            known.append(reason)
    except UserError as error:
        known.append(str(error))
    return known


def faults(record: Record, published: Records, others: Records) -> Iterator[str]:
    """The reasons why a record without contradictions may not enter."""
    task = record.task
    if record.status not in ("ok", "diverged"):
        yield f"it is the record of a run that came to nothing ({record.status})"
    if task.files is None or task.test_labels is None:
        yield "it has no predictions and labels, as records of schema 1; run it again with this lra"
    else:
        yield from contradictions_of_floor(task)
    if out_of_range := [seed.seed for seed in record.seeds if not 0 <= seed.seed < 1 << 32]:
        yield f"seed {out_of_range[0]} is not from 0 to 2^32 - 1"
    yield from doubles(record, others)
    yield from broken(record, tracks().get(record.protocol.name))
    unknown = list(faults_of_names(record))
    yield from unknown
    if not unknown:  # otherwise there is no plan to compare with
        yield from faults_of_plan(record, published)


def faults_of_task(task: TaskInfo) -> Iterator[str]:
    """The reasons that lie in the name, the version and the floor of a task."""
    if task.name not in TASKS:
        yield f"there is no task '{task.name}'"
    elif task.version != (here := TASKS[task.name].version):
        yield f"it ran on {task.name} {task.version}, whose version is {here} now"
    elif (task.unlearnt, task.stands_in_for) != (TASKS[task.name].unlearnt, TASKS[task.name].stands_in_for):
        yield f"task.unlearnt and task.stands_in_for are not those of {task.name}"


def faults_of_data(
    info: TaskInfo, task: Task, source: Source, protocol: str | None, published: Records
) -> Iterator[str]:
    """The reasons that lie in the data of a task, compared with those that the arena has for it."""
    said, told = source.difficulty, info.difficulty
    has = told and (told.name, told.levels, told.trained, told.floor)
    if info.parameters != fields_of(source):
        whose = f"protocol {protocol} has for {task.name}" if protocol else f"{task.name} has by default"
        yield f"task.parameters are not those that {whose}"
    elif has != (said and dataclasses.astuple(said)):
        yield f"task.difficulty is not that of {task.name}"
    elif info.data_sha256 not in (known := known_data(task, source, published)):
        named = f"only {', '.join(digest[:12] for digest in sorted(known))}" if known else "none"
        yield (
            f"data {info.data_sha256[:12]} is not known here, {named} with these parameters is; "
            "if it is another origin's, prepare it here and validate again; "
            + with_files(task, prepare_command(task, protocol, ()))
        )


def faults_of_names(record: Record) -> Iterator[str]:
    """The reasons that lie in the names, versions and sources of task and variant."""
    variant = record.variant
    name, version = variant.name, variant.version
    yield from faults_of_task(record.task)
    if is_own(name):
        if variant.source_sha256 or variant.sources is not None:
            yield f"its variant comes from outside, but '{name}' is the name of one of the project's own"
        elif version != VARIANTS[name].version:
            yield f"it ran {name} in version {version}, which is {VARIANTS[name].version} now"
    elif variant.sources is None:
        yield f"there is no variant '{name}', and it comes without its source"
    elif sum(map(len, variant.sources.values())) > LONGEST:
        yield f"its source has more than {LONGEST:,} characters"
    elif not any(registers(text, name) for text in variant.sources.values()):
        yield f"its source registers no variant '{name}'"


def registers(source: str, name: str) -> bool:
    """Whether a Python source calls `register_attention` with the name. The source is parsed, not run.

    A call with an expression counts too, since its value is not known.
    """
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    name_of = lambda function: getattr(function, "attr", getattr(function, "id", None))
    called = [call.args[0] for call in calls if name_of(call.func) == "register_attention"]
    return any(not isinstance(word, ast.Constant) or word.value == name for word in called)


def faults_of_plan(record: Record, published: Records) -> Iterator[str]:
    """The reasons that lie in configuration, parameter count and data, compared with the plan under the protocol.

    A variant from outside is not built. Its record is compared with the plan of the Transformer, narrowed as the
    variant's own file says; the sections of both variants are left out.
    """
    task, protocol, name = record.task, record.protocol, record.variant.name
    ours = is_own(name)
    own = [line for line in protocol.overrides if line.startswith(f"{name}.")] if ours else []
    safe = [f"{key} = {value}" for key, value in plain(own).items()]  # only plain values are parsed
    if (rate := rate_of(record, tracks().get(protocol.name))) is not None:  # one of those that the protocol allows
        safe.append(f"{LEARNING_RATE} = {rate!r}")
    plan = resolve(RunSpec(task.name, name if ours else "transformer", protocol.name, overrides=tuple(safe)))
    claimed, text = values(record), "".join(line for line in plan.config.splitlines(True) if not is_outside(line))
    for key, value in plain(protocol.overrides).items():
        if comparable(claimed.get(key)) != comparable(value):
            yield f"protocol.overrides say {key} = {value}, its configuration {claimed.get(key, 'does not set it')}"
    claimed = {key: value for key, value in claimed.items() if not is_outside(key)}
    expected = bindings_of(text)
    lacking = claimed.keys() - bindings_of(record.config).keys()  # in an old record
    text = "".join(line for line in text.splitlines(True) if line.split(" = ")[0] not in lacking)
    if not ours:
        narrowed = values_of_protocol(protocol.name, task.name, record.variant)
        expected |= {key: value for key, value in narrowed.items() if key in expected}
        claimed = {key: value for key, value in claimed.items() if not key.startswith(f"{name}.")}
        expected = {key: value for key, value in expected.items() if not key.startswith("transformer.")}
    differences = [
        f"{key} is {claimed.get(key, 'not set')}, protocol {protocol.name} has {expected.get(key, 'it not set')}"
        for key in sorted(claimed.keys() | expected.keys())
        if comparable(claimed.get(key)) != comparable(expected.get(key))
    ]
    yield from differences[:SHOWN]
    if differences[SHOWN:]:
        yield f"{len(differences) - SHOWN} more lines of its configuration are not those of the protocol"
    own_text = "".join(line for line in record.config.splitlines(True) if not is_outside(line))
    if ours and not differences and own_text != text:
        yield "its configuration has the right values but is not written as lra writes it"
    if ours and record.parameters != plan.parameters:
        yield f"it has {plan.parameters:,} parameters, the record says {record.parameters:,}"
    elif ours and record.parameter_tree_sha256 not in (None, plan.tree_sha256):
        yield "it has as many parameters as the record says, but with other names, shapes or types"
    if tuple(sorted(protocol.overrides)) != protocol.overrides:
        yield "protocol.overrides are not sorted"
    yield from faults_of_data(task, plan.task, plan.source, protocol.name, published)


def known_data(task: Task, source: Source, published: Records) -> set[str]:
    """The known hashes of a task's data: default data, published records, and the task as prepared here."""
    known = {
        record.task.data_sha256
        for record in published.values()
        if (record.task.name, record.task.version) == (task.name, task.version)
        and record.task.parameters == fields_of(source)
    }
    if is_default(source) and task.data_sha256:
        known.add(task.data_sha256)
    with contextlib.suppress(UserError):  # nothing is prepared here, or nothing that can be read
        manifest = read_manifest(folder_of(task, source))
        if manifest["parameters"] == fields_of(source):
            known.add(manifest["data_sha256"])
    return known


def doubles(record: Record, others: Records) -> Iterator[str]:
    """The reasons that the record, or one of its seeds, is among other records already."""
    numbers = lambda one: {seed.seed for seed in one.seeds}
    for path, other in others.items():
        if other.run == record.run:
            yield f"the same run is there already: {path}"
        elif configuration_of(other) == configuration_of(record) and (both := numbers(record) & numbers(other)):
            seeds = ", ".join(map(str, sorted(both)[:SHOWN]))
            yield f"seed {seeds} of the same configuration is there already: {path}"
